"""Collectives and memory traffic of HLO written by hand; test_roofline compiles real steps."""

import pytest

from bert_jax.performance.collectives import collectives, mesh_axes
from bert_jax.performance.hlo import Hlo, array_bytes
from bert_jax.performance.memory_traffic import memory_traffic

MESH = {'data': 2, 'fsdp': 4, 'tensor': 2}


@pytest.mark.parametrize(
    ('attributes', 'axes'),
    [
        ('replica_groups={{0,2},{1,3},{4,6},{5,7}}, to_apply=%add', ('fsdp',)),
        ('replica_groups=[8,2]<=[16], dimensions={0}', ('tensor',)),
        ('replica_groups=[8,2]<=[2,8]T(1,0), dimensions={0}', ('data',)),
        ('replica_groups=[4,4]<=[2,4,2]T(0,2,1)', ('fsdp',)),
        ('replica_groups=[1,16]<=[16]', ('data', 'fsdp', 'tensor')),
        ("replica_groups=mesh['a'=2,'b'=4,'c'=2] {'b'}, use_global_device_ids=true", ('fsdp',)),
        ("replica_groups=mesh['a'=2,'b'=4,'c'=2] {'c','a'}", ('data', 'tensor')),
        ("replica_groups=mesh['a'=4,'b'=2,'c'=2], device_ids=([2,4,2]T(1,0,2)) {'b'}", ('data',)),
        ('source_target_pairs={{0,2},{2,4},{4,6},{6,0}}', ('fsdp',)),
        ('replica_groups={}, to_apply=%add', ('data', 'fsdp', 'tensor')),
    ],
)
def test_axes_of_a_collective(attributes: str, axes: tuple[str, ...]) -> None:
    assert set(mesh_axes(attributes, MESH)) == set(axes)


def test_sizes() -> None:
    assert array_bytes('bf16[4,8]{1,0}') == 64
    assert array_bytes('bf16[4,8]{1,0:T(8,128)(2,1)}') == 2 * 8 * 128, 'a whole tile'
    assert array_bytes('bf16[16,512,64]{1,2,0:T(8,128)(2,1)}') == 2 * 16 * 512 * 64
    assert array_bytes('bf16[16,512,64]{2,1,0:T(8,128)(2,1)}') == 2 * 16 * 512 * 128
    assert array_bytes('(f32[2,3]{1,0}, s32[], /*index=2*/pred[5]{0})') == 24 + 4 + 5
    assert array_bytes('(f32[2,3]{1,0:T(8,128)S(1)}, s8[7]{0})') == 7, 'VMEM is not memory'
    assert array_bytes('f32[2,3]{1,0:T(2,128)S(1)}', main_memory_only=False) == 4 * 2 * 128


