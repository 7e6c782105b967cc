"""Row stationary: Eyeriss' array. Tiles are its passes; timing proved against a register-level model."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.dataflow.row_stationary import RsArray, RsPass, load_cycles, pass_timing, segment_width
from accelsim.dataflow.rs_access import RsAccess
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import link_rows, mac_rows, scratchpad_rows
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.density import effectual_products, held
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TiledEngine, Tiles, TileTimes, WordTables
from accelsim.engines.common.tiling import distinct
from accelsim.engines.eyeriss.rlc_traffic import pack_fmaps
from accelsim.engines.eyeriss.rs_mapping import (
    RsMapping,
    RsProblem,
    check_fits,
    check_pin,
    new_filters,
    passes_of,
    processing_cycles,
    walk,
)
from accelsim.engines.eyeriss.rs_search import search
from accelsim.mapping.problem import Loops, Mapping
from accelsim.sim.passes import PassArray, PassTable
from accelsim.workload.shapes import ConvShape, GemmShape


class RsPin(Spec):
    """A row-stationary mapping fixed for the layers whose names match."""

    layers: str = pydantic.Field(default="*", description="glob over layer names")
    m: int = pydantic.Field(ge=1, description="output channels whose sums are in the buffer")
    n: int = pydantic.Field(ge=1, description="images of a pass")
    e: int = pydantic.Field(ge=1, description="output rows of a pass")
    p: int = pydantic.Field(ge=1, description="filters in a PE")
    q: int = pydantic.Field(ge=1, description="channels in a PE")
    r: int = pydantic.Field(ge=1, description="sets of PEs for other channels, in one column of sums")
    t: int = pydantic.Field(ge=1, description="stacks of PEs for other filters")

    def mapping(self, loops: Loops, filter_rows: int) -> RsMapping:
        """As the search would give it, cut to the layer's extents."""
        p, q = min(self.p, loops.outputs), min(self.q, loops.channels)
        return RsMapping(
            1,
            min(self.n, loops.images),
            min(self.e, loops.p),
            loops.q,
            p * self.t,
            q * self.r,
            filter_rows,
            loops.s,
            "mkn",
            m_block=min(self.m, loops.outputs),
            p=p,
            q=q,
            r=self.r,
            t=self.t,
        )


