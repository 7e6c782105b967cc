"""UCNN: weights that repeat are factored out of dot products (Hegde et al., ISCA 2018).

The inputs that meet equal weights of a filter are added first, then multiplied once. Tables say in which order inputs
are read: `filters_per_table` filters share one, sorted by the first filter's weights, then by the second's among
equals of the first, and so on; positions where all of them are 0 are left out. A lane reads one entry a cycle. At the
last entry of a group of a filter its sum is multiplied, unless the weight is 0, and earlier where `group_limit` inputs
are in it, so that sums stay narrow; a lane has one multiplier, so products of several filters at one entry take a cycle
more for each but the first.

The different weights of a layer are stored once, in order. A flag for each filter in an entry says that its group ends
and its next weight follows; where a filter lacks weights, an entry for skipping passes up to `skip_reach` of them, and
takes a cycle. Inner filters begin at the first weight with each group of the filter outside of them.

A PE does `positions` output positions of one table side by side; filters_per_table x positions are its dense
equivalent, `lanes`. Tables are dealt to the PEs in turn; a tile lasts as long as its slowest PE.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, mac_rows, register_rows
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import SparseSpec, check_skipped
from accelsim.engines.common.sparse_products import ProductEngine, weight_key
from accelsim.engines.common.stepped import check_operands
from accelsim.engines.common.tiled import Tiles, TileTimes
from accelsim.engines.kernels.reuse import factor_tables, mark

#: Most different weights -> filters that share a table: ISCA 2018, Section IV (3, 17 and 256 weights).
SHARES = ((3, 4), (17, 2))

#: What `factor_tables` says of a table: entries; cycles in which products wait for the multiplier; products; sums of
#: inner groups handed to outer ones; entries for skipping.
TABLE = ("entries", "bubbles", "products", "sums", "skips")


@ENGINES.register("ucnn")
class Ucnn(ProductEngine):
    """PEs with indirection tables."""

    kind: ClassVar[str] = "ucnn"
    skips: ClassVar[tuple[str, ...]] = ("filter",)

    class Spec(SparseSpec):
        """Parameters of the PEs."""

        pes: int = pydantic.Field(default=32, ge=1, le=4096, description="PEs; tables are dealt to them in turn")
        lanes: int = pydantic.Field(default=8, ge=1, le=256, description="dense equivalent of a PE: MACs a cycle")
        filters_per_table: int = pydantic.Field(
            default=0, ge=0, le=16, description="filters that share a table; 0: 4, 2 or 1 by the number of weights"
        )

        group_limit: int = pydantic.Field(
            default=0, ge=0, le=4096, description="inputs that are added before a product is taken; 0: no limit"
        )
        skip_reach: int = pydantic.Field(
            default=0, ge=0, le=65535, description="weights that an entry for skipping passes; 0: skipping is free"
        )

        @pydantic.model_validator(mode="after")
        def _shares(self) -> Any:
            if self.filters_per_table and self.lanes % self.filters_per_table:
                what = f"lanes must be a multiple of filters_per_table ({self.filters_per_table}), got {self.lanes}"
                raise ValueError(what)
            return self

    def check_bits(self, task: Task) -> None:
        """Refuse wide operands and zeros that take their time; weights may be codes."""
        even = "quantize it with `uniform`"
        remedies = {"filter": f"{even}, `ternary` or `kmeans`", "ifmap": even}
        check_operands(self.kind, self.supported_bits(), ("filter",), remedies, task)
        check_skipped(self.kind, self.skips, self.spec.dense, task)

    def share(self, part: Part) -> int:
        """Filters that share a table."""
        given = int(self.spec.filters_per_table)
        if given:
            return given
        found = next((share for most, share in SHARES if self.distinct(part) <= most), 1)
        while self.spec.lanes % found:
            found //= 2
        return found

    def codes(self, part: Part) -> tuple[NDArray[Any], NDArray[np.int64], int, int]:
        """As `ordered_codes`, of all weights of the layer."""
        found: tuple[NDArray[Any], NDArray[np.int64], int, int]
        found = self.remember(part, "codes", lambda: ordered_codes(part.filters()))
        return found

    def distinct(self, part: Part) -> int:
        """Different weights of the layer."""
        return self.codes(part)[2]

    def positions(self, part: Part) -> int:
        """Output positions of a PE at a time."""
        return int(self.spec.lanes) // self.share(part)

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """Dense equivalent."""
        return int(self.spec.pes * self.spec.lanes)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Additions of inputs, products of their sums, entries of tables."""
        spec = self.spec
        width = spec.operand_bits
        count = spec.pes * spec.lanes
        adder = model.op_area_mm2("add", width + 4)
        return [
            component("group_adder", {"add": model.add_pj(width + 4)}, area=adder,
                      leakage=model.logic_leak_mw(float(adder)), count=count),
            mac_rows(model, [(width, width)], acc_bits=bits["psum"], count=count),
            register_rows(model, "group_sum", width + 4, count=count),
            register_rows(model, "accumulator", bits["psum"], count=count),
        ]  # fmt: skip

    # --- tiles ---

    def unit(self, part: Part) -> tuple[int, int, int]:
        """The positions of a PE, a table's filters, channels with as many weights as differ: fewer repeat little."""
        channels = -(-self.distinct(part) // part.loops.window)
        return self.positions(part), self.share(part), max(1, channels)

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """With the density of the weights that a table's filters have together."""
        share = self.share(part)
        live = max(1, round((1 - (1 - part.density("filter")) ** share) * 1024))
        tables = -(-n // share)
        return -(-m // self.positions(part)) * -(-tables // self.spec.pes) * np.maximum(1, k * live // 1024)

    def tables(self, part: Part, tile: Any) -> NDArray[np.int64]:
        """For each table of the tile (see `TABLE`): int64 (groups, tables, 5)."""
        found: NDArray[np.int64] = self.remember(part, weight_key(tile), lambda: self._tables(part, tile))
        return found

    def _tables(self, part: Part, tile: Any) -> NDArray[np.int64]:
        codes, rank, distinct, zero = self.codes(part)
        groups, n, channels = (int(tile[x]) for x in ("groups", "n", "channels"))
        g0, n0, c0, tap0 = (int(tile[x]) for x in ("group0", "output0", "channel0", "tap0"))
        window = codes[g0 : g0 + groups, n0 : n0 + n, c0 : c0 + channels].reshape(groups, n, channels, -1)
        held = window[..., tap0 : tap0 + int(tile["k"]) // channels].reshape(groups, n, -1)
        rule = np.array([self.share(part), self.spec.group_limit, self.spec.skip_reach, distinct, zero], np.int64)
        out = np.zeros((groups, -(-n // int(rule[0])), len(TABLE)), np.int64)
        factor_tables(np.ascontiguousarray(held), rank, rule, out)
        return out

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """Entries: a pointer into the tile's inputs and a flag for each filter; and the different weights, once."""
        share = self.share(part)
        distinct = self.distinct(part)
        for row in np.flatnonzero(tiles["filter_bytes"]):
            tables = self.tables(part, tiles[row])
            entry = max(1, int(tiles[row]["k"] - 1).bit_length()) + share
            weights = min(distinct, int(tables[..., 2].sum()))  # a product meets one
            bits = int(tables[..., (0, 4)].sum()) * entry + weights * part.task.bits["filter"]
            tiles["filter_bytes"][row] = max(1, -(-bits // 8))
        return ("filter",)

    def stored_bits(self, part: Part) -> dict[str, int]:
        """A pointer and flags for each entry, over the filters that share it."""
        share = self.share(part)
        pointer = max(1, int(part.loops.channels * part.loops.window - 1).bit_length()) + share
        live = 1 - (1 - part.density("filter")) ** share
        return {**part.task.bits, "filter": max(1, -(-round(live * 1000) * pointer // (1000 * share)))}

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """Entries and bubbles of each PE's tables, for all sets of positions."""
        tables, pes, m = self.tables(part, tile), int(self.spec.pes), int(tile["m"])
        sets = -(-m // self.positions(part))
        entries, bubbles, products, sums, skips = (tables[..., at] for at in range(len(TABLE)))
        cycles = lost = held = 0
        for group in range(len(tables)):
            cost = np.maximum(1, entries[group] + bubbles[group] + skips[group])
            load = np.bincount(np.arange(len(cost)) % pes, weights=cost, minlength=pes).astype(np.int64)
            slowest = int(load.argmax())
            cycles += int(load[slowest])
            held += int(bubbles[group][slowest::pes].sum())
            lost += int(load.max()) - -(-int(load.sum()) // pes)
        return {
            "cycles": cycles * sets, "bank_conflict": held * sets, "imbalance": min(lost, cycles - held) * sets,
            "products": int(products.sum()) * m, "entries": int(entries.sum()) * m, "padding": int(sums.sum()) * m,
            "ifmap_words": int(entries.sum()) * m, "filter_words": int((entries + skips).sum()) * sets,
            "psum_words": int(tile["groups"] * tile["n"]) * m,
        }  # fmt: skip

    def tail(self, part: Part) -> int:
        """The product of the last group."""
        return 1

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """An addition for each entry and for each sum handed to an outer group, a product for each group."""
        width, products = self.spec.operand_bits, int(tiles["products"].sum())
        adds = int(tiles["entries"].sum()) + int(tiles["padding"].sum())
        counts = ActionCounts()
        counts.add("group_adder", "add", adds)
        counts.add("group_sum", "write", adds)
        counts.add("mac", f"mac_{width}x{width}", products)
        counts.add("accumulator", "write", products)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Products that are left, and how tables are shared."""
        macs = int((tiles["m"] * tiles["n"] * tiles["k"] * tiles["groups"]).sum())
        busy = int(times.busy.sum())
        share = macs / (busy * self.peak_macs_per_cycle({})) if busy else 0.0
        return {
            "filters_per_table": self.share(part), "entries": int(tiles["entries"].sum()),
            "products": int(tiles["products"].sum()), "spatial_utilization": min(1.0, share),
        }  # fmt: skip


def ordered_codes(weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64], int, int]:
    """(weights as unsigned codes, place of each code in the order of the different weights, how many there are, 0's).

    The place of 0 is -1 where no weight is 0.
    """
    if weights.dtype.kind not in "iu" or weights.dtype.itemsize > 2:
        values, inverse = np.unique(weights, return_inverse=True)
        codes = inverse.reshape(weights.shape).astype(np.uint32)
        order = np.arange(len(values))
    else:
        codes = np.ascontiguousarray(weights).view(f"u{weights.dtype.itemsize}")
        seen = np.zeros(1 << 8 * weights.dtype.itemsize, np.uint8)
        mark(codes.reshape(-1), seen)
        found = np.flatnonzero(seen).astype(codes.dtype)
        order = found[np.argsort(found.view(weights.dtype), kind="stable")].astype(np.int64)
        values = order.astype(codes.dtype).view(weights.dtype)
    rank = np.zeros(int(order.max(initial=0)) + 1, np.int64)
    rank[order] = np.arange(len(order))
    zero = np.flatnonzero(values == 0)
    return codes, rank, len(values), int(zero[0]) if len(zero) else -1
