"""PermDNN: matrices of permuted diagonal blocks, an input broadcast to all PEs, zero inputs skipped.

Deng et al., PermDNN: Efficient Compressed DNN Architecture with Permuted Diagonal Matrices, MICRO 2018. In a block of
p x p weights those that are not 0 lie on one wrapped diagonal, so an input meets one weight of each block of rows. The
PEs share the blocks evenly: n outputs take ceil(n / p / multipliers) cycles for each nonzero input, without indexes
or imbalance. A dense matrix has blocks of 1. Filters have blocks of outputs and channels, in which whole kernels stay:
each tap is such a matrix.
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
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseSpec
from accelsim.engines.common.sparse_products import ProductEngine, input_rows, structured
from accelsim.engines.common.tiled import Tiles, TileTimes


def fits_blocks(mask: NDArray[np.bool_], p: int) -> bool:
    """Whether the nonzeros of every p x p block of (n, k) lie on one wrapped diagonal."""
    i, j = np.nonzero(mask)
    blocks = -(-mask.shape[1] // p)
    block, offset = i // p * blocks + j // p, (j - i) % p
    seen = np.zeros(-(-mask.shape[0] // p) * blocks, np.int64)
    seen[block] = offset
    return bool((seen[block] == offset).all())


@ENGINES.register("permdnn")
class PermDnn(ProductEngine):
    """PEs for block-permuted diagonal matrices."""

    kind: ClassVar[str] = "permdnn"

    class Spec(SparseSpec):
        """Parameters of the PEs."""

        pes: int = pydantic.Field(default=32, ge=1, le=4096, description="PEs")
        multipliers: int = pydantic.Field(default=8, ge=1, le=256, description="multipliers of a PE")
        block: int = pydantic.Field(
            default=0, ge=0, le=1024, description="side of the blocks; 0: the largest that a layer's weights fit"
        )
        largest_block: int = pydantic.Field(default=64, ge=1, le=1024, description="up to which is looked for")
        weight_bits: int = pydantic.Field(
            default=16, ge=1, le=16, description="bits of a stored weight; up to 8: of its codebook"
        )
        latency: int = pydantic.Field(default=5, ge=0, le=100, description="stages of the pipeline")

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each multiplier."""
        return int(self.spec.pes * self.spec.multipliers)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Multipliers, codebooks and sums."""
        spec = self.spec
        count = int(spec.pes * spec.multipliers)
        size = spec.operand_bits * (2**spec.weight_bits if spec.weight_bits <= 8 else 1)
        return [
            mac_rows(model, [(spec.operand_bits, spec.operand_bits)], acc_bits=bits["psum"], count=count),
            register_rows(model, "weight_register", size, count=count),
            register_rows(model, "accumulator", bits["psum"], count=count),
        ]

    def block(self, part: Part) -> int:
        """Side of the blocks of a layer.

        Raises
        ------
        ConfigError
            If the weights are sparse but do not fit, and `dense` is not "allow".
        """
        return int(self.remember(part, "block", lambda: self._block(part)))

    def _block(self, part: Part) -> int:
        spec = self.spec
        mask = part.filters() != 0
        channels = mask.shape[2]
        matrices = np.moveaxis(mask.reshape(*mask.shape[:3], -1), 3, 1).reshape(-1, mask.shape[1], channels)
        density, longest = mask.mean(), max(matrices.shape[1:])
        if density >= 1 or longest == 1 and not density:  # a lone zero is stored as it is
            return 1
        tried = [spec.block] if spec.block else range(min(spec.largest_block, longest), 1, -1)
        for p in tried:
            if density * p <= 1.0 + p / min(matrices.shape[1:]) and all(fits_blocks(one, p) for one in matrices):
                return p
        wanted = f"blocks of {spec.block}" if spec.block else f"blocks of 2 to {spec.largest_block}"
        what = f"filter has density {density:.3g}, and must be permuted diagonals in {wanted} for this engine"
        structured(False, what, part, spec.dense == "allow")
        return 1

    def refuse(self, part: Part) -> None:
        """See `block`."""
        self.block(part)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """Outputs for all multipliers, whole blocks."""
        p = self.block(part)
        return 1, self.peak_macs_per_cycle({}) * p, p

    def _each(self, n: Any, p: int) -> Any:
        return -(-(-(-n // p)) // (self.spec.pes * self.spec.multipliers))

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Cycles of the nonzero inputs, as many as the density says."""
        live = max(1, round(1024 * part.density("ifmap")))
        return 1 + m * (k * live // 1024) * self._each(n, self.block(part))

    def stored_bits(self, part: Part) -> dict[str, int]:
        """One weight in p."""
        return {**part.task.bits, "filter": ceil_div(self.spec.weight_bits, self.block(part))}

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """A weight for each row of a block, and an offset for each block."""
        p = self.block(part)
        taps = tiles["k"] // tiles["channels"]
        blocks = tiles["groups"] * -(-tiles["n"] // p) * -(-tiles["channels"] // p) * taps
        offset = (p - 1).bit_length()
        size = (blocks * (p * self.spec.weight_bits + offset) + 7) // 8
        tiles["filter_bytes"] = np.where(tiles["filter_bytes"] > 0, size, 0)
        return ("filter",)

    def tail(self, part: Part) -> int:
        """The pipeline."""
        return int(self.spec.latency)

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """Nonzero inputs, each for the same time."""
        p, n = self.block(part), int(tile["n"])
        live = int(input_rows(part, tile).sum())
        weights = ceil_div(n, p)
        cycles = live * int(self._each(n, p))
        products = live * weights
        return {
            "cycles": cycles, "imbalance": cycles - ceil_div(products, self.peak_macs_per_cycle({})),
            "products": products, "ifmap_words": live, "filter_words": products,
            "psum_words": int(tile["groups"] * tile["m"]) * n,
        }  # fmt: skip

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A weight is looked up for each product."""
        width, products = self.spec.operand_bits, int(tiles["products"].sum())
        counts = ActionCounts()
        counts.add("mac", f"mac_{width}x{width}", products)
        counts.add("weight_register", "read_bit", products * width)
        counts.add("accumulator", "read", products)
        counts.add("accumulator", "write", products)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Blocks, too."""
        return {**super().info(part, tiles, times), "block_side": self.block(part)}
