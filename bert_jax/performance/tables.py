"""Plans and measurements as tables and lines of text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bert_jax.config import Config
from bert_jax.config.console import readable_bytes
from bert_jax.parallel.chips import GIB
from bert_jax.performance.step_profile import DIRECTIONS

Row = Mapping[str, Any]
STYLE: dict[str, Any] = {'box': SIMPLE_HEAD, 'collapse_padding': True, 'pad_edge': False}
# Micro-batches with fewer tokens than this on each device do not keep the chips busy.
FEWEST_TOKENS = 1024
BOUNDS = {'interconnect': 'links', 'synchronous interconnect': 'waiting for links'}
Columns = Mapping[str, Callable[[Row], str]]


def table(rows: Sequence[Row], columns: Columns, title: str | None = None) -> Table:
    """A table with a line for each row. columns: header -> function that formats a row's cell.

    Columns without any value are left out, such as the MFU of a CPU.
    """
    cells = {header: [cell(row) for row in rows] for header, cell in columns.items()}
    shown = {header: column for header, column in cells.items() if any(column)}
    result = Table(title=title, **STYLE)
    for index, header in enumerate(shown):
        result.add_column(header, justify='right' if index else 'left')
    for line in zip(*shown.values(), strict=True):
        result.add_row(*line)
    return result


def number(key: str, form: str = '{}', scale: float = 1) -> Callable[[Row], str]:
    """A function for a column: the value of `key`, scaled and formatted; '' if a row has none."""

    def cell(row: Row) -> str:
        value = row.get(key)
        return '' if value is None else form.format(value if scale == 1 else scale * value)

    return cell


def _batch(result: Row) -> str:
    return f'{result["batch_size"]} x {result["max_seq_length"]}'


def _shape(plan: Row) -> str:
    """The shape of a batch of a plan: '4,096 x 128'."""
    length, batch_size = plan['phase'][1:3]
    return f'{batch_size:,} x {length}'


def _bound(row: Row) -> str:
    """Returns the name of what limits the speed of a step, or why the time is not known."""
    bound: str = row.get('bound') or row.get('error') or 'does not fit'
    return BOUNDS.get(bound, bound)


def _tera(flops: float | None) -> str:
    """A number of FLOPs in TFLOPs. A small number has two significant digits, and is not 0.00."""
    if flops is None:
        return ''
    return f'{flops / 1e12:,.2f}' if flops >= 1e11 else f'{flops / 1e12:.2g}'


# The columns that plans have in every table.
PLAN: Columns = {
    'GiB': number('used', '{:.1f}', 1 / GIB),
    'ms': number('step_seconds', '{:,.1f}', 1e3),
    'bound by': _bound,
    'tokens/s': number('tokens_per_second', '{:,.0f}'),
    'MFU': number('mfu', '{:.0%}'),
}
PHASES: Columns = {
    'steps': lambda plan: f'{plan["phase"][0]:,}',
    'batch': _shape,
    **PLAN,
    'hours': number('days', '{:,.1f}', 24),
}
SWEEP: Columns = {
    'preset': number('preset'),
    'remat': number('remat'),
    'per device': number('rows_per_device', '{:g}'),
    **PLAN,
}
BENCHMARK: Columns = {
    'batch': _batch,
    'ms a step': lambda row: f'{1e3 * row["seconds"]:.1f}' if row['fits'] else 'does not fit',
    '10 to 90 %': lambda row: ' to '.join(
        f'{1e3 * row[key]:.1f}' for key in ('seconds_p10', 'seconds_p90') if row['fits']
    ),
    'seq/s': number('sequences_per_second', '{:,.1f}'),
    'tokens/s': number('tokens_per_second', '{:,.0f}'),
    'TFLOP/s': lambda row: _tera(row.get('flops_per_second')),
    'MFU': number('mfu', '{:.1%}'),
    'GiB': number('peak_memory', '{:.2f}', 1 / GIB),
    'compiled': number('compile_seconds', '{:.0f} s'),
}


def benchmark_tables(results: list[dict[str, Any]]) -> Iterator[Table]:
    """The table of measurements, and one table for each profile."""
    yield table(results, BENCHMARK, f'{results[0]["devices"]} x {results[0]["device"]}')
    for result in results:
        if parts := result.get('parts'):
            step = 1e3 * result['seconds']
            rows = [
                {'part': name, 'share': sum(sides.values())} | sides
                for name, sides in parts.items()
            ]
            columns = {'part': number('part')}
            columns |= {f'ms {side}': number(side, '{:.1f}', step) for side in DIRECTIONS}
            columns |= {'share': number('share', '{:.1%}')}
            title = f'{step:.1f} ms a step of {_batch(result)}, as its operations share it'
            yield table(sorted(rows, key=lambda row: -row['share']), columns, title)


def sweep_table(plans: list[dict[str, Any]]) -> Table:
    """The fastest plan first; those that do not fit last."""
    return table(sorted(plans, key=lambda plan: -plan.get('tokens_per_second', 0)), SWEEP)


def summary(plans: list[dict[str, Any]], config: Config, price: float | None) -> list[str]:
    """Lines that say whether a run fits, how long it takes, and what it costs.

    plans: the plans of all phases. price: the price of one chip for one hour, in dollars.
    """
    too_large = [plan for plan in plans if not plan['fits']]
    if too_large:
        plan = max(too_large, key=lambda plan: plan['exceeds'])
        needs = f'{plan["used"] / GIB:.1f} of {plan["memory_limit"] / GIB:.1f} GiB'
        exceeds = f'{readable_bytes(plan["exceeds"])} too much'
        return [
            f'fits   NO: a step of {_shape(plan)} needs {needs} on each device, {exceeds}',
            f'try    {advice(plan, config)}',
        ]
    plan = max(plans, key=lambda plan: plan['used'])
    limit = f'{plan["memory_limit"] / GIB:.1f} GiB on each device'
    lines = [f'fits   yes: {plan["used"] / GIB:.1f} of {limit}, {plan["counted"]}']
    errors = [plan['error'] for plan in plans if 'error' in plan]
    if errors:
        return [*lines, f'time   {errors[0]}']
    first, *others = (f'{1e3 * plan["step_seconds"]:,.1f} ms' for plan in plans)
    named = zip([f'{first} a step', *others], plans, strict=True)
    steps = ', '.join(f'{time} ({_shape(plan)})' for time, plan in named)
    if config.kind != 'pretraining':
        return [*lines, f'time   {steps} at best; how many steps depends on the data']
    hours, chip_hours = (sum(plan[name] for plan in plans) for name in ('days', 'chip_hours'))
    cost = f'cost   {chip_hours:,.0f} chip-hours'
    if price is None:
        cost += '; --price=DOLLARS of a chip-hour gives the price'
    else:
        cost += f', ${chip_hours * price:,.0f} at ${price:,.2f} a chip-hour'
    return [*lines, f'time   {24 * hours:,.1f} hours at best: {steps}', cost]


def phases_table(plans: list[dict[str, Any]]) -> Table:
    """A line for each phase: its speed and its share of the run."""
    title = f'{plans[0]["slice"]}, {plans[0]["counted"]}, {_mesh(plans[0])}'
    return table(plans, PHASES, f'{title}, remat {plans[0]["remat"]}')


def _mesh(plan: Row) -> str:
    sizes = (f'{name} {size}' for name, size in plan['mesh'].items() if size > 1)
    return ' x '.join(sizes) or 'one device'


def details_table(plan: Row) -> Table:
    """A table of the compiler's figures for the step of one phase."""
    title = f'details of the step of {_shape(plan)}'
    result = Table(title=title, **STYLE, show_header=False)
    for line in _details(plan):
        result.add_row(*line)
    return result


