"""Vector MAC PEs, weight stationary: each cycle `lanes` outputs take a dot product over `width` channels each.

Simba's PE (Shao et al., MICRO 2019, Section III-A: 8 lanes, 8 wide) and any core that multiplies vectors by
a resident matrix (Tianjic: Pei et al., Nature 572, 2019: 16 MACs for a 256 x 256 matrix).

A step is one output position, one tap, `lanes` outputs and `width` channels of every PE. Several PEs of a core
work in step on one tile, `a` groups of outputs by `b` groups of channels, a x b <= pes; sums over the channel
groups are added on the way out. Of all arrangements each tile takes the one with the fewest steps, of equal ones
the one with the fewest channel groups.
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
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TiledEngine, TileTimes, Tiles, WordTables


@ENGINES.register("vector_mac")
class VectorMac(TiledEngine):
    """PEs of `lanes` x `width` multipliers."""

    kind: ClassVar[str] = "vector_mac"
    data_dependent: ClassVar[bool] = False

    class Spec(Spec):
        """Parameters of the PEs."""

        pes: int = pydantic.Field(default=1, ge=1, le=4096, description="PEs of a core that work on one tile in step")
        lanes: int = pydantic.Field(ge=1, le=1024, description="outputs of a PE in a cycle")
        width: int = pydantic.Field(ge=1, le=1024, description="channels of each dot product")
        operand_bits: int = pydantic.Field(default=8, ge=1, le=32, description="width of the multipliers")
        latency_cycles: int = pydantic.Field(
            default=1, ge=1, le=64, description="from the cycle of a sum's last products until it is complete"
        )

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        # the fewest channel groups first
        self._arrangements = [(spec.pes // b, b) for b in range(1, spec.pes + 1) if spec.pes % b == 0]

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each multiplier."""
        return int(self.spec.pes * self.spec.lanes * self.spec.width)

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Anything up to the multipliers' width; narrower operands use a part of them."""
        widths = tuple(range(1, self.spec.operand_bits + 1))
        return {"ifmap": widths, "filter": widths}

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Multipliers with their adder trees; a register for each weight, input and sum."""
        spec = self.spec
        pes, width = spec.pes, spec.operand_bits
        macs = pes * spec.lanes * spec.width
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=macs),
            register_rows(model, "weight_register", width * spec.width * spec.lanes, count=pes),
            register_rows(model, "input_register", width * spec.width, count=pes),
            register_rows(model, "accumulator", bits["psum"], count=pes * spec.lanes),
        ]

    def unit(self, part: Part) -> tuple[int, int, int]:
        """One position, all lanes of one PE, one vector."""
        return 1, self.spec.lanes, self.spec.width

    def steps(self, m: Any, n: Any, channels: Any, taps: Any) -> tuple[Any, Any]:
        """(steps, channel groups) of tiles; arguments are integers or equally shaped arrays."""
        n, channels = np.asarray(n, np.int64), np.asarray(channels, np.int64)
        options = np.stack([
            -(-n // (self.spec.lanes * a)) * -(-channels // (self.spec.width * b)) for a, b in self._arrangements
        ])
        best = options.argmin(0)
        groups = np.array([b for _, b in self._arrangements], np.int64)[best]
        return np.take_along_axis(options, best[None], 0)[0] * m * taps, groups

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Steps, as if the window's taps were all in the tile."""
        window = min(part.loops.window, int(np.min(k)))
        return self.steps(m, n, -(-np.asarray(k, np.int64) // window), window)[0]

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """A step a cycle, without a gap."""
        return TileTimes.steps(self._tile_steps(tiles)[0], latency=self.spec.latency_cycles)

    def _tile_steps(self, tiles: Tiles) -> tuple[Any, Any]:
        steps, groups = self.steps(tiles["m"], tiles["n"], tiles["channels"], tiles["k"] // tiles["channels"])
        return steps * tiles["groups"], groups

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Weights once a tile into their registers; an input vector for each step's position, tap and channels.

        Outputs of one position take the same inputs, so these are read once for each group of lanes. Sums move
        from and to their buffer once for each channel group, a tile's first being written only.
        """
        spec = self.spec
        groups, m, n, c = (tiles[x] for x in ("groups", "m", "n", "channels"))
        taps = tiles["k"] // c
        turns = -(-n // (spec.lanes * (spec.pes // self._tile_steps(tiles)[1])))
        rounds = -(-c // (spec.width * self._tile_steps(tiles)[1])) * taps
        sums = groups * m * n
        reads = {"filter": groups * n * c * taps, "ifmap": groups * m * c * taps * turns, "psum": sums * (rounds - 1)}
        return reads, {"psum": sums * rounds}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A product for each MAC; weights stay in registers, inputs are written once for each PE and step."""
        spec, bits = self.spec, part.task.bits
        steps, _ = self._tile_steps(tiles)
        macs = int((tiles["groups"] * tiles["m"] * tiles["n"] * tiles["k"]).sum())
        counts = ActionCounts()
        counts.add("mac", f"mac_{spec.operand_bits}x{spec.operand_bits}", macs)
        weights = int((tiles["groups"] * tiles["n"] * tiles["k"]).sum())
        counts.add("weight_register", "write_bit", weights * spec.operand_bits)
        counts.add("weight_register", "read_bit", macs * spec.operand_bits)
        counts.add("input_register", "write_bit", -(-macs // spec.lanes) * spec.operand_bits)
        counts.add("accumulator", "write_bit", int(steps.sum()) * spec.pes * spec.lanes * bits["psum"])
        return counts
