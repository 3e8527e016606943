"""What one device does in a compiled step, read from its HLO text, with loops counted.

XLA's own cost analysis counts a loop's body once, so the text is walked from the entry down: a
`while` multiplies what is in its body by its trip count, and a fusion is one pass over memory.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bert_jax.performance.replica_groups import mesh_axes, numbers

BITS = {'pred': 8, 'bf16': 16, 'f16': 16, 'f32': 32, 'f64': 64} | {
    f'{kind}{bits}': bits for kind in 'su' for bits in (4, 8, 16, 32, 64)
}
COLLECTIVES = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')
# Give names to what is in memory already, or stand for a computation that is counted by itself; so
# does what ends what another one began, `-done`.
NO_TRAFFIC = (
    *('parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'optimization-barrier'),
    *('while', 'call', 'after-all', 'partition-id', 'replica-id'),
    *('async-start', 'async-update'),
)
REARRANGING = {'copy', 'transpose', 'convert', 'reshape'}
SLICES = ('dynamic-slice', 'slice', 'gather')
REDUCE_SCATTER = 'all-reduce-scatter'  # TPU's name for an all-reduce fused with a slice
ALIAS = 'output_to_operand_aliasing={{}: (0, {})}'  # another view of the same memory
ARRAY = re.compile(r'\b(pred|bf16|[fsu]\d+)\[([\d,]*)\](?:\{([^}]*)\})?')
INSTRUCTION = re.compile(r'^  (ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)$')
COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.-]+) \(.*\{$')


@dataclasses.dataclass(frozen=True)
class Instruction:
    name: str
    type: str
    opcode: str
    rest: str  # operands and attributes
    root: bool

    @property
    def operands(self) -> list[str]:
        return re.findall(r'%([\w.-]+)', self.rest.split(')')[0])

    def called(self, attribute: str) -> str:
        found = re.search(rf'\b{attribute}=%?([\w.-]+)', self.rest)
        return found[1] if found else ''


class Collective(NamedTuple):
    """One of a step's collectives: what each device sends, with `times` its loops' trips.

    overlapped: other work goes on from its start to its end, where there is some; during the others
    a device does nothing else."""

    kind: str
    axes: tuple[str, ...]  # of the mesh
    bytes: float  # sent by a device each time, by ring algorithms
    times: int
    overlapped: bool


class Hlo:
    """A compiled module's text by computation."""

    def __init__(self, text: str):
        self._computations: dict[str, list[Instruction]] = {}
        self._entry = ''
        for line in text.splitlines():
            if begins := COMPUTATION.match(line):
                current = self._computations.setdefault(begins[2], [])
                self._entry = begins[2] if begins[1] else self._entry
            elif found := INSTRUCTION.match(line):
                root, name, kind, opcode, rest = found.groups()
                current.append(Instruction(name, kind, opcode, rest, root is not None))
        assert self._entry, 'HLO text without an entry'

    def executed(self) -> Iterator[tuple[str, int]]:
        """(computation, how often it runs) of the entry and all that it comes to, but fusions."""
        waiting = [(self._entry, 1)]
        while waiting:
            name, times = waiting.pop()
            yield name, times
            for instruction in self._computations[name]:
                if instruction.opcode == 'while':
                    trips = self._trips(instruction)
                    waiting.append((instruction.called('body'), times * trips))
                elif instruction.opcode in ('call', 'async-start'):
                    called = instruction.called('to_apply') or instruction.called('calls')
                    waiting.append((called, times))
                elif instruction.opcode == 'conditional':
                    raise NotImplementedError(f'which branch {instruction.name} takes is not known')

    def _trips(self, loop: Instruction) -> int:
        if known := re.search(r'known_trip_count\D*(\d+)', loop.rest):
            return int(known[1])
        # From 0 to a constant, by ones.
        condition = {i.name: i for i in self._computations[loop.called('condition')]}
        (root,) = (i for i in condition.values() if i.root)
        limits = [condition[n] for n in root.operands if condition[n].opcode == 'constant']
        if root.opcode != 'compare' or 'direction=LT' not in root.rest or len(limits) != 1:
            raise NotImplementedError(f'how often the loop {loop.name} runs is not known')
        return int(limits[0].rest.split(')')[0])

    def collectives(self, mesh: Mapping[str, int]) -> list[Collective]:
        """mesh: the sizes of its axes, in order."""
        instructions = itertools.chain(*self._computations.values())
        started = {i.called('calls') for i in instructions if i.opcode == 'async-start'}
        found = []
        # Pieces of one collective are fused with other work, also in loops between start and end.
        seen: set[str] = set()
        for computation, times in self.executed():
            for fused, instruction in self._with_fused(computation):
                kind = instruction.opcode.removesuffix('-start')
                if kind not in COLLECTIVES:
                    continue
                channel = re.search(r'channel_id=(\d+)', instruction.rest)
                if channel and channel[1] in seen:
                    continue
                seen.add(channel[1] if channel else '')
                axes = mesh_axes(instruction.rest, mesh)
                count = math.prod(mesh[axis] for axis in axes)
                if count > 1:
                    size = _sent(kind, _result_bytes(instruction), count)
                    overlapped = fused != computation  # its start or a piece
                    if fused.startswith(REDUCE_SCATTER):
                        kind, size, overlapped = 'reduce-scatter', size / 2, False
                    overlapped |= instruction.opcode.endswith('-start') or computation in started
                    found.append(Collective(kind, axes, size, times, overlapped))
        return found

    def _with_fused(self, computation: str) -> Iterator[tuple[str, Instruction]]:
        """What is in a computation and its fusions, each with the computation it stands in."""
        for instruction in self._computations[computation]:
            yield computation, instruction
            if instruction.opcode == 'fusion':
                yield from self._with_fused(instruction.called('calls'))

    def memory_traffic(self, rearranging: bool = False) -> float:
        """Bytes that go to and from a device's main memory (on TPU, without what stays in VMEM).

        rearranging: of them, those of whole arrays that are copied, transposed or converted and
        nothing else, but for copies to VMEM and back."""
        return sum(
            times * self._traffic(instruction, names)
            for computation, times in self.executed()
            for names in [{i.name: i for i in self._computations[computation]}]
            for instruction in names.values()
            if not rearranging or self._rearranges(instruction)
        )

    def _rearranges(self, instruction: Instruction) -> bool:
        if instruction.opcode != 'fusion':
            return instruction.opcode in REARRANGING
        body = {i.opcode for i in self._computations[instruction.called('calls')]}
        return bool(body & REARRANGING) and body <= REARRANGING | {'parameter', 'bitcast', 'tuple'}

    def _traffic(self, instruction: Instruction, names: Mapping[str, Instruction]) -> float:
        opcode, ended = instruction.opcode, instruction.opcode.endswith('-done')
        if opcode in NO_TRAFFIC or ended or '"AllocateBuffer"' in instruction.rest:
            return 0
        operands = [names[name] for name in instruction.operands if name in names]
        if instruction.opcode == 'fusion':
            return self._fusion_traffic(instruction, operands)
        if instruction.opcode in SLICES:
            return 2 * array_bytes(instruction.type)
        if instruction.opcode == 'dynamic-update-slice':
            return 2 * array_bytes(operands[1].type)
        if opcode == 'slice-start':
            whole, part, *_ = _elements(instruction.type)
            return array_bytes(part) + (array_bytes(part, False) if array_bytes(whole) else 0)
        if opcode.endswith('-start') and opcode != 'all-reduce-start':
            return array_bytes(instruction.type)  # the operands' beside the results'
        return array_bytes(instruction.type) + sum(array_bytes(i.type) for i in operands)

    def _fusion_traffic(self, fusion: Instruction, operands: list[Instruction]) -> float:
        """What is only sliced counts by its slices; what is updated in place by the update."""
        body = fusion.called('calls')
        wholes = [array_bytes(operand.type) for operand in operands]
        read = sum(self._read(body, self._parameter(body, i), n) for i, n in enumerate(wholes) if n)
        (root,) = (i for i in self._computations[body] if i.root)
        return read + self._written(body, root)

    def _parameter(self, computation: str, index: int) -> str:
        (name,) = (
            i.name
            for i in self._computations[computation]
            if i.opcode == 'parameter' and int(i.rest.split(')')[0]) == index
        )
        return name

    def _read(self, computation: str, name: str, whole: float) -> float:
        """Bytes of `name`, which has `whole`, that a fused computation takes from memory."""
        total = 0.0
        for user in self._computations[computation]:
            operands = user.operands
            if name not in operands:
                continue
            if user.opcode in SLICES and operands[0] == name:
                total += array_bytes(user.type, False)
            elif user.opcode == 'bitcast' or ALIAS in user.rest:
                total += self._read(computation, user.name, whole)
            elif user.opcode == 'fusion':
                called = user.called('calls')
                inner = self._parameter(called, operands.index(name))
                total += self._read(called, inner, whole)
            elif user.opcode != 'dynamic-update-slice' or operands[0] != name:
                return whole
        return min(total, whole)

    def _written(self, computation: str, result: Instruction) -> float:
        names = {i.name: i for i in self._computations[computation]}
        if result.opcode == 'tuple':
            return sum(self._written(computation, names[name]) for name in result.operands)
        if not array_bytes(result.type):
            return 0
        if result.opcode == 'bitcast' or ALIAS in result.rest:
            return self._written(computation, names[result.operands[0]])
        if result.opcode == 'fusion' and not result.type.startswith('('):
            called = result.called('calls')
            (root,) = (i for i in self._computations[called] if i.root)
            return self._written(called, root)
        if result.opcode == 'dynamic-update-slice':
            return array_bytes(names[result.operands[1]].type, False)
        return array_bytes(result.type)


