"""SnaPEA: sums that a ReLU will cut stop as soon as this is known, or likely (Akhlaghi et al., ISCA 2018).

The weights of a filter come in the order of the encoding `sign_order`. In exact mode a sum stops at the first negative
value among its negative weights; with a speculative prefix also after the prefix, if it is at or below the filter's
threshold, and is then taken to be 0. The lanes of a PE work on neighbouring output positions with one stream of
weights, so all wait for the slowest. Positions are dealt to the rows of PEs, filters to the columns.

Sums begin with the bias, where the trace holds one; the threshold is of the speculative products alone. Layers without
a ReLU behind them, with negative inputs, or whose sums do not fit one tile, are computed in full.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows, scratchpad_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import (
    SparseEngine,
    SparseSpec,
    SparseTimes,
    biases,
    group_filters,
    group_inputs,
    pe_times,
    whole_filters,
    whole_sums,
    windows,
)
from accelsim.engines.common.tiled import Tiles, TileTimes, WordTables
from accelsim.engines.kernels.snapea import FINISHED, KNOWN, RIGHT, WRONG, early_stops
from accelsim.mapping.problem import Problem
from accelsim.workload.encodings.sign_order import sign_order
from accelsim.workload.ops import Activation, Conv, Linear
from accelsim.workload.tensors import fused_output, signed_outputs

SUMS = 1024
"""Sums of a filter that are followed at a time: their totals stay in the nearest cache."""

VERDICTS = {"early_stops": KNOWN, "predicted": RIGHT, "mispredicted": WRONG}


@ENGINES.register("snapea")
class Snapea(SparseEngine):
    """Rows and columns of PEs, each with a few lanes."""

    kind: ClassVar[str] = "snapea"
    skips: ClassVar[tuple[str, ...]] = ("filter",)

    class Spec(SparseSpec):
        """Parameters of SnaPEA."""

        rows: int = pydantic.Field(default=8, ge=1, le=256, description="rows of PEs: output positions")
        cols: int = pydantic.Field(default=8, ge=1, le=256, description="columns of PEs: filters")
        lanes: int = pydantic.Field(default=4, ge=1, le=256, description="output positions of a PE at a time")
        early: bool = pydantic.Field(default=True, description="false: every sum is computed in full, the dense twin")
        latency_cycles: int = pydantic.Field(
            default=3, ge=0, le=64, description="after the last input: multiply, add, write"
        )

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each lane."""
        return int(self.spec.rows * self.spec.cols * self.spec.lanes)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """Positions and filters of the array, whole sums."""
        loops = part.loops
        filters = int(self.spec.cols) if self.ordered(part) is None else whole_filters(part, int(self.spec.cols))
        return int(self.spec.rows * self.spec.lanes), filters, loops.channels * loops.window

    def _problem(self, part: Part, bits: dict[str, int]) -> Problem:
        """Sums are cut only where whole ones do not fit: of a part nothing can be told."""
        return replace(super()._problem(part, bits), whole_taps=self.ordered(part) is not None)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """MACs, sums, and the buffer of places in each PE."""
        spec, lanes = self.spec, self.peak_macs_per_cycle({})
        return [
            mac_rows(model, [(spec.operand_bits, spec.operand_bits)], acc_bits=bits["psum"], count=lanes),
            register_rows(model, "accumulator", bits["psum"], count=lanes),
            scratchpad_rows(model, "index_buffer", 512, 16, count=spec.rows * spec.cols),
        ]

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Of sums that are computed in full; parts of sums count twice, as they cannot stop early."""
        spec, loops = self.spec, part.loops
        parts = 1 + (np.asarray(k) < loops.channels * loops.window)
        return -(-m // (spec.rows * spec.lanes)) * -(-n // spec.cols) * k * parts

    # --- which layers stop early ---

    def ordered(self, part: Part) -> tuple[NDArray[Any], ...] | None:
        """(order, counts, biases, thresholds with them) of all filters, or None where every sum is computed in full.

        Raises
        ------
        ConfigError
            If a layer could stop early, but its weights are stored in another order; or if it has negative inputs.
        """
        found: Any = self.remember(part, "ordered", lambda: self._ordered(part))
        return found  # type: ignore[no-any-return]

    def _ordered(self, part: Part) -> Any:
        layer, trace, operand = part.task.layer, part.task.trace, part.operand("filter")
        if not self.spec.early or operand is None or not isinstance(layer.op, Conv | Linear) or not whole_sums(part):
            return None
        last = fused_output(trace.network, layer)
        behind = isinstance(last.op, Activation) and last.op.mode in ("relu", "relu6")
        if operand.encoding != "sign_order":
            if not behind or signed_outputs(trace.network)[layer.inputs[0]]:
                return None
            if operand.generator is None:
                what = (
                    "filter must have encoding sign_order for engine 'snapea', got "
                    f"{operand.encoding!r}; add {{step: early_negative}} to the recipe, or set engine.early to false"
                )
                raise ConfigError(what, part.where)
        if (part.ifmap() < 0).any():
            raise ConfigError("ifmap must not be negative for sums that stop early", part.where)
        values = part.filters()
        prefix = int(operand.meta.get("prefix", 0)) if operand.encoding == "sign_order" else 0
        flat = values.reshape(values.shape[0] * values.shape[1], -1)
        order, counts = sign_order(flat, prefix)
        limits = np.zeros(len(flat), np.int64)
        if prefix:  # sums are integers: at or below a threshold is at or below its floor
            limits = np.floor(operand.payload()["thresholds"].astype(np.float64)).astype(np.int64)
            share = part.task.share
            if share is not None:
                first = share.group0 * (share.whole.m // getattr(share.whole, "g", 1)) + share.output0
                limits = limits[first : first + len(flat)]
        begins = biases(part)
        return order, counts, begins, begins + limits

    # --- times ---

    def times(self, part: Part, tiles: Tiles) -> SparseTimes:
        """Each PE lasts as long as the sum of its steps, a step as its slowest lane."""
        self.remember(part, "verdicts", lambda: np.zeros(4, np.int64))[:] = 0
        found = np.array([self._tile(part, tile) for tile in tiles], np.int64)
        worst, work, lanes, products = (found[:, i] for i in range(4))
        none = np.zeros_like(work)
        return pe_times(
            worst, work, none, lanes, latency=self.spec.latency_cycles, products=int(products.sum()),
            lookups=int(work.sum()),
        )  # fmt: skip

    def _tile(self, part: Part, tile: Any) -> tuple[int, int, int, int]:
        """(cycles of the slowest PE, of all lanes, lanes that take part, products)."""
        spec, m = self.spec, int(tile["m"])
        filters = int(tile["groups"] * tile["n"])
        steps = -(-m // spec.lanes)
        used = min(spec.rows, steps) * min(spec.cols, filters) * min(spec.lanes, m)
        order = self.ordered(part)
        if order is None or not (tile["first_k"] and tile["last_k"]):
            k = int(tile["k"])
            worst = -(-steps // spec.rows) * -(-filters // spec.cols) * k
            return worst, m * filters * k, used, m * filters * k
        made = np.concatenate([self._made(part, tile, g, order) for g in range(int(tile["groups"]))])
        lasts = np.maximum(1, made)
        work = int(lasts.sum())
        lasts = np.pad(lasts, ((0, -filters % spec.cols), (0, steps * spec.lanes - m)))
        step = lasts.reshape(len(lasts), steps, spec.lanes).max(2)
        step = np.pad(step, ((0, 0), (0, -steps % spec.rows)))
        pes = step.reshape(-1, spec.cols, step.shape[1] // spec.rows, spec.rows).sum((0, 2), dtype=np.int64)
        return int(pes.max()), work, used, int(made.sum(dtype=np.int64))

    def _made(self, part: Part, tile: Any, group: int, order: Any) -> NDArray[np.int32]:
        """Products of each (filter, position) of a group of the tile; verdicts are added up for `info`."""
        loops = part.loops
        first = (int(tile["group0"]) + group) * loops.outputs + int(tile["output0"])
        rows = slice(first, first + int(tile["n"]))
        places, counts, begins, limits = (array[rows] for array in order)
        # `places` are by channel, then tap; windows by tap, then channel
        channels, taps = loops.channels, loops.window
        moved = (places % taps * channels + places // taps).astype(np.int32)
        flat = group_filters(part, tile, group).reshape(len(moved), -1).astype(np.int32)
        weights = np.take_along_axis(flat, moved, 1)
        seen = windows(part, tile, group_inputs(part, tile, group)).reshape(int(tile["m"]), -1)
        made = np.zeros((len(moved), len(seen)), np.int32)
        tally = self.remember(part, "verdicts", lambda: np.zeros(4, np.int64))
        for at in range(0, len(seen), SUMS):
            block = np.ascontiguousarray(seen[at : at + SUMS].T.astype(np.int32))
            verdict = np.zeros((len(moved), block.shape[1]), np.uint8)
            out = np.zeros(verdict.shape, np.int32)
            early_stops(block, weights, moved, counts, begins, limits, out, verdict)
            made[:, at : at + SUMS] = out
            tally += np.bincount(verdict.ravel(), minlength=4)
        return made

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Inputs and weights as often as all sums in full take them, an upper bound."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        reads = {
            "ifmap": groups * m * k * -(-n // self.spec.cols),
            "filter": groups * n * k * -(-m // (self.spec.rows * self.spec.lanes)),
        }
        return reads, {"psum": groups * m * n}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A product and a sum for each that is made; a place for all lanes of a PE."""
        assert isinstance(times, SparseTimes)
        width, counts = self.spec.operand_bits, ActionCounts()
        counts.add("mac", f"mac_{width}x{width}", times.products)
        counts.add("accumulator", "write", times.products)
        counts.add("index_buffer", "read", -(-times.lookups // self.spec.lanes))
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Mode, products, and how many sums stopped: known negative, taken for it rightly, and wrongly."""
        assert isinstance(times, SparseTimes)
        info = {**super().info(part, tiles, times), "products": times.products}
        tally = self.remember(part, "verdicts", lambda: np.zeros(4, np.int64))
        if self.ordered(part) is None or not tally.any():  # no sum is whole
            return {**info, "mode": "full"}
        names = {name: int(tally[code]) for name, code in VERDICTS.items()}
        predicted = names["predicted"] + names["mispredicted"]
        return {
            **info, "mode": "early", "sums": int(tally.sum()), "finished": int(tally[FINISHED]), **names,
            "predicted": predicted,
        }  # fmt: skip
