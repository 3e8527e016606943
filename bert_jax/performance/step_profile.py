"""Where a step's time goes: what the profiler saw of its operations, by the parts of the model.

The compiler fuses, and what is fused bears one name: a bias or a dropped element may be counted
with the matrix product beside it, or the other way round. Shares are of the time of operations,
over all threads, streams and devices; a device that waits for the host has none.
"""

import collections
import dataclasses
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax

from bert_jax.performance.hlo import COLLECTIVES

# By the name JAX gives an operation: where in the model it was called, and last its own. The first
# that is found counts.
PARTS = {
    'random bits': r'threefry|random_bits|rng_bit|iota_2x32|(ropout\w*|attention)/while|/xor$',
    'products: vocabulary': r'(_decode|attend)/.*dot_general',
    'products: query, key, value, output': r'attention/(query_key_value|output)/.*dot_general',
    'products: scores and values': r'attention/.*dot_general',
    'products: MLP': r'layers/(intermediate|output)/.*dot_general',
    'products: others': r'HeadedEncoder.*dot_general',
    'layer norm': r'norm/',
    'activations': r'layers/output/.*checkpoint|masked_lm_transform/(.*checkpoint/.*|\w+$)',
    'softmax and the rest of attention': r'attention/',
    'dropout, where it is not fused': r'ropout',
    'the rest of the vocabulary': r'_decode|attend',
    'embeddings': r'embeddings',
    'the loss': r'jvp\(\)|jvp\(jit',
    'additions, transposes, copies': r'HeadedEncoder',
}
BETWEEN_DEVICES = 'between devices'
OPTIMIZER = 'optimizer, accumulation, casts'  # all that is not of the model
UNKNOWN = 'not named'
SIDES = ('forward', 'backward', 'neither')
NAMED = re.compile(r'^\s*(?:ROOT )?%?([\w.-]+) = .*?op_name="([^"]*)"', re.MULTILINE)


def breakdown(run: Callable[[], Any], program: str) -> dict[str, dict[str, float]]:
    """The share of each part, for each of SIDES, in the time of the operations of `run`, which runs
    a compiled step whose text is `program`, to its end. Raises ValueError where the profiler saw
    none of them."""
    names = dict(NAMED.findall(program))
    seconds: dict[tuple[str, str], float] = collections.defaultdict(float)
    for line in _traced(run):
        for operation, duration in self_times(line):
            name = names.get(operation, '')
            seconds[part(operation, name), _side(name)] += duration
    total = sum(seconds.values())
    if not total:
        raise ValueError('the profiler saw no operation of the step on this device; drop --profile')
    return {
        found: {side: seconds.get((found, side), 0) / total for side in SIDES}
        for found in (*PARTS, BETWEEN_DEVICES, OPTIMIZER, UNKNOWN)
        if any(key[0] == found for key in seconds)
    }


def part(operation: str, name: str) -> str:
    """Which part an operation of the compiled program belongs to. name: JAX's, '' where it has
    none."""
    if operation.startswith(tuple(COLLECTIVES)):
        return BETWEEN_DEVICES
    if not name:
        return UNKNOWN
    return next((key for key, pattern in PARTS.items() if re.search(pattern, name)), OPTIMIZER)


def _side(name: str) -> str:
    if 'transpose(' in name:
        return 'backward'
    return 'forward' if 'jvp(' in name else 'neither'


def _traced(run: Callable[[], Any]) -> Iterator[Any]:
    """The lines of what was traced that have operations. A CPU's are threads of the host."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        files = list(pathlib.Path(folder).rglob('*.xplane.pb'))
        planes = [p for f in files for p in jax.profiler.ProfileData.from_file(str(f)).planes]
    devices = [plane for plane in planes if plane.name.startswith('/device:')]
    lines = [line for plane in devices or planes for line in plane.lines]
    once = [line for line in lines if line.name == 'XLA Ops']  # a TPU has them in other lines too
    yield from once or lines


@dataclasses.dataclass
class _Open:
    operation: str
    end: float
    own: float


def self_times(line: Any) -> Iterable[tuple[str, float]]:
    """Operations of a line and the time each takes without those that it calls."""
    running: list[_Open] = []
    events = ((event, _operation(event)) for event in line.events)
    for event, operation in sorted(
        ((event, operation) for event, operation in events if operation),
        key=lambda pair: (pair[0].start_ns, -pair[0].duration_ns),
    ):
        while running and running[-1].end <= event.start_ns:
            yield _closed(running)
        if running:
            running[-1].own -= event.duration_ns
        end = event.start_ns + event.duration_ns
        running.append(_Open(operation, end, event.duration_ns))
    while running:
        yield _closed(running)


def _operation(event: Any) -> str:
    """CPUs and GPUs say it beside; a TPU's events are named by the program's lines."""
    said = dict(event.stats).get('hlo_op')
    if said is None and (found := re.match(r'%([\w.-]+) = ', event.name)):
        said = found[1]
    return said or ''


def _closed(running: list[_Open]) -> tuple[str, float]:
    done = running.pop()
    return done.operation, max(done.own, 0)


def rows(found: Mapping[str, Mapping[str, float]], step: float) -> list[tuple[str, ...]]:
    """Of a table: the part, milliseconds for each of SIDES, its share. step: seconds."""
    shares = {name: sum(sides.values()) for name, sides in found.items()}
    return [
        (
            name,
            *(f'{1e3 * step * found[name][side]:.1f}' for side in SIDES),
            f'{shares[name]:.1%}',
        )
        for name in sorted(shares, key=lambda name: -shares[name])
    ]
