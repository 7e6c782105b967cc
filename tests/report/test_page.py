"""The page of a sweep: safe with any names, whole, small, and alive in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.report.page import page_text, script_json, write_page
from accelsim.report.points import numbers, pareto
from accelsim.sweep.table import Table
from tests.browser import Browser, browser_path
from tests.sweeps import KEYS, large, table

NASTY = "</script><script>window.hacked=1</script><img src=x onerror=\"window.hacked=1\">&'\u2028"


def named(text: str) -> Table:
    """The table with strangers' names, a failed point and one that has not run."""
    rows = [dict(row) for row in table().rows]
    for row in rows[::2]:
        row["arch"] = text
    rows[3] = {**{key: rows[3].get(key) for key in KEYS}, "status": "failed", "error": text, "index": 3}
    rows[4] = {**{key: rows[4].get(key) for key in KEYS}, "status": "pending", "error": "", "index": 4}
    return Table(rows, KEYS)


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def test_the_page_holds_every_finished_point() -> None:
    data = data_of(page_text(named("some arch"), "t"))
    assert data["count"] == len(table()) - 2
    columns = {column["name"]: column for column in data["columns"]}
    energies = [row["energy_pj"] for i, row in enumerate(table().rows) if i not in (3, 4)]
    assert columns["energy_pj"]["values"] == pytest.approx(energies, rel=1e-6)
    assert columns["cycles"]["values"] == [row["cycles"] for i, row in enumerate(table().rows) if i not in (3, 4)]
    cycles = data["breakdowns"][0]
    assert cycles["label"] == "cycles"
    sums = [sum(values[i] for values in cycles["values"]) for i in range(data["count"])]
    assert sums == columns["cycles"]["values"]
    levels = columns["arch"]["levels"]
    assert [levels[n] for n in columns["arch"]["values"][:2]] == ["some arch", "systolic_ws_32"]


def test_no_text_leaves_its_place() -> None:
    page = page_text(named(NASTY), NASTY)
    assert NASTY not in page and "<img" not in page.replace("img-src", "")
    assert page.count("<script") == 2 and page.count("</script>") == 2
    assert NASTY in data_of(page)["columns"][1]["levels"]
    assert json.loads(script_json([NASTY])) == [NASTY]
    assert "&lt;/script&gt;" in page  # title and the message of the failed point


def test_nothing_from_outside() -> None:
    page = page_text(table(), "t")
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", page)
    assert "http://" not in page and "https://" not in page
    assert "default-src 'none'" in page


def test_the_head_says_what_is_missing() -> None:
    page = page_text(named("x"), "t")
    assert "52 points, 1 failed, 1 not run yet" in page
    rows = [{**row, "current": False} for row in table().rows]
    assert "54 made by another version of the model" in page_text(Table(rows, KEYS), "t")


