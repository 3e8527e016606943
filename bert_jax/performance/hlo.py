"""The HLO text of a compiled program, parsed: its instructions, and how often each one runs.

XLA's own cost analysis counts the body of a loop once. `Hlo.executed` walks from the entry
computation downwards instead, and multiplies the body of a loop by the loop's trip count.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

BITS = {'pred': 8, 'bf16': 16, 'f16': 16, 'f32': 32, 'f64': 64} | {
    f'{kind}{bits}': bits for kind in 'su' for bits in (4, 8, 16, 32, 64)
}
ARRAY = re.compile(r'\b(pred|bf16|[fsu]\d+)\[([\d,]*)\](?:\{([^}]*)\})?')
INSTRUCTION = re.compile(r'^  (ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)$')
COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.-]+) \(.*\{$')


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation. rest: the operands and the attributes, as text."""

    name: str
    type: str
    opcode: str
    rest: str
    root: bool

    @property
    def operands(self) -> list[str]:
        return re.findall(r'%([\w.-]+)', self.rest.split(')')[0])

    def called(self, attribute: str) -> str:
        """The name of the computation in an attribute; '' if there is no such attribute."""
        match = re.search(rf'\b{attribute}=%?([\w.-]+)', self.rest)
        return match[1] if match else ''


class Hlo:
    """The computations of a compiled program, by name. Raises ValueError if there is no entry."""

    def __init__(self, text: str):
        self.computations: dict[str, dict[str, Instruction]] = {}
        self._entry = ''
        for line in text.splitlines():
            if header := COMPUTATION.match(line):
                instructions = self.computations.setdefault(header[2], {})
                self._entry = header[2] if header[1] else self._entry
            elif match := INSTRUCTION.match(line):
                root, name, kind, opcode, rest = match.groups()
                instructions[name] = Instruction(name, kind, opcode, rest, root is not None)
        if not self._entry:
            raise ValueError('the HLO text has no entry computation')

    def root(self, computation: str) -> Instruction:
        """The instruction whose value a computation returns."""
        (root,) = (i for i in self.computations[computation].values() if i.root)
        return root

    def parameter(self, computation: str, index: int) -> str:
        """The name of the parameter number `index`."""
        (name,) = (
            i.name
            for i in self.computations[computation].values()
            if i.opcode == 'parameter' and int(i.rest.split(')')[0]) == index
        )
        return name

    def executed(self) -> Iterator[tuple[str, int]]:
        """Yields (computation, how often it runs) for all computations that run, except fused ones.

        Raises NotImplementedError for a conditional, and for a loop of unknown length.
        """
        waiting = [(self._entry, 1)]
        while waiting:
            name, times = waiting.pop()
            yield name, times
            for instruction in self.computations[name].values():
                if instruction.opcode == 'while':
                    trips = self._trip_count(instruction)
                    waiting.append((instruction.called('body'), times * trips))
                elif instruction.opcode in ('call', 'async-start'):
                    called = instruction.called('to_apply') or instruction.called('calls')
                    waiting.append((called, times))
                elif instruction.opcode == 'conditional':
                    raise NotImplementedError(f'which branch {instruction.name} takes is not known')

    def _trip_count(self, loop: Instruction) -> int:
        # Only loops that count from 0 to a constant are understood. The TPU's compiler makes no
        # others.
        condition, root = loop.called('condition'), self.root(loop.called('condition'))
        operands = [self.computations[condition][name] for name in root.operands]
        limits = [operand for operand in operands if operand.opcode == 'constant']
        if root.opcode != 'compare' or 'direction=LT' not in root.rest or len(limits) != 1:
            raise NotImplementedError(f'how often the loop {loop.name} runs is not known')
        return int(limits[0].rest.split(')')[0])


def array_bytes(kind: str, main_memory_only: bool = True, tiled: bool = True) -> float:
    """Bytes of an HLO type, over all arrays of a tuple.

    main_memory_only: leave out arrays in other memory spaces (TPU's VMEM). tiled: count the padding
    of the tiles too.
    """
    total = 0.0
    for element, shape, layout in ARRAY.findall(kind):
        if not main_memory_only or 'S(' not in layout:
            sizes = _padded(integers(shape), layout) if tiled else integers(shape)
            total += math.prod(sizes) * BITS.get(element, 8) / 8
    return total


def _padded(sizes: list[int], layout: str) -> list[int]:
    """The sizes of an array, rounded up to whole tiles.

    In a layout such as `1,0:T(8,128)` the dimensions are listed from the innermost outwards, and
    those of the tile from the outermost inwards.
    """
    order, _, rest = layout.partition(':')
    tile = re.match(r'T\(([\d,]+)\)', rest)
    units = reversed(integers(tile[1])) if tile else ()
    for axis, unit in zip(integers(order), units, strict=False):
        sizes[axis] = -(-sizes[axis] // unit) * unit
    return sizes


def arrays(kind: str) -> list[str]:
    """The types of all arrays in a tuple's type, also in the tuples inside of it."""
    return [match[0] for match in ARRAY.finditer(kind)]


def integers(text: str) -> list[int]:
    """All numbers in a piece of HLO, in order: [8, 128] for '8,128'."""
    return [int(number) for number in re.findall(r'\d+', text)]
