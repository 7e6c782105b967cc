"""Tables from outside: our CSV, Accelergy's ERT and ART, and counts for Accelergy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.energy import Component, ComponentCosts, CostRow, export_action_counts, load_user_table
from accelsim.energy.usertables import parse_action_counts, split_name

HEADER = "component,action,energy_pj,source,leakage_mw,area_mm2\n"

# In the form that Accelergy 0.4 writes (names and numbers made up).
ERT = """\
ERT:
  version: '0.4'
  tables:
    - name: top.chip.glb[1..1]
      actions:
        - {name: read, arguments: {address_delta: 0, data_delta: 0}, energy: 4.0}
        - {name: read, arguments: {address_delta: 1, data_delta: 1}, energy: 9.5}
        - {name: write, arguments: null, energy: 7e0}
        - name: leak
          arguments: {global_cycle_seconds: 1e-09}
          energy: 0.25
    - name: top.chip.pe[0..13].mac[0..1]
      actions:
        - {name: compute, energy: 0.5}
        - {name: idle, energy: 0}
    - name: top.unused
      actions:
        - {name: read, energy: 1}
ART:
  version: 0.3
  tables:
    - {name: 'top.chip.glb[1..1]', area: 2.0e+5}
    - {name: 'top.chip.pe[0..13].mac[0..1]', area: 400}
