"""UNPU: tables of activation sums, read by weight bits in turn (Lee et al., ISSCC 2018 and JSSC 54(1), 2019).

A table holds the sums of `inputs` activations under all patterns of that many weight bits. In a cycle each of its
`readers` takes one bit plane of one output's weights, reads the sum, and adds it shifted to the output's partial sum;
weights of b bits take b cycles, the last plane with a minus sign. Binary weights (-1, 1) need half of the entries, so
that a table serves one activation more.

`cores` take different outputs. In a core, `pes` elements take different inputs, and the `tables` of an element
different output positions; with fewer positions than tables (matrix-vector products) they take different inputs, too.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.spec import Spec
from accelsim.energy.costs import Component
from accelsim.energy.figures import composed
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, register_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.part import Part
from accelsim.engines.common.stepped import StepEngine
from accelsim.engines.common.tiled import Tiles, TileTimes, WordTables


@ENGINES.register("unpu")
class Unpu(StepEngine):
    """Look-up-table bit-serial elements; weights of 1 to 16 bits."""

    kind: ClassVar[str] = "unpu"
    data_dependent: ClassVar[bool] = False
    coded: ClassVar[tuple[str, ...]] = ("filter",)  # one bit: the scale of a sign is applied to the sum
    remedies: ClassVar[dict[str, str]] = {
        "filter": "quantize it with `uniform` or `binary`", "ifmap": "quantize it with `uniform`",
    }

    class Spec(Spec):
        """Parameters of the elements."""

        cores: int = pydantic.Field(default=4, ge=1, le=256, description="cores; each has its own outputs")
        pes: int = pydantic.Field(default=6, ge=1, le=256, description="elements of a core; each has its own inputs")
        tables: int = pydantic.Field(default=12, ge=1, le=256, description="tables of an element: output positions")
        readers: int = pydantic.Field(default=16, ge=1, le=256, description="outputs that read a table in a cycle")
        inputs: int = pydantic.Field(default=3, ge=1, le=6, description="activations of a table")
        binary_inputs: int = pydantic.Field(default=4, ge=1, le=7, description="those of a table of binary weights")
        update_cycles: int = pydantic.Field(
            default=1, ge=0, le=64, description="to fill a table; the next one is filled while one is read"
        )

    # --- shape ---

    def served(self, weight_bits: int) -> int:
        """Activations of a table."""
        return int(self.spec.binary_inputs if weight_bits == 1 else self.spec.inputs)

    def columns(self, part: Part) -> int:
        """Output positions at a time."""
        loops = part.loops
        at_once = part.step_rows or loops.images * loops.p * loops.q
        return int(self.spec.tables) if at_once >= self.spec.tables else 1

    def depth(self, part: Part) -> int:
        """Inputs of one output in a step."""
        return int(self.spec.pes * self.spec.tables // self.columns(part)) * self.served(part.bits("filter"))

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """Products of all readers, over the bits of a weight."""
        spec = self.spec
        each = spec.cores * spec.pes * spec.tables * spec.readers * self.served(bits["filter"])
        return int(-(-each // bits["filter"]))

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """1 to 16 bits of either."""
        return {"ifmap": tuple(range(1, 17)), "filter": tuple(range(1, 17))}

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """A reader: the table's multiplexers, and an adder and register for the sum; a fill: its entries' sums.

        With the symmetry of the signs, half of the entries are added and held.
        """
        spec = self.spec
        width = 16 + max(1, (spec.inputs - 1).bit_length())
        entries = 2 ** (spec.inputs - 1)
        look = model.lookup_pj(entries, width)
        add, clock = model.add_pj(bits["psum"]), model.register_pj(bits["psum"])
        read = composed("table read + sum + its register", (1, look), (1, add), (1, clock))
        fill = composed(
            f"{entries} sums of {width} bits, registered",
            (entries, model.add_pj(width)), (entries, model.register_pj(width)),
        )
        tables = spec.cores * spec.pes * spec.tables
        adder = model.op_area_mm2("add", bits["psum"])
        sums = composed("adder and register of a sum", (1, adder), (1, model.register_area_mm2(bits["psum"])))
        held = composed("entries of a table", (entries, model.register_area_mm2(width)))
        return [
            component("table", {"fill": fill}, area=held, leakage=model.logic_leak_mw(float(held)), count=tables),
            component(
                "reader", {"lookup": read}, area=sums, leakage=model.logic_leak_mw(float(sums)),
                count=tables * spec.readers,
            ),
            register_rows(model, "weight_register", spec.readers * spec.inputs, count=spec.cores * spec.pes),
        ]

    # --- tiles ---

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A step's positions, outputs and inputs."""
        return self.columns(part), int(self.spec.cores * self.spec.readers), self.depth(part)

    def tile_cycles(self, part: Part, m: Any, n: Any, channels: Any, taps: Any) -> Any:
        """Tables are filled once for positions, tap and inputs, and read for all outputs, bit by bit."""
        fills = -(-m // self.columns(part)) * taps * -(-channels // self.depth(part))
        reads = -(-n // (self.spec.cores * self.spec.readers)) * part.bits("filter")
        return fills * np.maximum(reads, self.spec.update_cycles)

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """The first table of a tile is filled when nothing is read yet; the last is read when nothing is filled."""
        plain, spec = super().times(part, tiles), self.spec
        reads = -(-tiles["n"] // (spec.cores * spec.readers)) * part.bits("filter")
        finish = plain.stream + np.minimum(reads, spec.update_cycles)
        return TileTimes(plain.load, plain.load_free, plain.stream, finish, plain.busy)

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Each input once a fill and core; a weight for each set of positions; sums stay in the cores."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        return {"ifmap": groups * m * k, "filter": groups * n * k * -(-m // self.columns(part))}, {
            "psum": groups * m * n
        }

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Tables filled in every core that works on outputs, and reads of one bit plane each."""
        groups, m, n, channels = (tiles[x] for x in ("groups", "m", "n", "channels"))
        served, bits = self.served(part.bits("filter")), part.bits("filter")
        tables = groups * m * (tiles["k"] // channels) * -(-channels // served)
        cores = np.minimum(self.spec.cores, -(-n // self.spec.readers))
        counts = ActionCounts()
        counts.add("table", "fill", int((tables * cores).sum()))
        counts.add("reader", "lookup", int((tables * n).sum()) * bits)
        read = groups * n * tiles["k"] * -(-m // self.columns(part))
        counts.add("weight_register", "write_bit", int(read.sum()) * bits)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """How the tables lie."""
        shape = {"positions_at_a_time": self.columns(part), "inputs_of_a_step": self.depth(part)}
        return {**shape, "planes": part.bits("filter"), **super().info(part, tiles, times)}
