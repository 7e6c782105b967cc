"""Tensor cores for N:M weights: of every M neighbouring channels at most N weights are not 0.

Mishra et al., Accelerating Sparse Deep Neural Networks, arXiv:2104.08378, 2021 (2:4, NVIDIA Ampere); other patterns as
in Zhou et al., Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch, ICLR 2021. Weights are stored
without the zeros, with an index each; it picks one of M inputs. A step multiplies `rows` x `cols` outputs by `depth`
stored weights, so a layer with a pattern takes N/M of the dense steps. Dense layers run at the dense rate.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseSpec
from accelsim.engines.common.sparse_products import ProductEngine, structured
from accelsim.engines.common.tiled import Tiles, TileTimes

Pattern = tuple[int, int]


@ENGINES.register("nm_tensor_core")
class NmTensorCore(ProductEngine):
    """Steps of a dense tensor core on compressed weights."""

    kind: ClassVar[str] = "nm_tensor_core"
    skips: ClassVar[tuple[str, ...]] = ("filter",)

    class Spec(SparseSpec):
        """Shape of a step, and patterns."""

        rows: int = pydantic.Field(default=16, ge=1, le=1024, description="rows of inputs in a step")
        cols: int = pydantic.Field(default=8, ge=1, le=1024, description="outputs in a step")
        depth: int = pydantic.Field(default=8, ge=1, le=1024, description="stored weights of an output in a step")
        patterns: list[str] = pydantic.Field(
            default=["2:4"], min_length=1, description="patterns N:M; each layer takes the sparsest that it fits"
        )
        latency: int = pydantic.Field(default=8, ge=0, le=100, description="stages of the pipeline")

        @pydantic.model_validator(mode="after")
        def _patterns(self) -> Any:
            for text in self.patterns:
                n, colon, m = text.partition(":")
                if not (colon and n.isdecimal() and m.isdecimal() and 1 <= int(n) <= int(m)):
                    raise ValueError(f"patterns must be N:M with 1 <= N <= M, got {text!r}")
            return self

    @property
    def patterns(self) -> list[Pattern]:
        """The sparsest first."""
        pairs = [tuple(map(int, text.split(":"))) for text in self.spec.patterns]
        return sorted(((n, m) for n, m in pairs), key=lambda pair: pair[0] / pair[1])

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """Stored weights of a step."""
        return int(self.spec.rows * self.spec.cols * self.spec.depth)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Multipliers, and registers of inputs that weights pick from."""
        spec, width = self.spec, self.spec.operand_bits
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=self.peak_macs_per_cycle({})),
            register_rows(model, "operand_register", width, count=(spec.rows + spec.cols) * spec.depth),
        ]

    def pattern(self, part: Part) -> Pattern:
        """The pattern that a layer runs with; (1, 1): dense.

        Raises
        ------
        ConfigError
            If the weights are sparse but fit no pattern, and `dense` is not "allow".
        """
        found: Pattern = self.remember(part, "pattern", lambda: self._pattern(part))
        return found

    def _pattern(self, part: Part) -> Pattern:
        mask = part.filters() != 0
        mask = mask.reshape(*mask.shape[:3], -1)
        if mask.all():
            return 1, 1
        for n, m in self.patterns:
            short = -mask.shape[2] % m
            whole = np.pad(mask, ((0, 0), (0, 0), (0, short), (0, 0)))
            if int(whole.reshape(*whole.shape[:2], -1, m, whole.shape[3]).sum(3).max()) <= n:
                return n, m
        listed = ", ".join(self.spec.patterns)
        what = f"filter has density {mask.mean():.3g}, and must have a pattern of {listed} along its channels"
        structured(False, what, part, self.spec.dense == "allow")
        return 1, 1

    def refuse(self, part: Part) -> None:
        """See `pattern`."""
        self.pattern(part)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A step; whole groups of the pattern."""
        n, m = self.pattern(part)
        return int(self.spec.rows), int(self.spec.cols), max(m, int(self.spec.depth) * m // n)

    def _steps(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        few, many = self.pattern(part)
        stored = -(-k // many) * few
        return -(-m // self.spec.rows) * -(-n // self.spec.cols) * -(-stored // self.spec.depth)

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Exact, but for channels that do not fill a group at each tap."""
        return self._steps(part, m, n, k)

    def stored_bits(self, part: Part) -> dict[str, int]:
        """N of M weights, an index each."""
        n, m = self.pattern(part)
        bits = part.task.bits
        index = (m - 1).bit_length()
        return {**bits, "filter": bits["filter"] if m == 1 else ceil_div(n * (bits["filter"] + index), m)}

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """As stored."""
        n, m = self.pattern(part)
        if m == 1:
            return ()
        bits = n * (part.task.bits["filter"] + (m - 1).bit_length())
        groups = tiles["groups"] * tiles["n"] * -(-tiles["channels"] // m) * (tiles["k"] // tiles["channels"])
        tiles["filter_bytes"] = np.where(tiles["filter_bytes"] > 0, (groups * bits + 7) // 8, 0)
        return ("filter",)

    def tail(self, part: Part) -> int:
        """The pipeline."""
        return int(self.spec.latency)

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """Steps; the weights of one tap fill groups of their own."""
        few, many = self.pattern(part)
        spec, groups = self.spec, int(tile["groups"])
        m, n, channels = int(tile["m"]), int(tile["n"]), int(tile["channels"])
        stored = ceil_div(channels, many) * few * (int(tile["k"]) // channels)
        steps = groups * ceil_div(m, spec.rows) * ceil_div(n, spec.cols) * ceil_div(stored, spec.depth)
        products = groups * m * n * stored
        return {
            "cycles": steps, "imbalance": steps - ceil_div(products, self.peak_macs_per_cycle({})),
            "products": products, "ifmap_words": groups * m * int(tile["k"]) * ceil_div(n, spec.cols),
            "filter_words": groups * n * stored * ceil_div(m, spec.rows), "psum_words": groups * m * n,
        }  # fmt: skip

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Operands are clocked in once a step."""
        width = self.spec.operand_bits
        counts = ActionCounts()
        counts.add("mac", f"mac_{width}x{width}", int(tiles["products"].sum()))
        fetched = tiles["ifmap_words"].sum() + tiles["filter_words"].sum()
        counts.add("operand_register", "write", int(fetched))
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """The pattern, too."""
        n, m = self.pattern(part)
        return {**super().info(part, tiles, times), "pattern": f"{n}:{m}"}
