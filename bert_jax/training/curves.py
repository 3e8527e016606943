"""The picture of one or several runs, drawn with matplotlib from what they have reported.

Upper row: losses, accuracies and scores, on training batches and on held-out data. Lower row: the
learning rate, the norm of the gradient and the speed.
"""

import io
import itertools
import logging
import pathlib
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from bert_jax.config import Phase
from bert_jax.tasks.measures import MEASURES
from bert_jax.training import curve_panels, history
from bert_jax.training.curve_labels import GREY, SMALL, draw_baselines, draw_ends
from bert_jax.training.curve_panels import Panel, smooth, smoothing_window
from bert_jax.training.history import History

FORMATS = ('.png', '.svg', '.pdf')
TRAIN, HELD_OUT = 'tab:blue', 'tab:orange'
COLORS = ('tab:blue', 'tab:orange', 'tab:green', 'tab:red', 'tab:purple', 'tab:brown', 'tab:pink')
WIDTH, HEIGHT, RATIO = 3.1, 5.2, 2.4  # column and figure in inches; upper row : lower row
SMALLEST_RANGE = 0.1  # of a y axis, as a share of its values


def save(workdirs: Sequence[str], output: str) -> None:
    """Writes the picture of the runs in `workdirs`, in the format that the suffix of `output` says.

    Raises ValueError if matplotlib is not installed, if a file of a run cannot be read, and for any
    other suffix.
    """
    suffix = pathlib.PurePosixPath(output).suffix
    if suffix not in FORMATS:
        raise ValueError(f'--output={output}: expected a name that ends in {", ".join(FORMATS)}')
    logging.getLogger('matplotlib').setLevel(logging.WARNING)  # it logs the state of its font cache
    try:
        import matplotlib
    except ImportError as error:
        raise ValueError(f"{error}; a picture needs matplotlib: pip install '.[plot]'") from error
    names = history.names(workdirs)
    runs = [history.read(path, name) for path, name in zip(workdirs, names, strict=True)]
    if len(units := {run.unit: run.name for run in runs}) > 1:
        raise ValueError(
            f'{units["epoch"]} is drawn by epochs and {units["step"]} by steps; '
            'draw them in separate pictures'
        )
    image = io.BytesIO()
    style: dict[Any, Any] = {'svg.hashsalt': 'bert_jax', 'font.size': 9, 'axes.titlesize': 9.5}
    style |= {'axes.spines.top': False, 'axes.spines.right': False}
    with matplotlib.rc_context(style):
        dates = {'.svg': {'Date': None}, '.pdf': {'CreationDate': None}}.get(suffix, {})
        draw(runs).savefig(image, format=suffix[1:], dpi=150, metadata=dates)
    epath.Path(output).expanduser().write_bytes(image.getvalue())


def draw(runs: Sequence[History]) -> Any:
    """The matplotlib figure of the runs."""
    from matplotlib.figure import Figure

    upper = curve_panels.upper(runs)
    columns = max(len(upper), 2)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT), layout='constrained')
    axes = figure.subplots(2, columns, height_ratios=(RATIO, 1), squeeze=False)
    for row, shown in enumerate((upper, curve_panels.lower(runs, upper))):
        for axis, panel in itertools.zip_longest(axes[row], shown):
            if panel is None:
                axis.set_visible(False)
            elif panel.lines:
                _draw_text(axis, panel)
            else:
                _draw_panel(axis, panel, runs, is_upper=row == 0)
    title, subtitle = curve_panels.titles(runs)
    lines = textwrap.wrap(subtitle, 52 * columns)
    figure.suptitle(title + '\n' * len(lines), x=0.01, ha='left', weight='bold', size=11)
    below = 0.98 - 0.2 / HEIGHT
    figure.text(0.01, below, '\n'.join(lines), va='top', size=SMALL + 0.5, color=GREY)
    figure.legend(handles=_legend(runs), loc='outside lower left', ncols=5, frameon=False)
    return figure


def _draw_text(axis: Any, panel: Panel) -> None:
    axis.set_title(panel.title, loc='left')
    axis.set_axis_off()
    content = '\n'.join(panel.lines)
    style = {'va': 'top', 'size': SMALL - 1.5, 'family': 'monospace', 'linespacing': 1.5}
    axis.text(0, 0.98, content, transform=axis.transAxes, parse_math=False, **style)


def _draw_panel(axis: Any, panel: Panel, runs: Sequence[History], is_upper: bool) -> None:
    ends = list[tuple[float, float, str, str]]()  # x, y, text and color at the end of a curve
    for number, run in enumerate(runs):
        several = len(runs) > 1
        color = COLORS[number % len(COLORS)] if several else TRAIN
        for metric in panel.train:
            x, y = run.series('train', metric)
            if not len(y):
                continue
            mean = smooth(y) if panel.label else y
            if panel.label and not several:
                axis.plot(x, y, color=color, alpha=0.3, linewidth=0.8)
            marker = 'o' if len(y) == 1 else ''
            thin = several and bool(panel.held_out)
            axis.plot(
                x,
                mean,
                color=color,
                marker=marker,
                markersize=4,
                clip_on=len(y) > 1,
                linestyle='-',
                linewidth=0.9 if thin else 1.4,
                alpha=0.6 if thin else 1,
            )
            if panel.label and not (thin and len(run.series('eval', metric)[1])):
                value = np.median(y) if panel.label == 'median' else mean[-1]
                name = 'median ' if panel.label == 'median' else ''
                ends.append((x[-1], value, name + panel.text(value), color))
        for place, metric in enumerate(panel.held_out):
            color = COLORS[(number if several else place + 1) % len(COLORS)]
            if point := _draw_held_out(axis, panel, run, metric, color):
                name = f'{metric.replace("_", " ")} ' if not panel.train else ''
                ends.append((*point, name + panel.text(point[1]), color))
    _set_axes(axis, panel, runs)
    height = 72 * HEIGHT * 0.72 * (RATIO if is_upper else 1) / (RATIO + 1)
    values = [y for _, y, _, _ in ends]
    draw_baselines(axis, panel, runs, values, height)
    draw_ends(axis, ends, height)
    if is_upper:
        _draw_phases(axis, runs)


