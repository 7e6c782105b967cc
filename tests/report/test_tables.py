"""The parts of every printed table sum to its last row, and that row to the result."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest

from accelsim.report.grid import Column, Grid, Scale, plain, scale_for, show
from accelsim.report.parts import CAUSE_LABELS, causes, components, parts_of, shortened, shortened_apart, summed, whole
from accelsim.report.tables import DEFAULT_TOP, energy_grid, report_lines, time_grid, traffic_grid
from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace
from tests import results

RUNS = (results.lenet, results.kept, results.long, results.grouped)
GRIDS = (time_grid, traffic_grid, energy_grid)


def printed(grid: Grid) -> list[tuple[str, list[str]]]:
    """Rows as a reader sees them: (name, cells), the last one the total."""
    count = len(grid.columns) - 1
    rows = [line.rsplit(None, count) for line in body(plain(grid.lines(None)))]
    return [(row[0], row[1:]) for row in rows]


def body(text: str) -> list[str]:
    """The lines below the heading's rule, without the rule above the total."""
    lines = text.rstrip().splitlines()
    rules = [i for i, line in enumerate(lines) if set(line) == {"-"}]
    return [line for line in lines[rules[0] :] if set(line) != {"-"}]


def number(text: str) -> float:
    return 0.0 if text == "-" else float(text.replace(",", ""))


def assert_sums(rows: list[tuple[str, list[str]]], column: int) -> None:
    """Exactly for integers, within rounding for decimals."""
    cells = [cells[column] for _, cells in rows]
    *parts, total = map(number, cells)
    decimals = max((len(cell.partition(".")[2]) for cell in cells), default=0)
    tolerance = 0.0 if decimals == 0 else 0.501 * 10**-decimals * len(cells)
    assert abs(sum(parts) - total) <= tolerance, cells


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("at_most", [None, 5])
def test_time_sums(run: Callable[[], RunResult], at_most: int | None) -> None:
    result = run()
    grid = time_grid(result, parts_of(result, at_most))
    rows = printed(grid)
    heads = [column.head for column in grid.columns[1:]]
    shown = [CAUSE_LABELS[cause] for cause in causes(result)]
    for column in [0, 1, 2, *(heads.index(label) for label in shown)]:
        assert_sums(rows, column)
    for _, cells in rows:  # and each row's causes to its cycles
        assert sum(number(cells[heads.index(label)]) for label in shown) == number(cells[0])
    assert number(rows[-1][1][0]) == result.cycles
    assert len(rows) == (len(result.layers) if at_most is None else min(at_most + 1, len(result.layers))) + 1


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("at_most", [None, 5])
def test_traffic_and_energy_sum(run: Callable[[], RunResult], at_most: int | None) -> None:
    result = run()
    parts = parts_of(result, at_most)
    traffic = printed(traffic_grid(result, parts))
    for column in range(len(traffic[0][1])):
        assert_sums(traffic, column)
    energy = printed(energy_grid(result, parts))
    assert len(energy[0][1]) == 3 + len(components(result))
    for column in range(1, len(energy[0][1])):
        assert_sums(energy, column)
    for _, cells in energy:  # and the components of each row to its energy
        tolerance = 0.0501 * len(cells)
        assert abs(sum(map(number, cells[3:])) - number(cells[2])) <= tolerance


@pytest.mark.parametrize("run", RUNS)
def test_parts_are_the_whole(run: Callable[[], RunResult]) -> None:
    result = run()
    total, parts = whole(result), parts_of(result, 3)
    assert total.cycles == result.cycles == sum(part.cycles for part in parts)
    assert total.macs == result.macs
    assert total.total_energy_pj == pytest.approx(result.energy_pj, rel=1e-12)
    assert total.total_dram_bytes == sum(layer.total_dram_bytes for layer in result.layers)
    assert total.mac_utilization == pytest.approx(result.mac_utilization)
    assert total.tops(result.clock_hz) == pytest.approx(result.tops)
    assert total.tops_per_watt == pytest.approx(result.tops_per_watt)
    assert sum(part.array_bytes for part in parts) == pytest.approx(total.array_bytes)
    longest = sorted((layer.cycles for layer in result.layers), reverse=True)[:3]
    assert sorted((part.cycles for part in parts[:3]), reverse=True) == longest


def test_spatial_utilization_of_a_sum_lies_between_its_parts() -> None:
    result = results.lenet()
    used = [x.info["spatial_utilization"] for x in result.layers if "spatial_utilization" in x.info]
    total = summed(result, result.layers, "all").spatial_utilization
    assert total is not None and min(used) <= total <= max(used)
    assert summed(result, [x for x in result.layers if not x.macs], "pools").spatial_utilization is None


def test_buffer_traffic_is_accesses_times_width() -> None:
    result = results.lenet()
    total = whole(result)
    counts = result.counts()
    for buffer in result.arch_data["buffers"]:
        name = buffer["name"]
        accesses = counts[name, "read"] + counts[name, "write"]
        assert total.buffer_bytes[name] == accesses * buffer["word_bits"] / 8
    moved = counts["pe_register", "read_bit"] + counts["pe_register", "write_bit"]
    assert total.array_bytes == moved / 8


@pytest.mark.parametrize(
    ("choice", "rows"), [("auto", DEFAULT_TOP + 2), ("all", 151), ("top", DEFAULT_TOP + 2), ("none", 0), (7, 9)]
)
def test_how_many_layers_are_shown(choice: str | int, rows: int) -> None:
    text = plain(report_lines(results.long(), layers=choice))
    if not rows:
        assert "\nTime\n" not in text and "\nTotal\n" in text
        return
    section = text[text.index("\nTime\n") : text.index("\nTraffic\n")]
    assert len(body(section)) == rows