@ENGINES.register("row_stationary")
class RowStationary(TiledEngine):
    """A grid of PEs with scratch pads, multicast buses, and sums that go up the columns (Eyeriss)."""

    kind: ClassVar[str] = "row_stationary"
    stationary: ClassVar[str] = "filter"
    data_dependent: ClassVar[bool] = False
    keeps_operands: ClassVar[bool] = False

    class Spec(Spec):
        """Parameters of a row-stationary array."""

        rows: int = pydantic.Field(ge=1, le=1024, description="PE rows")
        cols: int = pydantic.Field(ge=1, le=1024, description="PE columns")
        ifmap_spad: int = pydantic.Field(ge=1, le=2**16, description="words of ifmap in a PE")
        filter_spad: int = pydantic.Field(ge=1, le=2**16, description="words of filter in a PE")
        psum_spad: int = pydantic.Field(ge=1, le=2**16, description="words of psum in a PE")
        ifmap_words: int = pydantic.Field(default=1, ge=1, le=64, description="words a cycle of the ifmap bus")
        filter_words: int = pydantic.Field(default=4, ge=1, le=64, description="words a cycle of the filter bus")
        psum_words: int | None = pydantic.Field(
            default=None, ge=1, le=64, description="words a cycle of each psum bus (default: a word of their buffer)"
        )
        operand_bits: int = pydantic.Field(default=16, ge=1, le=32, description="width of the multipliers")
        zero_gating: bool = pydantic.Field(
            default=True, description="a zero input saves the energy of its MAC and filter read, never its time"
        )
        fold_rows: bool = pydantic.Field(
            default=True, description="filters with more rows than the array run in parts, one after another"
        )
        rlc: bool = pydantic.Field(
            default=True, description="feature maps travel run-length coded (eyeriss_rlc) where that is shorter"
        )
        bus_mm: float = pydantic.Field(default=3.5, gt=0, description="length of a bus across the array, mm")
        pinned: list[RsPin] = pydantic.Field(default=[], description="first match wins; other layers are searched")

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self.array = RsArray(
            spec.rows, spec.cols, spec.ifmap_spad, spec.filter_spad, spec.psum_spad,
            spec.ifmap_words, spec.filter_words, spec.psum_words or 1,
        )  # fmt: skip

    def meet(self, word_bits: dict[str, int], bits: dict[str, int]) -> None:
        """A psum bus takes a word of the buffer in a cycle, if nothing else is said."""
        if self.spec.psum_words is None:
            self.array = replace(self.array, psum_words=max(1, word_bits["psum"] // bits["psum"]))

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """One for each PE."""
        return self.array.rows * self.array.cols

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Anything up to the multipliers' width."""
        widths = tuple(range(1, self.spec.operand_bits + 1))
        return {"ifmap": widths, "filter": widths}

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """MACs, three scratch pads in each PE, the links of sums between PEs, and the buses."""
        spec, width = self.spec, self.spec.operand_bits
        pes = self.peak_macs_per_cycle(bits)
        parts = [mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=pes)]
        for name, words, each in (
            ("ifmap_spad", spec.ifmap_spad, width),
            ("filter_spad", spec.filter_spad, width),
            ("psum_spad", spec.psum_spad, bits["psum"]),
        ):
            parts.append(scratchpad_rows(model, name, ceil_div(words * each, 8), each, count=pes))
        pitch = spec.bus_mm / max(spec.rows, spec.cols)
        parts.append(link_rows(model, "psum_link", bits["psum"], pitch, count=pes))
        # a word goes down the bus of all rows, then along the bus of every row that wants it
        for name, each, words in (
            ("ifmap_bus", width, spec.ifmap_words),
            ("filter_bus", width, spec.filter_words),
            ("psum_bus", bits["psum"], 2 * self.array.psum_words),
        ):
            parts.append(link_rows(model, name, each, spec.bus_mm, count=words * (1 + spec.rows)))
        return parts

    # --- passes ---

    def problem(self, part: Part) -> RsProblem:
        """What the search is about."""
        return RsProblem.of(part.task, part.loops, self.array, part.step_rows)

    def tile(self, part: Part) -> tuple[Mapping, Tiles, tuple[str, ...]]:
        """The passes of the pinned or the best mapping.

        Raises
        ------
        ConfigError
            If the layer, or the pinned mapping, does not fit: by how much, and what would.
        """
        problem = self.problem(part)
        check_fits(self.array, part.loops, self.spec.fold_rows)
        mapping = self._pinned(part, problem)
        if mapping is None:
            mapping = search(problem, part.task.objective, part.task.dram_bytes_per_cycle)
        tiles = walk(problem, mapping)
        return mapping, tiles, pack_fmaps(part, tiles) if self.spec.rlc else ()

    def _pinned(self, part: Part, problem: RsProblem) -> RsMapping | None:
        mapping = part.task.pinned
        if mapping is not None and not isinstance(mapping, RsMapping):
            raise ConfigError("mapping.pinned does not say m, n, e, p, q, r, t; pin under engine.pinned", part.where)
        if mapping is None:
            for pin in self.spec.pinned:
                if fnmatchcase(part.task.layer.name, pin.layers):
                    mapping = pin.mapping(part.loops, problem.filter_rows())
                    break
        if mapping is not None:
            check_pin(problem, mapping)
        return mapping

    def table(self, part: Part, rows: PassArray, tiles: Tiles, times: TileTimes, mapping: Mapping) -> PassTable:
        """As any engine's; the filters in the spads are one tile more than the buffer has."""
        table = super().table(part, rows, tiles, times, mapping)
        table.slots["filter"] += 1
        return table

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Filters are loaded when the pass before has drained, unless they are there already."""
        found, which = passes_of(part.loops, tiles)
        loads = np.array([load_cycles(self.array, one) for one in found], np.int64)[which] * new_filters(tiles)
        both = [[pass_timing(self.array, one, adds) for adds in (False, True)] for one in found]
        finish, busy, bus = (
            np.array([[getattr(timing, name) for timing in pair] for pair in both], np.int64)[
                which, 1 - tiles["first_k"]
            ]
            for name in ("finish", "busy", "bus")
        )
        return TileTimes(loads, finish, finish, finish, busy, {"buffer_ports": bus})

    def estimate(self, task: Task) -> int:
        """See `Engine.estimate`: the array's cycles of the best mapping."""
        work = task.layer.work
        if not isinstance(work, ConvShape | GemmShape):
            return super().estimate(task)
        part = Part(task, work)
        mapping, _, _ = self.tile(part)
        assert isinstance(mapping, RsMapping)
        return processing_cycles(self.problem(part), mapping)

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """ifmap and filter words on their buses, and sums on their way out; absent channels and filters excluded."""
        found, which = passes_of(part.loops, tiles)
        plane = np.array([one.rows_in() * one.cols_in() for one in found], np.int64)[which]
        reads = {
            "ifmap": tiles["images"] * tiles["channels"] * plane,
            "filter": tiles["n"] * tiles["k"] * new_filters(tiles),
        }
        return reads, {"psum": tiles["m"] * tiles["n"]}

    def accesses(self, part: Part, tiles: Tiles) -> NDArray[Any]:
        """What the buses move in which cycle."""
        found, which = passes_of(part.loops, tiles)
        kinds, kind = distinct([which, new_filters(tiles).astype(np.int64), tiles["first_k"]])
        patterns = np.empty(len(kinds), object)
        for row, (one, loads, first) in enumerate(kinds.tolist()):
            patterns[row] = RsAccess(self.array, found[one], bool(loads), not first)
        return patterns[kind]

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """What each PE and each bus does; see the comments."""
        found, which = passes_of(part.loops, tiles)
        column = {
            name: np.array([int(getattr(one, name)) for one in found], np.int64)[which]
            for name in ("filter_rows", "e", "t", "depth")
        }
        cols_in = np.array([one.cols_in() for one in found], np.int64)[which]
        rides = np.array([self._rides(one) for one in found], np.int64)[which]
        segments = np.array([ceil_div(one.e, self.array.cols) for one in found], np.int64)[which]
        m, n, k = tiles["m"], tiles["n"], tiles["k"]
        fresh, adds = new_filters(tiles), 1 - tiles["first_k"]
        macs = int((m * n * k).sum())
        width = self.spec.operand_bits
        active = self._active(part, macs) if self.spec.zero_gating else macs
        own_rows = column["filter_rows"] * column["e"] * column["t"]  # PEs of one channel
        delivered = tiles["images"] * tiles["channels"] * cols_in
        counts = ActionCounts()
        counts.add("mac", f"mac_{width}x{width}", active)
        counts.add("mac", "gated", macs - active)
        counts.add("filter_spad", "read", active)
        counts.add("filter_spad", "write", int((n * k * column["e"] * fresh).sum()))
        counts.add("ifmap_spad", "read", int((m * k * column["t"]).sum()))  # then held for all filters of the PE
        counts.add("ifmap_spad", "write", int((delivered * own_rows).sum()))
        counts.add("psum_spad", "read", active)
        counts.add("psum_spad", "write", active)
        counts.add("psum_link", "hop", int((m * n * (column["depth"] - 1)).sum()))
        # the bus of rows, then the buses along the rows that want the word
        plane = np.array([one.rows_in() for one in found], np.int64)[which]
        counts.add("ifmap_bus", "hop", int((delivered * (plane + rides)).sum()))
        counts.add("filter_bus", "hop", int((n * k * (1 + segments) * fresh).sum()))
        counts.add("psum_bus", "hop", int((2 * m * n * (1 + adds)).sum()))
        return counts

    def _rides(self, one: RsPass) -> int:
        """Row buses that the words of one ifmap column of a channel take: stacks side by side share them."""
        across = self.array.cols // segment_width(self.array, one.e)
        return one.filter_rows * one.e * (ceil_div(one.t, across) if one.e <= self.array.cols else one.t)

    def _active(self, part: Part, macs: int) -> int:
        """MACs whose input is not zero: exact where the trace holds the values (padding is zero)."""
        operand = part.operand("ifmap")
        if operand is None or not held(operand) or part.step_rows:
            return round(macs * part.density("ifmap"))
        shape = part.shape
        if isinstance(shape, ConvShape):
            dims: tuple[int, ...] = (shape.g, shape.m // shape.g, shape.c // shape.g, shape.r, shape.s)
        else:
            dims = (shape.batch, shape.n, shape.k)
        return effectual_products(shape, part.ifmap() != 0, np.broadcast_to(np.True_, dims))

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Active PEs, the array's own time, and the words that cross the buffers' border, as published."""
        found, which = passes_of(part.loops, tiles)
        reads, writes = self._words(part, tiles)
        bits, final = part.task.bits, int((tiles["m"] * tiles["n"] * tiles["last_k"]).sum())
        sums = int(reads["psum"].sum()) + int(writes["psum"].sum()) + final
        block = int((tiles["m"] * tiles["n"] * tiles["last_k"])[: self._block(tiles)].sum())
        return {
            **super().info(part, tiles, times),
            "active_pes": max(one.active for one in found),
            "passes": len(tiles),
            "first_window_cycles": self._first_windows(found, which, tiles),
            "processing_cycles": int((times.load + times.finish).sum()),
            "array_ifmap_bytes": int(reads["ifmap"].sum()) * bits["ifmap"] // 8,
            "array_psum_bytes": sums * bits["psum"] // 8,
            "psum_tile_bytes": block * bits["psum"] // 8,
        }

    def _first_windows(self, found: list[RsPass], which: Any, tiles: Tiles) -> int:
        """Cycles in which PEs wait for the first window of a pass; part of fill and drain."""
        fill = [[pass_timing(self.array, one, adds).fill for adds in (False, True)] for one in found]
        return int(np.array(fill, np.int64)[which, 1 - tiles["first_k"]].sum())

    @staticmethod
    def _block(tiles: Tiles) -> int:
        """Passes until the first block of m filters is complete."""
        last = np.flatnonzero(tiles["last_k"])
        gaps = np.flatnonzero(np.diff(last) > 1)
        return int(last[gaps[0]] if len(gaps) else last[-1]) + 1
