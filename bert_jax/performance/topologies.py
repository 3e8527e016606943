"""TPU slices by name, and abstract devices of a slice, for which a step can be compiled.

The compiler is in the `libtpu` package and needs no TPU.
"""

import math
import re
import signal
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from bert_jax.config import environment
from bert_jax.config.errors import first_line

if TYPE_CHECKING:
    import jax  # for types; `devices` imports it when it is needed, because that takes seconds

GENERATIONS = ('v4', 'v5e', 'v5p', 'v6e', 'tpu7x')
# The number in a name counts TensorCores, two per chip, for these, and chips for the others.
NAMED_BY_CORES = ('v4', 'v5p', 'tpu7x')
FLAT = ('v5e', 'v6e')  # two-dimensional; the others have three dimensions
FLAT_SIDE = 16  # chips along each dimension of a whole pod of these
ALIASES = {'v5litepod': 'v5e', 'v5lite': 'v5e', 'v6litepod': 'v6e', 'v7x': 'tpu7x', '7x': 'tpu7x'}
EXAMPLES = 'v5e-256, v5p-128, v4-32 or generation:shape as in v5e:16x16, v5p:4x4x4'


class TpuSlice(NamedTuple):
    """A part of a TPU pod. shape: the chips along each dimension of its torus."""

    generation: str
    shape: tuple[int, ...]

    @property
    def chips(self) -> int:
        return math.prod(self.shape)

    @property
    def counted(self) -> str:
        """'64 chips', with the number of cores if the names of such slices count cores."""
        cores = f' ({2 * self.chips} cores)' if self.generation in NAMED_BY_CORES else ''
        return f'{self.chips} chips{cores}'

    def __str__(self) -> str:
        return f'{self.generation}:{"x".join(map(str, self.shape))}'

    def wraps(self) -> tuple[bool, ...]:
        """For each dimension, whether a link connects its two ends, so that it is a ring.

        For a two-dimensional slice this is so if the dimension is as long as that of a whole pod.
        In three dimensions, optical switches link opposite faces of slices that consist of whole
        4x4x4 cubes.
        """
        if self.generation in FLAT:
            return tuple(size % FLAT_SIDE == 0 for size in self.shape)
        return (all(size % 4 == 0 for size in self.shape),) * len(self.shape)


def parse(name: str) -> TpuSlice:
    """The slice called 'v5e-256' (chips), 'v5p-128' (cores) or 'v5e:16x16' (chips per dimension).

    Raises ValueError for any other name.
    """
    match = re.fullmatch(r'(\w+?)(?:-(\d+)|:(\d+(?:x\d+)*))', name)
    generation = ALIASES.get(match[1], match[1]) if match else ''
    if match is None or generation not in GENERATIONS:
        raise ValueError(
            f'--topology={name!r} is not known; expected {EXAMPLES}; '
            f'generations: {", ".join(GENERATIONS)}'
        )
    dimensions = 2 if generation in FLAT else 3
    shape = tuple(map(int, match[3].split('x'))) if match[3] else ()
    if match[3] and (len(shape) != dimensions or 0 in shape):
        raise ValueError(
            f'--topology={name!r} has the shape {match[3]}; {generation} has {dimensions} '
            'dimensions of at least one chip'
        )
    if match[2]:
        count = int(match[2])
        chips, odd = divmod(count, 2) if generation in NAMED_BY_CORES else (count, 0)
        if odd or chips < 1 or chips & (chips - 1):
            counted = 'cores, two per chip' if generation in NAMED_BY_CORES else 'chips'
            smaller = max(1 << max(count, 1).bit_length() - 1, 8 if dimensions == 3 else 1)
            raise ValueError(
                f'--topology={name!r} counts {count} {counted}; the numbers in names are powers of '
                f'two, as in {generation}-{smaller}; for other slices give the shape in chips, as '
                f'in {generation}:{"x".join("4" * dimensions)}'
            )
        shape = _squarest(chips, dimensions)
    if generation in FLAT and max(shape) > FLAT_SIDE:  # libtpu would abort the process
        raise ValueError(
            f'--topology={name!r} has the shape {"x".join(map(str, shape))}; a whole {generation} '
            f'pod has {FLAT_SIDE}x{FLAT_SIDE} chips'
        )
    return TpuSlice(generation, shape)


def _squarest(chips: int, dimensions: int) -> tuple[int, ...]:
    """The shape of a Cloud slice whose number of chips is a power of two.

    Its sides are as equal as possible, with the longest last. In three dimensions, up to four chips
    lie in a plane.
    """
    exponent = chips.bit_length() - 1
    if dimensions == 3 and exponent <= 2:
        return (*_squarest(chips, 2), 1)
    return tuple(1 << (exponent + i) // dimensions for i in range(dimensions))


def devices(tpu_slice: TpuSlice) -> 'list[jax.Device]':
    """The devices of a slice.

    Raises ValueError if libtpu is not installed or does not know the slice.
    """
    environment.set_defaults(environment.WITHOUT_TPU)
    try:
        import libtpu  # noqa: F401
        from jax.experimental import topologies
    except ImportError as error:
        raise ValueError(
            "plans need the TPU's compiler: pip install '.[tpu]' (Linux on x86-64)"
        ) from error
    on_sigterm = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {}
    if tpu_slice.generation == 'v4':
        options['chip_config_name'] = 'megacore'  # one device per chip, as in runs
    if tpu_slice.chips == 1:
        options['chips_per_host_bounds'] = (1, 1, 1)  # the default host has four chips
    try:
        description = topologies.get_topology_desc(str(tpu_slice), 'tpu', **options)
    except Exception as error:  # of many types
        raise ValueError(
            f'the compiler has no {tpu_slice} ({tpu_slice.chips} chips): {first_line(error)}'
        ) from error
    if threading.current_thread() is threading.main_thread() and on_sigterm is not None:
        signal.signal(signal.SIGTERM, on_sigterm)  # libtpu's own handler prints a stack trace
    return list(description.devices)
