"""Minerva: lanes of one multiplier each, whose small activations keep weights and multipliers still.

Reagen et al., Minerva: Enabling Low-Power, Highly-Accurate Deep Neural Network Accelerators, ISCA 2016. Each of `lanes`
lanes computes one output, one input a cycle. An activation whose magnitude is below `threshold` is predicated: its
weight is not read and its product not formed. That saves energy, and no time. (The paper's low SRAM voltages are not
modelled.) Rows of a matrix product, and positions of a convolution, follow each other.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.spec import Spec
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.live_inputs import live_products
from accelsim.engines.common.part import Part
from accelsim.engines.common.stepped import StepEngine, macs_of
from accelsim.engines.common.tiled import Tiles, TileTimes, WordTables


@ENGINES.register("minerva")
class Minerva(StepEngine):
    """Lanes with predicated MACs."""

    kind: ClassVar[str] = "minerva"
    remedies: ClassVar[dict[str, str]] = dict.fromkeys(("ifmap", "filter"), "quantize it with `uniform`")

    class Spec(Spec):
        """Parameters of the lanes."""

        lanes: int = pydantic.Field(default=16, ge=1, le=4096, description="outputs at a time")
        stages: int = pydantic.Field(default=5, ge=1, le=64, description="pipeline from the operands to the output")
        threshold: int = pydantic.Field(
            default=1, ge=0, le=2**31, description="smaller magnitudes are predicated; 1: zeros, 0: none"
        )
        activation_bits: int = pydantic.Field(default=8, ge=1, le=32, description="width of the multipliers")
        weight_bits: int = pydantic.Field(default=8, ge=1, le=32, description="width of the multipliers")

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each lane."""
        return int(self.spec.lanes)

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Up to the multipliers' widths."""
        widest = {"ifmap": self.spec.activation_bits, "filter": self.spec.weight_bits}
        return {name: tuple(range(1, bits + 1)) for name, bits in widest.items()}

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """A multiplier for each lane, which predication gates, and its sum."""
        spec = self.spec
        pair = (spec.activation_bits, spec.weight_bits)
        return [
            mac_rows(model, [pair], acc_bits=bits["psum"], count=spec.lanes),
            register_rows(model, "accumulator", bits["psum"], count=spec.lanes),
        ]

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A row, all lanes, one input."""
        return 1, int(self.spec.lanes), 1

    def tile_cycles(self, part: Part, m: Any, n: Any, channels: Any, taps: Any) -> Any:
        """Sets of lanes x inputs."""
        return m * -(-n // self.spec.lanes) * channels * taps

    def tail(self, part: Part) -> int:
        """The last operands pass the pipeline."""
        return int(self.spec.stages)

    def live(self, part: Part, tiles: Tiles) -> Any:
        """Activations above the threshold that each tile's positions see, int64 (tiles,)."""
        limit = int(self.spec.threshold)
        if limit == 0 or part.operand("ifmap") is None:  # vectors inside of a recurrent cell are in no trace
            return tiles["groups"] * tiles["m"] * tiles["k"]
        return live_products(part, tiles, lambda values: np.abs(values.astype(np.int64)) >= limit)

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """An activation for all lanes of a set; weights of those that are not predicated."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        reads = {"ifmap": groups * m * k * -(-n // self.spec.lanes), "filter": self.live(part, tiles) * n}
        return reads, {"psum": groups * m * n}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Products of live activations; the others are gated."""
        spec, counts = self.spec, ActionCounts()
        products = int((self.live(part, tiles) * tiles["n"]).sum())
        counts.add("mac", f"mac_{spec.activation_bits}x{spec.weight_bits}", products)
        counts.add("mac", "gated", macs_of(tiles) - products)
        counts.add("accumulator", "write", products)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Share of the products that predication leaves out."""
        macs = macs_of(tiles)
        products = int((self.live(part, tiles) * tiles["n"]).sum())
        return {"predicated": 1 - products / macs if macs else 0.0, **super().info(part, tiles, times)}