"""


def ours() -> ComponentCosts:
    return ComponentCosts([
        Component("mac", {"mac_8x8": CostRow(0.5, "a")}, 2.0, 0.125, "b"),
        Component("glb", {"read": CostRow(3.0, "c"), "write": CostRow(4.0, "c")}, 0.1, 1.0, "c"),
    ])


def write(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# CSV


def test_csv_replaces_rows(tmp_path: Path) -> None:
    text = HEADER + 'mac,mac_8x8,0.75,"my lab, chip 3",5,\nmac,mac_4x4,0.2,my lab,,\nglb,,,my lab,,2.5\n'
    table = load_user_table(write(tmp_path, text))
    costs = table.replace_in(ours())
    assert costs.row("mac", "mac_8x8") == CostRow(0.75, "my lab, chip 3")
    assert costs.row("mac", "mac_4x4").energy_pj == 0.2
    assert costs.row("glb", "read").energy_pj == 3.0
    assert costs.leakage_mw() == {"glb": 0.1, "mac": 5.0}
    assert costs.area_mm2() == {"glb": 2.5, "mac": 0.125}
    assert costs.component("glb").static_source.endswith("table.csv")


def test_short_header_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfcomponent,action,energy_pj,source\r\nmac,mac_8x8,0,free lunch\r\n")
    assert load_user_table(path).actions == {"mac": {"mac_8x8": CostRow(0.0, "free lunch")}}


@pytest.mark.parametrize(
    "text, message",
    [
        ("component,action,energy_pj\n", "source missing"),
        ("component,action,energy,source\n", "unknown column 'energy'; did you mean energy_pj"),
        ("component,action,energy_pj,source,source\n", "each column must appear once"),
        ("", "must have the columns"),
        (HEADER, "the table has no rows"),
        (HEADER + "mac,mac_8x8,1,lab\n", r":2: the row must have as many fields as the header"),
        (HEADER + "mac,mac_8x8,1,lab,,,\n", r":2: the row must have as many fields"),
        (HEADER + "mac,mac_8x8,much,lab,,\n", r":2: energy_pj must be a finite number >= 0, got 'much'"),
        (HEADER + "mac,mac_8x8,-1,lab,,\n", "got '-1'"),
        (HEADER + "mac,mac_8x8,nan,lab,,\n", "got 'nan'"),
        (HEADER + "mac,mac_8x8,,lab,,\n", "got ''"),
        (HEADER + "mac,mac_8x8,1,,,\n", "source must not be empty"),
        (HEADER + ",mac_8x8,1,lab,,\n", "component must not be empty"),
        (HEADER + "mac,,1,lab,,\n", "a row with an energy must name an action"),
        (HEADER + "mac,,,lab,,\n", "neither an action nor leakage_mw nor area_mm2"),
        (HEADER + "mac,a,1,lab,,\nmac,a,2,lab,,\n", r":3: action 'a' of component 'mac' is listed twice"),
        (HEADER + "mac,a,1,lab,1,\nmac,b,2,lab,2,\n", "leakage_mw of component 'mac' is given twice, and differs"),
        (HEADER + "mac,a,1,lab,x,\n", "leakage_mw must be a finite number >= 0, got 'x'"),
        (HEADER + "mac,leakage,1,lab,,\n", "'leakage' is not an action; give leakage_mw"),
        (HEADER + 'mac,"a\n', "the row must have as many fields"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_user_table(write(tmp_path, text))


def test_unknown_component_in_csv(tmp_path: Path) -> None:
    table = load_user_table(write(tmp_path, HEADER + "mak,mac_8x8,1,lab,,\n"))
    with pytest.raises(ConfigError, match=r"table.csv: unknown component 'mak'; did you mean mac\?"):
        table.replace_in(ours())


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a .csv or .yaml file, got '.txt'"):
        load_user_table(tmp_path / "a.txt")
    with pytest.raises(ConfigError, match="a.csv: cannot be read: No such file"):
        load_user_table(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(b"component,\xff")
    with pytest.raises(ConfigError, match="must be UTF-8 text, but byte 10 is not"):
        load_user_table(tmp_path / "b.csv")
    with (tmp_path / "c.csv").open("wb") as file:
        file.truncate(9 * 2**20)
    with pytest.raises(ConfigError, match="must be at most 8388608 bytes, got 9437184"):
        load_user_table(tmp_path / "c.csv")


# Accelergy


def test_names() -> None:
    assert split_name("a.b.pe[0..13].mac[0..1]") == ("mac", 28)
    assert split_name("glb") == ("glb", 1)
    assert split_name("chip[3].glb[1..1]") == ("glb", 1)


def test_accelergy_tables_replace_rows(tmp_path: Path) -> None:
    table = load_user_table(write(tmp_path, ERT, "ert.yaml"))
    costs = table.replace_in(ours())
    assert costs.row("glb", "read").energy_pj == 9.5
    assert "most expensive of 2 variants" in costs.row("glb", "read").source
    assert costs.row("glb", "write").energy_pj == 7.0
    assert costs.row("mac", "compute").energy_pj == 0.5 and costs.row("mac", "idle").energy_pj == 0
    assert costs.row("mac", "mac_8x8").energy_pj == 0.5
    # 0.25 pJ in each ns are 0.25 mW
    assert costs.leakage_mw()["glb"] == pytest.approx(0.25)
    assert costs.area_mm2() == {"glb": pytest.approx(0.2), "mac": pytest.approx(28 * 400e-6)}
    assert "unused" not in costs.names()


def test_leak_needs_a_clock(tmp_path: Path) -> None:
    text = "ERT: {version: 0.4, tables: [{name: x.glb, actions: [{name: leak, energy: 3}]}]}\n"
    path = write(tmp_path, text, "ert.yaml")
    with pytest.raises(ConfigError, match=r"ert.yaml:1:.*leak of 3.0 pJ per cycle needs the clock period"):
        load_user_table(path)
    assert load_user_table(path, cycle_seconds=2e-9).leakage_mw["glb"] == pytest.approx(1.5)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: 1", "must be an Accelergy table: a mapping with the key ERT or ART"),
        ("- ERT", "must be an Accelergy table"),
        ("ERT: 3", "ERT: must be a mapping, got 3"),
        ("ERT: {tables: []}", "key 'version' is required but missing"),
        ("ERT: {version: 0.1, tables: []}", "version: must be one of 0.3, 0.4, got 0.1"),
        ("ERT: {version: 0.4}", "key 'tables' is required"),
        ("ERT: {version: 0.4, tables: {}}", "has the wrong type"),
        ("ERT: {version: 0.4, tables: [{actions: []}]}", r"tables\[0\]: key 'name' is required"),
        ("ERT: {version: 0.4, tables: [{name: 3, actions: []}]}", "has the wrong type, got 3"),
        ("ERT: {version: 0.4, tables: [{name: a}]}", "key 'actions' is required"),
        ("ERT: {version: 0.4, tables: [{name: a, actions: [{name: r}]}]}", "key 'energy' is required"),
        ("ERT: {version: 0.4, tables: [{name: a, actions: [{name: r, energy: -1}]}]}",
         r"energy: energy must be a finite number >= 0, got -1"),
        ("ERT: {version: 0.4, tables: [{name: a, actions: [{name: r, energy: true}]}]}",
         "has the wrong type, got True"),
        ("ERT: {version: 0.4, tables: [{name: x.a, actions: []}, {name: y.a, actions: []}]}",
         "'x.a' and 'y.a' are both called 'a' here"),
        ("ERT: {version: 0.4, tables: [{name: 'a[3..1]', actions: []}]}", "ranges must count upwards"),
        ("ERT: {version: 0.4, tables: [{name: a, actions: [{name: leakage, energy: 1}]}]}", "is not an action"),
        ("ART: {version: 0.4, tables: [{name: 'a[0..99999999999999999].b[0..999999]', area: 1}]}", "fewer than 2"),
        ("ART: {version: 0.4, tables: [{name: a}]}", "key 'area' is required"),
        ("ART: {version: 0.4, tables: [{name: a, area: wide}]}", "got 'wide'"),
        ("ERT: [", "not valid YAML"),
    ],
)
def test_bad_accelergy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_user_table(write(tmp_path, text, "ert.yaml"))


def test_bad_cycle(tmp_path: Path) -> None:
    leak = "{name: leak, energy: 1, arguments: {global_cycle_seconds: 0}}"
    text = f"ERT: {{version: 0.4, tables: [{{name: a, actions: [{leak}]}}]}}"
    with pytest.raises(ConfigError, match="global_cycle_seconds must be above 0"):
        load_user_table(write(tmp_path, text, "ert.yaml"))


def test_accelergy_table_of_another_machine(tmp_path: Path) -> None:
    text = "ERT: {version: 0.4, tables: [{name: x.buffer, actions: [{name: read, energy: 1}]}]}"
    table = load_user_table(write(tmp_path, text, "ert.yaml"))
    with pytest.raises(ConfigError, match="unknown component 'buffer'"):
        table.replace_in(ours())


NAME = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.dictionaries(st.tuples(NAME, NAME), st.integers(0, 2**70), max_size=8))
def test_action_counts_come_back(counts: dict[tuple[str, str], int]) -> None:
    assert parse_action_counts(export_action_counts(counts, "chip")) == counts


def test_action_counts_have_accelergys_form() -> None:
    text = export_action_counts({("glb", "read"): 100, ("glb", "fill"): 7, ("mac", "mac_8x8"): 5}, "hierarchy")
    assert text.splitlines()[:10] == [
        "action_counts:", "  version: '0.3'", "  local:", "  - name: hierarchy.glb", "    action_counts:",
        "    - name: fill", "      counts: 7", "    - name: read", "      counts: 100", "  - name: hierarchy.mac",
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ("[]", "must be a mapping with the key action_counts"),
        ("a: 1", "key 'action_counts' is required"),
        ("action_counts: {local: [{name: a, action_counts: [{name: r, counts: -1}]}]}", "must be >= 0, got -1"),
        ("action_counts: {local: [{name: a, action_counts: [{name: r, counts: 1.5}]}]}", "wrong type, got 1.5"),
        ("action_counts: {subtree: []}", "key 'local' is required"),
    ],
)
def test_bad_action_counts(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_action_counts(text)
