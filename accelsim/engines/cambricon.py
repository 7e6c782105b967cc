"""Cambricon-X and Cambricon-S: indexes pick, from a segment of inputs, those that meet a nonzero weight.

- `cambricon_x` (Zhang et al., MICRO 2016): a PE has one output at a time, whose weights it keeps without zeros. For
  each segment of 256 consecutive inputs its index module hands it up to 16 selected ones a cycle. PEs run on their
  own until a tile's outputs are done.
- `cambricon_s` (Zhou et al., MICRO 2018): the outputs of a block share one index, so that inputs are selected once for
  all PEs, and zero inputs are left out, too.

A segment costs max(1, ceil(selected / 16)) cycles. Inputs of an output follow each other by tap of the window, then by
channel (assumed: feature maps lie channel by channel of a pixel, as in DianNao).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.figures import composed
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, mac_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.compressed import packed_bytes
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import (
    SparseEngine,
    SparseSpec,
    SparseTimes,
    Values,
    group_filters,
    group_inputs,
    pe_times,
    places,
)
from accelsim.engines.common.tiled import Tiles, TileTimes
from accelsim.engines.kernels.match import match_segments, window_lines, wrapping
from accelsim.mapping.tiles import TILE_DTYPE

Lines = NDArray[np.uint64]
Ints = NDArray[np.int64]

#: fields of a tile that say which channels and taps, and which weights it has
CHANNELS = ("groups", "group0", "channels", "channel0", "k", "tap0")
FILTERS = (*CHANNELS, "n", "output0")


class CambriconSpec(SparseSpec):
    """Parameters of both."""

    pes: int = pydantic.Field(default=16, ge=1, le=1024, description="PEs, one output each at a time")
    multipliers: int = pydantic.Field(default=16, ge=1, le=256, description="of a PE: inputs selected in a cycle")
    segment: int = pydantic.Field(
        default=256, ge=64, le=65536, multiple_of=64, description="inputs from which they are selected"
    )
    latency_cycles: int = pydantic.Field(
        default=3, ge=0, le=64, description="after the last selection: multiply, add, write"
    )


class Cambricon(SparseEngine):
    """What both have in common."""

    masked: ClassVar[tuple[str, ...]] = ("filter",)

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """All multipliers."""
        return int(self.spec.pes * self.spec.multipliers)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """One position, an output for each PE, a segment."""
        return 1, int(self.spec.pes), int(self.spec.segment)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Multipliers; the index module that selects, as a multiplexer over the segment for each; sums' registers."""
        spec = self.spec
        ways = max(1, (spec.segment // spec.multipliers).bit_length() - 1)
        name = f"select {spec.multipliers} of {spec.segment}"
        pick = composed(
            name, (spec.multipliers * ways, model.op_pj("mux", spec.operand_bits)), (1, model.xnor_pj(spec.segment))
        )
        area = composed(name, (spec.multipliers * ways, model.op_area_mm2("mux", spec.operand_bits)))
        leak = model.logic_leak_mw(float(area))
        macs = spec.pes * spec.multipliers
        return [
            mac_rows(model, [(spec.operand_bits, spec.operand_bits)], acc_bits=bits["psum"], count=macs),
            component("index_module", {"select": pick}, area=area, leakage=leak, count=self.index_modules),
            register_rows(model, "accumulator", bits["psum"], count=spec.pes),
        ]

    @property
    def index_modules(self) -> int:
        """How many there are."""
        return int(self.spec.pes)

    def _masks(self, part: Part, tile: Any, group: int) -> tuple[Lines, Ints]:
        """Lines of a tile's outputs, and for each (cycles, empty segments, weights) if every input is wanted.

        Made once for all outputs of a choice of channels and taps.
        """
        at, first = int(tile["group0"]) + group, int(tile["output0"])
        key = "masks", at, *(int(tile[x]) for x in ("channel0", "channels", "tap0", "k"))

        def make() -> tuple[Lines, Ints]:
            whole = tile.copy()
            whole["output0"], whole["n"] = 0, part.loops.outputs
            masks = lines(group_filters(part, whole, group) != 0)
            out = np.zeros((1, len(masks), 3), np.int64)
            every = np.full((1, masks.shape[1]), ~np.uint64(0))
            with wrapping():
                match_segments(every, masks, self.spec.segment // 64, self.spec.multipliers, out)
            return masks, out[0]

        masks, counts = self.remember(part, key, make)
        here = slice(first, first + int(tile["n"]))
        return masks[here], counts[here]

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """The weights that are kept, and the masks."""
        kept = self._packed(part)
        if kept:
            first, kind = places(tiles, FILTERS)
            counts = np.array([self._kept(part, tiles[at]) for at in first], np.int64)[kind]
            sizes = packed_bytes(counts[:, 0], counts[:, 1], value_bits=part.task.bits["filter"], mask=True)
            tiles["filter_bytes"] = np.where(tiles["filter_bytes"] > 0, np.maximum(1, sizes), 0)
        return kept

    def _kept(self, part: Part, tile: Any) -> tuple[int, int]:
        """(weights, bits of masks) of a tile."""
        raise NotImplementedError

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """With operands of the mean density."""
        share = 1.0
        for operand in self.skips:
            share *= part.density(operand)
        kept = max(1, round(1024 * share))
        each = np.maximum(-(-k // self.spec.segment), -(-k * kept // (1024 * self.spec.multipliers)))
        return m * -(-n // self.spec.pes) * each

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A product for each selected pair, a search for each cycle of a module, a sum for each of a PE."""
        assert isinstance(times, SparseTimes)
        spec, counts = self.spec, ActionCounts()
        counts.add("mac", f"mac_{spec.operand_bits}x{spec.operand_bits}", times.products)
        counts.add("index_module", "select", times.lookups)
        counts.add("accumulator", "write", times.lookups * (spec.pes // self.index_modules))
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Products, and the share of multipliers that they keep busy."""
        assert isinstance(times, SparseTimes)
        cycles = int(times.stream.sum())
        peak = self.peak_macs_per_cycle({})
        return {
            **super().info(part, tiles, times),
            "products": times.products, "multiplier_utilization": times.products / max(1, cycles * peak),
        }  # fmt: skip


@ENGINES.register("cambricon_x")
class CambriconX(Cambricon):
    """An index for each output; zero inputs are multiplied."""

    kind: ClassVar[str] = "cambricon_x"
    skips: ClassVar[tuple[str, ...]] = ("filter",)

    class Spec(CambriconSpec):
        """Parameters of Cambricon-X."""

    def times(self, part: Part, tiles: Tiles) -> SparseTimes:
        """Outputs are dealt to the PEs in turn, group by group; each PE's cycles are those of its own weights."""
        spec, pes = self.spec, int(self.spec.pes)
        first, kind = places(tiles, FILTERS)
        found = np.array([self._load(part, tiles[at]) for at in first], np.int64)  # for one output position
        m = tiles["m"]
        worst, work, empty, products = (found[kind, i] * m for i in range(4))
        used = np.minimum(tiles["groups"] * tiles["n"], pes)
        return pe_times(
            worst, work, empty, used,
            latency=spec.latency_cycles, products=int(products.sum()), lookups=int(work.sum()),
        )  # fmt: skip

    def _load(self, part: Part, tile: Any) -> tuple[int, int, int, int]:
        """(cycles of the slowest PE, of all, of these without a weight, products) for one output position."""
        rows = np.concatenate([self._masks(part, tile, group)[1] for group in range(int(tile["groups"]))])
        pes = int(self.spec.pes)
        mine = np.pad(rows[:, 0], (0, -len(rows) % pes)).reshape(-1, pes).sum(0)
        return int(mine.max()), int(rows[:, 0].sum()), int(rows[:, 1].sum()), int(rows[:, 2].sum())

    def _kept(self, part: Part, tile: Any) -> tuple[int, int]:
        """A bit for each weight."""
        weights = sum(int(self._masks(part, tile, g)[1][:, 2].sum()) for g in range(int(tile["groups"])))
        return weights, int(tile["groups"] * tile["n"] * tile["k"])


@ENGINES.register("cambricon_s")
class CambriconS(Cambricon):
    """An index for each block of outputs, and zero inputs left out."""

    kind: ClassVar[str] = "cambricon_s"
    skips: ClassVar[tuple[str, ...]] = ("filter", "ifmap")

    class Spec(CambriconSpec):
        """Parameters of Cambricon-S."""

    @property
    def index_modules(self) -> int:
        """One for all PEs."""
        return 1

    def times(self, part: Part, tiles: Tiles) -> SparseTimes:
        """A block of outputs at a position costs what the index shares with the inputs, segment by segment."""
        found = np.zeros((len(tiles), 3), np.int64)  # cycles, of these without a pair, products
        for tile, mine, blocks in self._kinds(part, tiles):
            values = sum(self._matches(part, tile, group, blocks) for group in range(int(tile["groups"])))
            found[mine] = box_totals(np.asarray(values), tiles[mine], blocks)
        plain = TileTimes.steps(
            found[:, 0], latency=self.spec.latency_cycles, stalls={"index_matching": found[:, 1].copy()}
        )  # fmt: skip
        return SparseTimes(**vars(plain), products=int(found[:, 2].sum()), lookups=int(found[:, 0].sum()))

    def stored_bits(self, part: Part) -> dict[str, int]:
        """What the blocks keep, and a bit for each of their places."""
        bits = super().stored_bits(part)
        if "filter" in self._packed(part):
            blocks = np.arange(0, part.loops.outputs, self.spec.pes)
            whole = np.zeros((), TILE_DTYPE)
            whole["groups"], whole["n"], whole["channels"] = part.loops.groups, part.loops.outputs, part.loops.channels
            whole["k"] = part.loops.channels * part.loops.window
            kept = self.remember(part, "kept of all", lambda: int(self._sums(part, whole, blocks)[-1]))
            elements = part.loops.filter_elements()
            size = kept * part.task.bits["filter"] + elements // min(self.spec.pes, part.loops.outputs)
            bits["filter"] = max(1, -(-size // elements))
        return bits

    def _kinds(self, part: Part, tiles: Tiles) -> Iterator[tuple[Any, Ints, Ints]]:
        """(one of them, which, first output of every block) of tiles with the same channels and taps."""
        starts, some = np.unique(tiles["output0"], return_index=True)
        ends = starts + tiles["n"][some]
        blocks = np.concatenate([np.arange(*bounds, self.spec.pes) for bounds in zip(starts, ends)])
        first, kind = places(tiles, CHANNELS)
        order = np.argsort(kind, kind="stable")
        for at, mine in zip(first, np.split(order, np.cumsum(np.bincount(kind))[:-1]), strict=True):
            whole = tiles[at].copy()
            whole["output0"], whole["n"] = 0, part.loops.outputs
            yield whole, mine, blocks

    def _blocks(self, part: Part, tile: Any, group: int, blocks: Ints) -> tuple[Lines, Ints]:
        """Index of each block, which is the union of its outputs' weights; and how many outputs it has."""
        index = np.bitwise_or.reduceat(self._masks(part, tile, group)[0], blocks)
        return index, np.diff(np.append(blocks, int(tile["n"])))

    def _matches(self, part: Part, tile: Any, group: int, blocks: Ints) -> Ints:
        """(cycles, of these without a pair, products) of each (image, row, column, block)."""
        spec, loops = self.spec, part.loops
        index, sizes = self._blocks(part, tile, group, blocks)
        seen = self._seen(part, tile, group)
        out = np.zeros((max(2, len(seen)), len(index), 3), np.int64)  # one row would add all lines up
        with wrapping():
            match_segments(seen, index, spec.segment // 64, spec.multipliers, out)
        out[..., 2] *= sizes
        return out[: len(seen)].reshape(loops.images, loops.p, loops.q, len(index), 3)

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """A block keeps a weight where any of its outputs does; one bit for each place of a block."""
        kept = self._packed(part)
        if kept:
            for tile, mine, blocks in self._kinds(part, tiles):
                key = "kept", blocks.tobytes(), *(int(tile[x]) for x in CHANNELS)
                sums = self.remember(part, key, lambda: self._sums(part, tile, blocks))  # noqa: B023
                low = np.searchsorted(blocks, tiles["output0"][mine])
                count = -(-tiles["n"][mine] // self.spec.pes)
                weights, bits = sums[low + count] - sums[low], count * tile["groups"] * tile["k"]
                sizes = packed_bytes(weights, bits, value_bits=part.task.bits["filter"], mask=True)
                there = tiles["filter_bytes"][mine] > 0
                tiles["filter_bytes"][mine] = np.where(there, np.maximum(1, sizes), 0)
        return kept

    def _sums(self, part: Part, tile: Any, blocks: Ints) -> Ints:
        """Weights of the blocks before each, all groups of a tile."""
        total = np.zeros(len(blocks) + 1, np.int64)
        for group in range(int(tile["groups"])):
            index, sizes = self._blocks(part, tile, group, blocks)
            total[1:] += set_bits(index).sum(1) * sizes
        return total.cumsum()

    def _seen(self, part: Part, tile: Any, group: int) -> Lines:
        """Lines of what every position sees of the channels and taps of a tile, made once for each of these."""
        at, channels = int(tile["group0"]) + group, (int(tile["channel0"]), int(tile["channels"]))

        def pixels() -> Lines:
            return packed(group_inputs(part, tile, group) != 0)

        def make() -> Lines:
            return position_lines(part, tile, self.remember(part, (at, channels), pixels))

        made: Lines = self.remember(part, (at, channels, int(tile["tap0"]), int(tile["k"])), make)
        return made


def set_bits(words: Lines) -> Ints:
    """Ones of each word."""
    table = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.int64)
    return np.asarray(table[words[..., None].view(np.uint8)].sum(-1), np.int64)


def packed(mask: Values) -> Lines:
    """The last axis as lines of uint64 words, the lowest bit first."""
    extra = -mask.shape[-1] % 64
    if extra:
        mask = np.concatenate([mask, np.zeros((*mask.shape[:-1], extra), np.bool_)], axis=-1)
    return np.packbits(np.ascontiguousarray(mask), axis=-1, bitorder="little").view(np.uint64)


def lines(mask: Values) -> Lines:
    """One line for each row of (rows, taps, channels)."""
    return packed(mask.reshape(len(mask), -1))


def position_lines(part: Part, tile: Any, pixels: Lines) -> Lines:
    """Lines of what each output position sees of a tile's channels; `pixels` as `window_lines` takes them."""
    loops, channels = part.loops, int(tile["channels"])
    place = [0, loops.images, 0, loops.p, 0, loops.q, int(tile["tap0"]), int(tile["k"]) // channels, loops.s]
    place += [*loops.stride, *loops.dilation, loops.pad_top, loops.pad_left]
    out = np.zeros((loops.images * loops.p * loops.q, -(-int(tile["k"]) // 64)), np.uint64)
    window_lines(pixels, np.array(place, np.int64), channels, out)
    return out


def box_totals(values: Ints, tiles: Tiles, blocks: Ints) -> Ints:
    """Sums over the output positions and blocks of each tile of `values` (images, rows, columns, blocks, ...)."""
    table = np.zeros((*(size + 1 for size in values.shape[:4]), *values.shape[4:]), np.int64)
    table[1:, 1:, 1:, 1:] = values.cumsum(0).cumsum(1).cumsum(2).cumsum(3)
    bounds = [(tiles[x], tiles[x] + tiles[y]) for x, y in (("image0", "images"), ("row0", "rows"), ("col0", "cols"))]
    first, end = tiles["output0"], tiles["output0"] + tiles["n"]
    bounds.append((np.searchsorted(blocks, first), np.searchsorted(blocks, end)))
    total = np.zeros((len(tiles), *values.shape[4:]), np.int64)
    for corner in range(16):
        picks = tuple(bounds[axis][corner >> axis & 1] for axis in range(4))
        total += (1 if bin(corner).count("1") % 2 == 0 else -1) * table[picks]
    return total
