"""One self-contained HTML page of a sweep: a scatter of its points, their breakdowns, a table that sorts.

It works from a file without any network: style, script and data are in it, and its content security policy lets
nothing else in. Names come from strangers: every text goes through an escape, here or by the browser's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from accelsim import __version__
from accelsim.base.errors import ConfigError
from accelsim.report.curve_parts import SERIES_COLOURS
from accelsim.report.parts import CAUSE_COLOURS, CAUSE_LABELS, array_first, colours_of
from accelsim.report.places import atomic
from accelsim.report.points import Points, cell, differing, quantity, short_key
from accelsim.sim.passes import ATTRIBUTION

DIGITS = 7
"""Significant digits of floats on the page; integers are whole."""
MOST_COLOURS = 12
_FIRST = ("index", "arch", "workload", "recipe")
_MAIN = (
    "cycles", "seconds", "energy_pj", "edp", "area_mm2", "tops", "tops_per_watt", "utilization", "dram_bytes",
    "accuracy",
)  # fmt: skip
_MORE = (
    "power_w", "inferences_per_second", "macs", "effectual_macs", "batch", "clock_hz", "peak_macs_per_cycle",
    "dram_bytes_per_cycle", "sweep", "model_version", "trace_hash", "hash",
)  # fmt: skip
_BREAKDOWNS = (
    ("cycles_by_cause", "cycles"),
    ("energy_pj_by_component", "energy_pj"),
    ("area_mm2_by_component", "area_mm2"),
)
_MOST_ERRORS = 200


def page_text(table: Points, title: str) -> str:
    """The page as text.

    Raises
    ------
    ConfigError
        If no point is done.
    """
    done = [row for row in table.rows if row.get("status", "done") == "done"]
    failed = [row for row in table.rows if row.get("status") == "failed"]
    if not done:
        raise ConfigError("no point of this sweep is done (or --where leaves none), so there is nothing to show")
    here = Path(__file__).parent
    facts = _facts(done, failed, len(table.rows) - len(done) - len(failed))
    return _PAGE.format(
        title=escape(title),
        css=(here / "page.css").read_text(encoding="utf-8"),
        js=(here / "page.js").read_text(encoding="utf-8"),
        facts=escape(facts),
        errors=_errors(failed),
        data=script_json(_data(done, table.keys)),
    )


def write_page(table: Points, path: Path, title: str) -> int:
    """Write the page; its size in bytes.

    Raises
    ------
    ConfigError
    """
    text = page_text(table, title).encode()
    with atomic(path) as stream:
        stream.write(text)
    return len(text)


def script_json(data: Any) -> str:
    """JSON that may stand in a script element: no character of it can end the element or a line of script."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _facts(done: Sequence[dict[str, Any]], failed: Sequence[Any], pending: int) -> str:
    texts = [f"{len(done):,} points"]
    if failed:
        texts.append(f"{len(failed):,} failed")
    if pending:
        texts.append(f"{pending:,} not run yet")
    old = sum(row.get("current") is False for row in done)
    if old:
        texts.append(f"{old:,} made by another version of the model")
    for name in ("workload", "arch", "recipe"):
        values = {str(row.get(name) or "") for row in done}
        if len(values) == 1 and (value := values.pop()):
            texts.append(f"{name} {value}")
    return f"{', '.join(texts)}. Made by accelsim {__version__}."


def _errors(failed: Sequence[dict[str, Any]]) -> str:
    if not failed:
        return ""
    texts = [f"point {row.get('index')}: {row.get('error') or 'no message'}" for row in failed[:_MOST_ERRORS]]
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    more = f"<p>and {len(failed) - _MOST_ERRORS:,} more</p>" if len(failed) > _MOST_ERRORS else ""
    return f'<details><summary>{len(failed):,} failed</summary><ul class="errors">{items}</ul>{more}</details>'


