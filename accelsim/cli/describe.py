"""Architectures, networks and traces as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accelsim.base.units import human_bytes, si
from accelsim.report.grid import Column, Grid, Line, Scale, scale_for
from accelsim.system.archspec import Architecture
from accelsim.system.costs import Costs
from accelsim.workload.network import Network
from accelsim.workload.shapes import ConvShape, GemmShape, RecurrentShape, VectorShape
from accelsim.workload.trace import Operand, Trace
from accelsim.workload.trace_format import WEIGHT_ROLES

WIDTH = 110


def wrapped(name: str, text: str, width: int = WIDTH) -> list[Line]:
    """`  name   text`, the text wrapped under itself."""
    margin = 14
    rows = [row for part in text.splitlines() for row in textwrap.wrap(part, width - margin)] or [""]
    first: Line = [(f"  {name}".ljust(margin), "dim"), (rows[0], "")]
    return [first, *([(" " * margin + row, "")] for row in rows[1:])]


# --- architectures ---


def architecture_lines(arch: Architecture, width: int = WIDTH, overrides: Sequence[str] = ()) -> list[Line]:
    """Every parameter with where its value comes from, and what follows from them.

    `overrides` are those that `arch` was loaded with.
    """
    spec = arch.spec
    lines: list[Line] = [[(spec.name, "bold")]]
    lines += wrapped("source", spec.source, width)
    if spec.description:
        lines += wrapped("description", spec.description, width)
    rows = list(_parameters(arch, overrides))
    key_width = max(len(key) for key, _, _ in rows)
    value_width = min(24, max(len(value) for _, value, _ in rows))
    lines += [[("", "")], [("parameter".ljust(key_width + 2) + "value".ljust(value_width + 2) + "from", "bold")]]
    room = max(30, width - key_width - value_width - 4)
    for key, value, source in rows:
        texts = textwrap.wrap(source, room) or [""]
        style = "yellow" if "assumed:" in source.lower() else "dim" if source == "default" else ""
        lines.append([(f"{key.ljust(key_width)}  {value.ljust(value_width)}  ", ""), (texts[0], style)])
        lines += [[(" " * (key_width + value_width + 4), ""), (text, style)] for text in texts[1:]]
    return [*lines, [("", "")], *_derived(arch, width)]


def _parameters(arch: Architecture, overrides: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(key, value, source), defaults included."""
    data = arch.spec.model_dump(exclude={"notes", "name", "source", "description", "engine"})
    engine = {"kind": arch.engine.kind, **arch.engine.spec.model_dump()}
    everything = {}
    for key, value in data.items():
        everything[key] = value
        if key == "clock_hz":
            everything["engine"] = engine
    notes = {_plain_key(key): note for key, note in arch.spec.notes.items()}
    chosen = {_plain_key(text.partition("=")[0].strip()): f"--set {text}" for text in overrides}
    for key, value in _leaves(everything, ""):
        yield key, _value(value), _nearest(key, chosen) or _source(key, notes, arch)


