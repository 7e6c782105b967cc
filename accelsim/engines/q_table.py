"""Quantisation tables: an activation's products with all weight levels are formed once, then looked up.

- `q_table` (Shin et al., A-SSCC 2017, and the FC-RNN core of DNPU, ISSCC 2017): weights are places in a table of
  2^b levels, of a k-means codebook or of an even quantizer. For each activation that is not zero the `multipliers` of a
  table form its 2^b products; then each weight is one look-up and addition, `lanes` a cycle. `tables` tables take
  different activations; the next products are formed while these are read.
- `dnpu` (Shin et al., ISSCC 2017): convolutions go to multipliers instead, which take 16-bit weights, or two of 8 bits,
  or four of 4 bits; matrix products go to the tables.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.energy.costs import Component
from accelsim.energy.figures import composed
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, mac_rows, register_rows
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.live_inputs import live_counts
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import places
from accelsim.engines.common.stepped import ROLES, StepEngine, macs_of
from accelsim.engines.common.tiled import Tiles, TileTimes, Words, WordTables
from accelsim.workload.shapes import ConvShape


def _not_zero(values: Any) -> Any:
    return values != 0


@ENGINES.register("q_table")
class QTable(StepEngine):
    """Tables of products."""

    kind: ClassVar[str] = "q_table"
    coded: ClassVar[tuple[str, ...]] = ("filter",)
    remedies: ClassVar[dict[str, str]] = {
        "filter": "the recipe step `kmeans` gives weights as places in a codebook of so many bits",
        "ifmap": "quantize it with `uniform`",
    }

    class Spec(Spec):
        """Parameters of the tables."""

        tables: int = pydantic.Field(ge=1, le=4096, description="tables: activations at a time")
        lanes: int = pydantic.Field(ge=1, le=4096, description="look-ups of a table in a cycle: outputs")
        table_bits: int = pydantic.Field(default=4, ge=1, le=8, description="bits of a weight's place in the table")
        multipliers: int = pydantic.Field(default=16, ge=1, le=256, description="products of a table formed in a cycle")
        operand_bits: int = pydantic.Field(default=16, ge=1, le=32, description="widest activation, and level")
        skip_zeros: bool = pydantic.Field(default=True, description="activations of 0 take no table")
        codebook: Literal["optional", "required"] = pydantic.Field(
            default="optional", description="required: stored weights must be places in a codebook"
        )

    # --- widths ---

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Places of at most `table_bits`."""
        spec = self.spec
        return {"ifmap": tuple(range(1, spec.operand_bits + 1)), "filter": tuple(range(1, spec.table_bits + 1))}

    def check_bits(self, task: Task) -> None:
        """Refuse wide operands, and weights without a codebook where one is required."""
        super().check_bits(task)
        for role, name in ROLES.items():
            operand = task.trace.operand(task.layer.name, role)
            if name != "filter" or self.spec.codebook == "optional" or operand is None:
                continue
            if operand.encoding != "codebook" and operand.generator is None:
                raise ConfigError(
                    f"{role} must have a codebook (encoding codebook) for engine {self.kind!r}, got "
                    f"{operand.encoding}; the recipe step `kmeans` makes one", f"layer {task.layer.name}",
                )

    def build_cycles(self, part: Part) -> int:
        """Cycles to form the products of one activation."""
        return int(-(-(2 ** part.bits("filter")) // self.spec.multipliers))

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """A look-up for each lane."""
        return int(self.spec.tables * self.spec.lanes)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """A product written into a table; a look-up with its addition."""
        spec = self.spec
        wide, entries = spec.operand_bits + 8, 2**spec.table_bits
        product = composed(
            f"product + entry of {wide} bits",
            (1, model.multiply_pj(spec.operand_bits, spec.operand_bits)), (1, model.register_pj(wide)),
        )  # fmt: skip
        look = composed(
            "table read + sum + its register", (1, model.lookup_pj(entries, wide)), (1, model.add_pj(bits["psum"])),
            (1, model.register_pj(bits["psum"])),
        )  # fmt: skip
        held = composed("two tables of products", (2 * entries, model.register_area_mm2(wide)))
        adder = model.op_area_mm2("add", bits["psum"])
        return [
            component("table", {"product": product}, area=held, leakage=model.logic_leak_mw(float(held)),
                      count=spec.tables),
            component("lane", {"lookup": look}, area=adder, leakage=model.logic_leak_mw(float(adder)),
                      count=spec.tables * spec.lanes),
        ]  # fmt: skip

    # --- tiles ---

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A row, the lanes' outputs, an input for each table."""
        return 1, int(self.spec.lanes), int(self.spec.tables)

    def round_cycles(self, part: Part, n: Any) -> Any:
        """Cycles in which every table is read for n outputs, and the next ones are made."""
        return np.maximum(-(-np.asarray(n) // self.spec.lanes), self.build_cycles(part))

    def tile_cycles(self, part: Part, m: Any, n: Any, channels: Any, taps: Any) -> Any:
        """About, with the mean density: see `times`."""
        k = channels * taps
        if self.spec.skip_zeros:
            k = np.maximum(1, k * round(part.density("ifmap") * 1024) // 1024)
        return m * -(-k // self.spec.tables) * self.round_cycles(part, n)

    def rounds(self, part: Part, tiles: Tiles) -> tuple[Words, Words]:
        """(rounds of the tables, activations that take a table) of each tile, all rows and groups."""
        rounds, taken = np.zeros(len(tiles), np.int64), np.zeros(len(tiles), np.int64)
        if not self.spec.skip_zeros:
            rows = tiles["groups"] * tiles["m"]
            return rows * -(-tiles["k"] // self.spec.tables), rows * tiles["k"]
        first, which = places(tiles)
        for kind, at in enumerate(first):
            tile = tiles[at]
            for group in range(int(tile["groups"])):
                live = live_counts(part, tile, _not_zero, group).sum(1)
                rounds[which == kind] += int((-(-live // self.spec.tables)).sum())
                taken[which == kind] += int(live.sum())
        return rounds, taken

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """The first products of a tile, then its rounds; while the last is read, no products are formed."""
        each = self.round_cycles(part, tiles["n"])
        rounds = self.rounds(part, tiles)[0]
        work = rounds * each - np.where(rounds > 0, each - -(-tiles["n"] // self.spec.lanes), 0)
        none = np.zeros_like(work)
        fill = np.where(work > 0, self.build_cycles(part), 0)
        return TileTimes(none, none, fill + work, fill + work + 1, work)

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """All inputs (zeros are found when they come), weights of those that take a table; sums stay in the lanes."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        return {"ifmap": groups * m * k, "filter": self.rounds(part, tiles)[1] * n}, {"psum": groups * m * n}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """2^b products for each activation, and a look-up for each of its weights."""
        taken = self.rounds(part, tiles)[1]
        counts = ActionCounts()
        counts.add("table", "product", int(taken.sum()) * 2 ** part.bits("filter"))
        counts.add("lane", "lookup", int((taken * tiles["n"]).sum()))
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Multiplications that tables save, as a share of the MACs."""
        products = int(self.rounds(part, tiles)[1].sum()) * 2 ** part.bits("filter")
        return {"multiplications_saved": 1 - products / macs_of(tiles), **super().info(part, tiles, times)}


@ENGINES.register("dnpu")
class Dnpu(QTable):
    """Multipliers of shared width for convolutions, tables for matrix products."""

    kind: ClassVar[str] = "dnpu"
    remedies: ClassVar[dict[str, str]] = {
        "filter": "quantize it with `uniform`; matrix products need `kmeans` with as few bits as the table has",
        "ifmap": "quantize it with `uniform`",
    }

    class Spec(QTable.Spec):
        """Tables, and the convolution core."""

        positions: int = pydantic.Field(default=48, ge=1, le=4096, description="output positions at a time")
        outputs: int = pydantic.Field(default=16, ge=1, le=4096, description="output channels at a time")

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Those of the multipliers; `check_bits` knows the layer."""
        return dict.fromkeys(("ifmap", "filter"), tuple(range(1, self.spec.operand_bits + 1)))

    def check_bits(self, task: Task) -> None:
        """Matrix products must fit the tables."""
        super().check_bits(task)
        if isinstance(task.layer.work, ConvShape):
            return
        for role, name in ROLES.items():
            operand = task.trace.operand(task.layer.name, role)
            if name == "filter" and operand is not None and operand.bits > self.spec.table_bits:
                listed = ", ".join(map(str, range(1, self.spec.table_bits + 1)))
                raise ConfigError(
                    f"{role} has {operand.bits} bits, but the tables of engine {self.kind!r} hold {listed}; "
                    "the recipe step `kmeans` gives weights as places in such a table", f"layer {task.layer.name}",
                )

    def split(self, bits: int) -> int:
        """Products of a multiplier at a time: 16, 8 or 4 bits."""
        return next(parts for parts in (4, 2, 1) if bits * parts <= 16 or parts == 1)

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """Of the convolution core, or of the tables if these do more."""
        core = self.spec.positions * self.spec.outputs * self.split(bits["filter"])
        return int(max(core, super().peak_macs_per_cycle(bits)))

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Tables, and multipliers as wide as their weights."""
        spec = self.spec
        pairs = [(spec.operand_bits, width) for width in (4, 8, 16)]
        count = spec.positions * spec.outputs
        return [
            *super().costs(model, bits), mac_rows(model, pairs, acc_bits=bits["psum"], count=count),
            register_rows(model, "accumulator", bits["psum"], count=count),
        ]  # fmt: skip

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A step of the convolution core."""
        if not isinstance(part.shape, ConvShape):
            return super().unit(part)
        return int(self.spec.positions), int(self.spec.outputs), self.split(part.bits("filter"))

    def tile_cycles(self, part: Part, m: Any, n: Any, channels: Any, taps: Any) -> Any:
        """A step a cycle."""
        if not isinstance(part.shape, ConvShape):
            return super().tile_cycles(part, m, n, channels, taps)
        depth = -(-channels // self.split(part.bits("filter"))) * taps
        return -(-m // self.spec.positions) * -(-n // self.spec.outputs) * depth

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Closed in the convolution core."""
        if not isinstance(part.shape, ConvShape):
            return super().times(part, tiles)
        return StepEngine.times(self, part, tiles)

    def tail(self, part: Part) -> int:
        """A product and its sum."""
        return 1

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Inputs for each set of outputs, weights for each set of positions."""
        if not isinstance(part.shape, ConvShape):
            return super().words(part, tiles)
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        reads = {
            "ifmap": groups * m * k * -(-n // self.spec.outputs),
            "filter": groups * n * k * -(-m // self.spec.positions),
        }  # fmt: skip
        return reads, {"psum": groups * m * n}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Products of the weights' width."""
        if not isinstance(part.shape, ConvShape):
            return super().actions(part, tiles, times)
        parts, counts = self.split(part.bits("filter")), ActionCounts()
        counts.add("mac", f"mac_{self.spec.operand_bits}x{16 // parts}", macs_of(tiles))
        groups, m, n, channels = (tiles[x] for x in ("groups", "m", "n", "channels"))
        steps = groups * m * n * -(-channels // parts) * (tiles["k"] // channels)
        counts.add("accumulator", "write", int(steps.sum()))
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Which core."""
        if not isinstance(part.shape, ConvShape):
            return super().info(part, tiles, times)
        return {"products_per_multiplier": self.split(part.bits("filter")), **StepEngine.info(self, part, tiles, times)}
