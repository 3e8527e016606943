"""TPU slices by name, as devices that a step can be compiled for without having them.

The compiler is in the `libtpu` package; it needs no TPU.
"""

import math
import os
import re
from typing import Any, NamedTuple

import jax

GENERATIONS = ('v4', 'v5e', 'v5p', 'v6e', 'tpu7x')
# What the number in a slice's name counts: two TensorCores a chip, or chips.
COUNTS_CORES = ('v4', 'v5p', 'tpu7x')
FLAT = ('v5e', 'v6e')  # two-dimensional; the others have three
ALIASES = {'v5litepod': 'v5e', 'v5lite': 'v5e', 'v6litepod': 'v6e', 'v7x': 'tpu7x', '7x': 'tpu7x'}
EXAMPLES = 'v5e-256, v5p-128, v4-32 or generation:shape as in v5e:16x16, v5p:4x4x4'


class Slice(NamedTuple):
    generation: str
    shape: tuple[int, ...]  # chips along each dimension

    @property
    def chips(self) -> int:
        return math.prod(self.shape)

    @property
    def counted(self) -> str:
        """'64 chips', with the cores where Cloud's names count those."""
        cores = f' ({2 * self.chips} cores)' if self.generation in COUNTS_CORES else ''
        return f'{self.chips} chips{cores}'

    def __str__(self) -> str:
        return f'{self.generation}:{"x".join(map(str, self.shape))}'

    def wraps(self) -> tuple[bool, ...]:
        """Of each dimension, whether its ends are linked to a ring. Of two: where it is as long as
        the pod's; of three: where optical switches link the faces of whole 4x4x4 cubes."""
        if self.generation in FLAT:
            return tuple(size % 16 == 0 for size in self.shape)
        return (all(size % 4 == 0 for size in self.shape),) * len(self.shape)


def parse(name: str) -> Slice:
    """'v5e-256' (chips), 'v5p-128' (cores, as Cloud counts them) or 'v5e:16x16' (chips along each
    dimension). Raises ValueError for anything else."""
    named = re.fullmatch(r'(\w+?)(?:-(\d+)|:(\d+(?:x\d+)*))', name)
    generation = ALIASES.get(named[1], named[1]) if named else ''
    if named is None or generation not in GENERATIONS:
        raise ValueError(
            f'--topology={name!r} is not known; expected {EXAMPLES}; '
            f'generations: {", ".join(GENERATIONS)}'
        )
    dimensions = 2 if generation in FLAT else 3
    if named[3]:
        shape = tuple(map(int, named[3].split('x')))
        if len(shape) != dimensions or 0 in shape:
            raise ValueError(
                f'--topology={name!r} has the shape {named[3]}; {generation} has {dimensions} '
                'dimensions of at least one chip'
            )
        return Slice(generation, shape)
    count = int(named[2])
    chips, odd = divmod(count, 2) if generation in COUNTS_CORES else (count, 0)
    if odd or chips < 1 or chips & (chips - 1):
        counted = 'cores, two a chip' if generation in COUNTS_CORES else 'chips'
        raise ValueError(
            f'--topology={name!r} counts {count} {counted}; the shape is known for powers of two, '
            f'else give it: {generation}:{"x".join("4" * dimensions)}'
        )
    return Slice(generation, _squarest(chips, dimensions))


def _squarest(chips: int, dimensions: int) -> tuple[int, ...]:
    """The shape that Cloud gives a power of two: sides as equal as they can be, the longest last;
    of three dimensions, up to four chips lie in a plane."""
    exponent = chips.bit_length() - 1
    if dimensions == 3 and exponent <= 2:
        return (*_squarest(chips, 2), 1)
    sides = [1 << (exponent + i) // dimensions for i in range(dimensions)]
    return tuple(sides)


def devices(of: Slice, slices: int = 1) -> list[jax.Device]:
    """Of one such slice or of several. Raises ValueError where libtpu is not installed or knows no
    such slice."""
    os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')  # nor ask the network for one
    os.environ.setdefault('TPU_WORKER_HOSTNAMES', 'localhost')
    os.environ.setdefault('TPU_ACCELERATOR_TYPE', 'v5litepod-16')  # any will do
    os.environ.setdefault('TPU_LOG_DIR', 'disabled')
    os.environ.setdefault('TPU_STDERR_LOG_LEVEL', '3')
    os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')
    try:
        import libtpu  # noqa: F401
        from jax.experimental import topologies
    except ImportError as error:
        raise ValueError(
            "plans need the TPU's compiler: pip install '.[tpu]' (Linux on x86-64)"
        ) from error
    options: dict[str, Any] = {'num_slices': slices} if slices > 1 else {}
    if of.generation == 'v4':
        options['chip_config_name'] = 'megacore'  # its cores work as one device, as in runs
    if of.chips == 1:
        options['chips_per_host_bounds'] = (1, 1, 1)  # else those of a host of four
    try:
        described = topologies.get_topology_desc(str(of), 'tpu', **options)
    except Exception as error:  # of many types
        said = str(error).strip().split('\n')[0]
        raise ValueError(f'the compiler has no {of} ({of.chips} chips): {said}') from error
    return list(described.devices)
