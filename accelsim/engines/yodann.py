"""YodaNN: binary weights select the sign of activations, which adder trees sum (Andri et al., TCAD 37(1), 2018).

`sops` sum-of-products units see the same window of one input channel; each has the weights of another output channel
(of two with kernels that fit half of its slots). A cycle takes one input channel of one output position, so a block
of `channels` inputs and all units takes channels x positions cycles. Slots are 7 x 7, 5 x 5 or 3 x 3; smaller kernels
leave taps idle, larger ones are cut into pieces.

The sums of a position leave while the next is computed, `results_per_cycle` for each output channel of a unit; so with
few input channels a position lasts as long as its results take.

Before a block the window's first columns are filled, one pixel a cycle, and the weights, `weight_bits_per_cycle` bits a
cycle; both only while nothing else streams, since they come through the same port.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.spec import Spec
from accelsim.energy.costs import Component
from accelsim.energy.figures import composed
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.stepped import StepEngine, macs_of
from accelsim.engines.common.tiled import Tiles, TileTimes, WordTables
from accelsim.mapping.problem import Problem

#: (side of the slot, output channels of a unit): TCAD 2018, Section III.
SLOTS = ((3, 2), (5, 1), (7, 1))


@ENGINES.register("yodann")
class YodaNN(StepEngine):
    """Sum-of-products units with binary weights."""

    kind: ClassVar[str] = "yodann"
    data_dependent: ClassVar[bool] = False
    coded: ClassVar[tuple[str, ...]] = ("filter",)
    remedies: ClassVar[dict[str, str]] = {
        "filter": "the recipe step `binary` makes it so", "ifmap": "quantize it with `uniform`",
    }

    class Spec(Spec):
        """Parameters of the units."""

        sops: int = pydantic.Field(default=32, ge=1, le=1024, description="sum-of-products units: output channels")
        channels: int = pydantic.Field(default=32, ge=1, le=1024, description="input channels of a block")
        activation_bits: int = pydantic.Field(default=12, ge=1, le=32, description="widest activation")
        weight_bits_per_cycle: int = pydantic.Field(default=12, ge=1, le=1024, description="weights loaded in a cycle")
        results_per_cycle: int = pydantic.Field(
            default=0, ge=0, le=1024,
            description="sums that leave in a cycle, times the output channels of a unit; 0: any number",
        )
        multiple_kernels: bool = pydantic.Field(default=True, description="slots of 3 x 3 and 5 x 5 beside 7 x 7")

    def slot(self, part: Part) -> tuple[int, int, int]:
        """(side, output channels of a unit, pieces of a kernel)."""
        taps_r, taps_s = part.loops.r, part.loops.s
        side, outputs = next(
            (slot for slot in SLOTS if slot[0] >= max(taps_r, taps_s) and (self.spec.multiple_kernels or slot[0] == 7)),
            SLOTS[-1],
        )
        return side, outputs, -(-taps_r // side) * -(-taps_s // side)

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """7 x 7 kernels fill the units."""
        return int(self.spec.sops) * 49

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Binary weights."""
        return {"ifmap": tuple(range(1, self.spec.activation_bits + 1)), "filter": (1,)}

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """A tap: a multiplexer that takes the activation or its negation, and its share of a tree of 49 inputs."""
        spec, width = self.spec, self.spec.activation_bits
        tree = model.adder_tree_pj(49, width)
        tap = composed("select or negate + 1/49 of an adder tree", (1, model.op_pj("mux", width)), (1 / 49, tree))
        areas = (model.op_area_mm2("mux", width), model.op_area_mm2("add", width))
        area = composed("taps of a unit: multiplexers and adders", (49, areas[0]), (48, areas[1]))
        sums = composed("sum + its register", (1, model.add_pj(bits["psum"])), (1, model.register_pj(bits["psum"])))
        return [
            component("sop", {"tap": tap, "sum": sums}, area=area, leakage=model.logic_leak_mw(float(area)),
                      count=spec.sops),
            register_rows(model, "weight_register", spec.channels * 49, count=spec.sops),
            register_rows(model, "accumulator", bits["psum"], count=2 * spec.sops),
        ]  # fmt: skip

    # --- tiles ---

    def _problem(self, part: Part, bits: dict[str, int]) -> Problem:
        return replace(super()._problem(part, bits), whole_taps=True)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A position, the outputs of all units, a block of channels."""
        return 1, self.spec.sops * self.slot(part)[1], self.spec.channels * part.loops.window

    def tile_cycles(self, part: Part, m: Any, n: Any, channels: Any, taps: Any) -> Any:
        """Streaming alone: a position of a block lasts as long as its channels or its results take."""
        _, outputs, pieces = self.slot(part)
        whole, block = self.spec.sops * outputs, self.spec.channels
        steps = 0
        for sets, size in ((n // whole, whole), (n % whole > 0, n % whole)):
            leave = self.leaving(part, size)
            rest = channels % block
            each = channels // block * np.maximum(block, leave) + (rest > 0) * np.maximum(rest, leave)
            steps = steps + sets * each
        return steps * pieces * m

    def leaving(self, part: Part, results: Any) -> Any:
        """Cycles in which the results of a position leave."""
        each = self.slot(part)[1] * self.spec.results_per_cycle
        return -(-results // each) if each else 0 * results

    def fills(self, part: Part, tiles: Tiles) -> Any:
        """Cycles to fill windows and weights before the blocks of a tile, all groups."""
        side, outputs, pieces = self.slot(part)
        n, channels = tiles["n"], tiles["channels"]
        sets = -(-n // (self.spec.sops * outputs))
        width = np.minimum(part.loops.s, side) - 1
        pixels = sets * pieces * channels * tiles["images"] * tiles["in_rows"] * width
        # a block's weights follow those of the block before without a gap
        weights = -(-(n * channels * part.loops.window) // self.spec.weight_bits_per_cycle)
        return tiles["groups"] * (pixels + weights)

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Fill, then a cycle for each channel and position of each block, or for its results; the last ones leave."""
        groups, m, n, channels = (tiles[x] for x in ("groups", "m", "n", "channels"))
        stream = groups * self.tile_cycles(part, m, n, channels, 1)
        fill = self.fills(part, tiles)
        none = np.zeros_like(stream)
        _, outputs, pieces = self.slot(part)
        whole = self.spec.sops * outputs
        last = np.maximum(1, self.leaving(part, (n - 1) % whole + 1))
        busy = groups * -(-n // whole) * pieces * channels * m
        return TileTimes(none, none, fill + stream, fill + stream + last, busy)

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """A pixel enters a window once for each block; sums of a block of channels are read and added to."""
        side, outputs, pieces = self.slot(part)
        groups, n, channels, m = (tiles[x] for x in ("groups", "n", "channels", "m"))
        sets = -(-n // (self.spec.sops * outputs))
        pixels = tiles["images"] * tiles["in_rows"] * (tiles["cols"] + min(part.loops.s, side) - 1)
        visits = -(-channels // self.spec.channels) * pieces
        sums = groups * m * n
        reads = {"ifmap": groups * sets * pieces * channels * pixels, "filter": groups * n * tiles["k"]}
        return {**reads, "psum": sums * (visits - 1)}, {"psum": sums * visits}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Taps of real kernels (idle slots are silenced), a sum for each output and channel."""
        groups, m, n, channels = (tiles[x] for x in ("groups", "m", "n", "channels"))
        counts = ActionCounts()
        counts.add("sop", "tap", macs_of(tiles))
        counts.add("sop", "sum", int((groups * m * n * channels).sum()) * self.slot(part)[2])
        counts.add("weight_register", "write_bit", int((groups * n * tiles["k"]).sum()))
        counts.add("accumulator", "write", int((groups * m * n).sum()))
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Slot and pieces of the kernels."""
        side, outputs, pieces = self.slot(part)
        extra = {"slot": side, "outputs_per_unit": outputs, "pieces": pieces}
        return {**extra, **super().info(part, tiles, times)}
