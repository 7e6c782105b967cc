"""Crossbars: weights are conductances, a read multiplies all of them by one digit of the inputs.

One engine for ISAAC, PRIME, PUMA, XNOR-RRAM and their like; what tells them apart are its parameters. A core has
`arrays` of them. A block of `rows` x (columns / cells of a weight) weights, with its slices in columns of one array or
in arrays of their own, is a *unit*; a layer takes ceil(k / rows) x ceil(n / columns) units for each group, whose sums
are added digitally. Units that are left over hold copies, which work on other outputs. Where a tile needs more units
than there are, it runs in rounds with programming between them, unless weights are resident.

Timing: `crossbar_rule`. Values: `crossbar_math`.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component, CostRow
from accelsim.energy.figures import Figure
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, crossbar_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiled import TiledEngine, TileTimes, Tiles, WordTables
from accelsim.engines.crossbars.error import output_error
from accelsim.engines.crossbars.math import Cells, NonIdeal
from accelsim.engines.crossbars.packing import Packed, pack
from accelsim.engines.crossbars.rule import Mvm
from accelsim.engines.crossbars.sparse import SkippedTimes, skipped_times, weights_of


class PartSpec(Spec):
    """Something beside the arrays whose power and area are published: registers, buses, links off the chip."""

    name: str = pydantic.Field(pattern=r"^[a-z][a-z0-9_]*$", description="as in reports")
    arrays: int = pydantic.Field(default=0, ge=0, description="arrays that share one; 0: one for the core")
    power_mw: float = pydantic.Field(ge=0, description="of one while its arrays work")
    area_mm2: float = pydantic.Field(ge=0, description="of one")


class InOrderSpec(Spec):
    """Cores that execute one instruction at a time: products, vector operations, loads and stores (PUMA)."""

    arrays: int = pydantic.Field(ge=1, description="of a core; they work on one product instruction together")
    lanes: int = pydantic.Field(ge=1, description="of its vector unit")
    access_words: int = pydantic.Field(ge=1, description="words of an access to the shared memory")
    access_cycles: int = pydantic.Field(ge=1, description="of an access")


class FaultSpec(Spec):
    """How real cells and reads differ; see `crossbar_math.NonIdeal`."""

    variation: float = pydantic.Field(default=0.0, ge=0, description="std of the logarithm of conductances")
    stuck_off: float = pydantic.Field(default=0.0, ge=0, lt=1, description="share of cells that read as level 0")
    stuck_on: float = pydantic.Field(default=0.0, ge=0, lt=1, description="share that read as the highest level")
    read_noise: float = pydantic.Field(default=0.0, ge=0, description="std of a column's sum, in digits x levels")
    wire: float = pydantic.Field(default=0.0, ge=0, description="wire between two cells over a cell at level 1, ohms")
    seed: int = pydantic.Field(default=0, ge=0, description="of all of these")

    @pydantic.model_validator(mode="after")
    def _shares(self) -> Any:
        if self.stuck_on + self.stuck_off > 1:
            raise ValueError(f"stuck_on + stuck_off must be <= 1, got {self.stuck_on + self.stuck_off:g}")
        return self

    def non_ideal(self) -> NonIdeal:
        """For `crossbar_math`."""
        return NonIdeal(
            self.variation, self.stuck_off, self.stuck_on, self.read_noise, self.wire, self.seed
        )


class CrossbarSpec(Spec):
    """Parameters of the arrays, their converters and their pipeline."""

    rows: int = pydantic.Field(ge=1, le=4096, description="wordlines of an array")
    cols: int = pydantic.Field(ge=1, le=4096, description="bit lines of an array")
    arrays: int = pydantic.Field(ge=1, le=65536, description="arrays of a core")
    cell_bits: int = pydantic.Field(default=2, ge=1, le=8, description="bits in a cell")
    weight_bits: int = pydantic.Field(default=16, ge=1, le=32, description="widest weight")
    input_bits: int = pydantic.Field(default=16, ge=1, le=32, description="widest input")
    dac_bits: int = pydantic.Field(default=1, ge=1, le=8, description="input bits of a step")
    adc_bits: int = pydantic.Field(default=8, ge=1, le=12, description="resolution of a conversion")
    adcs: int = pydantic.Field(default=1, ge=1, description="ADCs of an array, which its columns share")
    encoding: Literal["offset", "differential", "binary"] = pydantic.Field(
        default="offset", description="of the sign: weights plus a half; two cells subtracted; +1 and -1"
    )
    slicing: Literal["columns", "arrays"] = pydantic.Field(
        default="columns", description="slices of a weight: neighbouring columns, or arrays of their own"
    )
    flip: bool = pydantic.Field(default=False, description="columns stored inverted where that lowers their sum")
    range: Literal["clip", "scale"] = pydantic.Field(
        default="clip", description="large sums saturate, or the ADC's codes span them"
    )
    active_rows: int = pydantic.Field(default=0, ge=0, description="wordlines driven at once; 0: all")
    active_cols: int = pydantic.Field(default=0, ge=0, description="bit lines of a step; 0: all")
    skip: Literal["none", "weights", "inputs", "both"] = pydantic.Field(
        default="none", description="zero rows of an operation unit's columns, zero digits of inputs, or both"
    )
    pack: Literal["none", "lines", "blocks"] = pydantic.Field(
        default="none", description="leave out zero rows and columns of the matrix, or rows of each block of columns"
    )
    read_cycles: int = pydantic.Field(ge=1, description="DAC and array, one step")
    convert_cycles: int = pydantic.Field(default=1, ge=1, description="one conversion")
    pipelined: bool = pydantic.Field(default=True, description="ADCs work beside the array's next read")
    overlap: bool = pydantic.Field(default=True, description="products follow each other without waiting for results")
    faults: FaultSpec | None = pydantic.Field(
        default=None, description="given (even if empty): a run computes products on the trace's values, and reports "
        "how far they are off"
    )  # fmt: skip
    in_order: InOrderSpec | None = pydantic.Field(
        default=None, description="what a core does between products; nothing: all else works beside them"
    )
    stages_before: int = pydantic.Field(default=0, ge=0, description="pipeline stages before the first read")
    stages_after: int = pydantic.Field(default=1, ge=0, description="pipeline stages after the last conversion")
    replicate: bool = pydantic.Field(default=True, description="units that are left over hold copies")
    write_row_cycles: int = pydantic.Field(default=1, ge=0, description="programming the cells of one row")
    write_pj: float = pydantic.Field(default=1.0, gt=0, description="programming one cell, pJ")
    updates: int = pydantic.Field(
        default=0, ge=0, description="training: how often a run rewrites all weights that stay in crossbars"
    )
    endurance_writes: float = pydantic.Field(
        default=0.0, ge=0, description="writes that a cell survives, for its lifetime in training; 0: not known"
    )
    adc_rate_hz: float = pydantic.Field(gt=0, description="conversions a second of one ADC")
    adc_design: str = pydantic.Field(default="", description="a converter of the tables; empty: regression by bits")
    parts: list[PartSpec] = pydantic.Field(default=[], description="published power and area of what is beside")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Any:
        if self.active_rows > self.rows or self.active_cols > self.cols:
            raise ValueError(
                f"active_rows and active_cols must be <= rows and cols ({self.rows}, {self.cols}), "
                f"got {self.active_rows} and {self.active_cols}"
            )
        if self.in_order is not None and self.overlap:
            raise ValueError("in_order needs overlap: false: a core that does one thing after another overlaps nothing")
        if self.encoding == "binary" and max(self.weight_bits, self.input_bits, self.cell_bits) > 1:
            raise ValueError("encoding: binary needs weight_bits, input_bits and cell_bits of 1")
        if self.encoding == "differential" and self.weight_bits < 2:
            raise ValueError("encoding: differential needs weight_bits >= 2 (a sign and a magnitude)")
        if self.skip != "none" and self.pack != "none":
            raise ValueError("skip and pack are two ways of leaving out zero weights: choose one")
        if self.skip != "none" and self.slicing != "columns":
            raise ValueError("skip needs slicing: columns, as its operation units span the slices of weights")
        if self.skip in ("weights", "both") and self.encoding != "differential":
            raise ValueError("skipping weights needs encoding: differential, whose zero weights are zero cells")
        if self.skip != "none" and not (self.active_rows and self.active_cols):
            raise ValueError("skip needs operation units: give active_rows and active_cols")
        try:
            self.cells(self.weight_bits, self.input_bits, True).check()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def cells(self, weight_bits: int, input_bits: int, signed: bool) -> Cells:
        """The numbers that decide values, at these widths."""
        binary = self.encoding == "binary"
        return Cells(
            self.active_rows or self.rows, self.cell_bits, 1 if binary else max(weight_bits, 1),
            1 if binary else input_bits, self.dac_bits, self.adc_bits, self.encoding, signed, self.flip, self.range,
        )


@ENGINES.register("crossbar")
class Crossbar(TiledEngine):
    """A core of crossbars."""

    kind: ClassVar[str] = "crossbar"
    stationary: ClassVar[str] = "filter"
    Spec = CrossbarSpec  # type: ignore[assignment]

    def __init__(self, spec: CrossbarSpec) -> None:
        super().__init__(spec)
        self.data_dependent = (spec.skip, spec.pack) != ("none", "none")  # type: ignore[misc]
        if self.columns({"filter": spec.weight_bits}) < 1 or self.units({"filter": spec.weight_bits}) < 1:
            raise ConfigError(
                f"a weight of {spec.weight_bits} bits takes {self.cells_of(spec.weight_bits)} cells, which must fit "
                f"{spec.cols} columns of one array or {spec.arrays} arrays"
            )

    # --- geometry ---

    def cells_of(self, weight_bits: int) -> int:
        """Cells of a weight; the pair of a binary cell counts as one."""
        cells = self.spec.cells(weight_bits, 1, False)
        return 1 if self.spec.encoding == "binary" else cells.cells_per_weight

    def columns(self, bits: dict[str, int]) -> int:
        """Weights beside each other in a unit."""
        cells = self.cells_of(bits["filter"])
        return int(self.spec.cols // cells if self.spec.slicing == "columns" else self.spec.cols)

    def arrays_per_unit(self, bits: dict[str, int]) -> int:
        """Arrays that hold one block of weights."""
        return 1 if self.spec.slicing == "columns" else self.cells_of(bits["filter"])

    def units(self, bits: dict[str, int]) -> int:
        """Blocks of weights that a core holds."""
        return int(self.spec.arrays // self.arrays_per_unit(bits))

    def needed(self, n: Any, k: Any, bits: dict[str, int]) -> Any:
        """Units for k x n weights."""
        return -(-k // self.spec.rows) * -(-n // self.columns(bits))

    def mvm(self, k: int, n: int, input_bits: int, signed: bool, bits: dict[str, int]) -> Mvm:
        """Timing of one product with at most k inputs and n outputs in any unit."""
        spec = self.spec
        cells = self.cells_of(bits["filter"]) if spec.slicing == "columns" else 1
        rows, cols = min(k, spec.rows), min(n * cells, spec.cols)
        active_rows, active_cols = spec.active_rows or spec.rows, spec.active_cols or spec.cols
        digits = spec.cells(bits["filter"], input_bits, signed).digits
        steps = digits * ceil_div(rows, active_rows) * ceil_div(cols, active_cols)
        return self._timing(steps, ceil_div(min(cols, active_cols), spec.adcs))

    def _timing(self, steps: int, conversions: int) -> Mvm:
        """A pipeline stage lasts as long as a step of a full array."""
        spec = self.spec
        full = ceil_div(spec.active_cols or spec.cols, spec.adcs) * spec.convert_cycles
        stage = max(spec.read_cycles, full)
        convert = full if spec.stages_before + spec.stages_after else conversions * spec.convert_cycles
        return Mvm(
            steps, spec.read_cycles, convert, spec.stages_before * stage, spec.stages_after * stage,
            spec.pipelined, spec.overlap,
        )

    def peak(self, bits: dict[str, int]) -> Fraction:
        """Multiply-accumulates per cycle with all units full."""
        mvm = self.mvm(self.spec.rows, self.spec.cols, bits["ifmap"], False, bits)
        interval = mvm.interval - mvm.between
        if self.spec.skip != "none":  # all but one step of each product may be left out
            interval = self.mvm(1, 1, 1, False, bits).step
        if self.spec.pack != "none":  # copies beyond those of a dense matrix
            return Fraction(2**20 * self.units(bits), interval)
        return Fraction(self.units(bits) * self.spec.rows * self.columns(bits), interval)

    # --- contract ---

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """See `peak`, rounded up."""
        bits = {**bits, "filter": min(bits["filter"], self.spec.weight_bits)}
        bits["ifmap"] = min(bits["ifmap"], self.spec.input_bits)
        peak = self.peak(bits)
        return ceil_div(peak.numerator, peak.denominator)

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Anything up to the cells and digits of a weight and an input."""
        binary = self.spec.encoding == "binary"
        return {
            "ifmap": (32,) if binary else tuple(range(1, self.spec.input_bits + 1)),
            "filter": (32,) if binary else tuple(range(1, self.spec.weight_bits + 1)),
        }

    def bits_of(self, part: Part) -> dict[str, int]:
        """Widths that the arrays see. Binary arrays see signs only."""
        if self.spec.encoding == "binary":
            return {**part.task.bits, "ifmap": 1, "filter": 1}
        return {**part.task.bits, "ifmap": part.bits("ifmap"), "filter": part.bits("filter")}

    def _compute_bits(self, part: Part) -> dict[str, int]:
        return self.bits_of(part)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """One position of one unit."""
        return 1, self.columns(self.bits_of(part)), self.spec.rows

    def part_mvm(self, part: Part, k: int, n: int) -> Mvm:
        """`mvm` at the widths of a layer, with what an in-order core does between products."""
        bits, core = self.bits_of(part), self.spec.in_order
        mvm = self.mvm(k, n, bits["ifmap"], part.signed("ifmap"), bits)
        if core is None:
            return mvm
        # its units take neighbouring blocks: inputs of all are loaded, their sums added, activated and stored
        units = max(1, core.arrays // self.arrays_per_unit(bits))
        inputs, outputs = units * min(k, self.spec.rows), units * min(n, self.columns(bits))
        operations = part.task.fused_ops + (1 if k > self.spec.rows else 0)
        accesses = ceil_div(inputs, core.access_words) + ceil_div(outputs, core.access_words)
        return replace(mvm, between=accesses * core.access_cycles + operations * ceil_div(outputs, core.lanes))

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Rounds of products, and programming between them."""
        m, n, k = (np.asarray(x, np.int64) for x in (m, n, k))
        return self._rounds(part, m, self.needed(n, k, self.bits_of(part)), int(np.max(n)), int(np.max(k)))[0]

    def _rounds(self, part: Part, m: Any, needed: Any, n: int, k: int) -> tuple[Any, Any, Any]:
        """(cycles from start to start, products one after another, programming inside)."""
        units = self.units(self.bits_of(part))
        mvm = self.part_mvm(part, k, n)
        copies = np.where(needed <= units, units // np.maximum(needed, 1), 1) if self.spec.replicate else 1
        rounds = np.maximum(1, -(-needed // units))
        if part.task.on_chip[2] and int(np.max(rounds)) > 1:
            per = self.arrays_per_unit(self.bits_of(part))
            raise ConfigError(
                f"its weights must be resident and need {int(np.max(needed)) * per} crossbars of "
                f"{self.spec.rows} x {self.spec.cols}, but a core has {self.spec.arrays}",
                part.where,
            )
        turns = rounds * -(-m // copies)
        between = (rounds - 1) * min(k, self.spec.rows) * self.spec.write_row_cycles
        return turns * mvm.interval + between, turns, between

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Products follow each other; programming comes before them, and between rounds."""
        if self.spec.updates:
            raise ConfigError("engine.updates counts writes of weights that stay: it needs cores.schedule: placed")
        n, k = int(tiles["n"].max()), int(tiles["k"].max())
        needed = self._needed(part, tiles)
        stream, turns, between = self._rounds(part, tiles["m"], needed, n, k)
        mvm = self.part_mvm(part, k, n)
        busy, adc = turns * (mvm.interval - mvm.adc_stall), turns * mvm.adc_stall
        resident = part.task.on_chip[2]
        program = np.minimum(tiles["k"], self.spec.rows) * self.spec.write_row_cycles * (0 if resident else 1)
        load = np.where(tiles["filter_bytes"] > 0, program, 0)
        tail = mvm.latency - mvm.interval if self.spec.overlap else 0
        if self.spec.skip != "none":
            found = skipped_times(self, part, tiles, turns, between)
            return replace(found, load=load, finish=found.stream + tail)
        return TileTimes(load, stream, stream, stream + tail, busy, {"adc": adc})

    def _needed(self, part: Part, tiles: Tiles) -> Any:
        """Units of every tile, all its groups."""
        if self.spec.pack == "none":
            return self.needed(tiles["n"], tiles["k"], self.bits_of(part)) * tiles["groups"]
        return np.array([sum(p.units for p in packed) for packed in self._packed(part, tiles)], np.int64)

    def _packed(self, part: Part, tiles: Tiles) -> list[list[Packed]]:
        """How the weights of every tile's groups are packed; tiles of the same weights are looked at once."""
        known: dict[Any, list[Packed]] = {}
        found = []
        for tile in tiles:
            key = tuple(int(tile[x]) for x in ("group0", "groups", "output0", "n", "channel0", "k", "tap0"))
            if key not in known:
                known[key] = self.packed(part, tile, range(key[0], key[0] + key[1]))
            found.append(known[key])
        return found

    def packed(self, part: Part, tile: Any, groups: range) -> list[Packed]:
        """How the weights of a tile are packed, for each group."""
        columns = self.columns(self.bits_of(part))
        return [pack(weights_of(part, g, tile), self.spec.rows, columns, self.spec.pack) for g in groups]

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Inputs of a product go to all its units at once; the window is read anew for each output position."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        return {"ifmap": groups * m * k}, {"psum": groups * m * n}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Reads, conversions and what else works in a step; programmed cells."""
        counts = ActionCounts()
        bits = self.bits_of(part)
        groups, m, n, k = (tiles[x].astype(object) for x in ("groups", "m", "n", "k"))
        written = int((groups * n * k)[tiles["filter_bytes"] > 0].sum()) if not part.task.on_chip[2] else 0
        if self.spec.pack != "none":
            for tile, packed in zip(tiles, self._packed(part, tiles), strict=True):
                program = tile["filter_bytes"] > 0 and not part.task.on_chip[2]
                self.count_packed(counts, part, packed, int(tile["m"]), program)
            self._parts(counts, part, tiles, times)
            return counts
        counts.add("cell", "write", written * self.cells_of(bits["filter"]))
        if isinstance(times, SkippedTimes):
            counts.merge(times.counts)
        else:
            for g, rows, outs, inner in zip(groups, m, n, k, strict=True):
                self.count(counts, part, int(g), int(rows), int(outs), int(inner))
        self._parts(counts, part, tiles, times)
        return counts

    def count(self, counts: ActionCounts, part: Part, groups: int, m: int, n: int, k: int) -> None:
        """Add what m products of k x n weights, in each of `groups`, do in arrays and converters."""
        bits, spec = self.bits_of(part), self.spec
        mvm = self.part_mvm(part, k, n)
        down = ceil_div(k, spec.rows)
        across = ceil_div(n, self.columns(bits))
        digits = spec.cells(bits["filter"], bits["ifmap"], part.signed("ifmap")).digits
        times = groups * m
        cells = self.cells_of(bits["filter"])
        row_groups = down * ceil_div(min(k, spec.rows), spec.active_rows or spec.rows)
        reads = times * down * across * mvm.steps * self.arrays_per_unit(bits)
        conversions = times * digits * row_groups * n * cells
        counts.add("crossbar", "read", reads)
        # each group of bit lines that is read at once drives the wordlines anew
        width, active = cells if spec.slicing == "columns" else 1, spec.active_cols or spec.cols
        full, rest = divmod(n, self.columns(bits))
        groups_of_columns = full * ceil_div(self.columns(bits) * width, active) + ceil_div(rest * width, active)
        counts.add("dac", "convert", times * digits * k * groups_of_columns * self.arrays_per_unit(bits))
        counts.add("sample_hold", "sample", conversions)
        counts.add("adc", "convert", conversions)
        counts.add("shift_add", "op", conversions)

    def count_packed(self, counts: ActionCounts, part: Part, packed: list[Packed], m: int, program: bool) -> None:
        """Add what m products with packed matrices do, and their programming."""
        bits, spec = self.bits_of(part), self.spec
        digits = spec.cells(bits["filter"], bits["ifmap"], part.signed("ifmap")).digits
        cells, per = self.cells_of(bits["filter"]), self.arrays_per_unit(bits)
        for p in packed:
            conversions = m * digits * p.columns * cells
            counts.add("cell", "write", p.weights * cells if program else 0)
            counts.add("crossbar", "read", m * digits * p.units * per)
            counts.add("dac", "convert", m * digits * p.rows * per)
            for name, action in (("sample_hold", "sample"), ("adc", "convert"), ("shift_add", "op")):
                counts.add(name, action, conversions)

    def _parts(self, counts: ActionCounts, part: Part, tiles: Tiles, times: TileTimes) -> None:
        needed = self._needed(part, tiles)
        arrays = np.minimum(needed * self.arrays_per_unit(self.bits_of(part)), self.spec.arrays)
        for item in self.spec.parts:
            used = -(-arrays // item.arrays) if item.arrays else 1
            counts.add(item.name, "busy_cycle", int((times.stream * used).sum()))

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Arrays and converters by the tables, and the published parts."""
        spec = self.spec
        found = crossbar_rows(
            model, spec.rows, spec.cols, adc_bits=spec.adc_bits, adc_rate_hz=spec.adc_rate_hz, arrays=spec.arrays,
            adcs_per_array=spec.adcs,
        )
        if spec.dac_bits > 1:  # as MNSIM's and ISAAC's DACs: twice the power for each bit
            dac = next(c for c in found if c.name == "dac")
            one, factor = dac.actions["convert"], 2 ** (spec.dac_bits - 1)
            row = CostRow(one.energy_pj * factor, f"{factor} x {one.source}")
            found = [c for c in found if c.name != "dac"]
            found.append(Component("dac", {"convert": row}, 0.0, dac.area_mm2 * factor, dac.static_source))
        if spec.adc_design:
            named = model.converter(spec.adc_design)
            found = [c for c in found if c.name != "adc"]
            found.append(component("adc", {"convert": named.energy}, area=named.area, count=spec.arrays * spec.adcs))
        share = (spec.active_rows or spec.rows) * (spec.active_cols or spec.cols)
        if share != spec.rows * spec.cols:  # a step reads only its cells
            read = model.crossbar_read_pj(spec.active_rows or spec.rows, spec.active_cols or spec.cols)
            found = [c for c in found if c.name != "crossbar"]
            found.append(
                component("crossbar", {"read": read}, area=model.crossbar_area_mm2(spec.rows, spec.cols),
                          count=spec.arrays)
            )  # fmt: skip
        adder = model.converter("puma_shift_add")
        found.append(component("shift_add", {"op": adder.energy}, area=adder.area, count=ceil_div(spec.arrays, 2)))
        written = Figure(spec.write_pj, "pJ", "engine.write_pj of the architecture")
        found.append(component("cell", {"write": written}))
        return found + [self._part_costs(item) for item in spec.parts]

    def _part_costs(self, item: PartSpec) -> Component:
        clock = self.spec.adc_rate_hz * self.spec.convert_cycles
        count = ceil_div(self.spec.arrays, item.arrays) if item.arrays else 1
        source = f"engine.parts.{item.name} of the architecture"
        energy = CostRow(item.power_mw * 1e9 / clock, source)
        return Component(item.name, {"busy_cycle": energy}, 0.0, count * item.area_mm2, source)

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Crossbars, copies, and the timing of one product."""
        bits = self.bits_of(part)
        mvm = self.part_mvm(part, int(tiles["k"].max()), int(tiles["n"].max()))
        most = max(1, int(self._needed(part, tiles).max()))
        copies = max(1, self.units(bits) // most) if self.spec.replicate else 1
        written = 0 if part.task.on_chip[2] else int((tiles["filter_bytes"] > 0).sum())
        return {
            **super().info(part, tiles, times),
            "crossbars": min(most * self.arrays_per_unit(bits), self.spec.arrays),
            "copies": copies,
            "mvm_cycles": mvm.latency,
            "mvm_interval_cycles": mvm.interval,
            "programmed_tiles": written,
            **self.error(part),
        }

    def error(self, part: Part) -> dict[str, float]:
        """The error of a layer's products, if `faults` asks for it and the trace has their operands."""
        held = part.operand("ifmap") is not None and part.operand("filter") is not None
        return {"output_error": output_error(self, part)} if self.spec.faults is not None and held else {}
