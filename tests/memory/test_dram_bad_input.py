"""Tables that contradict themselves, maps that miss or double a bit, capacities that no address reaches."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.base.yamlio import dump_yaml, read_yaml
from accelsim.memory import dram_spec
from accelsim.memory.dram import Dram
from accelsim.memory.dram_map import FIELDS, locate, parse_map
from accelsim.memory.dram_spec import DramConfig, find_standard, load_standard, parse_standard, resolve, standard_names
from accelsim.memory.model import Transfer


def table_text(changes: dict[str, Any]) -> str:
    """The DDR4-2400 table with some values replaced, by dotted path."""
    path = dram_spec._FOLDER / "ddr4_2400.yaml"
    data = read_yaml(path).data
    for key, value in changes.items():
        *parents, last = key.split(".")
        node = data
        for parent in parents:
            node = node[int(parent)] if isinstance(node, list) else node[parent]
        node[last] = value
    return dump_yaml(data)


def clocks(n: int) -> dict[str, Any]:
    return {"clocks": n, "source": "assumed: test"}


def number(n: int) -> dict[str, Any]:
    return {"value": n, "source": "assumed: test"}


@pytest.mark.parametrize("name", standard_names())
def test_every_table_is_sound_and_sourced(name: str) -> None:
    table = load_standard(name)
    p = resolve(DramConfig(standard=name))
    assert p.capacity_bytes == table.organisation.capacity_bytes.value
    assert p.timing.tRC >= p.timing.tRAS + p.timing.tRP


def test_the_standards_asked_for_are_there() -> None:
    assert standard_names() == [
        "ddr3_1600", "ddr3_2133", "ddr4_2400", "ddr4_3200", "gddr6", "hbm", "hbm2", "lpddr3_1600", "lpddr4_3200",
        "lpddr5_6400",
    ]


def test_names_are_forgiving() -> None:
    assert find_standard("DDR4-2400") == "ddr4_2400"
    assert find_standard("lpddr5") == "lpddr5_6400"
    with pytest.raises(ConfigError, match="'ddr4' must name a speed: ddr4_2400, ddr4_3200"):
        find_standard("ddr4")
    with pytest.raises(ConfigError, match="unknown DRAM standard 'hbm9'; did you mean hbm"):
        find_standard("hbm9", "chip.yaml")


@pytest.mark.parametrize(
    ("key", "clocks_", "says"),
    [
        ("tRC", 55, r"timing\.tRC: must be at least tRAS \+ tRP \(56\), got 55"),
        ("tFAW", 3, r"timing\.tFAW: must be at least tRRD_S \(4\), got 3"),
        ("tRAS", 16, r"timing\.tRAS: must be at least tRCDRD \(17\), got 16"),
        ("tCCD_S", 3, r"timing\.tCCD_S: must be at least the clocks of a burst \(4\), got 3"),
        ("tCCD_L", 3, r"timing\.tCCD_L: must be at least tCCD_S \(4\), got 3"),
        ("tRRD_L", 3, r"timing\.tRRD_L: must be at least tRRD_S \(4\), got 3"),
        ("tWTR_L", 2, r"timing\.tWTR_L: must be at least tWTR_S \(3\), got 2"),
        ("tRTW", 8, r"timing\.tRTW: must be at least tCL \+ burst - tCWL, or data collide on the bus \(9\), got 8"),
        ("tREFI", 400, r"timing\.tREFI: must be at least tRFC \+ tRPab \+ tRC, or refresh never ends \(493\)"),
        ("tRPab", 16, r"timing\.tRPab: must be at least tRP \(17\), got 16"),
        ("tRFC", 10, r"timing\.tRFC: must be at least tRP \(17\), got 10"),
        ("tRCD", 0, r"timing\.tRCDRD: must be at least 1 clock \(1\), got 0"),
    ],
)
def test_contradictory_timings(key: str, clocks_: int, says: str) -> None:
    with pytest.raises(ConfigError, match="my.yaml: " + says):
        parse_standard(table_text({f"timing.{key}": clocks(clocks_)}), "my.yaml")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"organisation.rows": number(60000)}, "rows: must be a power of two, got 60000"),
        ({"organisation.columns": number(4)}, r"columns: must be at least burst_length \(8\), got 4"),
        ({"organisation.transfers_per_clock": number(16)}, r"burst_length: must be at least transfers_per_clock"),
        ({"organisation.capacity_bytes": number(2**34)},
         "organisation.capacity_bytes: must be what the organisation gives: addresses reach 8589934592 bytes, got 17"),
        ({"timing.tCL.source": "hearsay"}, "timing.tCL: source must be one of dramsim, jedec, ramulator or begin with"),
        ({"timing.tCL": {"source": "jedec"}}, "timing.tCL: must give clocks, ns, or both"),
        ({"timing.tXYZ": clocks(1)}, "unknown key"),
        ({"rails.0.idd4r_ma": 10}, r"rails\[0\].idd4r_ma: must be at least idd3n_ma \(43\), got 10"),
        ({"rails.0.vdd_v": 0}, "must be > 0, got 0"),
        ({"mapping": "row|bank|col"}, r"mapping: must cover every address bit exactly once: 'bankgroup' \(2 bits\)"),
    ],
)
def test_bad_tables(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_standard(table_text(changes), "my.yaml")


def test_nanoseconds_become_whole_clocks() -> None:
    text = table_text({"timing.tRFC": {"ns": 350, "source": "jedec"}, "timing.tREFI": {"ns": 7800, "source": "jedec"}})
    timing = resolve(DramConfig(standard="x"), parse_standard(text)).timing
    assert (timing.tRFC, timing.tREFI) == (421, 9363)  # up, and down between refreshes
    text = table_text({"timing.tRTP": {"ns": 7.5, "clocks": 4, "source": "jedec"}})
    assert resolve(DramConfig(standard="x"), parse_standard(text)).timing.tRTP == 10


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"mapping": "row|bank|bankgroup|col|col"}, "chip: mapping: only one part of 'col' may be without a number"),
        ({"mapping": "row|bank|bankgroup|col:3"}, "'col' has 7 bits, but 'row.bank.bankgroup.col:3' gives it 3"),
        ({"mapping": "row|bank|bankgroup|col:4|col:4"}, "'col' has 7 bits, but .* gives it 8"),
        ({"mapping": "row|bank|col"}, r"must cover every address bit exactly once: 'bankgroup' \(2 bits\) is not in"),
        ({"mapping": "row|bank|bankgroup|col|col:7"}, "the part of 'col' without a number of bits is left with none"),
        ({"mapping": "row|bank|bankgroup|column"}, "unknown address field 'column'; did you mean col"),
        ({"mapping": "row|bank|bankgroup|"}, "each part must be like 'row', 'col:2' or 'bank.col.0', got ''"),
        ({"mapping": "row|bank^col+7|bankgroup|col"}, r"'col' has only 7 bits, got bank\^col\+7"),
        ({"mapping": "row^row+1|bank|bankgroup|col"}, r"cannot be xored, got row\^row\+1"),
        ({"mapping": "row|bank|bankgroup|col^row+0"}, r"cannot be xored, got col\^row\+0"),
        ({"capacity_bytes": 2**34}, "chip: capacity_bytes: no address reaches beyond 8589934592 bytes, got 1717"),
        ({"ranks": 3}, "chip: ranks: must be a power of two, got 3"),
        ({"timing": {"tRD": 4}}, "chip: timing: unknown timing parameter 'tRD'; did you mean"),
        ({"timing": {"tRC": 4}}, r"chip: timing.tRC: must be at least tRAS \+ tRP"),
        ({"mapping": ""}, r"chip: mapping: each part must be like 'row', 'col:2' or 'bank\^col\+0', got ''"),
        ({"rows": 2**48}, r"chip: rows: must be so few that 62 address bits reach them all, got 281474976710656"),
        ({"drain_low_percent": 90}, r"chip: drain_low_percent: must be at most drain_high_percent \(80\), got 90"),
        ({"standard": "ddr9"}, "chip: standard: unknown DRAM standard 'ddr9'"),
    ],
)
def test_bad_configurations(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        resolve(DramConfig(**{"standard": "ddr4_2400", **config}), where="chip")


def test_a_smaller_capacity_is_fine() -> None:
    assert resolve(DramConfig(standard="ddr4_2400", capacity_bytes=10**6)).capacity_bytes == 8 * 2**30


def test_addresses_beyond_the_end() -> None:
    dram = Dram.from_config(DramConfig(standard="hbm"), 10**9, where="chip.yaml: dram")
    with pytest.raises(ConfigError, match=r"chip.yaml: dram: the memory \(HBM-1000\) has 1073741824 bytes, but a tr"):
        dram.submit(0, 0, 2**30 - 32, 64, False)


def test_misuse() -> None:
    with pytest.raises(ConfigError, match="clock_hz must be >= 1, got 0"):
        Dram.from_config(DramConfig(standard="hbm"), 0)
    dram = Dram.from_config(DramConfig(standard="hbm"), 10**9)
    dram.advance(100)
    with pytest.raises(SimulationBug, match="transfer 5 comes at cycle 99, but it is 100 already"):
        dram.submit(99, 5, 0, 64, False)
    with pytest.raises(SimulationBug, match="there are 1 ports, got port 1"):
        dram.submit_pattern(100, 5, Transfer(0, 64), False, port=1)
    with pytest.raises(SimulationBug, match="only with record=True"):
        dram.commands()
    with pytest.raises(SimulationBug, match="a trace needs a memory that has not been used"):
        dram.run_trace([0], [0], [0], 64)  # type: ignore[arg-type]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.permutations(FIELDS), st.lists(st.integers(0, 3), min_size=6, max_size=6), st.data())
def test_maps_are_one_to_one(order: list[str], widths: list[int], data: st.DataObject) -> None:
    bits = dict(zip(FIELDS, widths))
    words = [name for name in order]
    wide = [name for name in words if bits[name] >= 2]
    if wide:
        name = data.draw(st.sampled_from(wide))
        words.insert(data.draw(st.integers(0, len(words))), f"{name}:1")
    if bits["col"] >= 1 and data.draw(st.booleans()):
        words = [re.sub("^bank$", f"bank^col+{bits['col'] - 1}", word) for word in words]
    if bits["row"] >= 1 and data.draw(st.booleans()):
        words = [re.sub("^bankgroup$", "bankgroup^row+0", word) for word in words]
    if bits["col"] >= 1 and data.draw(st.booleans()):
        words = [re.sub("^row$", "row^col+0", word) for word in words]
    parts, xors = parse_map("|".join(words), bits)
    total = sum(widths)
    places = {tuple(locate(b, tuple(parts), tuple(xors)).values()) for b in range(1 << min(total, 10))}
    assert len(places) == 1 << min(total, 10)
    assert all(v < 1 << bits[f] for place in places for f, v in zip(FIELDS, place))
