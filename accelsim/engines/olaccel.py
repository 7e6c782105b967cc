"""OLAccel: 4-bit multipliers for most operands, a few wide ones for the outliers (Park, Kim, Yoo, ISCA 2018).

A group has `lanes` multipliers of `normal_bits`, and one more for an outlier weight. It broadcasts one activation a
cycle to the weights of `lanes` outputs; zero activations are skipped. A chunk of weights with one outlier takes one
cycle, too, one with more takes two. Activations that do not fit `normal_bits` go to `outlier_groups` groups of
multipliers with a wide side, which work meanwhile: one activation a cycle for `lanes` outputs.

A job is one output position for `lanes` outputs. A group that has finished takes the next job (lower groups first);
jobs are ordered by outputs, then by position. A tile lasts until both kinds of groups are through.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.kernels import kernel
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.compressed import ifmap_nonzeros
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseSpec, group_filters, group_inputs, places, windows
from accelsim.engines.common.sparse_products import WEIGHTS, ProductEngine, splits, weight_key
from accelsim.engines.common.tiled import Tiles, TileTimes

_ROWS = 4096  # positions at a time, so that what their windows see stays small


@kernel
def in_turn(costs, loads):  # type: ignore[no-untyped-def]
    """Deal jobs of `costs` to workers, each to the one that is free first; returns when the last is finished."""
    end = 0
    for at in range(len(costs)):
        first = 0
        for worker in range(1, len(loads)):
            if loads[worker] < loads[first]:
                first = worker
        loads[first] += costs[at]
        end = max(end, loads[first])
    return end


@in_turn.warms_up_with
def _example() -> tuple[Any, ...]:
    return np.ones(3, np.int64), np.zeros(2, np.int64)


@ENGINES.register("olaccel")
class OlAccel(ProductEngine):
    """Groups of narrow multipliers beside groups for outliers."""

    kind: ClassVar[str] = "olaccel"
    skips: ClassVar[tuple[str, ...]] = ("ifmap",)

    class Spec(SparseSpec):
        """Parameters of the groups."""

        operand_bits: int = pydantic.Field(default=16, ge=2, le=32, description="bits of an outlier activation")
        weight_bits: int = pydantic.Field(default=8, ge=2, le=16, description="bits of an outlier weight")
        normal_bits: int = pydantic.Field(default=4, ge=1, le=15, description="bits of operands that are no outliers")
        groups: int = pydantic.Field(default=48, ge=1, le=4096, description="groups of narrow multipliers")
        outlier_groups: int = pydantic.Field(default=6, ge=1, le=4096, description="groups for outlier activations")
        lanes: int = pydantic.Field(default=16, ge=1, le=256, description="outputs of a group: weights of a chunk")
        place_bits: int = pydantic.Field(default=24, ge=0, le=64, description="coordinates stored with an outlier")
        chunk_bits: int = pydantic.Field(default=80, ge=1, le=4096, description="bits of a stored chunk of weights")
        latency: int = pydantic.Field(default=1, ge=0, le=100, description="until a finished sum is in its buffer")

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Up to the bits of outliers."""
        return {
            "ifmap": tuple(range(1, self.spec.operand_bits + 1)), "filter": tuple(range(1, self.spec.weight_bits + 1)),
        }  # fmt: skip

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """Both kinds of groups."""
        return int((self.spec.groups + self.spec.outlier_groups) * self.spec.lanes)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Narrow multipliers, one wider for each group, and the mixed ones of the outlier groups."""
        spec = self.spec
        small = spec.normal_bits
        return [
            mac_rows(model, [(small, small)], acc_bits=24, count=spec.groups * spec.lanes),
            mac_rows(model, [(small, spec.weight_bits)], acc_bits=24, count=spec.groups, name="outlier_weight_mac"),
            mac_rows(
                model, [(spec.operand_bits, spec.weight_bits)], acc_bits=24,
                count=spec.outlier_groups * (spec.lanes + 1), name="outlier_mac",
            ),
            register_rows(model, "accumulator", 24, count=(spec.groups + spec.outlier_groups) * spec.lanes),
        ]  # fmt: skip

    # --- operands ---

    def _large(self, values: NDArray[Any], bits: int, signed: bool) -> NDArray[np.bool_]:
        """What does not fit `normal_bits`; the sign takes one of them."""
        normal = min(int(self.spec.normal_bits), bits)
        top = 2 ** (normal - 1) - 1 if signed and normal > 1 else 2**normal - 1
        return np.asarray((values > top) | (values < (-top - 1 if signed else 0)))

    def large_inputs(self, part: Part, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Outlier activations."""
        return self._large(values, part.bits("ifmap"), part.signed("ifmap"))

    def chunks(self, part: Part, tile: Any) -> NDArray[np.int64]:
        """Outlier weights of each chunk: int64 (groups, chunks, taps, channels)."""
        found: NDArray[np.int64] = self.remember(part, weight_key(tile), lambda: self._chunks(part, tile))
        return found

    def _stored(self, part: Part, tile: Any, key: tuple[int, ...]) -> int:
        """Chunks that a tile's weights take; `key`: as `weight_key`."""

        def count() -> int:
            chunks = self.chunks(part, tile)
            return chunks.size + int((chunks > 1).sum())

        found: int = self.remember(part, ("stored", *key), count)
        return found

    def _chunks(self, part: Part, tile: Any) -> NDArray[np.int64]:
        lanes, out = int(self.spec.lanes), []
        for group in range(int(tile["groups"])):
            weights = group_filters(part, tile, group)
            large = self._large(weights, part.bits("filter"), part.signed("filter"))
            out.append(np.add.reduceat(large, np.arange(0, len(large), lanes), axis=0, dtype=np.int64))
        return np.array(out)

    # --- tiles ---

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A position, a chunk's outputs, one input."""
        return 1, int(self.spec.lanes), 1

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Live activations over the groups."""
        live = max(1, round(part.density("ifmap") * 1024))
        jobs = m * -(-n // self.spec.lanes)
        return -(-jobs // self.spec.groups) * np.maximum(1, k * live // 1024)

    def stored_bits(self, part: Part) -> dict[str, int]:
        """Chunks of weights; activations in `normal_bits`, and outliers beside them."""
        spec, bits = self.spec, dict(part.task.bits)
        bits["filter"] = -(-int(spec.chunk_bits) // int(spec.lanes))
        bits["ifmap"] = min(bits["ifmap"], int(spec.normal_bits))
        return bits

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """A second chunk where one has several outliers; value and place of outlier activations."""
        spec = self.spec
        loads = np.flatnonzero(tiles["filter_bytes"])
        if len(loads):
            first, which = places(tiles[loads], WEIGHTS)
            keys = tiles[loads[first]][list(WEIGHTS)].tolist()
            kinds = zip(loads[first].tolist(), keys, strict=True)
            counts = np.array([self._stored(part, tiles[row], key) for row, key in kinds], np.int64)
            tiles["filter_bytes"][loads] = -(-counts * int(spec.chunk_bits) // 8)[which]
        fetched = tiles["ifmap_bytes"] > 0
        if dict(part.roles).get("ifmap") != "ifmap" or part.operand("ifmap") is None or not fetched.any():
            return ("filter",)
        large = ifmap_nonzeros(part, tiles, self.large_inputs(part, part.ifmap()))
        bits = self._elements(part, tiles, "ifmap") * min(part.task.bits["ifmap"], int(spec.normal_bits))
        sizes = np.maximum(1, -(-(bits + large * (spec.operand_bits + spec.place_bits)) // 8))
        tiles["ifmap_bytes"] = np.where(fetched, sizes, 0)
        return ("ifmap", "filter")

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """Jobs of both kinds of groups, from the real operands."""
        spec, m = self.spec, int(tile["m"])
        chunks = self.chunks(part, tile)
        cycles = late = live = wide = outliers = 0
        for group in range(len(chunks)):
            flat = chunks[group].reshape(len(chunks[group]), -1)
            jobs, others, by_input = self._jobs(part, tile, group, (1 + (flat > 1)).T.astype(np.float32))
            ends = []
            for costs, workers in ((jobs, spec.groups), (others, spec.outlier_groups)):
                ends.append(int(in_turn(costs.T.reshape(-1), np.zeros(int(workers), np.int64))))
            cycles += max(ends)
            late += max(0, max(ends) - -(-int(jobs.sum()) // int(spec.groups)))
            live += int(by_input.sum())
            wide += int(others[:, 0].sum())
            outliers += int(by_input @ flat.sum(0))
        n, k, groups = int(tile["n"]), int(tile["k"]), int(tile["groups"])
        return {
            "cycles": cycles, **splits(cycles, {"imbalance": late}),
            "products": live * n - outliers, "entries": outliers, "padding": wide * n,
            "ifmap_words": groups * m * k * -(-n // spec.lanes), "filter_words": (live + wide) * n,
            "psum_words": groups * m * n,
        }  # fmt: skip

    def _jobs(
        self, part: Part, tile: Any, group: int, turns: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Cycles of each job (positions, chunks) in groups of either kind; live narrow inputs, int64 (k,)."""
        inputs = group_inputs(part, tile, group)
        large = self.large_inputs(part, inputs)
        seen = windows(part, tile, np.where(large, 2, inputs != 0).astype(np.int8))
        seen = seen.reshape(len(seen), -1)
        jobs, wide = [], []
        by_input = np.zeros(seen.shape[1], np.int64)
        for at in range(0, len(seen), _ROWS):
            rows = seen[at : at + _ROWS]
            live = rows == 1
            jobs.append(np.rint(live.astype(np.float32) @ turns).astype(np.int64))  # exact: sums are far below 2**24
            by_input += live.sum(0)
            wide.append(np.repeat((rows == 2).sum(1, dtype=np.int64)[:, None], turns.shape[1], axis=1))
        return np.concatenate(jobs), np.concatenate(wide), by_input

    def tail(self, part: Part) -> int:
        """Sums on their way."""
        return int(self.spec.latency)

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Narrow products, those with an outlier weight, those with an outlier activation."""
        spec, counts = self.spec, ActionCounts()
        narrow, wide, outliers = (int(tiles[name].sum()) for name in ("products", "padding", "entries"))
        counts.add("mac", f"mac_{spec.normal_bits}x{spec.normal_bits}", narrow)
        counts.add("outlier_weight_mac", f"mac_{spec.normal_bits}x{spec.weight_bits}", outliers)
        counts.add("outlier_mac", f"mac_{spec.operand_bits}x{spec.weight_bits}", wide)
        counts.add("accumulator", "write", narrow + outliers + wide)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Products by kind: narrow, with an outlier weight, with an outlier activation."""
        macs = int((tiles["m"] * tiles["n"] * tiles["k"] * tiles["groups"]).sum())
        busy = int(times.busy.sum())
        share = macs / (busy * self.peak_macs_per_cycle({})) if busy else 0.0
        return {
            "narrow_products": int(tiles["products"].sum()), "outlier_weight_products": int(tiles["entries"].sum()),
            "outlier_activation_products": int(tiles["padding"].sum()), "spatial_utilization": min(1.0, share),
        }  # fmt: skip