def array_bytes(kind: str, main_memory_only: bool = True, tiled: bool = True) -> float:
    """Bytes of an HLO type, of all arrays of a tuple, with what fills their tiles; those in other
    memory spaces (TPU's VMEM) are left out."""
    total = 0.0
    for element, shape, layout in ARRAY.findall(kind):
        if not main_memory_only or 'S(' not in layout:
            sizes = numbers(shape)
            whole = _tiled(sizes, layout) if tiled else sizes
            total += math.prod(whole) * BITS.get(element, 8) / 8
    return total


def _tiled(sizes: list[int], layout: str) -> list[int]:
    """A layout has dimensions from the innermost outwards, as `1,0:T(8,128)`, and the tile's from
    the outermost inwards."""
    order, _, rest = layout.partition(':')
    tile = re.match(r'T\(([\d,]+)\)', rest)
    units = reversed(numbers(tile[1])) if tile else ()
    for axis, unit in zip(numbers(order), units, strict=False):
        sizes[axis] = -(-sizes[axis] // unit) * unit
    return sizes


def _elements(kind: str) -> list[str]:
    """The types in a tuple's type."""
    depth, found = 0, ['']
    for character in kind[1:-1]:
        depth += (character in '([{') - (character in ')]}')
        if character == ',' and not depth:
            found.append('')
        else:
            found[-1] += character
    return found


def _result_bytes(collective: Instruction) -> float:
    """Of what it leaves on a device. What begins one has (operands, results, ...) for its type, but
    for an all-reduce the results alone."""
    opcode, kind = collective.opcode, collective.type
    if opcode.endswith('-start') and opcode != 'all-reduce-start':
        kind = _elements(kind)[1]
    return array_bytes(kind, main_memory_only=False, tiled=False)


def _sent(kind: str, result: float, count: int) -> float:
    """What a device sends, around a ring of `count`."""
    share = (count - 1) / count
    return {
        'all-reduce': 2 * share * result,
        'all-gather': share * result,
        'reduce-scatter': share * result * count,
        'all-to-all': share * result,
        'collective-permute': result,
    }[kind]