def _details(plan: Row) -> Iterator[tuple[str, str]]:
    """(name, value) of each figure of a plan."""
    for name, size in plan['memory'].items():
        yield f'{name} on a device', readable_bytes(size)
    if not plan['fits'] or 'error' in plan:
        return
    yield 'model FLOPs per step', f'{plan["flops"]:.3e}'
    for name, size in plan['collectives'].items():
        yield f'{name}: a device sends', readable_bytes(size)
    yield 'to and from memory', readable_bytes(plan['memory_traffic'])
    yield 'of these, only copied or converted', readable_bytes(plan['rearranged'])
    for name, seconds in plan['seconds'].items():
        yield f'{name}: at best', f'{1e3 * seconds:.2f} ms a step'
    yield 'the longest, plus synchronous work', f'{1e3 * plan["step_seconds"]:.2f} ms a step'


def sweep_line(plan: Row) -> str:
    """One plan of a sweep."""
    name = f'{plan["preset"]}, remat {plan["remat"]}, {plan["rows_per_device"]:g} on a device'
    if 'tokens_per_second' in plan:
        return f'{name}: {plan["tokens_per_second"]:,.0f} tokens/s'
    if 'error' in plan:
        return f'{name}: {plan["error"]}'
    limit = plan['memory_limit'] / GIB
    return f'{name}: does not fit, {readable_bytes(plan["exceeds"])} over {limit:.2f} GiB'


def best_line(plans: list[dict[str, Any]], config: Config) -> str:
    """A line with the fastest plan of a sweep and its flags. If no plan fits, the line has the one
    that exceeds the memory least."""
    fitting = [plan for plan in plans if 'tokens_per_second' in plan]
    if fitting:
        plan = max(fitting, key=lambda plan: plan['tokens_per_second'])
        mesh = ' '.join(f'--config.mesh.{name}={size}' for name, size in plan['mesh'].items())
        flags = f'{mesh} --config.model.remat={plan["remat"]}'
        return f'best: {sweep_line(plan)}, {plan["phase"][2]:,} in all: {flags}'
    too_large = [plan for plan in plans if 'exceeds' in plan]
    if not too_large:
        return 'nothing fits'
    plan = min(too_large, key=lambda plan: plan['exceeds'])
    nearest = f'nothing fits; nearest is {sweep_line(plan)}'
    return f'{nearest}; what helps most: {advice(plan, config)}'


def advice(plan: Row, config: Config) -> str:
    """The change that helps most if a plan does not fit."""
    state = sum(plan['memory'].values())
    activations = max(plan['used'] - state, 0)
    copies = plan['devices'] // plan['mesh']['fsdp'] // plan['mesh']['tensor']
    if copies > 1 and state * (1 - 1 / copies) > activations / 2:
        return f'--config.mesh.data=1 --config.mesh.fsdp=-1 (splits {state / GIB:.1f} GiB of state)'
    what = f'{activations / GIB:.1f} GiB of activations'
    # Micro-batches compute nothing twice, but each device keeps a sum of gradients.
    free = plan['memory_limit'] - state - plan['memory']['parameters']
    accum, rows, length = config.train.accum_steps, plan['rows_per_device'], plan['phase'][1]
    steps = 2 * accum
    while rows % steps == 0 and rows / steps * length >= FEWEST_TOKENS:
        if activations * accum / steps <= free:
            return f'--config.train.accum_steps={steps} (splits {what}; the batch is the same)'
        steps *= 2
    if plan['remat'] != 'full':
        return f'--config.model.remat=full (recomputes most of {what})'
    if rows > accum:
        return f'--config.train.accum_steps={2 * accum} (splits {what}), or half the batch'
    return 'a slice of more chips, or a larger --config.mesh.tensor'
