"""Labels in the picture of a run: the last values of curves, and baselines with their names."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_jax.training.curve_panels import Panel
from bert_jax.training.history import History

GREY = '0.45'
SMALL, LINE = 8, 10.5  # the size of small letters and the height of their lines, in points


def draw_baselines(
    axis: Any, panel: Panel, runs: Sequence[History], ends: Sequence[float], height: float
) -> None:
    """Draws the baselines of the panel's metrics as dotted lines with their names and values.

    If runs have different values of a baseline, the range of the values is grey. ends: the last
    values of the curves; the name of a baseline is on the side of its line where no curve ends.
    height: of the axes, in points.
    """
    values: dict[str, list[float]] = {}
    for run in runs:
        for metric in panel.held_out:
            for name, value in run.baselines(metric).items():
                values.setdefault(name, []).append(value)
    if not values:
        return
    ranges = [(min(found), max(found)) for found in values.values()]
    lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
    bottom, top = axis.get_ylim()  # the y axis contains all baselines
    margin = 0.08 * (max(top, highest) - min(bottom, lowest))
    axis.set_ylim(min(bottom, lowest - margin), max(top, highest + margin))
    if panel.lowest is not None:
        axis.set_ylim(bottom)
    above = [np.mean(ends or low) < low for low, _ in ranges]
    places = [high if up else low for (low, high), up in zip(ranges, above, strict=True)]
    shifts = spread(places, axis.get_ylim(), height)
    for i, (name, (low, high)) in enumerate(zip(values, ranges, strict=True)):
        for value in {low, high}:
            axis.axhline(value, color=GREY, linestyle=':', linewidth=1.1)
        axis.axhspan(low, high, color='0.93', linewidth=0, zorder=0)
        text = ' to '.join(dict.fromkeys((panel.text(low), panel.text(high))))
        shift = shifts[i] + (LINE / 2 + 1) * (1 if above[i] else -1)
        write(axis, f'{name} {text}', (1, places[i]), (-2, shift), GREY, right=True)


def draw_ends(axis: Any, ends: Sequence[tuple[float, float, str, str]], height: float) -> None:
    """Writes the last values beside the ends of the curves, without overlap."""
    shifts = spread([y for _, y, _, _ in ends], axis.get_ylim(), height, axis.get_yscale())
    for (x, y, text, color), shift in zip(ends, shifts, strict=True):
        write(axis, text, (x, y), (5, shift), color)


def write(
    axis: Any,
    text: str,
    point: tuple[float, float],
    shift: tuple[float, float],
    color: str,
    right: bool = False,
) -> None:
    """Writes a text `shift` points beside a point.

    right: whether x is a fraction of the width of the axes, at which the text ends.
    """
    from matplotlib import patheffects

    axis.annotate(
        text,
        point,
        shift,
        xycoords=axis.get_yaxis_transform() if right else 'data',
        textcoords='offset points',
        ha='right' if right else 'left',
        va='center',
        size=SMALL,
        color=color,
        weight='normal' if right else 'bold',
        path_effects=[patheffects.withStroke(linewidth=2.5, foreground='white')],
        annotation_clip=False,
        zorder=1.5 if right else 4,  # the name of a baseline is behind the curves
    )


def spread(
    values: Sequence[float], limits: tuple[float, float], height: float, scale: str = 'linear'
) -> list[float]:
    """For each value, by how many points its label moves so that labels do not overlap.

    limits: the limits of the y axis. height: the height of the axis, in points.
    """
    if not values:
        return []
    by_scale = np.log if scale == 'log' else np.asarray
    low, high = by_scale(np.array(limits, float))
    wanted = (by_scale(np.array(values, float)) - low) / (high - low) * height
    placed = np.array(wanted)
    order = np.argsort(wanted, kind='stable')
    for _ in range(50):  # neighbours that are too close move apart
        for lower, upper in itertools.pairwise(order):
            missing = LINE - (placed[upper] - placed[lower])
            if missing > 0:
                placed[lower] -= missing / 2
                placed[upper] += missing / 2
    return list(placed - wanted)