def _plain_key(key: str) -> str:
    """`buffers[0].slots` -> `buffers.0.slots`."""
    return key.replace("[", ".").replace("]", "")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            rest = {key: x for key, x in item.items() if key != "name"}
            yield from _leaves(rest, f"{path}.{item.get('name', index)}")
    else:
        yield path, value


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10000 else str(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "-" if value is None or value == "" else str(value)


def _source(key: str, notes: Mapping[str, str], arch: Architecture) -> str:
    """The note on the key, or on what it belongs to; "default" for what the file does not say."""
    return _nearest(key, notes) if _says(arch.data, key.split(".")) else "default"


def _nearest(key: str, texts: Mapping[str, str]) -> str:
    parts = key.split(".")
    for end in range(len(parts), 0, -1):
        text = texts.get(".".join(parts[:end]))
        if text:
            return text
    return ""


def _says(data: Any, parts: Sequence[str]) -> bool:
    """Whether the file has this key; items of lists go by their names."""
    for part in parts:
        if isinstance(data, list):
            found = [x for i, x in enumerate(data) if str(i) == part or isinstance(x, dict) and x.get("name") == part]
            if not found:
                return False
            data = found[0]
        elif isinstance(data, dict) and part in data:
            data = data[part]
        else:
            return False
    return True


def _derived(arch: Architecture, width: int) -> list[Line]:
    spec = arch.spec
    peak = arch.engine.peak_macs_per_cycle(spec.bits())
    area = Costs(arch).area_mm2()
    parts = ", ".join(f"{name} {value:.3g}" for name, value in sorted(area.items(), key=lambda x: -x[1]))
    capacity = sum(buffer.capacity_bytes for buffer in spec.buffers)
    facts = {
        "peak": f"{peak:,} MACs per cycle, {2 * peak * spec.clock_hz / 1e12:.4g} TOPS",
        "buffers": human_bytes(capacity),
        "DRAM": f"{si(spec.dram.bandwidth_bytes_per_s, 'B/s')}: "
        f"{float(spec.dram_bytes_per_cycle()):.4g} bytes a cycle, "
        f"{spec.dram_latency_cycles()} cycles of latency",
        "balance": f"{peak / float(spec.dram_bytes_per_cycle()):.4g} MACs per DRAM byte keep the array busy",
        "area": f"{sum(area.values()):.4g} mm2 on chip: {parts}",
    }
    return [[("follows", "bold")], *(line for name, text in facts.items() for line in wrapped(name, text, width))]


def cost_lines(arch: Architecture, width: int = WIDTH) -> list[Line]:
    """The price list: energy of each action, then leakage and area, with sources."""
    table = Costs(arch).table
    lines: list[Line] = [[("costs", "bold")]]
    for component in table:
        head = f"{component.name}: {component.area_mm2:.4g} mm2, {component.leakage_mw:.4g} mW of leakage"
        lines += [[("", "")], [(head, "bold")]]
        if component.static_source:
            lines += [[(f"    {row}", "dim")] for row in textwrap.wrap(component.static_source, width - 4)]
        for action, row in sorted(component.actions.items()):
            lines.append([(f"  {action.ljust(20)} {row.energy_pj:12.6g} pJ", "")])
            lines += [[(f"    {text}", "dim")] for text in textwrap.wrap(row.source, width - 4)]
    return lines


# --- networks and traces ---


def network_lines(network: Network, width: int | None) -> list[Line]:
    """What a network is, layer by layer."""
    lines: list[Line] = [[(network.name, "bold")]]
    lines += wrapped("source", network.source or "-", width or WIDTH)
    lines += wrapped("size", f"{network.params:,} parameters, {network.macs:,} MACs, batch {network.batch}")
    layers = network.layers
    grid = Grid(
        "",
        [
            Column("layer", [layer.name for layer in layers] + ["total"], name=True),
            Column("kind", [layer.kind for layer in layers] + [""], name=True),
            Column("output", ["x".join(map(str, layer.out_shape)) for layer in layers] + [""]),
            Column("work", [_work(layer.work) for layer in layers] + [""], name=True),
            Column("parameters", [f"{layer.params:,}" for layer in layers] + [f"{network.params:,}"]),
            Column("MACs", [f"{layer.macs:,}" for layer in layers] + [f"{network.macs:,}"]),
        ],
    )
    return [*lines, [("", "")], *grid.lines(width)]


def _work(work: Any) -> str:
    if isinstance(work, ConvShape):
        window = f"{work.r}x{work.s}" + (f"/{work.stride[0]}" if max(work.stride) > 1 else "")
        groups = f" g{work.g}" if work.g > 1 else ""
        return f"{window} {work.c}->{work.m}{groups}"
    if isinstance(work, GemmShape):
        batch = f"{work.batch} x " if work.batch > 1 else ""
        return f"{batch}m{work.m} n{work.n} k{work.k}"
    if isinstance(work, RecurrentShape):
        return f"{work.steps} steps, {work.features}->{work.hidden}"
    if isinstance(work, VectorShape):
        return f"{work.ops:,} operations"
    return ""


def trace_lines(trace: Trace, width: int | None) -> list[Line]:
    """What a trace holds."""
    operands = list(trace)
    lines: list[Line] = [[(trace.name, "bold")]]
    for name, text in {"source": trace.source or "-", "hash": trace.content_hash, **trace_facts(trace)}.items():
        lines += wrapped(name, text, width or WIDTH)
    network = trace.network
    lines += wrapped("network", f"{len(network)} layers, {network.params:,} parameters, {network.macs:,} MACs")
    if trace.recipe:
        lines += wrapped("recipe", "; ".join(map(str, trace.recipe)), width or WIDTH)
    total = sum(operand.stored_bytes for operand in operands)
    size = scale_for(total, (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20)))
    grid = Grid(
        "",
        [
            Column("layer", [operand.layer for operand in operands] + ["total"], name=True),
            Column("operand", [operand.role for operand in operands] + [""], name=True),
            Column("shape", ["x".join(map(str, operand.shape)) for operand in operands] + [""]),
            Column("type", [_type(operand) for operand in operands] + [""], name=True),
            Column("as", ["described" if o.generator else o.encoding for o in operands] + [""], name=True),
            Column("density", [f"{operand.density:.3f}" for operand in operands] + [""]),
            Column(size.unit, [_size(operand, size) for operand in operands] + [size.text(_stored(operands))]),
        ],
    )
    return [*lines, [("", "")], *(grid.lines(width) if operands else [])]


