"""Dual-side sparse tensor cores: outer products of condensed columns and rows.

Wang et al., Dual-side Sparse Tensor Core, ISCA 2021. A warp has a tile of `tile` x `tile` outputs. For each k, the
nonzeros of the tile's column of inputs and of its row of weights are pushed together, and multiplied in steps of
`step_rows` x `step_cols` products: ceil(nnz / step_rows) x ceil(nnz / step_cols), none if either is empty. Tiles are
dealt to the cores in turn. That merging partial sums hides behind the products is assumed.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows, scratchpad_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseSpec
from accelsim.engines.common.sparse_products import Ints, ProductEngine, input_rows, weight_mask
from accelsim.engines.common.tiled import Tiles, TileTimes


@ENGINES.register("dual_tensor_core")
class DualTensorCore(ProductEngine):
    """Outer products of nonzeros."""

    kind: ClassVar[str] = "dual_tensor_core"
    masked: ClassVar[tuple[str, ...]] = ("ifmap", "filter")

    class Spec(SparseSpec):
        """Shape of steps and tiles."""

        cores: int = pydantic.Field(default=8, ge=1, le=4096, description="tensor cores")
        tile: int = pydantic.Field(default=32, ge=1, le=1024, description="side of a warp's tile of outputs")
        step_rows: int = pydantic.Field(default=8, ge=1, le=1024, description="inputs of a step")
        step_cols: int = pydantic.Field(default=16, ge=1, le=1024, description="weights of a step")
        latency: int = pydantic.Field(default=8, ge=0, le=100, description="stages of the pipeline")

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """A step in each core."""
        return int(self.spec.cores * self.spec.step_rows * self.spec.step_cols)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Multipliers, operands, and the buffers in which sums are merged."""
        spec, width, acc = self.spec, self.spec.operand_bits, bits["psum"]
        return [
            mac_rows(model, [(width, width)], acc_bits=acc, count=self.peak_macs_per_cycle({})),
            register_rows(model, "operand_register", width, count=spec.cores * (spec.step_rows + spec.step_cols)),
            scratchpad_rows(model, "merge_buffer", ceil_div(spec.tile**2 * acc, 8), acc, count=spec.cores),
        ]

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A tile of outputs."""
        return int(self.spec.tile), int(self.spec.tile), 1

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Tiles at the steps of the mean density."""
        spec = self.spec
        share = [max(1, round(1024 * part.density(o))) for o in ("ifmap", "filter")]
        steps = [-(-spec.tile * d // (1024 * s)) for d, s in zip(share, (spec.step_rows, spec.step_cols), strict=True)]
        tiles = -(-m // spec.tile) * -(-n // spec.tile)
        return -(-tiles // spec.cores) * k * steps[0] * steps[1]

    def tail(self, part: Part) -> int:
        """The pipeline."""
        return int(self.spec.latency)

    def _by_tile(self, mask: Any) -> Ints:
        """Nonzeros of each block of `tile` rows in each column."""
        starts = np.arange(0, mask.shape[0], self.spec.tile)
        return np.asarray(np.add.reduceat(mask, starts, axis=0, dtype=np.int64), np.int64)

    def tile_steps(self, inputs: Any, weights: Any) -> tuple[Ints, Ints]:
        """(steps, products) of each tile of outputs, from masks (m, k) and (n, k)."""
        spec = self.spec
        a, b = self._by_tile(inputs), self._by_tile(weights)
        # sums of products of small counts: exact in floating point, where numpy multiplies matrices quickly
        steps = (-(-a // spec.step_rows)).astype(np.float64) @ (-(-b // spec.step_cols)).astype(np.float64).T
        products = a.astype(np.float64) @ b.astype(np.float64).T
        return np.rint(steps).astype(np.int64), np.rint(products).astype(np.int64)

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """Tiles of outputs in order, dealt to the cores; all groups one after another."""
        spec = self.spec
        inputs, weights = input_rows(part, tile), weight_mask(part, tile)
        found = dict.fromkeys(("cycles", "imbalance", "products", "ifmap_words", "filter_words"), 0)
        ideal = 0
        for a, b in zip(inputs, weights, strict=True):
            steps, products = self.tile_steps(a, b)
            dealt = np.zeros(ceil_div(steps.size, spec.cores) * spec.cores, np.int64)
            dealt[: steps.size] = steps.ravel()
            cores = dealt.reshape(-1, spec.cores).sum(0)
            found["cycles"] += int(cores.max())
            found["imbalance"] += int(cores.max()) - ceil_div(int(cores.sum()), spec.cores)
            found["products"] += int(products.sum())
            found["ifmap_words"] += int(a.sum()) * steps.shape[1]
            found["filter_words"] += int(b.sum()) * steps.shape[0]
            ideal += ceil_div(int(products.sum()), spec.cores * spec.step_rows * spec.step_cols)
        # steps that nonzeros do not fill
        found["index_matching"] = max(0, found["cycles"] - found["imbalance"] - ideal)
        return {**found, "psum_words": int(tile["groups"] * tile["m"] * tile["n"])}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Every product is merged into a sum."""
        width, products = self.spec.operand_bits, int(tiles["products"].sum())
        counts = ActionCounts()
        counts.add("mac", f"mac_{width}x{width}", products)
        counts.add("operand_register", "write", int(tiles["ifmap_words"].sum() + tiles["filter_words"].sum()))
        counts.add("merge_buffer", "read", products)
        counts.add("merge_buffer", "write", products)
        return counts