def _data(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    varied = differing(rows, [*(name for name in ("workload", "arch", "recipe") if name not in keys), *keys])
    names = list(dict.fromkeys([*_FIRST, *keys, *_MAIN, *_MORE]))
    columns = [column for name in names if (column := _column(rows, name, name in varied)) is not None]
    known = {column["name"]: column for column in columns}
    few = [name for name in varied if known.get(name, {}).get("few")]
    return {
        "count": len(rows),
        "columns": columns,
        "named": varied,
        "x": "seconds" if "seconds" in known else "cycles",
        "y": "energy_pj" if "energy_pj" in known else "cycles",
        "colour": few[0] if few else "",
        "palette": [*SERIES_COLOURS, "#44AA99", "#999933", "#666666", "#AA4499"],
        "breakdowns": [b for entry, column in _BREAKDOWNS if (b := _breakdown(rows, entry, column)) is not None],
    }


def _column(rows: Sequence[dict[str, Any]], name: str, varied: bool) -> dict[str, Any] | None:
    """A column as the script reads it; numbers with few values can give colours too, as texts; None if empty."""
    values = [cell(row, name) for row in rows]
    present = [value for value in values if value is not None and value != ""]
    if not present:
        return None
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in present)
    known = quantity(name, present if numeric else ())
    main = name == "index" or varied or name in _MAIN
    column: dict[str, Any] = {"name": name, "label": known.label, "short": short_key(name), "main": main}
    if not numeric:
        texts = ["" if value is None else str(value) for value in values]
        levels = list(dict.fromkeys(texts))
        place = {text: i for i, text in enumerate(levels)}
        return {
            **column, "levels": levels, "values": [place[text] for text in texts],
            "longest": max(map(len, levels)), "few": 1 < len(levels) <= MOST_COLOURS,
        }  # fmt: skip
    unit = "" if name == "index" or known.unit == "count" else known.unit
    factor, better = known.factor, known.better
    return {
        **column, "unit": unit, "factor": factor, "prefixes": known.prefixes, "better": better, "some": True,
        "plain": name in ("index", "cycles", "macs", "effectual_macs"), "values": [_number(v) for v in values],
    }  # fmt: skip


def _breakdown(rows: Sequence[dict[str, Any]], entry: str, column: str) -> dict[str, Any] | None:
    names = dict.fromkeys(name for row in rows for name, value in (row.get(entry) or {}).items() if value)
    if not names:
        return None
    if entry == "cycles_by_cause":
        order = [cause for cause in ATTRIBUTION if cause in names]
        looks = [{"label": CAUSE_LABELS[c], "colour": CAUSE_COLOURS[c]} for c in order]
    else:
        order = array_first(names)
        colours = colours_of(order)
        looks = [{"label": name.replace("_", " "), "colour": colours[name]} for name in order]
    known = quantity(column)
    return {
        "label": known.label, "unit": "" if column == "cycles" else known.unit, "factor": known.factor,
        "prefixes": known.prefixes, "plain": column == "cycles", "parts": looks,
        "values": [[_number((row.get(entry) or {}).get(name, 0)) for row in rows] for name in order],
    }  # fmt: skip


def _number(value: Any) -> int | float | None:
    if value is None or isinstance(value, str):
        return None
    if isinstance(value, int):
        return int(value)
    short = float(f"{value:.{DIGITS}g}")
    if short != short or short in (float("inf"), float("-inf")):
        return None
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{css}</style>
</head>
<body>
<h1>{title}</h1>
<p>{facts}</p>
<noscript><p>The scatter and the table need JavaScript; nothing of it leaves this page.</p></noscript>
<div class="top">
<section>
<div class="bar">
<label>x <select id="x"></select></label>
<label>y <select id="y"></select></label>
<label>colour <select id="colour"></select></label>
<label><input type="checkbox" id="front" checked> Pareto front</label>
<span id="onfront"></span>
</div>
<div class="frame">
<canvas id="plot" role="img" aria-label="scatter of all points"></canvas><div id="tip" hidden></div>
</div>
<div id="legend"></div>
<p>Click a point for its breakdown; drag to zoom, double click to see all.</p>
</section>
<section id="point" aria-live="polite"></section>
</div>
<h2>Points</h2>
<div class="bar">
<label>filter <input id="filter" size="34" placeholder="ws engine.rows&gt;=16 area_mm2&lt;4"></label>
<span id="matches"></span>
<label><input type="checkbox" id="all"> all columns</label>
<button id="reset">reset</button>
</div>
<div id="table"><div id="grid"><div id="head"></div></div></div>
{errors}
<script type="application/json" id="data">{data}</script>
<script>
{js}</script>
</body>
</html>
"""
