"""Streams between clusters: counted once more on a walk from cluster to cluster, and sent over the network itself."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.base.yamlio import dump_yaml, parse_yaml
from accelsim.engines.eyeriss.cluster_mesh import Grid, busiest_wire, layouts, placement_arrays, placements
from accelsim.noc.build import build_noc
from accelsim.system.archspec import load_arch

Place = tuple[int, int]
"""(row, column)"""


def wires(home: Place, ends: set[Place]) -> set[tuple[Place, Place]]:
    """A stream's wires: along the row first, one step after another."""
    found = set()
    for end in ends:
        y, x = home
        while (y, x) != end:
            step = (0, 1 if end[1] > x else -1) if x != end[1] else (1 if end[0] > y else -1, 0)
            found.add(((y, x), (y + step[0], x + step[1])))
            y, x = y + step[0], x + step[1]
    return found


@given(rows=st.integers(1, 5), columns=st.integers(1, 4), streams=st.integers(1, 6), seed=st.integers(0, 2**30))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_the_busiest_wire_is_that_of_a_walk(rows: int, columns: int, streams: int, seed: int) -> None:
    rng = random.Random(seed)
    places = [(y, x) for y in range(rows) for x in range(columns)]
    chosen = {n: set(rng.sample(places, rng.randint(1, len(places)))) for n in range(streams)}
    load: Counter[tuple[Place, Place]] = Counter()
    for ends in chosen.values():
        load.update(wires(min(ends), ends))
    pairs = [(n, *end) for n, ends in chosen.items() for end in ends]
    rng.shuffle(pairs)
    ids, y, x = np.array(pairs).T
    assert busiest_wire(ids, y, x, (rows, columns)) == max(load.values(), default=0)


SPLITS = [(8, 1, 1), (1, 1, 8), (4, 2, 1), (2, 2, 2), (2, 1, 4), (1, 4, 2), (4, 1, 2), (2, 4, 1), (1, 2, 3), (3, 1, 1)]


@pytest.mark.parametrize("split", SPLITS)
def test_the_network_takes_as_long_as_the_busiest_wire(split: tuple[int, int, int]) -> None:
    """The inputs of the layouts along rows, sent as multicasts over the hierarchical mesh of the network models."""
    f, c, p = split
    rows, columns, flits = 4, 2, 400
    keys: dict[str, Any] = {"columns": columns, "rows": rows, "pes": 1, "lanes": 1, "flit_bytes": 1}
    for order in ("fcp", "pcf"):
        sizes = {"f": f, "c": c, "p": p}
        index = np.indices([sizes[o] for o in order]).reshape(3, -1)
        ids = index[order.index("c")] * p + index[order.index("p")]
        y, x = np.divmod(np.arange(f * c * p), columns)
        noc = build_noc(parse_yaml(dump_yaml({"noc": {"topology": "hierarchical_mesh", **keys}}), "x"), ("noc",))
        for stream in range(c * p):
            clusters = np.flatnonzero(ids == stream).tolist()
            noc.submit(0, stream, rows * columns + clusters[0], clusters, flits)
        load = max(1, busiest_wire(ids, y, x, (rows, columns)))
        assert load * flits <= noc.finish() <= load * flits + rows + columns + 2
        sums = index[order.index("f")] * p + index[order.index("p")]
        if len({(s, column) for s, column in zip(sums.tolist(), x.tolist(), strict=True)}) == f * p:
            assert load in {way.inputs for way in layouts(f, c, p, columns, rows)}


def test_known_layouts() -> None:
    """On 8 x 2 clusters: what all read takes one wire each; halves that are apart share wires, neighbours do not."""
    assert {way.input_mode for way in layouts(16, 1, 1, 2, 8)} == {"broadcast"}
    assert {way.weight_mode for way in layouts(16, 1, 1, 2, 8)} == {"unicast"}
    by_mode = {way.input_mode: way.inputs for way in layouts(4, 4, 1, 2, 8)}
    assert by_mode == {"interleaved multicast": 4, "grouped multicast": 1}
    # eight columns fill a column of clusters; more would have to leave it
    assert [way.sums for way in layouts(2, 8, 1, 2, 8)] == [1]
    assert layouts(1, 16, 1, 2, 8) == ()
    for way in layouts(2, 2, 4, 2, 8):
        assert (way.input_copies, way.weight_copies, way.sum_copies) == (16, 16, 16)


@pytest.mark.parametrize("grid", [Grid(2, 2, 2, 2), Grid(1, 1, 3, 4), Grid(2, 4, 3, 1)])
def test_placements_fit_and_are_no_worse_than_one_after_another(grid: Grid) -> None:
    pes = grid.columns * grid.rows * grid.pe_rows * grid.pe_columns
    found = placements(grid)
    splits = {p[:3] for p in found}
    assert (1, 1, 1) in splits and (pes, 1, 1) in splits and (1, 1, pes) in splits
    for placed in found:
        used = placed.filters * placed.columns * placed.positions
        assert used <= pes and placed.columns <= grid.rows * grid.pe_rows
        way = placed.streams
        for streams, of in ((way.inputs, placed.filters), (way.weights, placed.positions), (way.sums, placed.columns)):
            assert 1 <= streams <= used // of  # no wire has more than all there are
        assert placed.inside <= grid.pe_rows * grid.pe_columns
    assert placement_arrays(grid).shape == (7, len(found))


def test_a_ragged_grid_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"engine: grid_cols must divide clusters \(16\), got 3"):
        load_arch("eyeriss_v2", ("engine.grid_cols=3",))
