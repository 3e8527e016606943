"""Where a step's time goes: what the profiler saw of it, by the parts of the model.

The compiler fuses, and a fused operation bears one name: an addition or a dropped element can be
counted with the matrix product or the norm beside it. Matrix products themselves are exact.
"""

import collections
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

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
    'GELU': r'layers/output/.*checkpoint|masked_lm_transform/\w+$',
    'softmax and the rest of attention': r'attention/',
    'dropout, where it is not fused': r'ropout',
    'embeddings': r'embeddings',
    'the loss': r'jvp\(\)|jvp\(jit',
    'additions, transposes, copies': r'HeadedEncoder',
}
OPTIMIZER = 'optimizer, with clipping'  # all that is not of the model
UNKNOWN = 'not named'
NAMED = re.compile(r'^\s*(?:ROOT )?%?([\w.-]+) = .*?op_name="([^"]*)"', re.MULTILINE)


def breakdown(run: Callable[[], Any], program: str) -> dict[str, dict[str, float]]:
    """The share of each part, forward and backward, in the time of the operations of `run`, which
    runs a compiled step whose text is `program`, to its end."""
    names = dict(NAMED.findall(program))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        (found,) = pathlib.Path(folder).rglob('*.xplane.pb')
        profile = jax.profiler.ProfileData.from_file(str(found))
    seconds: dict[tuple[str, str], float] = collections.defaultdict(float)
    for line in _lines(profile):
        for operation, duration in own(line):
            name = names.get(operation, '')
            direction = 'backward' if 'transpose(' in name else 'forward'
            seconds[part(name), direction] += duration
    total = sum(seconds.values())
    return {
        name: {side: seconds.get((name, side), 0) / total for side in ('forward', 'backward')}
        for name in (*PARTS, OPTIMIZER, UNKNOWN)
        if any(key[0] == name for key in seconds)
    }


def part(name: str) -> str:
    """Which part an operation with this name belongs to; '' has none."""
    if not name:
        return UNKNOWN
    return next((part for part, pattern in PARTS.items() if re.search(pattern, name)), OPTIMIZER)


def _lines(profile: Any) -> Iterable[Any]:
    """Those of the devices, where they have any; a CPU's are threads of the host."""
    devices = [plane for plane in profile.planes if plane.name.startswith('/device:')]
    for plane in devices or profile.planes:
        yield from plane.lines


def own(line: Any) -> Iterable[tuple[str, float]]:
    """Operations of a line and the time each takes without those that it calls."""
    open_: list[list[Any]] = []  # of [operation, end, what is its own]
    events = [(event, dict(event.stats).get('hlo_op')) for event in line.events]
    for event, operation in sorted(
        ((event, name) for event, name in events if name),
        key=lambda pair: (pair[0].start_ns, -pair[0].duration_ns),
    ):
        while open_ and open_[-1][1] <= event.start_ns:
            yield _closed(open_)
        if open_:
            open_[-1][2] -= event.duration_ns
        open_.append([operation, event.start_ns + event.duration_ns, event.duration_ns])
    while open_:
        yield _closed(open_)


def _closed(open_: list[list[Any]]) -> tuple[str, float]:
    operation, _, own = open_.pop()
    return operation, max(own, 0)


def rows(found: Mapping[str, Mapping[str, float]], step: float) -> list[tuple[str, ...]]:
    """Of a table: part, milliseconds forward, backward, and its share. step: seconds."""
    shares = {name: sum(sides.values()) for name, sides in found.items()}
    return [
        (
            name,
            f'{1e3 * step * found[name]["forward"]:.1f}',
            f'{1e3 * step * found[name]["backward"]:.1f}',
            f'{shares[name]:.1%}',
        )
        for name in sorted(shares, key=lambda name: -shares[name])
    ]
