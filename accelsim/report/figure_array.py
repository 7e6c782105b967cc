"""Which PE works on what: the filter row, ifmap row and output row of every PE of a row-stationary pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from accelsim.dataflow.row_stationary import RsArray, RsPass, place_sets
from accelsim.report.drawing import TEXT_WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Of the stacks, by turns: Okabe and Ito's colours, light enough for text
COLOURS = ("#A6CEE8", "#F6C88A", "#9FDCC4", "#F4B6D6", "#F3EC9A", "#C9C9C9")
HATCHES = ("", "///", "...", "\\\\\\")


class Owner(NamedTuple):
    """What a PE does in a pass: its place; stack (filters) and set (channels); and its three rows."""

    row: int
    col: int
    stack: int
    part: int
    filter_row: int
    ifmap_row: int
    output_row: int


def owners(array: RsArray, one: RsPass) -> list[Owner]:
    """Every PE in use, row by row; rows of ifmap and output count from the first of the pass, padding included."""
    found = []
    for segment in place_sets(array, one.depth, one.e, one.t):
        for down in range(one.depth):
            part, tap = divmod(down, one.filter_rows)
            for right in range(segment.width):
                out = segment.row0 + right
                place = (segment.top + down, segment.left + right, segment.stack, one.r - 1 - part)
                found.append(Owner(*place, tap, out * one.stride[0] + tap * one.dilation[0], out))
    return sorted(found)


def array_figure(passes: Sequence[tuple[str, RsPass]], array: RsArray) -> Figure:
    """One grid for each named pass: in every PE the filter row, ifmap row and output row.

    Parameters
    ----------
    passes : sequence of (str, RsPass)
    array : RsArray
    """
    down = -(-len(passes) // 2)
    across = min(2, len(passes))
    height = 0.25 + down * (0.45 + 3.15 * array.rows / array.cols * 2 / across)
    figure, grid = new_figure(TEXT_WIDTH, height, nrows=down, ncols=across, squeeze=False)
    for number, axes in enumerate(grid.ravel()):
        if number < len(passes):
            _draw(axes, passes[number][0], array, passes[number][1], 14 / array.cols * 2 / across)
        else:
            axes.axis("off")
    figure.suptitle(
        "In each PE: filter row f, ifmap row i, output row o. Colours: other filters (t); hatches: other channels (r)",
        fontsize=7.5, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _draw(axes: Axes, name: str, array: RsArray, one: RsPass, size: float) -> None:
    from matplotlib.patches import Rectangle

    for row in range(array.rows):
        for col in range(array.cols):
            axes.add_patch(Rectangle((col, row), 1, 1, facecolor="white", edgecolor="#BBBBBB", linewidth=0.3))
    for owner in owners(array, one):
        axes.add_patch(
            Rectangle(
                (owner.col, owner.row), 1, 1, facecolor=COLOURS[owner.stack % len(COLOURS)], edgecolor="white",
                linewidth=0.6, hatch=HATCHES[owner.part % len(HATCHES)],
            )
        )  # fmt: skip
        text = f"f{owner.filter_row}\ni{owner.ifmap_row}\no{owner.output_row}"
        axes.text(owner.col + 0.5, owner.row + 0.52, text, ha="center", va="center", fontsize=4.4 * min(1.6, size),
                  linespacing=0.9)  # fmt: skip
    axes.set_xlim(0, array.cols)
    axes.set_ylim(array.rows, 0)
    axes.set_aspect("equal")
    axes.set_xticks([c + 0.5 for c in range(0, array.cols, 2)], [str(c) for c in range(0, array.cols, 2)])
    axes.set_yticks([r + 0.5 for r in range(0, array.rows, 2)], [str(r) for r in range(0, array.rows, 2)])
    axes.set_xlabel("PE column")
    axes.set_ylabel("PE row")
    axes.set_title(f"{name}: {one.active} of {array.rows * array.cols} PEs, e={one.e} p={one.p} q={one.q} r={one.r} "
                   f"t={one.t}", loc="left")  # fmt: skip
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