def _type(operand: Operand) -> str:
    kind = "float" if operand.floating else "int" if operand.signed else "uint"
    return f"{kind}{operand.bits}"


def _size(operand: Operand, size: Scale) -> str:
    return "-" if operand.generator else size.text(operand.stored_bytes)


def _stored(operands: list[Operand]) -> int:
    return sum(operand.stored_bytes for operand in operands if operand.generator is None)


def trace_facts(trace: Trace) -> dict[str, str]:
    """Where weights and activations come from, in a line each."""
    operands = list(trace)
    weights = [o for o in operands if o.role in WEIGHT_ROLES and not _is_activation(trace, o)]
    activations = [o for o in operands if o.role in ("ifmap",)]
    facts = {}
    for name, found in (("weights", weights), ("activations", activations)):
        if found:
            facts[name] = _origin(found)
    return facts


def _is_activation(trace: Trace, operand: Operand) -> bool:
    """The second operand of a product of activations is called filter too."""
    return operand.role == "filter" and "filter" not in trace.network[operand.layer].weights


def _origin(operands: list[Operand]) -> str:
    stored = [operand for operand in operands if operand.generator is None]
    described = [operand.generator for operand in operands if operand.generator is not None]
    texts = []
    if stored:
        count = sum(operand.elements for operand in stored)
        nonzero = sum(operand.nonzeros for operand in stored)
        kinds = ", ".join(dict.fromkeys(_type(operand) for operand in stored))
        codes = ", ".join(dict.fromkeys(operand.encoding for operand in stored))
        texts.append(f"stored, {kinds} {codes}, {100 * nonzero / count:.1f}% of {count:,} nonzero")
    if described:
        densities = sorted({generator.density for generator in described})
        span = f"{densities[0]:g}" if len(densities) == 1 else f"{densities[0]:g} to {densities[-1]:g}"
        shapes = ", ".join(dict.fromkeys(generator.distribution for generator in described))
        seeds = ", ".join(dict.fromkeys(str(generator.seed) for generator in described))
        texts.append(f"described, not real: density {span}, {shapes}, seed {seeds}")
    return "; ".join(texts)
