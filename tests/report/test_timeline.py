"""The timeline loads, its spans nest, and it says the same as the result; so does the notebook view."""

from __future__ import annotations

import gzip
import json
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accelsim.report.html import ROWS, result_html
from accelsim.report.timeline import CORE, DRAM, LAYERS, STREAM, timeline_json, write_timeline
from accelsim.system.result import RunResult
from tests import results

RUNS = (results.lenet, results.kept, results.grouped)


def events(result: RunResult) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(timeline_json(result))["traceEvents"]
    return found


def cycles(event: dict[str, Any]) -> tuple[int, int]:
    return event["args"]["start_cycle"], event["args"]["end_cycle"]


@pytest.mark.parametrize("run", RUNS)
def test_spans_nest(run: Callable[[], RunResult]) -> None:
    result = run()
    spans = [event for event in events(result) if event["ph"] == "X"]
    layers = [event for event in spans if (event["pid"], event["tid"]) == (CORE, LAYERS)]
    assert [event["name"] for event in layers] == [layer.name for layer in result.layers]
    assert cycles(layers[-1])[1] == result.cycles
    for event in spans:
        begin, end = cycles(event)
        assert 0 <= begin <= end <= result.cycles and event["dur"] >= 0
        if event["pid"] == CORE:  # passes and their drains lie inside of their layer
            layer = event["name"].partition(" pass ")[0]
            (own,) = [x for x in layers if x["name"] == layer]
            assert cycles(own)[0] <= begin and end <= cycles(own)[1]


@pytest.mark.parametrize("run", RUNS)
def test_events_of_a_track_do_not_overlap(run: Callable[[], RunResult]) -> None:
    tracks = defaultdict(list)
    for event in events(run()):
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
    for track in tracks.values():
        track.sort(key=lambda event: (event["ts"], event["dur"]))
        for one, other in zip(track, track[1:], strict=False):
            assert cycles(one)[1] <= cycles(other)[0]
            assert one["ts"] + one["dur"] <= other["ts"] + 1e-6


@pytest.mark.parametrize("run", RUNS)
def test_it_says_what_the_result_says(run: Callable[[], RunResult]) -> None:
    result = run()
    found = events(result)
    transfers = [e for e in found if e["ph"] == "X" and e["pid"] == DRAM]
    assert sum(e["args"]["bytes"] for e in transfers) == sum(layer.total_dram_bytes for layer in result.layers)
    streams = [e for e in found if e["ph"] == "X" and (e["pid"], e["tid"]) == (CORE, STREAM)]
    assert sum(e["args"]["macs"] for e in streams) == result.macs
    for e in transfers:
        assert e["args"]["asked_for_cycle"] <= e["args"]["end_cycle"]
    layer = next(e for e in found if e["ph"] == "X")
    assert sum(layer["args"]["cycles"].values()) == result.layers[0].cycles
    assert layer["dur"] == pytest.approx(result.layers[0].cycles / result.clock_hz * 1e6, abs=1e-6)
    counters = {e["name"] for e in found if e["ph"] == "C"}
    assert "DRAM bandwidth (GB/s)" in counters and len(counters) > 1


def test_files(tmp_path: Path) -> None:
    result = results.lenet()
    for name in ("a.json", "b.json.gz", "c.json.gz"):
        write_timeline(result, tmp_path / name)
    plain = (tmp_path / "a.json").read_bytes()
    packed = (tmp_path / "b.json.gz").read_bytes()
    assert gzip.decompress(packed) == plain and packed == (tmp_path / "c.json.gz").read_bytes()
    assert len(packed) < len(plain) / 4
    assert json.loads(plain)["otherData"]["clock_hz"] == result.clock_hz


@pytest.mark.parametrize("run", [*RUNS, results.long])
def test_notebook_view(run: Callable[[], RunResult]) -> None:
    result = run()
    html = result._repr_html_()
    assert html == result_html(result)
    root = ElementTree.fromstring(html)  # well-formed
    assert f"{result.cycles:,}" in html and "TOPS/W" in html
    names = [text for text in root.iter("{http://www.w3.org/2000/svg}text") if text.find("{*}title") is not None]
    assert len(names) == min(len(result.layers), ROWS + 1)
    bars = [float(rect.get("width", 0)) for rect in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars and max(bars) <= 260.01


def test_names_are_escaped() -> None:
    from dataclasses import replace

    result = results.lenet()
    layers = [replace(result.layers[0], name="<script>alert(1)</script>"), *result.layers[1:]]
    html = result_html(replace(result, layers=layers))
    assert "<script>" not in html and "&lt;script&gt;" in html
