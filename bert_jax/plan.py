"""What a TPU slice would do with a configuration: the run's own step, compiled for it here.

    python -m bert_jax.plan --config=configs/large.py --topology=v5e-256
    python -m bert_jax.plan --config=configs/large.py --topology=v5p:4x4x4 --sweep --output=p.json

Needs no TPU, only its compiler (`pip install '.[tpu]'`). Memory is what the compiler says. Seconds
are a roofline: what the chip's peak, memory and links would take at best, each on its own. The
longest counts, as if the others went on meanwhile; but for synchronous collectives, during which a
chip does nothing else: theirs are added. So real steps take longer than this bound.
"""

import collections
import dataclasses
import itertools
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

os.environ['JAX_PLATFORMS'] = 'cpu'  # before JAX looks for a TPU

import jax
import numpy as np
from absl import flags
from rich.console import Console

from bert_jax.config import Config, MeshConfig, Phase, choices, command_line, validate
from bert_jax.config.errors import first_line
from bert_jax.models.flops import attention_flops, encoder_flops
from bert_jax.parallel import chips, sharding
from bert_jax.parallel.chips import GIB
from bert_jax.parallel.mesh import PRESETS, make_mesh
from bert_jax.performance import plan_tables, topologies
from bert_jax.performance.hlo import Collective, Hlo
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training.train_step import build_step

TOPOLOGY = flags.DEFINE_string('topology', None, f'The slice: {topologies.EXAMPLES}.')
SWEEP = flags.DEFINE_boolean(
    'sweep', False, 'Look for the best sequences per device, remat policy and mesh preset.'
)
OUTPUT = flags.DEFINE_string('output', '', 'File for the plan as JSON.')

SYNCHRONOUS = 'synchronous interconnect'
SWEPT_REMAT = choices('model.remat')
SWEPT_ROWS = tuple(2**i for i in range(3, 11))  # sequences per device, of a micro-batch
FEWER_ROWS = (4, 2, 1)  # where the first of them don't fit


def for_tpu(config: Config) -> Config:
    """What 'auto' is on a TPU, and the vocabulary as the run would pad it."""
    train = dataclasses.replace(
        config.train,
        prng_impl='rbg' if config.train.prng_impl == 'auto' else config.train.prng_impl,
    )
    return dataclasses.replace(config.padded(), train=train)


def plan(config: Config, phase: Phase, of: topologies.Slice, devices: list) -> dict[str, Any]:
    """The step of one phase on the slice, as numbers (bytes per device, seconds per step).

    `fits` tells whether the compiler found room; where not, `exceeds` is how much is missing, and
    there are no seconds; nor where what it made can't be read, which `error` says. Raises
    ValueError where mesh, model and batch don't divide, and for what the compiler says beside.
    """
    config = for_tpu(config)
    mesh = make_mesh(config.mesh, devices)
    built = build_step(config, PretrainTask(config.model), mesh)
    state = built.abstract
    accum_steps = config.train.accum_steps
    batch = sharding.abstract_batch(built.task.batch_spec(phase), mesh, accum_steps)
    found: dict[str, Any] = {
        'slice': str(of),
        'counted': of.counted,
        'chips': of.chips,
        'devices': len(devices),
        'mesh': dict(mesh.shape),
        'remat': config.model.remat,
        'phase': list(phase),
        'rows_per_device': phase.batch_size / len(devices),
        'flops': built.task.flops(phase),
        'memory': {
            'parameters': _held(state.params),
            'optimizer': _held(state.opt_state),
            'batch': _held(batch),
        },
        'memory_limit': _chip(devices).memory,
    }
    try:
        compiled = built.lower(phase).compile()
    except jax.errors.JaxRuntimeError as error:
        return found | _too_large(str(error))
    memory = compiled.memory_analysis()
    held = sum(found['memory'].values())
    found['memory'] |= {
        'temporaries': memory.temp_size_in_bytes,
        'program and padding': memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.generated_code_size_in_bytes
        - held,
    }
    try:
        roofline = _roofline(config, phase, of, mesh, Hlo(compiled.as_text()))
    except NotImplementedError as error:
        return found | {'fits': True, 'error': f'how long it takes can not be told: {error}'}
    return found | {'fits': True} | roofline


