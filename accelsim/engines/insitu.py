"""Arithmetic in the bit lines of memories: Neural Cache (SRAM), DRISA and SCOPE (DRAM).

Every bit line is a processor of one bit; a number is a column of bits, and all bit lines of all arrays work in lock
step. Time is counted in row cycles (SRAM: read two rows, write one; DRAM: activations):

| | add n bits | multiply n x n | source |
|---|---|---|---|
| neural_cache | n + 1 | n^2 + 5 n - 2 | Eckert et al., ISCA 2018, Section III |
| drisa | 9 n | n (3 n + 9 n) | Li et al., MICRO 2017: NOR rows; a full adder takes 9 NORs, an AND 3 |
| scope | 4 | 3 x 2^n / streams | Li et al., MICRO 2018: AND of streams in 3 row cycles, carry-save add in 4 |

A dot product puts the channels of an output on neighbouring bit lines: each takes the taps of the window one after
another, then sums are added in a tree over the bit lines, halving every time, moved and added bit by bit.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.spec import Spec
from accelsim.energy.costs import Component
from accelsim.energy.figures import Figure
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TiledEngine, TileTimes, Tiles, WordTables

Scheme = Literal["neural_cache", "drisa", "scope"]

#: NOR gates of a full adder (two half adders of NORs), and of an AND of two rows
FULL_ADDER_NORS, AND_NORS = 9, 3


def add_cycles(scheme: Scheme, bits: int) -> int:
    """Row cycles of an addition of two numbers of `bits`; SCOPE's is carry-save, whatever the width."""
    if scheme == "scope":
        return 4
    return bits + 1 if scheme == "neural_cache" else FULL_ADDER_NORS * bits


