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
from accelsim.engines.compressed import filter_nonzeros, packed_bytes
from accelsim.engines.match_kernels import match_segments, window_lines
from accelsim.engines.part import Part
from accelsim.engines.skip_tiles import (
    SparseEngine,
    SparseSpec,
    SparseTimes,
    Values,
    group_filters,
    group_inputs,
    pe_times,
    places,
)
from accelsim.engines.tiled import Tiles, TileTimes

Lines = NDArray[np.uint64]


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
        fields = ("groups", "group0", "n", "output0", "channels", "channel0", "k", "tap0")
        first, kind = places(tiles, fields)
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
        spec, found = self.spec, []
        for group in range(int(tile["groups"])):
            masks = lines(group_filters(part, tile, group) != 0)
            out = np.zeros((1, len(masks), 3), np.int64)
            every = np.full((1, masks.shape[1]), ~np.uint64(0))
            match_segments(every, masks, spec.segment // 64, spec.multipliers, out)
            found.append(out[0])
        rows = np.concatenate(found)
        mine = np.bincount(np.arange(len(rows)) % spec.pes, weights=rows[:, 0]).astype(np.int64)
        return int(mine.max()), int(rows[:, 0].sum()), int(rows[:, 1].sum()), int(rows[:, 2].sum())


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
        spec = self.spec
        first, kind = places(tiles)
        found = np.array([self._load(part, tiles[at]) for at in first], np.int64)
        cycles, empty, products = (found[kind, i] for i in range(3))
        plain = TileTimes.steps(cycles, latency=spec.latency_cycles, stalls={"index_matching": empty})
        return SparseTimes(**vars(plain), products=int(products.sum()), lookups=int(cycles.sum()))

    def _load(self, part: Part, tile: Any) -> tuple[int, int, int]:
        """(cycles, of these without a pair, products) of a tile."""
        spec, total = self.spec, np.zeros(3, np.int64)
        sizes = np.diff(np.append(np.arange(0, int(tile["n"]), spec.pes), int(tile["n"])))
        for group in range(int(tile["groups"])):
            index = lines(np.maximum.reduceat(group_filters(part, tile, group) != 0, np.cumsum(sizes) - sizes))
            pixels = self._pixels(part, tile, group)
            seen = tile_lines(part, tile, pixels)
            out = np.zeros((1, len(index), 3), np.int64)
            match_segments(seen, index, spec.segment // 64, spec.multipliers, out)
            total += (out[0, :, 0].sum(), out[0, :, 1].sum(), (out[0, :, 2] * sizes).sum())
        return int(total[0]), int(total[1]), int(total[2])

    def _pixels(self, part: Part, tile: Any, group: int) -> Lines:
        """Masks of the channels of every pixel, made once for a block of channels."""
        key = int(tile["group0"]) + group, int(tile["channel0"]), int(tile["channels"])
        made: Lines = self.remember(part, key, lambda: packed(group_inputs(part, tile, group) != 0))
        return made

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """A block keeps a weight where any of its outputs does; one bit for each place of a block."""
        kept = self._packed(part)
        if kept:
            mask = self._shared(part)
            places = tiles["groups"] * -(-tiles["n"] // self.spec.pes) * tiles["k"]
            counts = filter_nonzeros(part, tiles, mask)
            sizes = packed_bytes(counts, places, value_bits=part.task.bits["filter"], mask=True)
            tiles["filter_bytes"] = np.where(tiles["filter_bytes"] > 0, np.maximum(1, sizes), 0)
        return kept

    def _shared(self, part: Part) -> Values:
        """The weights' mask after each block has taken the union of its outputs'."""
        mask = part.filters() != 0
        cuts = np.arange(0, mask.shape[1], self.spec.pes)
        union = np.maximum.reduceat(mask, cuts, axis=1)
        return np.repeat(union, self.spec.pes, axis=1)[:, : mask.shape[1]]


def packed(mask: Values) -> Lines:
    """The last axis as lines of uint64 words, the lowest bit first."""
    extra = -mask.shape[-1] % 64
    if extra:
        mask = np.concatenate([mask, np.zeros((*mask.shape[:-1], extra), np.bool_)], axis=-1)
    return np.packbits(np.ascontiguousarray(mask), axis=-1, bitorder="little").view(np.uint64)


def lines(mask: Values) -> Lines:
    """One line for each row of (rows, taps, channels)."""
    return packed(mask.reshape(len(mask), -1))


def tile_lines(part: Part, tile: Any, pixels: Lines) -> Lines:
    """Lines of what each output of a tile sees; `pixels` as `window_lines` takes them."""
    loops = part.loops
    taps = int(tile["k"]) // int(tile["channels"])
    place = [int(tile[x]) for x in ("image0", "images", "row0", "rows", "col0", "cols", "tap0")]
    place += [taps, loops.s, *loops.stride, *loops.dilation, loops.pad_top, loops.pad_left]
    out = np.zeros((int(tile["m"]), -(-int(tile["k"]) // 64)), np.uint64)
    window_lines(pixels, np.array(place, np.int64), int(tile["channels"]), out)
    return out