def _draw_held_out(
    axis: Any, panel: Panel, run: History, metric: str, color: str
) -> tuple[float, float] | None:
    """Draws the values of the evaluations; returns the last point, None if there is none.

    A hollow point shows the expected value for a model with random parameters, if it is known.
    """
    x, y = run.series('eval', metric)
    start = run.untrained(metric)
    if start is not None and not (len(x) and x[0] == 0):
        axis.plot([0, *x[:1]], [start, *y[:1]], ':', color=color, linewidth=1)
        axis.plot(0, start, 'o', color=color, markerfacecolor='white', markersize=4, clip_on=False)
    if not len(x):
        return None
    front = 4 if metric == panel.held_out[0] else 3
    axis.plot(x, y, 'o-', color=color, markersize=3, linewidth=1.6, zorder=front, clip_on=False)
    return x[-1], y[-1]


def _set_axes(axis: Any, panel: Panel, runs: Sequence[History]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_title(panel.title, loc='left', pad=14 if panel.held_out and _phases(runs) else 6)
    axis.set_xlabel(runs[0].unit, size=SMALL, labelpad=1)
    axis.tick_params(labelsize=SMALL, length=2)
    axis.grid(color='0.92', linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_xlim(0, max(axis.dataLim.x1, 1e-9))
    axis.xaxis.set_major_formatter(lambda x, _: _tick(x))
    axis.locator_params(axis='x', nbins=5, integer=axis.dataLim.x1 >= 2)
    low, high = axis.dataLim.y0, axis.dataLim.y1
    if panel.log:
        axis.set_yscale('log')
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_minor_locator(NullLocator())
    elif panel.lowest is not None:
        axis.set_ylim(min(panel.lowest, low), high + 0.05 * (high - panel.lowest) + 1e-9)
    elif high - low < SMALLEST_RANGE * abs(high):  # otherwise noise would fill the panel
        margin = SMALLEST_RANGE * abs(high) / 2
        axis.set_ylim((low + high) / 2 - margin, (low + high) / 2 + margin)
    if panel.highest is not None:
        axis.set_ylim(top=panel.highest)
    unit = 0.01 if panel.percent else 1  # what the metric is divided by
    axis.yaxis.set_major_formatter(lambda y, _: _tick(y / unit))


def _tick(value: float) -> str:
    """A number beside an axis."""
    return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'


def _phases(runs: Sequence[History]) -> tuple[Phase, ...]:
    """The phases of the runs; () if they have different ones, or only one phase."""
    phases = [run.config.train.phases for run in runs]
    same = all(other == phases[0] for other in phases)
    return phases[0] if same and len(phases[0]) > 1 else ()


def _draw_phases(axis: Any, runs: Sequence[History]) -> None:
    """Draws a mark at the start of each phase, with the shape of its batches."""
    first, (_, end) = 0, axis.get_xlim()
    for phase in _phases(runs):
        if first >= end:
            break
        if first:
            axis.axvline(first, color=GREY, linewidth=0.8, linestyle='--')
        text = f'{phase.batch_size} x {phase.max_seq_length}'
        late = first > 0.85 * end
        axis.annotate(
            text,
            (first / end, 1),
            (-1 if late else 1, 2),
            xycoords='axes fraction',
            textcoords='offset points',
            ha='right' if late else 'left',
            size=SMALL - 0.5,
            color=GREY,
        )
        first += phase.steps


def _legend(runs: Sequence[History]) -> list[Any]:
    from matplotlib.lines import Line2D

    counts = {smoothing_window(len(run.lines['train'])) for run in runs}
    window = f'mean of {" or ".join(map(str, sorted(counts)))} reports'
    smoothed, several = counts != {1}, len(runs) > 1
    color, other = ('black', 'black') if several else (TRAIN, HELD_OUT)
    lines = []
    if several:
        lines = [
            Line2D([], [], color=c, label=run.name)
            for run, c in zip(runs, itertools.cycle(COLORS), strict=False)
        ]
    elif smoothed:
        lines = [Line2D([], [], color=color, alpha=0.3, label='training, each report')]
    label = f'training, {window}' if smoothed else 'training'
    lines.append(Line2D([], [], color=color, linewidth=0.9 if several else 1.4, label=label))
    lines.append(Line2D([], [], color=other, marker='o', markersize=3, label='held out'))
    losses = [f'{name}_loss' for name in MEASURES]
    if any(run.untrained(loss) is not None for run in runs for loss in losses):
        hollow = Line2D([], [], color=other, linestyle=':', marker='o', markersize=4)
        hollow.set(markerfacecolor='white', label='uniform guess')
        lines.append(hollow)
    return lines
