"""Prediction-based execution: high-order input bits decide which outputs are worth their low-order bits.

Song et al., Prediction Based Execution on Deep Neural Networks, ISCA 2018. Serial PEs, filters along the rows and
output positions along the columns, take one input bit of one product a cycle. Of each set of positions all filters are
first computed with the high-order bits; where that sum is at or below `threshold`, the output of the ReLU is taken to
be 0. The others are then added up with the low-order bits: a column shares its inputs, so its outputs that are left
are packed into the rows; columns wait for each other at the end of each set of positions.

Layers without a ReLU behind them, or whose sums do not fit one tile, take all bits of all outputs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.part import Part
from accelsim.engines.skip_tiles import (
    SparseEngine,
    SparseSpec,
    SparseTimes,
    group_filters,
    group_inputs,
    whole_sums,
    windows,
)
from accelsim.engines.tiled import Tiles, TileTimes, WordTables
from accelsim.workload.ops import Activation, Conv, Linear
from accelsim.workload.tensors import fused_output

SUMS = 2048
"""Output positions whose sums are computed at a time."""


@ENGINES.register("prediction")
class Prediction(SparseEngine):
    """Serial PEs in rows and columns."""

    kind: ClassVar[str] = "prediction"

    class Spec(SparseSpec):
        """Parameters of the array and of the prediction."""

        rows: int = pydantic.Field(default=16, ge=1, le=1024, description="filters at a time")
        cols: int = pydantic.Field(default=16, ge=1, le=1024, description="output positions at a time")
        high_bits: int = pydantic.Field(
            default=0, ge=0, le=32, description="input bits that a prediction looks at; 0: half of them, rounded up"
        )
        threshold: int = pydantic.Field(
            default=0, ge=-(2**62), le=2**62,
            description="a predicted sum at or below it is taken for 0, in units of the integers' products",
        )  # fmt: skip
        predict: bool = pydantic.Field(default=True, description="false: all bits of all outputs, the plain twin")

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """A product needs at least the high-order bits."""
        high: int = min(bits["ifmap"], self.spec.high_bits or -(-bits["ifmap"] // 2))
        return max(1, int(self.spec.rows * self.spec.cols) // high)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """The array's edges, whole sums."""
        loops = part.loops
        return int(self.spec.cols), int(self.spec.rows), loops.channels * loops.window

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Serial multipliers with their sums."""
        spec, pes = self.spec, self.spec.rows * self.spec.cols
        step = model.bit_serial_step_pj(spec.operand_bits, 1, bits["psum"])
        area = model.bit_serial_area_mm2(spec.operand_bits, 1, bits["psum"])
        leak = model.logic_leak_mw(float(area))
        return [
            component("serial_unit", {"step": step}, area=area, leakage=leak, count=pes),
            register_rows(model, "synapse_register", spec.operand_bits, count=pes),
        ]

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """As if half of the outputs were left, and a round more; nothing can be predicted from parts of sums."""
        spec, bits, sets = self.spec, part.bits("ifmap"), -(-n // self.spec.rows)
        whole = np.asarray(k) >= part.loops.channels * part.loops.window
        low = self.low_bits(part) if self.predicts(part) else 0
        rounds = np.where(whole, np.minimum(sets, -(-n // (2 * spec.rows)) + 1), sets)
        return -(-m // spec.cols) * k * (sets * (bits - low) + rounds * low)

    def predicts(self, part: Part) -> bool:
        """Whether the layer's outputs go through a ReLU, and some bits are left for later."""
        layer = part.task.layer
        if not self.spec.predict or not isinstance(layer.op, Conv | Linear) or not whole_sums(part):
            return False
        if self.low_bits(part) == 0:
            return False
        last = fused_output(part.task.trace.network, layer)
        return isinstance(last.op, Activation) and last.op.mode in ("relu", "relu6")

    def low_bits(self, part: Part) -> int:
        """Input bits that come second."""
        bits = part.bits("ifmap")
        return max(0, bits - int(self.spec.high_bits)) if self.spec.high_bits else bits // 2

    def times(self, part: Part, tiles: Tiles) -> SparseTimes:
        """Prediction and execution of each set of positions, one after another."""
        spec, bits = self.spec, part.bits("ifmap")
        k, n, groups = tiles["k"], tiles["n"], tiles["groups"]
        sets = -(-tiles["m"] // spec.cols)
        plain = groups * sets * -(-n // spec.rows) * k * bits
        outputs = int((groups * tiles["m"] * n * k).sum())
        if not self.predicts(part):
            return SparseTimes(**vars(TileTimes.steps(plain)), products=outputs * bits)
        low = self.low_bits(part)
        self.remember(part, "tally", lambda: np.zeros(3, np.int64))[:] = 0
        cycles, stalls, steps = plain.copy(), np.zeros_like(plain), 0
        for i, tile in enumerate(tiles):
            if not (tile["first_k"] and tile["last_k"]):
                steps += int(groups[i] * tile["m"] * n[i] * k[i]) * bits
                continue
            left = np.stack([self._left(part, tile, g) for g in range(int(groups[i]))])  # (groups, positions)
            rounds = -(-left // spec.rows)
            padded = np.pad(rounds, ((0, 0), (0, -rounds.shape[1] % spec.cols)))
            each = padded.reshape(len(left), -1, spec.cols)
            worst = int(each.max(2).sum()) * int(k[i]) * low
            used = np.minimum(spec.cols, int(tile["m"]) - np.arange(each.shape[1]) * spec.cols)
            mean = int((-(-each.sum(2) // used)).sum()) * int(k[i]) * low
            cycles[i] = plain[i] // bits * (bits - low) + worst
            stalls[i] = worst - mean
            steps += int(groups[i] * tile["m"] * n[i] * k[i]) * (bits - low) + int(left.sum()) * int(k[i]) * low
        plain_times = TileTimes.steps(cycles, stalls={"imbalance": stalls})
        return SparseTimes(**vars(plain_times), products=steps)

    def _left(self, part: Part, tile: Any, group: int) -> NDArray[np.int64]:
        """Outputs of each position that are worth their low-order bits; errors are counted for `info`."""
        low = self.low_bits(part)
        filters = group_filters(part, tile, group).reshape(int(tile["n"]), -1).astype(np.float64).T
        seen = windows(part, tile, group_inputs(part, tile, group)).reshape(int(tile["m"]), -1).astype(np.int64)
        tally = self.remember(part, "tally", lambda: np.zeros(3, np.int64))
        left = np.zeros(len(seen), np.int64)
        for at in range(0, len(seen), SUMS):  # sums of integers below 2**53: exact in floating point
            block = seen[at : at + SUMS]
            high = (block >> low << low).astype(np.float64) @ filters
            rest = high > self.spec.threshold
            left[at : at + SUMS] = rest.sum(1)
            lost = ~rest & (block.astype(np.float64) @ filters > 0)
            tally += (rest.size, int(rest.sum()), int(lost.sum()))
        return left

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Each input once for the filters of a step, each weight once for its positions, sums once."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        reads = {"ifmap": groups * m * k * -(-n // self.spec.rows), "filter": groups * n * k * -(-m // self.spec.cols)}
        return reads, {"psum": groups * m * n}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A step for each bit of each product that is computed; a weight is taken once for all its bits."""
        assert isinstance(times, SparseTimes)
        counts = ActionCounts()
        counts.add("serial_unit", "step", times.products)
        counts.add("synapse_register", "write", ceil_div(times.products, part.bits("ifmap")))
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Outputs, those that were executed in full, and those above 0 that were taken for 0."""
        info = super().info(part, tiles, times)
        if not self.predicts(part):
            return {**info, "mode": "full"}
        sums, executed, wrong = (int(x) for x in self.remember(part, "tally", lambda: np.zeros(3, np.int64)))
        return {**info, "mode": "predicted", "sums": sums, "executed": executed, "mispredicted": wrong}
