"""The time of each part of a step: the profiler's times of its operations, by category.

The compiler fuses operations, and a fusion has one name. So a bias or dropout may be counted with
the matrix product beside it, or the product with them. The shares are shares of the total time of
all operations, over all threads, streams and devices. Time in which a device waits for the host is
not included.
"""

import collections
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax

from bert_jax.performance.collectives import COLLECTIVES

# Patterns of the names that JAX gives operations: the path of modules, then the operation. The
# first pattern that matches decides. They do not use the facts of parameters, because most
# operations have no parameter. A test compiles a step and finds an operation for each pattern.
OP_CATEGORIES = {
    'random bits': r'threefry|random_bits|rng_bit|iota_2x32|(ropout\w*|attention)/while|/xor$',
    'products: vocabulary': r'attend/.*dot_general',
    'products: query, key, value, output': (
        r'attention/(\w*query\w*|key_value|relative|output)/.*dot_general'
    ),
    'products: scores and values': r'attention/.*dot_general',
    'products: MLP': r'(layers|feed_forward)/(intermediate|output)/.*dot_general',
    'products: others': r'HeadedEncoder.*dot_general',
    'layer norm': r'norm/',
    'activations': (
        r'(layers|feed_forward)/output/.*checkpoint|feed_forward/(checkpoint/.*|\w+$)'
        r'|masked_lm_transform/(.*checkpoint/.*|\w+$)'
    ),
    'softmax and the rest of attention': r'attention/',
    'dropout, where it is not fused': r'ropout',
    'the rest of the vocabulary': r'attend',
    'embeddings': r'embeddings',
    'the loss': r'jvp\(\)|jvp\(jit',
    'additions, transposes, copies': r'HeadedEncoder',
}
BETWEEN_DEVICES = 'between devices'
OPTIMIZER = 'optimizer, accumulation, casts'  # all operations outside of the model
UNKNOWN = 'not named'
DIRECTIONS = ('forward', 'backward', 'neither')
NAMED = re.compile(r'^\s*(?:ROOT )?%?([\w.-]+) = .*?op_name="([^"]*)"', re.MULTILINE)


def breakdown(run: Callable[[], Any], program: str) -> dict[str, dict[str, float]]:
    """The share of each category and direction in the time of the operations of `run`.

    run: executes a compiled step and waits for its end. program: the HLO text of the step. Raises
    ValueError if the profiler recorded no operation of the step.
    """
    names = dict(NAMED.findall(program))
    seconds: dict[tuple[str, str], float] = collections.defaultdict(float)
    for line in _traced_lines(run):
        for operation, duration in self_times(line).items():
            name = names.get(operation, '')
            seconds[category(operation, name), _direction(name)] += max(duration, 0)
    total = sum(seconds.values())
    if not total:
        raise ValueError('the profiler recorded no operation of the step; remove --profile')
    seen = {key for key, _ in seconds}
    return {
        key: {direction: seconds.get((key, direction), 0) / total for direction in DIRECTIONS}
        for key in (*OP_CATEGORIES, BETWEEN_DEVICES, OPTIMIZER, UNKNOWN)
        if key in seen
    }


def category(operation: str, name: str) -> str:
    """The category of an operation of the compiled program. name: JAX's name for it, or ''."""
    if operation.startswith(COLLECTIVES):
        return BETWEEN_DEVICES
    if not name:
        return UNKNOWN
    matches = (key for key, pattern in OP_CATEGORIES.items() if re.search(pattern, name))
    return next(matches, OPTIMIZER)


def _direction(name: str) -> str:
    if 'transpose(' in name:
        return 'backward'
    return 'forward' if 'jvp(' in name else 'neither'


def _traced_lines(run: Callable[[], Any]) -> Iterator[Any]:
    """The lines of the trace that may hold operations. On a CPU they are the host's threads."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        files = list(pathlib.Path(folder).rglob('*.xplane.pb'))
        planes = [p for f in files for p in jax.profiler.ProfileData.from_file(str(f)).planes]
    devices = [plane for plane in planes if plane.name.startswith('/device:')]
    lines = [line for plane in devices or planes for line in plane.lines]
    # A TPU repeats its operations in other lines.
    yield from [line for line in lines if line.name == 'XLA Ops'] or lines


def self_times(line: Any) -> dict[str, float]:
    """The time of each operation of a line, without the operations that it calls."""
    times: dict[str, float] = collections.defaultdict(float)
    running: list[tuple[str, float]] = []  # operation, end
    events = [(event, operation) for event in line.events if (operation := _operation(event))]
    # An operation comes before those that it calls.
    for event, operation in sorted(events, key=lambda e: (e[0].start_ns, -e[0].duration_ns)):
        while running and running[-1][1] <= event.start_ns:
            running.pop()
        if running:
            times[running[-1][0]] -= event.duration_ns
        times[operation] += event.duration_ns
        running.append((operation, event.start_ns + event.duration_ns))
    return times


def _operation(event: Any) -> str:
    """The name of an event's operation in the program; '' if the event is not an operation.

    On CPUs and GPUs it is a statistic of the event. On a TPU the event's name is the whole line of
    the program.
    """
    name = dict(event.stats).get('hlo_op')
    if name is None and (match := re.match(r'%([\w.-]+) = ', event.name)):
        name = match[1]
    return name or ''
