"""The memory traffic of a compiled step: the bytes that a device reads and writes.

A fusion reads each of its operands once and writes its result once.
"""

from collections.abc import Mapping

from bert_jax.performance.hlo import Hlo, Instruction, array_bytes, arrays

# Opcodes without memory traffic of their own: names for existing buffers, and calls whose bodies
# are counted separately. The `-done` half of an asynchronous operation has none either.
NO_TRAFFIC = (
    *('parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'optimization-barrier'),
    *('while', 'call', 'after-all', 'partition-id', 'replica-id'),
    *('async-start', 'async-update'),
)
REARRANGING = {'copy', 'transpose', 'convert', 'reshape'}
SLICES = ('dynamic-slice', 'slice', 'gather')
ALIAS = 'output_to_operand_aliasing={{}: (0, {})}'  # the result is a view of operand 0


def memory_traffic(step: Hlo, rearranging: bool = False) -> float:
    """Bytes that go to and from a device's main memory (on TPU, without what stays in VMEM).

    rearranging: count only instructions that copy, transpose or convert arrays and do nothing else.
    Copies to VMEM and back are not among them.
    """
    return sum(
        times * _traffic(step, instruction, instructions)
        for computation, times in step.executed()
        for instructions in [step.computations[computation]]
        for instruction in instructions.values()
        if not rearranging or _rearranges(step, instruction)
    )


def _rearranges(step: Hlo, instruction: Instruction) -> bool:
    if instruction.opcode != 'fusion':
        return instruction.opcode in REARRANGING
    body = {i.opcode for i in step.computations[instruction.called('calls')].values()}
    return bool(body & REARRANGING) and body <= REARRANGING | {'parameter', 'bitcast', 'tuple'}


def _traffic(step: Hlo, instruction: Instruction, others: Mapping[str, Instruction]) -> float:
    """Bytes that one instruction reads and writes. others: its computation's instructions."""
    opcode, ends = instruction.opcode, instruction.opcode.endswith('-done')
    if opcode in NO_TRAFFIC or ends or '"AllocateBuffer"' in instruction.rest:
        return 0
    operands = [others[name] for name in instruction.operands if name in others]
    result = array_bytes(instruction.type)
    if opcode == 'fusion':
        return _fusion_traffic(step, instruction, operands)
    if opcode in SLICES:
        return 2 * result
    if opcode == 'dynamic-update-slice':
        return 2 * array_bytes(operands[1].type)
    if opcode == 'slice-start':
        source, part, *_ = arrays(instruction.type)
        return array_bytes(part) + (array_bytes(part, False) if array_bytes(source) else 0)
    if opcode.endswith('-start') and opcode != 'all-reduce-start':
        return result  # its type contains the operands too
    return result + sum(array_bytes(operand.type) for operand in operands)


def _fusion_traffic(step: Hlo, fusion: Instruction, operands: list[Instruction]) -> float:
    """Bytes that a fusion reads and writes. If only slices of an operand are read, only they count;
    if an operand is updated in place, only the update counts."""
    body = fusion.called('calls')
    sizes = enumerate(array_bytes(operand.type) for operand in operands)
    read = sum(_read(step, body, step.parameter(body, i), size) for i, size in sizes if size)
    return read + _written(step, body, step.root(body))


def _read(step: Hlo, computation: str, name: str, size: float) -> float:
    """Bytes of the array `name`, which has `size` bytes, that a fused computation reads."""
    total = 0.0
    for user in step.computations[computation].values():
        operands = user.operands
        if name not in operands:
            continue
        if user.opcode in SLICES and operands[0] == name:
            total += array_bytes(user.type, False)
        elif user.opcode == 'bitcast' or ALIAS in user.rest:
            total += _read(step, computation, user.name, size)
        elif user.opcode == 'fusion':
            called = user.called('calls')
            total += _read(step, called, step.parameter(called, operands.index(name)), size)
        elif user.opcode != 'dynamic-update-slice' or operands[0] != name:
            return size
    return min(total, size)


def _written(step: Hlo, computation: str, result: Instruction) -> float:
    """Bytes of `result` that a fused computation writes."""
    others = step.computations[computation]
    if result.opcode == 'tuple':
        return sum(_written(step, computation, others[name]) for name in result.operands)
    if not array_bytes(result.type):
        return 0
    if result.opcode == 'bitcast' or ALIAS in result.rest:
        return _written(step, computation, others[result.operands[0]])
    if result.opcode == 'fusion' and not result.type.startswith('('):
        called = result.called('calls')
        return _written(step, called, step.root(called))
    if result.opcode == 'dynamic-update-slice':
        return array_bytes(others[result.operands[1]].type, False)
    return array_bytes(result.type)