def multiply_cycles(scheme: Scheme, bits: int, streams: int = 1) -> int:
    """Row cycles of a product of two numbers of `bits`; SCOPE's streams of 2**bits lie side by side on bit lines."""
    if scheme == "neural_cache":
        return bits * bits + 5 * bits - 2 if bits > 1 else 1
    if scheme == "drisa":
        return bits * (AND_NORS * bits + FULL_ADDER_NORS * bits)
    return 3 * -(-(1 << bits) // streams)


def reduce_cycles(scheme: Scheme, bits: int, lanes: int) -> int:
    """Adding up `lanes` bit lines: log2 steps, each moves sums of `bits` and adds them."""
    steps = max(0, int(lanes) - 1).bit_length()
    return steps * (bits + add_cycles(scheme, bits))


def nor_add(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """DRISA's addition in NOR rows: planes (bits, lanes), lowest first -> (planes (bits + 1, lanes), row cycles)."""
    rows = 0

    def nor(x: Any, y: Any) -> Any:
        nonlocal rows
        rows += 1
        return ~(x | y)

    carry = np.zeros_like(a[0])
    planes = []
    for x, y in zip(a, b, strict=True):
        n1 = nor(x, y)
        n2, n3 = nor(x, n1), nor(y, n1)
        half = nor(n2, n3)  # XNOR of the two
        n5 = nor(half, carry)
        n6, n7 = nor(half, n5), nor(carry, n5)
        planes.append(nor(n6, n7))
        carry = nor(n1, n5)
    return np.stack([*planes, carry]), rows


class InSituSpec(Spec):
    """Parameters of the arrays."""

    scheme: Scheme = pydantic.Field(description="whose arithmetic")
    arrays: int = pydantic.Field(ge=1, le=2**24, description="arrays that compute in lock step")
    bit_lines: int = pydantic.Field(ge=1, le=2**20, description="bit lines of an array, one number each")
    rows: int = pydantic.Field(ge=8, le=2**20, description="word lines of an array")
    row_cycles: int = pydantic.Field(default=1, ge=1, description="clock cycles of a row cycle")
    operand_bits: int = pydantic.Field(default=8, ge=1, le=16, description="widest operand")
    mac_row_cycles: int = pydantic.Field(
        default=0, ge=0, description="published, of a multiply-accumulate at operand_bits; 0: product and addition"
    )
    streams: int = pydantic.Field(default=1, ge=1, description="SCOPE: parts of a stream on bit lines of their own")
    row_pj: float = pydantic.Field(gt=0, description="a row cycle of one array, pJ")
    array_mm2: float = pydantic.Field(gt=0, description="area of one array")


@ENGINES.register("insitu")
class InSitu(TiledEngine):
    """Memory arrays that compute bit by bit."""

    kind: ClassVar[str] = "insitu"
    stationary: ClassVar[str] = "filter"
    data_dependent: ClassVar[bool] = False
    Spec = InSituSpec  # type: ignore[assignment]

    @property
    def lanes(self) -> int:
        """Bit lines in all."""
        return int(self.spec.arrays * self.spec.bit_lines)

    def mac_cycles(self, bits: int, psum_bits: int) -> int:
        """Row cycles of a multiply-accumulate of operands of `bits`."""
        spec = self.spec
        if spec.mac_row_cycles and bits == spec.operand_bits:
            return int(spec.mac_row_cycles)
        return multiply_cycles(spec.scheme, bits, spec.streams) + add_cycles(spec.scheme, psum_bits)

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Up to operand_bits."""
        widths = tuple(range(1, self.spec.operand_bits + 1))
        return {"ifmap": widths, "filter": widths}

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """All bit lines, reductions left out."""
        width = min(max(bits["ifmap"], bits["filter"]), self.spec.operand_bits)
        per = self.mac_cycles(width, bits["psum"]) * int(self.spec.row_cycles)
        return -(-self.lanes // (per * (int(self.spec.streams) if self.spec.scheme == "scope" else 1)))

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Row cycles, as published for the array."""
        source = "engine of the architecture"
        row = Figure(self.spec.row_pj, "pJ", f"{source}: row_pj")
        area = Figure(self.spec.array_mm2, "mm2", f"{source}: array_mm2")
        return [component("array", {"row_cycle": row}, area=area, count=self.spec.arrays)]

    def unit(self, part: Part) -> tuple[int, int, int]:
        """An output."""
        return 1, 1, 1

    def round_cycles(self, part: Part, channels: Any, taps: Any) -> tuple[Any, Any]:
        """(clock cycles of one output on its bit lines, bit lines of an output); arrays or integers.

        Channels beyond an array's bit lines are added by the same bit line one after another.
        """
        spec, bits = self.spec, part.task.bits
        width = max(part.bits("ifmap"), part.bits("filter"))
        channels, taps = np.asarray(channels, np.int64), np.asarray(taps, np.int64)
        room = max(1, spec.bit_lines // (spec.streams if spec.scheme == "scope" else 1))
        side = np.minimum(channels, room)
        serial = -(-channels // side)
        steps = np.ceil(np.log2(np.maximum(side, 1))).astype(np.int64)
        reduce = steps * (bits["psum"] + add_cycles(spec.scheme, bits["psum"]))
        cycles = (serial * taps * self.mac_cycles(width, bits["psum"]) + reduce) * spec.row_cycles
        lanes = 2**steps * (spec.streams if spec.scheme == "scope" else 1)
        return cycles, np.minimum(lanes, spec.bit_lines)

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Rounds of as many outputs as fit the bit lines."""
        window = min(part.loops.window, int(np.min(k)))
        return self._cycles(part, m, n, -(-np.asarray(k, np.int64) // window), window)

    def _cycles(self, part: Part, m: Any, n: Any, channels: Any, taps: Any) -> Any:
        cycles, lanes = self.round_cycles(part, channels, taps)
        at_once = self.spec.arrays * np.maximum(1, self.spec.bit_lines // lanes)
        return -(-np.asarray(m, np.int64) * n // at_once) * cycles

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Rounds one after another; inputs and weights are there before (see the buffers)."""
        taps = tiles["k"] // tiles["channels"]
        return TileTimes.steps(self._cycles(part, tiles["m"] * tiles["groups"], tiles["n"], tiles["channels"], taps))

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Windows are laid out on bit lines once for each output; weights likewise, and sums come back."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        return {"ifmap": groups * m * k, "filter": groups * n * k}, {"psum": groups * m * n}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Row cycles of all arrays that have outputs."""
        counts = ActionCounts()
        taps = tiles["k"] // tiles["channels"]
        cycles, lanes = self.round_cycles(part, tiles["channels"], taps)
        outputs = tiles["groups"] * tiles["m"] * tiles["n"]
        array_rounds = -(-outputs // np.maximum(1, self.spec.bit_lines // lanes))
        counts.add("array", "row_cycle", int((array_rounds * (cycles // self.spec.row_cycles)).sum()))
        return counts