def test_without_points(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no point of this sweep is done"):
        write_page(Table([{"status": "pending"}], []), tmp_path / "x.html", "t")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser_path()
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def opened(browser: Browser, points: Table, path: Path, title: str = "t") -> float:
    browser.errors.clear()
    browser.requests.clear()
    write_page(points, path, title)
    return browser.open(path)


def test_the_page_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    opened(browser, named(NASTY), tmp_path / "page.html", NASTY)
    assert browser.errors == []
    assert browser.requests == [(tmp_path / "page.html").resolve().as_uri()]
    assert browser.run("window.hacked === undefined")
    assert browser.run("document.title") == NASTY.replace("\u2028", browser.run("document.title")[-1])
    assert browser.run("document.querySelectorAll('.row').length") > 10
    # the script's front is ours
    view = Table([row for row in named("x").rows if row["status"] == "done"], KEYS)
    x, y = numbers(view, "seconds"), numbers(view, "energy_pj")
    assert browser.run("accelsim.front()") == pareto(x, y).tolist()
    assert browser.errors == []


def test_a_point_opens_its_breakdown(browser: Browser, tmp_path: Path) -> None:
    opened(browser, table(), tmp_path / "page.html")
    target = int(np.argmax(numbers(table(), "seconds")))
    x, y = browser.run(
        f"(() => {{ const r = document.getElementById('plot').getBoundingClientRect(), s = accelsim.spot({target});"
        "return [r.left + s[0], r.top + s[1]]; })()"
    )
    browser.click(x, y)
    row = table().rows[target]
    assert browser.run("accelsim.state.on") == target
    text = browser.run("document.getElementById('point').textContent")
    assert f"cycles: {row['cycles']:,}" in text
    for cause in ("compute", "fill/drain", "ifmap"):
        assert cause in text
    widths = browser.run(
        "[...document.querySelectorAll('.stack')]"
        ".map(s => [...s.children].reduce((sum, part) => sum + parseFloat(part.style.width), 0))"
    )
    assert widths == pytest.approx([100.0] * 3, abs=0.01)
    assert browser.errors == []


def test_each_workload_has_a_front_of_its_own(browser: Browser, tmp_path: Path) -> None:
    rows = [{**row, "workload": f"net{i % 2}"} for i, row in enumerate(table().rows)]
    opened(browser, Table(rows, KEYS), tmp_path / "page.html")
    x, y = numbers(table(), "seconds"), numbers(table(), "energy_pj")
    wanted = [start + 2 * i for start in (0, 1) for i in pareto(x[start::2], y[start::2]).tolist()]
    assert browser.run("accelsim.front()") == wanted
    assert "one a workload" in browser.run("document.getElementById('onfront').textContent")


def shown(browser: Browser, count: int) -> list[int]:
    found: list[int] = browser.run(
        f"[...document.querySelectorAll('.row')].slice(0, {count}).map(r => Number(r.dataset.point))"
    )
    return found


def test_the_table_sorts_and_filters(browser: Browser, tmp_path: Path) -> None:
    opened(browser, table(), tmp_path / "page.html")
    energy = numbers(table(), "energy_pj")
    head = "document.querySelector('#head button[data-column=energy_pj]').click()"
    browser.run(head)
    assert shown(browser, 10) == np.argsort(energy, kind="stable")[:10].tolist()
    browser.run(head)
    assert shown(browser, 10) == np.argsort(-energy, kind="stable")[:10].tolist()
    browser.run(
        "(() => { const f = document.getElementById('filter'); f.value = 'ws engine.rows>=16';"
        "f.dispatchEvent(new Event('input')); })()"
    )
    kept = [
        i for i, row in enumerate(table().rows) if row["engine.rows"] >= 16  # "ws" is in the architecture's name too
    ]
    assert sorted(browser.run("accelsim.state.rows")) == kept
    browser.run(
        "(() => { const x = document.getElementById('x'); x.value = 'area_mm2';"
        "x.dispatchEvent(new Event('change')); })()"
    )
    rows = [table().rows[i] for i in kept]
    front = pareto(numbers(Table(rows, KEYS), "area_mm2"), numbers(Table(rows, KEYS), "energy_pj"))
    assert browser.run("accelsim.front()") == [kept[i] for i in front]
    browser.run("document.getElementById('reset').click()")
    assert browser.run("accelsim.state.rows.length") == len(table())
    assert browser.errors == []


def test_ten_thousand_points(browser: Browser, tmp_path: Path) -> None:
    """Opens in under 3 s and weighs under 15 MB; the table holds only the rows that are seen."""
    seconds = opened(browser, large(10_000), tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 15e6
    assert seconds < 3.0
    assert browser.run("document.querySelectorAll('.row').length") < 60
    assert browser.run("accelsim.state.rows.length") == 10_000
    browser.run("document.getElementById('table').scrollTop = 1e9")
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    assert 9_999 in browser.run("[...document.querySelectorAll('.row')].map(r => Number(r.dataset.point))")
    assert browser.errors == [] and len(browser.requests) == 1
