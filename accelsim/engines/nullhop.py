"""NullHop: nonzero inputs broadcast to all output maps (Aimar et al., IEEE TNNLS 30(3), 2019).

Feature maps travel as a bit for each pixel and the list of nonzeros. A nonzero input costs one cycle for each output
position that it contributes to, in which each MAC adds its product to another output map; zeros cost nothing. MACs
come in controllers; a layer with few output maps leaves controllers over, which then take other inputs. Which inputs a
controller gets goes by the index of their feature map (Section III, as summaries of the paper have it; assumed: map c
to set c modulo the sets), so sums of different sets are added in the end, in no time of their own (assumed).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseEngine, SparseSpec, SparseTimes, Values, group_inputs, pe_times
from accelsim.engines.common.tiled import Tiles, TileTimes, Words, WordTables


@ENGINES.register("nullhop")
class NullHop(SparseEngine):
    """Controllers of MACs, one output map each."""

    kind: ClassVar[str] = "nullhop"
    skips: ClassVar[tuple[str, ...]] = ("ifmap",)
    masked: ClassVar[tuple[str, ...]] = ("ifmap",)

    class Spec(SparseSpec):
        """Parameters of NullHop."""

        controllers: int = pydantic.Field(default=8, ge=1, le=1024, description="groups of MACs that share an input")
        macs: int = pydantic.Field(default=16, ge=1, le=1024, description="of a controller: output maps at a time")
        threshold: int = pydantic.Field(
            default=0, ge=0, le=2**31, description="inputs of at most this magnitude count as zero"
        )
        latency_cycles: int = pydantic.Field(
            default=3, ge=0, le=64, description="after the last input: multiply, add, write"
        )

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """All MACs."""
        return int(self.spec.controllers * self.spec.macs)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """All output maps that fit, one channel."""
        return 1, int(self.spec.controllers * self.spec.macs), 1

    def sets(self, n: Any) -> tuple[Any, Any]:
        """(inputs at a time, passes over the inputs) for tiles of `n` output maps."""
        needed = -(-np.asarray(n, np.int64) // self.spec.macs)
        sets = np.maximum(1, self.spec.controllers // needed)
        return sets, -(-needed // self.spec.controllers)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """MACs and their sums."""
        width, macs = self.spec.operand_bits, self.peak_macs_per_cycle({})
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=macs),
            register_rows(model, "accumulator", bits["psum"], count=macs),
        ]

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Nonzeros, as many as on average, of the set with the most input maps."""
        sets, passes = self.sets(n)
        share = max(1, round(1024 * part.density("ifmap")))
        channels = np.maximum(1, np.asarray(k) // part.loops.window)
        most = -(-channels // sets)
        return np.maximum(1, -(-m * k * share * most // (1024 * channels))) * passes

    def times(self, part: Part, tiles: Tiles) -> SparseTimes:
        """Cycles of the set with the most work; each nonzero of a group counts for its own output maps."""
        found = self._measured(part, tiles)
        sets, passes = self.sets(tiles["n"])
        worst, work = found["worst"] * passes, found["work"] * passes
        products = int((found["work"] * tiles["n"]).sum())
        return pe_times(
            worst, work, np.zeros_like(work), sets, latency=self.spec.latency_cycles, products=products
        )  # fmt: skip

    def _measured(self, part: Part, tiles: Tiles) -> dict[str, Words]:
        """Contributions of nonzeros, of the slowest set and of all, and nonzeros that contribute."""
        known = self.remember(part, "tiles", dict)  # of the last table of tiles
        if known.get("of") is not tiles:
            known.update(of=tiles, found=self._count(part, tiles))
        found: dict[str, Words] = known["found"]
        return found

    def _count(self, part: Part, tiles: Tiles) -> dict[str, Words]:
        found = {name: np.zeros(len(tiles), np.int64) for name in ("worst", "work", "inputs")}
        for i, tile in enumerate(tiles):
            rows, cols = _reach(part, tile, 0), _reach(part, tile, 1)
            met = rows[:, None] * cols
            images = slice(int(tile["image0"]), int(tile["image0"]) + int(tile["images"]))
            for group in range(int(tile["groups"])):
                seen = self._nonzeros(part, tile, group)[:, images].sum(1)
                work = (seen * met).sum((1, 2))
                found["worst"][i] += work.max()
                found["work"][i] += work.sum()
                found["inputs"][i] += seen[:, met > 0].sum()
        return found

    def _nonzeros(self, part: Part, tile: Any, group: int) -> Values:
        """Nonzeros of each set's channels in the tile: (sets, images, rows, columns)."""
        sets, first = int(self.sets(tile["n"])[0]), int(tile["channel0"])

        def count() -> Values:
            values, limit = group_inputs(part, tile, group), self.spec.threshold
            mask = values != 0 if not limit else np.abs(values.astype(np.int64)) > limit
            return np.stack([mask[..., (s - first) % sets :: sets].sum(-1, dtype=np.int64) for s in range(sets)])

        made: Values = self.remember(
            part, (int(tile["group0"]) + group, first, int(tile["channels"]), sets), count
        )
        return made

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Nonzeros once a pass, a weight for each product; sums stay where they are added."""
        found = self._measured(part, tiles)
        reads = {"ifmap": found["inputs"] * self.sets(tiles["n"])[1], "filter": found["work"] * tiles["n"]}
        return reads, {"psum": tiles["groups"] * tiles["m"] * tiles["n"]}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A product and a sum for each contribution to each output map."""
        assert isinstance(times, SparseTimes)
        width, counts = self.spec.operand_bits, ActionCounts()
        counts.add("mac", f"mac_{width}x{width}", times.products)
        counts.add("accumulator", "write", times.products)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Products, the share of MACs that they keep busy, inputs that a threshold takes for zero."""
        assert isinstance(times, SparseTimes)
        cycles = int(times.stream.sum())
        info = {
            **super().info(part, tiles, times), "products": times.products,
            "multiplier_utilization": times.products / max(1, cycles * self.peak_macs_per_cycle({})),
        }  # fmt: skip
        if self.spec.threshold:
            size = np.abs(part.ifmap().astype(np.int64))
            info["dropped_inputs"] = int(((size > 0) & (size <= self.spec.threshold)).sum())
        return info


def _reach(part: Part, tile: Any, axis: int) -> Words:
    """For each input row (axis 0) or column (1), how many pairs of the tile's (output, tap) meet it."""
    loops = part.loops
    taps = np.arange(int(tile["tap0"]), int(tile["tap0"]) + int(tile["k"]) // int(tile["channels"]))
    if axis == 0:
        taps, size, pad, first, count = np.unique(taps // loops.s), loops.h, loops.pad_top, "row0", "rows"
    else:
        taps, size, pad, first, count = np.unique(taps % loops.s), loops.w, loops.pad_left, "col0", "cols"
    outputs = np.arange(int(tile[first]), int(tile[first]) + int(tile[count]))
    met = outputs[:, None] * loops.stride[axis] - pad + taps * loops.dilation[axis]
    return np.bincount(met[(met >= 0) & (met < size)], minlength=size)