def _chip(devices: Any) -> chips.Chip:
    chip = chips.chip(devices[0])
    if chip is None or not chip.bandwidth:
        raise ValueError(f'no figures are known for {devices[0].device_kind}')
    return chip


def _roofline(
    config: Config, phase: Phase, of: topologies.Slice, mesh: jax.sharding.Mesh, step: Hlo
) -> dict[str, Any]:
    chip, flops = _chip(mesh.devices.flat), PretrainTask(config.model).flops(phase)
    collectives, peak = step.collectives(dict(mesh.shape)), mesh.size * chip.flops
    traffic = step.memory_traffic()
    seconds = {
        'compute': _executed_flops(config, phase, flops) / peak,
        'memory': traffic / chip.bandwidth,
        'interconnect': sum(_seconds(c, mesh, of, chip.link) for c in collectives if c.overlapped),
    }
    waits = sum(_seconds(c, mesh, of, chip.link) for c in collectives if not c.overlapped)
    step_seconds = max(seconds.values()) + waits
    seconds[SYNCHRONOUS] = waits
    return {
        'collectives': _by_kind(collectives),
        'memory_traffic': traffic,
        'rearranged': step.memory_traffic(rearranging=True),
        'seconds': seconds,
        'bound': max(seconds, key=seconds.__getitem__),
        'step_seconds': step_seconds,
        'tokens_per_second': phase.batch_size * phase.max_seq_length / step_seconds,
        'mfu': flops / (step_seconds * peak),
        'days': phase.steps * step_seconds / 86400,
        'chip_hours': phase.steps * step_seconds * of.chips / 3600,
    }


def _held(tree: Any) -> int:
    """Bytes of a device's shards."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _executed_flops(config: Config, phase: Phase, flops: float) -> float:
    """With what the backward pass computes anew: queries times keys always; where only products
    with parameters are kept, also probabilities times values; where nothing is, the layers. As if
    what is asked for twice were computed once."""
    layers = encoder_flops(config.model, phase)
    product = attention_flops(config.model, phase) / 6
    again = {'none': product, 'dots': 2 * product, 'full': layers / 3}
    return flops + again[config.model.remat]


def _too_large(message: str) -> dict[str, Any]:
    """The compiler says what it wants and what there is, in one of two ways. Raises ValueError for
    anything else."""
    size = r'\(?([\d.]+[KMGT]?)\)?'
    said = re.search(rf'Used {size} of {size} hbm|{size} exceeds available HBM {size}', message)
    if said is None:
        raise ValueError(f'the compiler says: {message.strip().splitlines()[0]}')
    used, limit = (
        float(size.rstrip('KMGT')) * {'K': 2**10, 'M': 2**20, 'G': GIB, 'T': 2**40}.get(size[-1], 1)
        for size in filter(None, said.groups())
    )
    return {'fits': False, 'used': used, 'memory_limit': limit, 'exceeds': used - limit}


def _seconds(
    collective: Collective, mesh: jax.sharding.Mesh, of: topologies.Slice, link: float
) -> float:
    """Over the links of the torus that the group's devices span; both ways where they go all around
    a ring. Where others stand between them, these links are theirs too."""
    along = tuple(slice(None) if axis in collective.axes else 0 for axis in mesh.axis_names)
    places = np.array([device.coords for device in mesh.devices[along].flat])
    lanes = 0.0
    for size, wraps, found in zip(of.shape, of.wraps(), places.T, strict=False):
        if len(spanned := np.unique(found)) > 1:
            apart = int(np.diff(spanned).min())
            lanes += (1 + (wraps and len(spanned) * apart == size)) / apart
    return collective.bytes * collective.times / ((lanes or 1) * link)


def _by_kind(collectives: list[Collective]) -> dict[str, float]:
    """Bytes that a device sends in a step, by kind and axes, the most first."""
    found: dict[str, float] = collections.defaultdict(float)
    for kind, axes, size, times, overlapped in collectives:
        name = f'{kind} over {"+".join(axes)}'
        found[name if overlapped else f'synchronous {name}'] += size * times
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def sweep(config: Config, of: topologies.Slice, devices: list) -> Iterator[dict[str, Any]]:
    """Every mesh and remat policy, with 8 sequences per device, doubled for as long as it fits and
    2 % more tokens a second come of it, or halved until it fits; in the shape of the first phase.
    What can't be planned has an `error`."""
    for (name, mesh), remat in itertools.product(_meshes(config, devices).items(), SWEPT_REMAT):
        model, best = dataclasses.replace(config.model, remat=remat), 0.0
        tried = dataclasses.replace(config, model=model, mesh=mesh)
        for rows in SWEPT_ROWS:
            found = {'preset': name} | _tried(tried, rows, of, devices)
            yield found
            speed = found.get('tokens_per_second', 0.0)
            if not speed or speed < 1.02 * best:
                break
            best = speed
        for rows in FEWER_ROWS:
            if best or 'exceeds' not in found:
                break
            found = {'preset': name} | _tried(tried, rows, of, devices)
            yield found


