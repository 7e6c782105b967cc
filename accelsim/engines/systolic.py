"""Systolic arrays, dense: output, weight or input stationary; timing proved against RTL."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.spec import Spec
from accelsim.dataflow.base import DATAFLOWS, Array, Dataflow
from accelsim.dataflow.systolic_access import SystolicAccess, WindowTile
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TiledEngine, TileTimes, Tiles, WordTables
from accelsim.engines.common.tiling import distinct
from accelsim.workload.shapes import GemmShape


@ENGINES.register("systolic")
class Systolic(TiledEngine):
    """A grid of multiply-accumulate PEs with registered links between neighbours."""

    kind: ClassVar[str] = "systolic"
    data_dependent: ClassVar[bool] = False
    laid_out: ClassVar[tuple[str, ...]] = ("ifmap", "filter", "psum")

    class Spec(Spec):
        """Parameters of a systolic array."""

        rows: int = pydantic.Field(ge=1, le=65536, description="PE rows")
        cols: int = pydantic.Field(ge=1, le=65536, description="PE columns")
        dataflow: Literal["os", "ws", "is"] = pydantic.Field(description="which operand stays in the PEs")
        overlap: Literal["serial", "pipelined", "overlap", "double_buffered"] = pydantic.Field(
            default="serial", description="how one fold follows another; see accelsim.dataflow.systolic"
        )
        edge: Literal["ragged", "full"] = pydantic.Field(
            default="ragged", description="whether a fold that uses part of the array is shorter"
        )
        arrays: int = pydantic.Field(default=1, ge=1, le=4096, description="arrays that share the row operand")
        operand_bits: int = pydantic.Field(default=8, ge=1, le=32, description="width of the multipliers")
        skew: Literal["registers", "buffer"] = pydantic.Field(
            default="registers",
            description="registers at the edges delay rows and columns, and buffers serve a whole step at once; or "
            "each row and column has accesses of its own (matters to buffers of fidelity: detailed)",
        )
        zero_gating: bool = pydantic.Field(
            default=False, description="a zero operand saves the energy of its MAC, never its time"
        )

        @pydantic.model_validator(mode="after")
        def _fits(self) -> Any:
            allowed = DATAFLOWS.lookup(self.dataflow).overlaps
            if self.overlap not in allowed:
                raise ValueError(
                    f"overlap {self.overlap!r} does not exist for dataflow {self.dataflow!r}; "
                    f"choose one of {', '.join(allowed)}"
                )
            return self

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self.array = Array(spec.rows, spec.cols, spec.overlap, spec.edge, spec.arrays)
        self.dataflow: type[Dataflow] = DATAFLOWS.lookup(spec.dataflow)
        self.stationary = self.dataflow.stationary  # type: ignore[misc]

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each PE."""
        return self.array.rows * self.array.cols * self.array.arrays

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Anything up to the multipliers' width; narrower operands use a part of them."""
        widths = tuple(range(1, self.spec.operand_bits + 1))
        return {"ifmap": widths, "filter": widths}

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """PEs: a multiplier with its adder, and registers for two operands and a sum, plus shadows."""
        pes = self.peak_macs_per_cycle(bits)
        width = self.spec.operand_bits
        shadow_bits = {"double_buffered": width, "pipelined": bits["psum"]}.get(self.spec.overlap, 0)
        register_bits = 2 * width + bits["psum"] + shadow_bits
        if self.dataflow.name == "os":
            register_bits += bits["psum"]  # the drain chain
        return [
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=pes),
            register_rows(model, "pe_register", register_bits, count=pes),
        ]

    # --- tiles ---

    def unit(self, part: Part) -> tuple[int, int, int]:
        """The array's edges; a moving operand shorter than them would not pay for loading the other."""
        rows, cols = self.array.rows, self.array.cols * self.array.arrays
        return {"os": (rows, cols, 1), "ws": (rows, cols, rows), "is": (cols, rows, rows)}[self.dataflow.name]

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Exact: closed forms."""
        return self._interval(m, n, k)

    def _interval(self, m: Any, n: Any, k: Any) -> Any:
        timing = self.dataflow.timing(self.array, m, n, k)
        first, last = self.dataflow.edges(self.array, m, n, k)
        gap = self.dataflow.gap(self.array, last, first)
        return np.maximum(timing.load_free + timing.load, timing.stream + gap)

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """`groups` jobs in a chain for each tile, then the gap to the next tile."""
        m, n, k, groups = tiles["m"], tiles["n"], tiles["k"], tiles["groups"]
        timing = self.dataflow.timing(self.array, m, n, k)
        first, last = self.dataflow.edges(self.array, m, n, k)
        offset = (groups - 1) * self._interval(m, n, k)  # start of the last job of the tile
        gap = np.zeros(len(tiles), np.int64)
        if len(tiles) > 1:
            after = type(first)(first.rows[1:], first.cols[1:], first.length[1:])
            now = type(last)(last.rows[:-1], last.cols[:-1], last.length[:-1])
            gap[:-1] = self.dataflow.gap(self.array, now, after)
        return TileTimes(
            load=timing.load,
            load_free=offset + timing.load_free,
            stream=offset + timing.stream + gap,
            finish=offset + timing.finish,
            busy=groups * timing.busy,
        )

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Beside utilization, the number of folds."""
        timing = self.dataflow.timing(self.array, tiles["m"], tiles["n"], tiles["k"])
        return {"folds": int((timing.folds * tiles["groups"]).sum()), **super().info(part, tiles, times)}

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """As the dataflow says."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        access = self.dataflow.accesses(self.array, m, n, k)
        reads = {
            "ifmap": access.ifmap_reads * groups,
            "filter": access.filter_reads * groups,
            "psum": access.psum_reads * groups,
        }
        return reads, {"psum": access.psum_writes * groups}

    def accesses(self, part: Part, tiles: Tiles) -> NDArray[Any]:
        """The edges of all folds: see `accelsim.dataflow.systolic_access`."""
        loops = part.loops
        columns = [tiles[x] for x in ("images", "rows", "cols", "n", "channels", "k", "first_k")]
        found, which = distinct([*columns, tiles["groups"]])
        patterns = np.empty(len(found), object)
        for row, (images, rows, cols, n, channels, k, first_k, groups) in enumerate(found.tolist()):
            taps = k // channels
            across = min(taps, loops.s)
            window = WindowTile(
                images, rows, cols, channels, (taps // across, across), loops.stride, loops.dilation
            )
            if isinstance(part.shape, GemmShape):
                window = WindowTile(1, 1, images, channels)
            patterns[row] = SystolicAccess(
                self.dataflow, self.array, window, n, not first_k, self.spec.skew == "registers", groups
            )
        return patterns[which]

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Per MAC: both operands and the sum are read, the moving operand(s) and the sum are written."""
        macs = int((tiles["groups"] * tiles["m"] * tiles["n"] * tiles["k"]).sum())
        width, psum_bits = self.spec.operand_bits, part.task.bits["psum"]
        counts = ActionCounts()
        active = self.effectual(part) if self.spec.zero_gating else macs
        counts.add("mac", f"mac_{width}x{width}", active)
        counts.add("mac", "gated", macs - active)
        moving = 2 if self.dataflow.name == "os" else 1
        counts.add("pe_register", "read_bit", macs * (2 * width + psum_bits))
        counts.add("pe_register", "write_bit", macs * (moving * width + psum_bits))
        return counts
