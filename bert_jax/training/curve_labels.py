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
    axis: Any,
    panel: Panel,
    runs: Sequence[History],
    colors: Sequence[str],
    ends: Sequence[float],
    height: float,
) -> None:
    """Draws the baselines of the panel's metrics as dotted lines with their names and values.

    Runs with different baselines have lines in their own `colors`. ends: the last values of the
    curves; the name of a baseline is on the side of its line where no curve ends.
    """
    scale = panel.scale
    found = [
        [item for name in panel.held_out for item in run.baselines(name).items()] for run in runs
    ]
    same = all(items == found[0] for items in found)
    lines = [
        (scale * value, f'{name} {panel.text(scale * value)}', GREY if same else colors[i])
        for i, items in enumerate(found[:1] if same else found)
        for name, value in items
    ]
    bottom, top = axis.get_ylim()
    if lines:  # the y axis contains them
        values = [value for value, _, _ in lines]
        margin = 0.08 * (max(top, *values) - min(bottom, *values))
        axis.set_ylim(min(bottom, min(values) - margin), max(top, max(values) + margin))
        if panel.lowest is not None:
            axis.set_ylim(bottom)
    for value, _, color in lines:
        axis.axhline(value, color=color, linestyle=':', linewidth=1.1)
    shifts = spread([value for value, _, _ in lines], axis.get_ylim(), height)
    for (value, text, color), shift in zip(lines, shifts, strict=True):
        side = -1 if np.mean(ends or value) >= value else 1
        write(axis, text, (1, value), (-2, side * (LINE / 2 + 1) + shift), color, right=True)


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
