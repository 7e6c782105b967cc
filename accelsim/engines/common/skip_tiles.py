"""What engines share that skip zeros of one operand: refusals, operands of a tile, and where the time of PEs goes.

Each engine says by `skips` which operands' zeros take no time. Zeros of another operand are multiplied like any
number; a trace that asks for their sparsity is refused unless `dense: allow` says that this is meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.engines.base import Task
from accelsim.engines.common.compressed import filter_nonzeros, ifmap_nonzeros, packed_bytes
from accelsim.engines.common.part import Part
from accelsim.engines.common.sequences import inputs_of
from accelsim.engines.common.serial_grid import check_integers
from accelsim.engines.common.tiled import TiledEngine, Tiles, TileTimes, Words, WordTables
from accelsim.mapping.problem import Loops
from accelsim.workload.shapes import ConvShape

Values = NDArray[Any]

#: Encodings that leave zeros out.
SPARSE_ENCODINGS = (
    "bitmap", "block", "coo", "csc", "csr", "hierarchical", "nm", "rlc", "rlc_huffman",
)  # fmt: skip
#: Fields of a tile that say which products it makes.
PLACE = (
    "groups", "group0", "images", "image0", "rows", "row0", "cols", "col0", "n", "output0", "channels", "channel0",
    "k", "tap0", "m",
)  # fmt: skip


class SparseSpec(Spec):
    """Parameters that these engines have in common."""

    operand_bits: int = pydantic.Field(default=16, ge=1, le=32, description="width of the multipliers")
    dense: Literal["refuse", "allow"] = pydantic.Field(
        default="refuse",
        description="allow: operands whose sparsity the engine cannot skip are computed with their zeros",
    )


@dataclass(frozen=True)
class SparseTimes(TileTimes):
    """Cycles of tiles, and sums over all tiles that the energy is counted from.

    `products`: multiplications, those with a zero that is not skipped included. `lookups`: searches for operands.
    """

    products: int = 0
    lookups: int = 0


def pe_times(
    worst: Words, work: Words, empty: Words, pes: Words, *, latency: int = 0, products: int = 0, lookups: int = 0,
    cause: str = "imbalance",
) -> SparseTimes:  # fmt: skip
    """Tiles that last as long as their slowest PE.

    Parameters
    ----------
    worst, work, empty : int64 arrays (tiles,)
        Cycles of the slowest PE, of all PEs together, and of these the ones in which a PE finds nothing to do.
    pes : int64 array (tiles,)
        PEs that take part.
    cause : str
        What waiting for the slowest is called.

    A mean PE is taken to stand for the array: its empty cycles are `index_matching`, what it waits is `cause`.
    """
    mean, nothing = -(-work // pes), empty // pes
    stalls = {cause: worst - mean, "index_matching": nothing}
    plain = TileTimes.steps(worst, latency=latency, stalls=stalls)
    return SparseTimes(**vars(plain), products=products, lookups=lookups)


class SparseEngine(TiledEngine):
    """Base of engines that skip zeros."""

    #: operands whose zeros take no time
    skips: ClassVar[tuple[str, ...]] = ()
    #: operands that travel as nonzeros and a mask
    masked: ClassVar[tuple[str, ...]] = ()

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Anything up to the multipliers' width."""
        widths = tuple(range(1, self.spec.operand_bits + 1))
        return {"ifmap": widths, "filter": widths}

    def check_bits(self, task: Task) -> None:
        """Refuse wide and floating-point operands, and sparsity that takes its time here."""
        check_integers(self.kind, task, coded=True)  # where zeros are is all that counts
        super().check_bits(task)
        check_skipped(self.kind, self.skips, self.spec.dense, task)

    # --- traffic ---

    def stored_bits(self, part: Part) -> dict[str, int]:
        """Nonzeros, and a bit for each element."""
        bits = dict(part.task.bits)
        for operand in self._packed(part):
            share = max(1, round(1000 * part.density(operand)))
            bits[operand] = max(1, -(-(share * bits[operand] + 1000) // 1000))
        return bits

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """Nonzeros of each tile, and its mask."""
        packed = self._packed(part)
        for operand in packed:
            column, bits = f"{operand}_bytes", part.task.bits[operand]
            counter = filter_nonzeros if operand == "filter" else ifmap_nonzeros
            counts, elements = counter(part, tiles), self._elements(part, tiles, operand)
            sizes = packed_bytes(counts, elements, value_bits=bits, mask=True)
            tiles[column] = np.where(tiles[column] > 0, np.maximum(1, sizes), 0)
        return packed

    def _packed(self, part: Part) -> tuple[str, ...]:
        """Masked operands that are shorter so; a vector inside of a recurrent cell is in no trace, and stays dense."""
        bits = part.task.bits
        return tuple(
            o for o in self.masked
            if part.operand(o) is not None and dict(part.roles).get(o) == o and part.density(o) * bits[o] + 1 < bits[o]
        )  # fmt: skip

    def _elements(self, part: Part, tiles: Tiles, operand: str) -> Words:
        if operand == "filter":
            return np.asarray(tiles["groups"] * tiles["n"] * tiles["k"], np.int64)
        if not isinstance(part.shape, ConvShape):
            return np.asarray(tiles["groups"] * tiles["m"] * tiles["channels"], np.int64)
        pixels = tiles["images"] * tiles["in_rows"] * tiles["in_cols"]
        return np.asarray(tiles["groups"] * tiles["channels"] * pixels, np.int64)

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Each input once for each output that it meets at a time, each weight once a tile; sums once."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        sets = -(-n // self.unit(part)[1])
        return {"ifmap": groups * m * k * sets, "filter": groups * n * k}, {"psum": groups * m * n}


def check_skipped(kind: str, skips: tuple[str, ...], dense: str, task: Task) -> None:
    """Refuse an operand that is sparse by description or by encoding, but whose zeros are not skipped.

    Raises
    ------
    ConfigError
        Naming layer, operand, its density, and the key that allows it.
    """
    if dense == "allow":
        return
    for role, name in (("ifmap", "ifmap"), ("filter", "filter"), ("state", "ifmap"), ("recurrent", "filter")):
        operand = task.trace.operand(task.layer.name, role)
        if operand is None or name in skips or operand.density >= 1:
            continue
        if operand.generator is not None or operand.encoding in SPARSE_ENCODINGS:
            raise ConfigError(
                f"{role} must be dense for engine {kind!r}, which cannot skip its zeros, got density "
                f"{operand.density:.3g}; set engine.dense to allow to compute them",
                f"layer {task.layer.name}",
            )


def whole_sums(part: Part) -> bool:
    """Whether a core has all channels of its outputs."""
    share = part.task.share
    if share is None:
        return True
    whole, own = Loops.of(share.whole), part.loops
    return (whole.channels, whole.window) == (own.channels, own.window)


def whole_filters(part: Part, most: int) -> int:
    """How many filters of a tile fit their buffer as a whole, at most `most`; `most` if not even one does."""
    room, loops = part.task.room_of("filter"), part.loops
    size = -(-loops.channels * loops.window * part.task.bits["filter"] // 8)
    fits = room.free_bytes // room.slots // size
    return min(most, fits) if fits else most


def biases(part: Part) -> NDArray[np.int64]:
    """What each output of the part begins with, in units of its products: group by group; zeros if no trace says."""
    trace, layer = part.task.trace, part.task.layer.name
    found, filters, ifmap = (trace.operand(layer, role) for role in ("bias", "filter", "ifmap"))
    count, share = part.loops.groups * part.loops.outputs, part.task.share
    if found is None or filters is None or ifmap is None or len(found.shape) != 1:
        return np.zeros(count, np.int64)
    unit = np.asarray(filters.scale, np.float64) * float(np.max(ifmap.scale))
    values = np.rint(found.values().astype(np.float64) * (np.asarray(found.scale) / unit)).astype(np.int64)
    if share is None:
        return np.asarray(values)
    per_group = Loops.of(share.whole).outputs
    first = share.group0 + np.arange(part.loops.groups)
    return np.asarray(values[(first[:, None] * per_group + share.output0 + np.arange(part.loops.outputs)).ravel()])


def group_inputs(part: Part, tile: Any, group: int) -> Values:
    """Inputs of a tile's group `group` (counted from 0): (images, rows, columns, channels), all of the feature map.

    The rows of a matrix product are images of one pixel.
    """
    values, at = inputs_of(part), int(tile["group0"]) + group
    channel, count = int(tile["channel0"]), int(tile["channels"])
    if not isinstance(part.shape, ConvShape):
        return values[at, :, None, None, channel : channel + count]
    first = at * (part.shape.c // part.shape.g) + channel
    return np.moveaxis(values[:, first : first + count], 1, 3)


def group_filters(part: Part, tile: Any, group: int) -> Values:
    """Filters of a tile's group: (filters, taps, channels), taps in the order of the window."""
    at, first, count = int(tile["group0"]) + group, int(tile["output0"]), int(tile["n"])
    channel, channels = int(tile["channel0"]), int(tile["channels"])
    values = part.filters()[at, first : first + count, channel : channel + channels]
    if not isinstance(part.shape, ConvShape):
        return values[:, None, :]
    taps = int(tile["k"]) // channels
    flat = values.reshape(*values.shape[:2], -1)[..., int(tile["tap0"]) : int(tile["tap0"]) + taps]
    return np.asarray(flat.swapaxes(1, 2))


def windows(part: Part, tile: Any, inputs: Values) -> Values:
    """What the tile's outputs see of `inputs` (as `group_inputs`): (m, taps, channels), zeros outside."""
    y, x, inside = window_places(part, tile)
    images = np.arange(int(tile["image0"]), int(tile["image0"]) + int(tile["images"]))
    m, taps = inside.shape
    seen = inputs[images[:, None, None], y[None], x[None]]
    seen = np.where(inside[None, :, :, None], seen, 0)
    return np.ascontiguousarray(seen).reshape(len(images) * m, taps, inputs.shape[3])


def window_places(part: Part, tile: Any) -> tuple[Words, Words, NDArray[np.bool_]]:
    """Row, column (cut to the feature map) and whether it is inside, of each (output position, tap) of one image."""
    loops = part.loops
    taps = np.arange(int(tile["tap0"]), int(tile["tap0"]) + int(tile["k"]) // int(tile["channels"]))
    rows = np.arange(int(tile["row0"]), int(tile["row0"]) + int(tile["rows"]))
    cols = np.arange(int(tile["col0"]), int(tile["col0"]) + int(tile["cols"]))
    y = rows[:, None] * loops.stride[0] - loops.pad_top + taps // loops.s * loops.dilation[0]
    x = cols[:, None] * loops.stride[1] - loops.pad_left + taps % loops.s * loops.dilation[1]
    shape = (len(rows), len(cols), len(taps))
    ys, xs = np.broadcast_to(y[:, None], shape), np.broadcast_to(x[None], shape)
    inside = (ys >= 0) & (ys < loops.h) & (xs >= 0) & (xs < loops.w)
    flat = (-1, len(taps))
    return (
        np.clip(ys, 0, loops.h - 1).reshape(flat), np.clip(xs, 0, loops.w - 1).reshape(flat), inside.reshape(flat)
    )  # fmt: skip


def places(tiles: Tiles, fields: tuple[str, ...] = PLACE) -> tuple[Words, Words]:
    """(first tile of each kind, kind of each tile), where tiles of one kind agree in `fields`."""
    key, room = np.zeros(len(tiles), np.int64), 1
    for name in fields:
        low, high = int(tiles[name].min()), int(tiles[name].max())
        if high == low:
            continue
        if room > 2**62 // (high - low + 1):  # numbers in the order of those so far
            _, key = np.unique(key, return_inverse=True)
            room = int(key.max()) + 1
        key = key * (high - low + 1) + tiles[name] - low
        room *= high - low + 1
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    return first, which.reshape(-1)
