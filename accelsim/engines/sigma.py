"""SIGMA-like: nonzero weights packed onto all multipliers, inputs sent to those that need them, flexible reduction.

Qin et al., SIGMA: A Sparse and Irregular GEMM Accelerator with Flexible Interconnects for DNN Training, HPCA 2020.
Weights that are not 0, and whose inputs are not 0 in all rows, fill the multipliers one after another, filter by
filter: a fold. It is loaded, `bandwidth` weights a cycle, and then meets the rows of inputs: each takes as many cycles
as its nonzeros that the fold needs at `bandwidth` a cycle, at least 1. The reduction network adds sums of any length,
in log2(multipliers) cycles. Zeros of a row that others need leave their multipliers idle.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, noc_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseSpec
from accelsim.engines.common.sparse_products import ProductEngine, input_rows, splits, weight_mask
from accelsim.engines.common.tiled import Tiles, TileTimes


@ENGINES.register("sigma")
class Sigma(ProductEngine):
    """Folds of nonzero weights."""

    kind: ClassVar[str] = "sigma"
    masked: ClassVar[tuple[str, ...]] = ("ifmap", "filter")

    class Spec(SparseSpec):
        """Parameters of the multipliers and their networks."""

        multipliers: int = pydantic.Field(default=16384, ge=1, le=2**20, description="multipliers, of all engines")
        bandwidth: int = pydantic.Field(default=128, ge=1, le=2**16, description="operands that enter in a cycle")
        hop_mm: float = pydantic.Field(default=0.1, gt=0, description="wire of a stage of the networks, mm")

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """All multipliers."""
        return int(self.spec.multipliers)

    @property
    def depth(self) -> int:
        """Levels of the reduction, and of the way in."""
        return int(self.spec.multipliers - 1).bit_length()

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Multipliers with their weights, and switches."""
        spec, width = self.spec, self.spec.operand_bits
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=spec.multipliers),
            register_rows(model, "weight_register", width, count=spec.multipliers),
            noc_rows(model, bits["psum"], spec.hop_mm, routers=spec.multipliers, depth_flits=1, ports=3),
        ]

    def unit(self, part: Part) -> tuple[int, int, int]:
        """Any tile."""
        return 1, 1, 1

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Folds at the mean densities."""
        live, held = (max(1, round(1024 * part.density(o))) for o in ("ifmap", "filter"))
        folds = -(-n * k * held // (1024 * self.spec.multipliers))
        fill = -(-np.minimum(self.spec.multipliers, n * k) // self.spec.bandwidth)
        return folds * (fill + m * -(-k * live // (1024 * self.spec.bandwidth)))

    def tail(self, part: Part) -> int:
        """The reduction."""
        return self.depth

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """Fold by fold, all groups one after another."""
        spec = self.spec
        inputs, weights = input_rows(part, tile), weight_mask(part, tile)
        found = dict.fromkeys(("cycles", "drain", "products", "ifmap_words", "filter_words"), 0)
        compute = bound = 0
        for a, b in zip(inputs, weights, strict=True):
            times = a.sum(0, dtype=np.int64)
            column = np.nonzero(b * (times > 0))[1]
            for first in range(0, len(column), spec.multipliers):
                own = column[first : first + spec.multipliers]
                # counts below 2**24, so exact in single precision, where numpy multiplies matrices quickly
                need = np.rint(a.astype(np.float32) @ (np.bincount(own, minlength=a.shape[1]) > 0).astype(np.float32))
                steps = np.maximum(1, -(-need.astype(np.int64) // spec.bandwidth))
                load, products = ceil_div(len(own), spec.bandwidth), int(times[own].sum())
                found["cycles"] += load + int(steps.sum())
                found["drain"] += load
                found["products"] += products
                found["ifmap_words"] += int(need.sum())
                found["filter_words"] += len(own)
                bound += int((steps - 1).sum())
                compute += ceil_div(products, spec.multipliers)
        streaming = found["cycles"] - found["drain"]
        lost = splits(streaming - compute, {"bank_conflict": bound, "imbalance": streaming})
        return {**found, **lost, "psum_words": int(tile["groups"] * tile["m"] * tile["n"])}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """An operand passes the levels on its way in; each product's sum takes one hop of the reduction."""
        width, products = self.spec.operand_bits, int(tiles["products"].sum())
        words = int(tiles["ifmap_words"].sum() + tiles["filter_words"].sum())
        counts = ActionCounts()
        counts.add("mac", f"mac_{width}x{width}", products)
        counts.add("weight_register", "write", int(tiles["filter_words"].sum()))
        counts.add("noc", "hop", words * self.depth + products)
        return counts
