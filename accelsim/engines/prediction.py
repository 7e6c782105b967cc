"""Prediction-based execution: high-order input bits decide which outputs are worth their low-order bits.

Song et al., Prediction Based Execution on Deep Neural Networks, ISCA 2018. Serial PEs, filters along the rows and
output positions along the columns, take one input bit of one product a cycle. Of each set of positions all filters are
first computed with the high-order bits; where that sum is at or below `threshold`, the output of the ReLU is taken to
be 0. The others are then added up with the low-order bits: a column shares its inputs, so its outputs that are left
are packed into the rows; columns wait for each other at the end of each set of positions. Of a window of a max pooling
that follows, only the output with the largest predicted sum is executed (the first of equal ones; windows that lie in
one tile). There all predictions of a tile come first; then each row takes its filter's outputs, as many as there are
columns at a time, so that weights are shared instead of inputs, and rows wait for each other. Sums begin with the bias,
where the trace holds one.

Layers without a ReLU behind them, or whose sums do not fit one tile, take all bits of all outputs.
"""

from __future__ import annotations

from dataclasses import replace
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
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import (
    SparseEngine,
    SparseSpec,
    SparseTimes,
    biases,
    group_filters,
    group_inputs,
    whole_filters,
    whole_sums,
    windows,
)
from accelsim.engines.common.tiled import Tiles, TileTimes, WordTables
from accelsim.engines.kernels.pool_windows import PoolWindows, TileWindows, pool_behind
from accelsim.mapping.problem import Problem
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
        pooling: bool = pydantic.Field(
            default=True, description="predict which output of a max pooling's window is the largest, too"
        )

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """A product needs at least the high-order bits."""
        high: int = min(bits["ifmap"], self.spec.high_bits or -(-bits["ifmap"] // 2))
        return max(1, int(self.spec.rows * self.spec.cols) // high)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """The array's edges, whole sums."""
        loops = part.loops
        filters = whole_filters(part, int(self.spec.rows)) if self.predicts(part) else int(self.spec.rows)
        return int(self.spec.cols), filters, loops.channels * loops.window

    def _problem(self, part: Part, bits: dict[str, int]) -> Problem:
        """Sums are cut only where whole ones do not fit: of a part nothing can be told."""
        return replace(super()._problem(part, bits), whole_taps=self.predicts(part))

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
        """As if half of the outputs were left, or one of a window, and a round more; of parts of sums all."""
        spec, bits, sets = self.spec, part.bits("ifmap"), -(-n // self.spec.rows)
        whole = np.asarray(k) >= part.loops.channels * part.loops.window
        low = self.low_bits(part) if self.predicts(part) else 0
        positions, pool = -(-m // spec.cols), self._pool(part)
        rounds = positions * np.minimum(sets, -(-n // (2 * spec.rows)) + 1)
        if pool is not None:
            rounds = sets * np.minimum(positions, -(-m // (pool.stride[0] * pool.stride[1] * spec.cols)) + 1)
        rounds = np.where(whole, rounds, positions * sets)
        return k * (positions * sets * (bits - low) + rounds * low)

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
            worst = mean = left = 0
            for group in range(int(groups[i])):
                found = self._rounds(part, tile, group)
                worst, mean, left = (x + y for x, y in zip((worst, mean, left), found, strict=True))
            each = int(k[i]) * low
            cycles[i] = plain[i] // bits * (bits - low) + worst * each
            stalls[i] = (worst - mean) * each
            steps += int(groups[i] * tile["m"] * n[i] * k[i]) * (bits - low) + left * each
        plain_times = TileTimes.steps(cycles, stalls={"imbalance": stalls})
        return SparseTimes(**vars(plain_times), products=steps)

    def _rounds(self, part: Part, tile: Any, group: int) -> tuple[int, int, int]:
        """(rounds of the slowest, of the mean, outputs) that are executed: of columns, each with its position's inputs.

        Behind a max pooling rows take rounds, each with its filter's weights, for all positions of the tile.
        """
        spec, chosen = self.spec, self._chosen(part, tile, group)  # (positions, filters)
        packed, together = (spec.rows, spec.cols) if self._pool(part) is None else (spec.cols, spec.rows)
        left = chosen.sum(1 if self._pool(part) is None else 0, dtype=np.int64)
        rounds = np.pad(-(-left // packed), (0, -len(left) % together)).reshape(-1, together)
        used = np.minimum(together, len(left) - np.arange(len(rounds)) * together)
        return int(rounds.max(1).sum()), int((-(-rounds.sum(1) // used)).sum()), int(left.sum())

    def _pool(self, part: Part) -> PoolWindows | None:
        found: PoolWindows | None = self.remember(part, "pool", lambda: pool_behind(part))
        return found if self.spec.pooling else None

    def _chosen(self, part: Part, tile: Any, group: int) -> NDArray[np.bool_]:
        """Outputs (positions, filters) that are worth their low-order bits; errors are counted for `info`."""
        high, full = self._sums(part, tile, group)
        rest = high > self.spec.threshold
        pool = self._pool(part)
        if pool is None:
            lost = int((~rest & (full > 0)).sum())
        else:
            shape = (int(tile["images"]), int(tile["rows"]), int(tile["cols"]), -1)
            of = TileWindows(pool, (int(tile["row0"]), int(tile["col0"])), (shape[1], shape[2]))
            high, full, rest = (array.reshape(shape) for array in (high, full, rest))
            lost = 0
            if of.whole(0).any() and of.whole(1).any():
                rest &= of.winners(high)
                positive = np.maximum(full, 0)
                lost = int((of.largest(positive) > of.largest(np.where(rest, positive, 0))).sum())
            lost += int((of.open()[None, :, :, None] & ~rest & (full > 0)).sum())
            rest = rest.reshape(int(tile["m"]), -1)
        tally = self.remember(part, "tally", lambda: np.zeros(3, np.int64))
        tally += (rest.size, int(rest.sum()), lost)
        return np.asarray(rest)

    def _sums(self, part: Part, tile: Any, group: int) -> tuple[Any, Any]:
        """(sums of the high-order bits, whole sums) of a tile's group: (positions, filters), with biases."""
        low, first = self.low_bits(part), int(tile["output0"])
        begins = biases(part).reshape(part.loops.groups, -1)[int(tile["group0"]) + group]
        begins = begins[first : first + int(tile["n"])].astype(np.float64)
        filters = group_filters(part, tile, group).reshape(int(tile["n"]), -1).astype(np.float64).T
        seen = windows(part, tile, group_inputs(part, tile, group)).reshape(int(tile["m"]), -1).astype(np.int64)
        high, full = (np.zeros((len(seen), int(tile["n"]))) for _ in range(2))
        for at in range(0, len(seen), SUMS):  # sums of integers below 2**53: exact in floating point
            block = seen[at : at + SUMS]
            high[at : at + SUMS] = (block >> low << low).astype(np.float64) @ filters + begins
            full[at : at + SUMS] = block.astype(np.float64) @ filters + begins
        return high, full

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
        sums, executed, wrong = (int(x) for x in self.remember(part, "tally", lambda: np.zeros(3, np.int64)))
        if not self.predicts(part) or not sums:  # no sum is whole
            return {**info, "mode": "full"}
        return {**info, "mode": "predicted", "sums": sums, "executed": executed, "mispredicted": wrong}