TEXT = """
HloModule jit_step

%slice_it (p.0: f32[5,100], p.1: s32[]) -> f32[1,100] {
  %p.0 = f32[5,100]{1,0} parameter(0)
  %p.1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %part = f32[1,100]{1,0} dynamic-slice(%p.0, %p.1, %zero), dynamic_slice_sizes={1,100}
}

%write_it (q.0: f32[5,100], q.1: f32[1,100], q.2: s32[]) -> f32[5,100] {
  %q.0 = f32[5,100]{1,0} parameter(0)
  %q.1 = f32[1,100]{1,0} parameter(1)
  %q.2 = s32[] parameter(2)
  %zero.1 = s32[] constant(0)
  ROOT %updated = f32[5,100]{1,0} dynamic-update-slice(%q.0, %q.1, %q.2, %zero.1)
}

%all-reduce-scatter.3 (r.0: f32[1,100]) -> f32[1,50] {
  %r.0 = f32[1,100]{1,0} parameter(0)
  %all-reduce.9 = f32[1,100]{1,0} all-reduce(%r.0), channel_id=3, replica_groups=[8,2]<=[16]
  %z = s32[] constant(0)
  ROOT %mine = f32[1,50]{1,0} dynamic-slice(%all-reduce.9, %z, %z), dynamic_slice_sizes={1,50}
}

%condition (c: (s32[], f32[5,100])) -> pred[] {
  %five = s32[] constant(5)
  %c = (s32[], f32[5,100]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  ROOT %less = pred[] compare(%i, %five), direction=LT
}

%body (b: (s32[], f32[5,100])) -> (s32[], f32[5,100]) {
  %b = (s32[], f32[5,100]{1,0}) parameter(0)
  %j = s32[] get-tuple-element(%b), index=0
  %stack = f32[5,100]{1,0} get-tuple-element(%b), index=1
  %layer = f32[1,100]{1,0} fusion(%stack, %j), kind=kLoop, calls=%slice_it
  %all-gather.1 = f32[1,200]{1,0} all-gather(%layer), channel_id=1, replica_groups=[8,2]<=[16]
  %all-gather.2 = f32[1,200]{1,0} all-gather(%layer), channel_id=1, replica_groups=[8,2]<=[16]
  %rs = f32[1,50]{1,0} fusion(%layer), kind=kCustom, calls=%all-reduce-scatter.3
  %new = f32[5,100]{1,0} fusion(%stack, %layer, %j), kind=kLoop, calls=%write_it
  ROOT %next = (s32[], f32[5,100]{1,0}) tuple(%j, %new)
}

ENTRY %main (a: f32[5,100]) -> f32[5,100] {
  %a = f32[5,100]{1,0} parameter(0)
  %start = s32[] constant(0)
  %both = (s32[], f32[5,100]{1,0}) tuple(%start, %a)
  %while.1 = (s32[], f32[5,100]{1,0}) while(%both), condition=%condition, body=%body
  %result = f32[5,100]{1,0} get-tuple-element(%while.1), index=1
  ROOT %sum = f32[5,100]{1,0} all-reduce(%result), channel_id=2, replica_groups=[1,16]<=[16]
}
"""


def test_a_loop_counts_each_time_it_runs() -> None:
    found = {c.kind: c for c in collectives(Hlo(TEXT), MESH)}
    assert found['all-gather'][1:4] == (('tensor',), 400, 5), 'two parts of one: once'
    assert found['reduce-scatter'][1:4] == (('tensor',), 200, 5)
    assert found['all-reduce'][1:4] == (('data', 'fsdp', 'tensor'), 2 * 15 / 16 * 2000, 1)
    assert not any(c.overlapped for c in found.values()), 'nor what is fused with a slice of it'
    assert len(collectives(Hlo(TEXT), MESH)) == 3


def test_a_collective_that_runs_during_a_loop_counts_once_at_its_start() -> None:
    """The compiler fuses its pieces with the work of the loop."""
    fused = '%begun = f32[5,200]{1,0} fusion(%a), kind=kCustom, calls=%piece'
    text = TEXT.replace('%start = s32[]', f'{fused}\n  %start = s32[]')
    piece = """%piece (t: f32[5,100]) -> f32[5,200] {
  %t = f32[5,100]{1,0} parameter(0)
  ROOT %ag = f32[5,200]{1,0} all-gather(%t), channel_id=1, replica_groups=[8,2]<=[16]
}

%condition"""
    found = {c.kind: c for c in collectives(Hlo(text.replace('%condition', piece, 1)), MESH)}
    assert found['all-gather'] == ('all-gather', ('tensor',), 2000, 1, True)
    assert len(found) == 3


def test_a_loop_reads_and_writes_one_layer_of_a_stack() -> None:
    in_loop = {
        'layer': 400 + 400,
        'gathers': 2 * (400 + 800),
        'reduce-scatter': 400 + 200,
        'stack': 400 + 400,
        'indices': 4 + 4,
    }
    assert memory_traffic(Hlo(TEXT)) == 5 * sum(in_loop.values()) + 2000 + 2000


