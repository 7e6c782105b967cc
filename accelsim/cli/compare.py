"""`accelsim compare`."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.cli.terminal import announce_compilation, progress_bar, say

_MOST_KEYS = 16


def command_compare(options: argparse.Namespace) -> int:
    """Check everything, run, print what is equal and what differs, then the table."""
    from accelsim.report.places import check_writable, write_text

    for option in ("json", "csv", "figure"):
        if getattr(options, option):
            check_writable(Path(getattr(options, option)))
    if options.figure:
        from accelsim.report.figures import check_formats

        check_formats([Path(options.figure).suffix[1:]])
    workloads = list(dict.fromkeys(options.workload))
    _check_workloads(workloads, options)

    from accelsim.bench.cases import CaseTraces
    from accelsim.bench.compare import make_designs, mean_records, records, run_designs

    designs = make_designs(options.designs, options.recipe, options.overrides)
    _check_recipes(designs)
    announce_compilation(options.quiet)
    with progress_bar("comparing", options.quiet) as bar, CaseTraces() as traces:
        run_designs(
            designs, workloads, traces, batch=options.batch, seed=options.seed, progress=bar.update,
            weight_density=options.weight_density, activation_density=options.activation_density,
        )  # fmt: skip
    rows = records(designs, workloads)
    means = mean_records(rows, designs) if len(workloads) > 1 else []
    if not options.quiet:
        _print(designs, workloads, rows, means, options.all)
    if options.json:
        write_text(Path(options.json), _json(designs, rows, means))
    if options.csv:
        write_text(Path(options.csv), _csv(rows))
    if options.figure:
        from accelsim.report.curves import draw_comparison

        names = {design.label: list(design.results.values()) for design in designs}
        draw_comparison(names, workloads, Path(options.figure))
        if not options.quiet:
            say(f"wrote {options.figure}")
    return 0


def _check_workloads(workloads: Sequence[str], options: argparse.Namespace) -> None:
    from accelsim.base.paths import find
    from accelsim.workload.load import FOLDER, SUFFIXES

    for workload in workloads:
        find(workload, FOLDER, "workload", (*SUFFIXES, ".trace"))
    for option in ("weight_density", "activation_density"):
        value = getattr(options, option)
        if value is not None and not 0 < value <= 1:
            raise ConfigError(f"must be above 0 and at most 1, got {value:g}", f"--{option.replace('_', '-')}")
    if options.batch is not None and options.batch < 1:
        raise ConfigError(f"must be at least 1, got {options.batch}", "--batch")


def _check_recipes(designs: Sequence[Any]) -> None:
    from accelsim.compress.recipe import load_recipe

    for recipe in dict.fromkeys(design.recipe for design in designs if design.recipe):
        load_recipe(recipe)


def _print(
    designs: Sequence[Any], workloads: Sequence[str], rows: Sequence[Any], means: Sequence[Any], everything: bool
) -> None:
    from accelsim.bench.compare import CONTROLLED, different_keys, equal_and_different
    from accelsim.report.grid import Grid, Line, show, terminal_width

    width = terminal_width(sys.stdout)
    equal, differ = equal_and_different(designs)
    lines: list[Line] = _facts("equal", equal, width or 112)
    lines += [[("", "")], *_table_of("differs", differ, designs, width)] if differ else [[("differs: nothing", "bold")]]
    keys = different_keys(designs)
    if keys and {design.arch.spec.engine.kind for design in designs} == {designs[0].arch.spec.engine.kind}:
        shown = keys if everything else dict(list(keys.items())[:_MOST_KEYS])
        lines += [[("", "")], *_table_of("keys that differ", shown, designs, width)]
        if len(shown) < len(keys):
            lines.append([(f"and {len(keys) - len(shown)} more (--all)", "dim")])
    uncontrolled = [name for name in CONTROLLED if name in differ]
    if len(uncontrolled) > 1:
        text = f"not controlled: {', '.join(uncontrolled)} all differ, and each has a part in the figures below"
        lines += [[("", "")], [(text, "dim")]]
    for workload in workloads:
        mine = [row for row in rows if row["workload"] == workload]
        title = f"{workload}, batch {designs[0].results[workload].batch}"
        lines += [[("", "")], *Grid(title, _columns(mine), has_total=False).lines(width)]
    if means:
        lines += [[("", "")], *Grid("geometric mean", _mean_columns(means), has_total=False).lines(width)]
    show(lines, sys.stdout)


def _facts(head: str, facts: Mapping[str, str], width: int) -> list[Any]:
    import textwrap

    text = "; ".join(f"{name} {value}" for name, value in facts.items()) or "nothing"
    wrapped = textwrap.wrap(text, max(40, width - len(head) - 2), break_on_hyphens=False)
    return [[(head if i == 0 else " " * len(head), "bold"), (f"  {row}", "")] for i, row in enumerate(wrapped)]


def _table_of(head: str, facts: Mapping[str, list[str]], designs: Sequence[Any], width: int | None) -> list[Any]:
    from accelsim.report.grid import Column, Grid

    columns = [Column(head, list(facts), name=True)]
    for i, design in enumerate(designs):
        columns.append(Column(design.label, [texts[i] for texts in facts.values()]))
    return Grid("", columns, has_total=False).lines(width)


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    from accelsim.report.grid import BYTES, JOULES_IN_PJ, SECONDS, Column, scale_for

    seconds = scale_for(max(row["seconds"] for row in rows), SECONDS, 1.0)
    energy = scale_for(max(row["energy_pj"] for row in rows), JOULES_IN_PJ, 1.0)
    moved = scale_for(max(row["dram_bytes"] for row in rows), BYTES, 1.0)
    return [
        Column("design", [row["design"] for row in rows], name=True),
        Column("cycles", [f"{row['cycles']:,}" for row in rows]),
        Column(f"time, {seconds.unit}", [f"{row['seconds'] / seconds.size:,.4g}" for row in rows]),
        Column(f"energy, {energy.unit}", [f"{row['energy_pj'] / energy.size:,.4g}" for row in rows]),
        Column("EDP, Js", [f"{row['edp_js']:.3e}" for row in rows]),
        Column("area, mm2", [f"{row['area_mm2']:.4g}" for row in rows]),
        Column("MAC use, %", [f"{100 * row['mac_utilization']:.1f}" for row in rows]),
        Column("TOPS", [f"{row['tops']:.3g}" for row in rows]),
        Column("TOPS/W", [f"{row['tops_per_watt']:.3g}" for row in rows]),
        Column(f"DRAM, {moved.unit}", [f"{row['dram_bytes'] / moved.size:,.4g}" for row in rows]),
        *_ratios(rows),
    ]


def _ratios(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    from accelsim.report.grid import Column

    return [
        Column("speedup", [f"{row['speedup']:.3f}x" for row in rows]),
        Column("energy gain", [f"{row['energy_gain']:.3f}x" for row in rows]),
    ]


def _mean_columns(means: Sequence[Mapping[str, Any]]) -> list[Any]:
    from accelsim.report.grid import Column

    return [Column("design", [row["design"] for row in means], name=True), *_ratios(means)]


def _json(designs: Sequence[Any], rows: Sequence[Any], means: Sequence[Any]) -> str:
    from accelsim.bench.compare import different_keys, equal_and_different

    equal, differ = equal_and_different(designs)
    labels = [design.label for design in designs]
    data = {
        "equal": equal,
        "differs": {name: dict(zip(labels, texts, strict=True)) for name, texts in differ.items()},
        "keys": {name: dict(zip(labels, texts, strict=True)) for name, texts in different_keys(designs).items()},
        "rows": list(rows),
        "geometric_means": list(means),
    }
    return json.dumps(data, indent=1) + "\n"


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
