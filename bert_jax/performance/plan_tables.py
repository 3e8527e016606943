"""Plans as tables for people."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from bert_jax.config import Config
from bert_jax.parallel.chips import GIB


def advice(found: Mapping[str, Any], config: Config) -> str:
    """Where a plan doesn't fit: the change that helps most."""
    state = sum(found['memory'].values())
    activations = max(found['used'] - state, 0)
    copies = found['devices'] // found['mesh']['fsdp'] // found['mesh']['tensor']
    if copies > 1 and state * (1 - 1 / copies) > activations / 2:
        return f'--config.mesh.data=1 --config.mesh.fsdp=-1 (splits {state / GIB:.1f} GiB of state)'
    if found['remat'] != 'full':
        return f'--config.model.remat=full (of {activations / GIB:.1f} GiB of activations)'
    if found['rows_per_device'] > config.train.accum_steps:
        return f'half the batch, or --config.train.accum_steps={2 * config.train.accum_steps}'
    return 'a slice of more chips, or a larger --config.mesh.tensor'


def of_phase(found: Mapping[str, Any], config: Config) -> Table:
    steps, length, batch_size, _ = found['phase']
    mesh = ' x '.join(f'{name} {size}' for name, size in found['mesh'].items() if size > 1)
    table = Table(
        title=f'{steps:,} steps of {batch_size:,} x {length} on {found["slice"]}, '
        f'{found["counted"]}, {mesh or "one device"}, remat {found["remat"]}',
        show_header=False,
    )
    for name, size in found['memory'].items():
        table.add_row(f'{name} on a device', in_units(size))
    limit = found['memory_limit'] / GIB
    if not found['fits']:
        needs = f'{in_units(found["used"])} of {limit:.2f} GiB'
        table.add_row('fits', f'NO: needs {needs}, {in_units(found["exceeds"])} too much')
        table.add_row('what helps most', advice(found, config))
        return table
    total = sum(found['memory'].values()) / GIB
    table.add_row('fits', f'yes: {total:.2f} of {limit:.0f} GiB per device')
    table.add_row('model FLOPs per step', f'{found["flops"]:.3e}')
    if 'error' in found:
        table.add_row('no seconds', found['error'])
        return table
    for name, size in found['collectives'].items():
        table.add_row(f'{name}: a device sends', in_units(size))
    table.add_row('to and from memory', in_units(found['memory_traffic']))
    table.add_row('of it only copied or converted', in_units(found['rearranged']))
    for name, seconds in found['seconds'].items():
        table.add_row(f'{name}: at best', f'{1e3 * seconds:.2f} ms a step')
    step = f'{1e3 * found["step_seconds"]:.2f} ms a step, the longest and what is synchronous'
    table.add_row('bound', f'{step}: {found["tokens_per_second"]:,.0f} tokens/s')
    table.add_row('most of it', found['bound'])
    table.add_row('MFU at that bound', f'{found["mfu"]:.1%}')
    table.add_row('the phase', f'{found["days"]:.2f} days, {found["chip_hours"]:,.0f} chip-hours')
    return table


def of_run(plans: list[dict[str, Any]]) -> str:
    """Of all phases, whose seconds are known."""
    days, hours = (sum(found[name] for found in plans) for name in ('days', 'chip_hours'))
    return f'the run: {days:.2f} days, {hours:,.0f} chip-hours at best'


def in_units(size: float) -> str:
    """Bytes, readable: '1.25 GiB'."""
    for unit in ('B', 'KiB', 'MiB'):
        if size < 1024:
            return f'{size:.4g} {unit}'
        size /= 1024
    return f'{size:.4g} GiB'


def in_a_line(found: Mapping[str, Any]) -> str:
    """One of a sweep."""
    what = f'{found["preset"]}, remat {found["remat"]}, {found["rows_per_device"]:g} on a device'
    if 'tokens_per_second' in found:
        return f'{what}: {found["tokens_per_second"]:,.0f} tokens/s'
    return f'{what}: {found["error"] if "error" in found else _missing(found)}'


def best(plans: list[dict[str, Any]], config: Config) -> str:
    """Of a sweep: the fastest that fits and how to have it, or what is nearest to fitting."""
    fitting = [found for found in plans if 'tokens_per_second' in found]
    if fitting:
        found = max(fitting, key=lambda one: one['tokens_per_second'])
        mesh = ' '.join(f'--config.mesh.{name}={size}' for name, size in found['mesh'].items())
        flags = f'{mesh} --config.model.remat={found["remat"]}'
        return f'best: {in_a_line(found)}, {found["phase"][2]:,} in all: {flags}'
    missing = [found for found in plans if 'exceeds' in found]
    if not missing:
        return 'nothing fits'
    found = min(missing, key=lambda one: one['exceeds'])
    return f'nothing fits; nearest is {in_a_line(found)}; what helps most: {advice(found, config)}'


def _missing(found: Mapping[str, Any]) -> str:
    limit = found['memory_limit'] / GIB
    return f'does not fit, {in_units(found["exceeds"])} over {limit:.2f} GiB'


def of_sweep(plans: list[dict[str, Any]]) -> Table:
    """The fastest first; those that don't fit last."""
    table = Table('preset', 'remat', 'per device', 'GiB', 'bound', 'ms', 'tokens/s', 'MFU')
    for found in sorted(plans, key=lambda p: -p.get('tokens_per_second', 0)):
        known = [found['preset'], found['remat'], f'{found["rows_per_device"]:g}']
        if 'tokens_per_second' not in found:
            used = f'{found["used"] / GIB:.2f}' if 'used' in found else ''
            table.add_row(*known, used, found.get('error', 'does not fit'))
            continue
        table.add_row(
            *known,
            f'{sum(found["memory"].values()) / GIB:.2f}',
            found['bound'],
            f'{1e3 * found["step_seconds"]:.2f}',
            f'{found["tokens_per_second"]:,.0f}',
            f'{found["mfu"]:.1%}',
        )
    return table
