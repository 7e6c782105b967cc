"""Every shipped cost has a source and a sensible value, and is what the references say."""

from __future__ import annotations

import csv
import math
import subprocess
import sys

import pytest

import accelsim.energy
from accelsim.base.errors import SimulationBug
from accelsim.energy.tableio import TABLES, constant, loglog, pick, read_table
from tests.references import reference

NAMES = sorted(path.stem for path in TABLES.glob("*.csv"))
TEXT = {"op", "type", "device", "flavour", "ports", "item", "unit", "wire", "standard", "scope", "idd_config",
        "config", "protocol", "design", "source"}
# Coefficients of fitted curves may have any sign.
SIGNED = {f"{q}_a{i}" for q in ("energy", "delay") for i in range(4)}
MAY_BE_BLANK = {
    ("arithmetic", "vdd_V"), ("arithmetic", "area_um2"), ("sram", "leak_360K_mW"), ("dram", "idd_config"),
    ("converters", "bits"), ("converters", "rate_hz"), ("cells", "node_nm"),
    ("noc", "depth_flits"), ("noc", "flit_bits"), ("noc", "node_nm"),
}


def test_the_tables_are_there() -> None:
    kinds = {"arithmetic", "sram", "dram", "dram_idd", "wires", "noc", "adc", "converters", "cells", "crossbars"}
    assert kinds <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_a_source_and_positive_finite_values(name: str) -> None:
    rows = read_table(name)
    assert rows
    for number, row in enumerate(rows, start=2):
        assert row["source"].strip(), f"{name}.csv:{number} has no source"
        for column, text in row.items():
            if column in TEXT and not (column == "idd_config"):
                assert text.strip() or (name, column) in MAY_BE_BLANK
            elif text == "":
                assert (name, column) in MAY_BE_BLANK, f"{name}.csv:{number}: {column} is empty"
            elif column not in TEXT:
                value = float(text)
                assert math.isfinite(value)
                assert value > 0 or column in SIGNED, f"{name}.csv:{number}: {column} = {text}"


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_small(name: str) -> None:
    assert (TABLES / f"{name}.csv").stat().st_size < 300_000


def test_the_room_imports_nothing_heavy() -> None:
    code = "import sys, accelsim.energy; print({'numpy', 'yaml', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    with pytest.raises(AttributeError, match="no attribute 'CostsModel'"):
        getattr(accelsim.energy, "CostsModel")


def test_pick_wants_exactly_one_row() -> None:
    assert pick("arithmetic", op="add", type="int", bits=8)["energy_pJ"] == "0.03"
    with pytest.raises(SimulationBug, match="0 rows"):
        pick("arithmetic", op="divide")
    with pytest.raises(SimulationBug, match="3 rows"):
        pick("arithmetic", op="add", type="int")
    assert constant("sram_bit_cell_floor")[0] == 0.027


def test_loglog_is_a_power_law_and_exact_at_its_points() -> None:
    xs, ys = [1.0, 4.0, 16.0], [2.0, 8.0, 8.0]
    assert [loglog(x, xs, ys) for x in xs] == ys
    assert loglog(2, xs, ys) == pytest.approx(4)
    assert loglog(8, xs, ys) == pytest.approx(8)
    assert loglog(32, xs, ys, linear_ends=True) == 16
    assert loglog(0.5, xs, ys, linear_ends=True) == 1
    with pytest.raises(SimulationBug, match="outside"):
        loglog(32, xs, ys)


def _reference_rows(name: str) -> list[dict[str, str]]:
    with reference(f"energy/{name}").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_sram_is_the_reference_grid() -> None:
    theirs = {
        (r["node_nm"], r["device_type"], r["ports"], r["size_bytes"], r["width_bits"], r["temperature_K"]): r
        for r in _reference_rows("sram_cacti7.csv")
        if r["status"] == "ok"
    }
    ours = read_table("sram")
    for row in ours:
        key = row["node_nm"], row["device"], row["ports"], row["capacity_bytes"], row["width_bits"]
        cold, hot = theirs[(*key, "300")], theirs.get((*key, "360"))
        assert all(row[column] == cold[column] for column in ("read_pJ", "write_pJ", "area_mm2"))
        assert row["leak_300K_mW"] == cold["leak_mW"]
        assert row["leak_360K_mW"] == (hot["leak_mW"] if hot else "")
    assert len(ours) == len({key[:5] for key in theirs})


@pytest.mark.parametrize(
    "ours, theirs, columns",
    [
        ("dram_idd", "dram_from_idd.csv", {"activate_pJ": "act_pJ", "read_burst_pJ": "read_burst_pJ"}),
        ("cells", "rram_cells.csv", {"read_on_fJ": "read_on_fJ", "set_pJ": "set_pJ_at_Ron", "area_f2": "cell_area_F2"}),
        ("adc", "adc_model_grid.csv", {"energy_pJ": "energy_pJ_per_sample", "area_um2": "area_um2"}),
        ("wires", "wire_cacti7.csv", {"energy_pJ_per_mm": "energy_pJ_per_bit_per_mm"}),
        ("scaling", "scaling_polynomials_stillmaker.csv", {"energy_a2": "energy_a2", "delay_a0": "delay_a0"}),
        ("scaling_area", "scaling_area_stillmaker.csv",
         {"area_from_over_area_to": "table_value_area_from_over_area_to"}),
    ],
)
def test_other_tables_hold_reference_values(ours: str, theirs: str, columns: dict[str, str]) -> None:
    known = {tuple(float(r[c]) for c in columns.values()) for r in _reference_rows(theirs)}
    for row in read_table(ours):
        assert tuple(float(row[c]) for c in columns) in known