def test_the_report_says_what_ran_and_what_is_assumed() -> None:
    result = results.lenet()
    text = plain(report_lines(result, inputs={"weights": "described"}))
    assert text.startswith("lenet5 on teaching_4x4, batch 1")
    for words in (result.trace_hash, "100 MHz, 45 nm", "weights 8, ifmap 8, psum 32, ofmap 8 bits", "described"):
        assert words in text
    assert "clock_hz" in text[text.index("assumed") : text.index("\nTime\n")]
    assert f"{result.cycles:,} cycles" in text and "TOPS/W" in text and "mm2 on chip" in text
    assert "% of its bandwidth" in text


def test_a_pipe_gets_everything_and_no_escape_codes() -> None:
    stream = io.StringIO()
    show(report_lines(results.long(), layers="all"), stream)
    text = stream.getvalue()
    assert "\x1b" not in text
    for layer in results.long().layers:
        assert layer.name in text
    assert text.isascii() and not re.search(r" +$", text, re.MULTILINE)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_terminal_gets_lines_that_fit(
    run: Callable[[], RunResult], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = _Terminal()
    show(report_lines(run(), width=width), stream)
    assert "\x1b[1m" in stream.getvalue()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    assert any(f"{run().cycles:,} cycles" in line for line in lines)


def test_markup_in_a_name_is_text() -> None:
    stream = _Terminal()
    show([[("a [bold] name :smile:", "bold")]], stream)
    assert "[bold] name :smile:" in stream.getvalue()


def test_what_does_not_fit_moves_below_and_numbers_are_never_cut() -> None:
    columns = [Column("layer", ["x" * 40, "total"], name=True)]
    columns += [Column(f"c{i}", [f"{i},123,456,789", f"{i},999,999,999"]) for i in range(1, 8)]
    lines = plain(Grid("t", columns).lines(40)).splitlines()
    assert max(map(len, lines)) <= 40
    assert sum("continued" in line for line in lines) == 6
    numbers = re.findall(r"\d,[\d,]{11}", "\n".join(lines))
    assert sorted(numbers) == sorted(cell for column in columns[1:] for cell in column.cells)


def test_headings_wider_than_their_numbers_break() -> None:
    assert Column("unified_buffer", ["1.0"]).heads == ["unified", "buffer"]
    assert Column("weight_fifo", ["1,000,000.0"]).heads == ["weight_fifo"]


@pytest.mark.parametrize(
    ("name", "width", "short"), [("conv1", 8, "conv1"), ("layer4.block.0.conv2", 12, "laye..conv2")]
)
def test_shortened(name: str, width: int, short: str) -> None:
    found = shortened(name, width)
    assert len(found) <= width
    assert found[:4] == short[:4] and found[-5:] == short[-5:]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            [f"p_re_lu_{n}/add:0_pooling" for n in (7, 8, 9)] + ["conv2d_8"],
            [f"p_re_lu_{n}..0_pooling" for n in (7, 8, 9)] + ["conv2d_8"],
        ),
        (["a" * 30 + c + "b" * 30 for c in "xyx"], [f"{'a' * 7}..{'b' * 9}#{n}" for n in (1, 2, 1)]),
    ],
)
def test_names_that_differ_are_not_shortened_alike(names: list[str], expected: list[str]) -> None:
    found = shortened_apart(names, 20)
    assert max(map(len, found)) <= 20
    assert len(set(found)) == len(set(names))
    assert found == expected


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (5e-4, Scale("ns", 1e-9, 1)),
        (5e-3, Scale("us", 1e-6, 1)),
        (2.0, Scale("ms", 1e-3, 1)),
        (4000.0, Scale("s", 1.0, 1)),
        (1e-10, Scale("ns", 1e-9, 3)),
    ],
)
def test_units_leave_room_for_small_parts(total: float, expected: Scale) -> None:
    units = (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0))
    assert scale_for(total, units) == expected


def test_rates_of_a_pipeline_are_over_the_run_and_no_dense_layer_is_beyond_its_peak() -> None:
    """Four inputs on Thinker, 8 bits on multipliers of 16: layers with twice the products."""
    result = simulate(load_arch("thinker"), synthetic_trace(load_network("lenet5")))
    assert result.batch == 4 and result.peak_macs_per_cycle == 2 * 512
    assert all(0 < layer.mac_utilization <= 1 for layer in result.layers if layer.macs)
    assert whole(result).tops(result.clock_hz) == pytest.approx(result.tops)
    text = plain(report_lines(result))
    assert "in all layers, which overlap" in text and "count as done" not in text


def test_more_than_the_peak_is_explained() -> None:
    trace = synthetic_trace(load_network("lenet5"), weight_density=0.2)
    result = simulate(load_arch("cambricon_x", ["dram.fidelity=ideal"]), trace)
    assert max(layer.mac_utilization for layer in result.layers) > 1
    assert "MACs that are skipped count as done" in plain(report_lines(result)).replace("\n               ", " ")


def test_parts_with_keys_of_their_own_are_listed_by_name() -> None:
    result = simulate(load_arch("isaac"), synthetic_trace(load_network("lenet_300_100")))
    text = plain(report_lines(result))
    assert "parts input_register + output_register + edram_bus" in text.replace("\n               ", " ")
    assert "power_mw" not in text