def _meshes(config: Config, devices: list) -> dict[str, MeshConfig]:
    """The presets and the configuration's own, without what comes to the same on these devices."""
    found: dict[Any, tuple[str, MeshConfig]] = {}
    for name, mesh in {**PRESETS, 'config': config.mesh}.items():
        try:
            sizes: Any = tuple(make_mesh(mesh, devices).shape.values())
        except ValueError:
            sizes = mesh  # its row will say why
        found.setdefault(sizes, (name, mesh))
    return dict(found.values())


def _tried(config: Config, rows: int, of: topologies.Slice, devices: list) -> dict[str, Any]:
    """`plan` with so many sequences on a device, of each micro-batch."""
    rows *= config.train.accum_steps
    phase = config.train.phases[0]._replace(batch_size=rows * len(devices))
    train = dataclasses.replace(config.train, phases=(phase,))
    try:
        return plan(validate(dataclasses.replace(config, train=train)), phase, of, devices)
    except ValueError as error:
        error_line = first_line(error)
    tried = {'remat': config.model.remat, 'phase': list(phase), 'rows_per_device': rows}
    return tried | {'fits': False, 'error': error_line}


def main(argv: list[str]) -> int:
    config, _ = command_line.parse(argv)
    if config.data.task != 'pretrain':
        raise ValueError(f'config.data.task is {config.data.task!r}; plans are of pretraining')
    if not TOPOLOGY.value:
        raise ValueError(f'--topology is missing: {topologies.EXAMPLES}')
    command_line.check_output(OUTPUT.value)
    of = topologies.parse(TOPOLOGY.value)
    devices, console = topologies.devices(of), Console()
    plans = list[dict[str, Any]]()
    phases = (plan(config, phase, of, devices) for phase in config.train.phases)
    try:
        for found in sweep(config, of, devices) if SWEEP.value else phases:
            plans.append(found)
            command_line.write(plans, OUTPUT.value)
            if SWEEP.value:
                print(f'plan: {plan_tables.in_a_line(found)}', file=sys.stderr, flush=True)
            else:
                console.print(plan_tables.of_phase(found, config))
    finally:  # what there is, should it be interrupted
        if SWEEP.value and plans:
            console.print(plan_tables.of_sweep(plans))
            print(plan_tables.best(plans, config))
    if not SWEEP.value and all(found['fits'] and 'error' not in found for found in plans):
        print(plan_tables.of_run(plans))
    enough = any if SWEEP.value else all
    return 0 if enough(found['fits'] for found in plans) else 1


if __name__ == '__main__':
    sys.exit(command_line.run('plan', main, sys.argv))
