"""PEs that keep one output each, their inputs broadcast; narrow operands multiply several pairs a cycle.

Thinker's arrays (Yin et al., JSSC 53(4), 2018): a PE does one 16 x 16-bit product or two of 8-bit weights in a cycle.
A tile of m x n outputs takes ceil(m n / pes) rounds of ceil(k / products) cycles; the next round starts while the
results of the one before leave.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TiledEngine, TileTimes, Tiles, WordTables


@ENGINES.register("output_parallel")
class OutputParallel(TiledEngine):
    """A pool of PEs with one accumulator each."""

    kind: ClassVar[str] = "output_parallel"
    data_dependent: ClassVar[bool] = False

    class Spec(Spec):
        """Parameters of the PEs."""

        pes: int = pydantic.Field(ge=1, le=65536, description="PEs, one output each at a time")
        operand_bits: int = pydantic.Field(default=16, ge=2, le=32, description="width of the multiplier")
        split: int = pydantic.Field(
            default=2, ge=1, le=16, description="products a cycle where weights have operand_bits / split bits or fewer"
        )
        latency_cycles: int = pydantic.Field(default=1, ge=1, le=64, description="from the last product to the result")

        @pydantic.model_validator(mode="after")
        def _divides(self) -> Any:
            if self.operand_bits % self.split:
                raise ValueError(f"split must divide operand_bits ({self.operand_bits}), got {self.split}")
            return self

    def products(self, filter_bits: int) -> int:
        """Products of one PE in a cycle."""
        return int(self.spec.split) if filter_bits <= self.spec.operand_bits // self.spec.split else 1

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """All PEs, at the width of the weights."""
        return int(self.spec.pes) * self.products(bits["filter"])

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Anything up to the multiplier's width."""
        widths = tuple(range(1, self.spec.operand_bits + 1))
        return {"ifmap": widths, "filter": widths}

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """A multiplier that splits, two operand registers and a sum in each PE."""
        width, half = self.spec.operand_bits, self.spec.operand_bits // self.spec.split
        pairs = sorted({(width, width), (width, half)})
        return [
            mac_rows(model, pairs, acc_bits=bits["psum"], count=self.spec.pes),
            register_rows(model, "pe_register", 2 * width + bits["psum"], count=self.spec.pes),
        ]

    def unit(self, part: Part) -> tuple[int, int, int]:
        """As many outputs as PEs, from either side."""
        side = int(self.spec.pes**0.5)
        return side, side, 1

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Exact."""
        m, n, k = (np.asarray(x, np.int64) for x in (m, n, k))
        return -(-m * n // self.spec.pes) * -(-k // self.products(part.bits("filter")))

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Rounds, one after another."""
        if part.bits("ifmap") > self.spec.operand_bits:
            raise ConfigError(f"ifmap has more than {self.spec.operand_bits} bits", part.where)
        cycles = self.interval(part, tiles["m"], tiles["n"], tiles["k"]) * tiles["groups"]
        return TileTimes.steps(cycles, latency=self.spec.latency_cycles)

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """In a round of PEs that form a block of outputs, inputs serve its columns and weights its rows."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        across = np.minimum(n, max(1, int(self.spec.pes**0.5)))
        down = np.minimum(m, -(-self.spec.pes // across))
        reads = {"ifmap": groups * m * k * -(-n // across), "filter": groups * n * k * -(-m // down)}
        return reads, {"psum": groups * m * n}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A product for each MAC at the width it takes; operands and sums in registers."""
        spec, bits = self.spec, part.task.bits
        macs = int((tiles["groups"] * tiles["m"] * tiles["n"] * tiles["k"]).sum())
        narrow = self.products(part.bits("filter")) > 1
        width = spec.operand_bits // spec.split if narrow else spec.operand_bits
        counts = ActionCounts()
        counts.add("mac", f"mac_{spec.operand_bits}x{width}", macs)
        counts.add("pe_register", "read_bit", macs * (2 * spec.operand_bits + bits["psum"]))
        counts.add("pe_register", "write_bit", macs * (2 * spec.operand_bits + bits["psum"]))
        return counts