# A part of an array is copied to VMEM. From the compiler for v5e, with shorter names.
SLICED = """
ENTRY %main (done.3: bf16[16,16,64,128]) -> bf16[4,16,64,128] {
  %done.3 = bf16[16,16,64,128]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %slice-start.16 = ((bf16[16,16,64,128]{3,2,1,0:T(8,128)(2,1)}), \
bf16[4,16,64,128]{3,2,1,0:T(8,128)(2,1)S(1)}, s32[]{:S(2)}) slice-start(%done.3), \
slice={[0:4], [0:16], [0:64], [0:128]}
  %slice-done.16 = bf16[4,16,64,128]{3,2,1,0:T(8,128)(2,1)S(1)} slice-done(%slice-start.16)
}
"""


def test_a_slice_counts_instead_of_its_array() -> None:
    piece = 2 * 4 * 16 * 64 * 128
    assert memory_traffic(Hlo(SLICED)) == piece
    assert memory_traffic(Hlo(SLICED.replace('(2,1)S(1)', '(2,1)'))) == 2 * piece
    inside = SLICED.replace('64,128]{3,2,1,0:T(8,128)(2,1)}', '64,128]{3,2,1,0:T(8,128)(2,1)S(1)}')
    assert memory_traffic(Hlo(inside)) == 0


STARTED = {  # -> (bytes that each of 4 devices sends, bytes of memory traffic)
    '((f32[8]{0}, f32[2]{0}), (f32[32]{0}, f32[8]{0})) all-gather-start(%a, %b)': (120, 200),
    '(f32[8]{0}, f32[32]{0}) all-gather-start(%a)': (96, 160),
    '((f32[8]{0}), f32[2]{0}, u32[]{:S(2)}) reduce-scatter-start(%a)': (24, 40),
    '(f32[8]{0}, f32[8]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%a)': (32, 64),
    'f32[8]{0} all-reduce-start(%a)': (48, 64),
    '(f32[8]{0}, f32[2]{0}) all-reduce-start(%a, %b)': (60, 80),
    '((f32[8]{0}), f32[8]{0}, s32[]) async-start(%a), calls=%summed': (48, 64),
}


@pytest.mark.parametrize('started', STARTED)
def test_asynchronous_operations_count_once(started: str) -> None:
    text = f"""
%summed (s: f32[8]) -> f32[8] {{
  %s = f32[8]{{0}} parameter(0)
  ROOT %sum = f32[8]{{0}} all-reduce(%s), channel_id=1, replica_groups=[1,4]<=[4]
}}

ENTRY %main (a: f32[8], b: f32[2]) -> f32[8] {{
  %a = f32[8]{{0}} parameter(0)
  %b = f32[2]{{0}} parameter(1)
  %begun = {started}, channel_id=1, replica_groups=[1,4]<=[4]
  ROOT %done = f32[8]{{0}} {started.split('(%')[0].split()[-1].replace('start', 'done')}(%begun)
}}
"""
    (found,) = collectives(Hlo(text), {'data': 4})
    assert (found.bytes, memory_traffic(Hlo(text))) == STARTED[started]
    assert found.overlapped


def test_a_loop_of_unknown_length_raises() -> None:
    with pytest.raises(NotImplementedError, match=r'while\.1'):
        memory_traffic(Hlo(TEXT.replace('direction=LT', 'direction=NE')))


def test_rearranging_traffic() -> None:
    """A copy counts, and a fusion that only converts, but not one that multiplies too."""
    text = """
%cast (s: f32[8]) -> bf16[8] {
  %s = f32[8]{0} parameter(0)
  ROOT %t = bf16[8]{0} convert(%s)
}

%scaled (u: f32[8]) -> bf16[8] {
  %u = f32[8]{0} parameter(0)
  %v = f32[8]{0} multiply(%u, %u)
  ROOT %w = bf16[8]{0} convert(%v)
}

ENTRY %main (a: f32[8]) -> bf16[8] {
  %a = f32[8]{0} parameter(0)
  %b = f32[8]{0} copy(%a)
  %c = bf16[8]{0} fusion(%b), kind=kLoop, calls=%cast
  ROOT %d = bf16[8]{0} fusion(%b), kind=kLoop, calls=%scaled
}
"""
    assert memory_traffic(Hlo(text)) == 64 + 48 + 48
    assert memory_traffic(Hlo(text), rearranging=True) == 64 + 48
