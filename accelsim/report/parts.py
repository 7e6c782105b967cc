"""What every view of a result shares: names and colours of causes and components, and layers summed into rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from accelsim.sim.passes import ATTRIBUTION
from accelsim.system.result import TRAFFIC, LayerResult, RunResult

#: How a cause of cycles is called in tables and figures. `filter` to `noc` are waits, the others stalls inside.
CAUSE_LABELS = {
    "compute": "compute",
    "fill_drain": "fill/drain",
    "filter": "weights",
    "ifmap": "ifmap",
    "psum": "psum",
    "ofmap": "write-back",
    "noc": "NoC",
    "bank_conflict": "bank conflict",
    "buffer_ports": "buffer ports",
    "imbalance": "imbalance",
    "queue_full": "queue full",
    "adc": "ADC",
    "index_matching": "index match",
}

# Okabe and Ito's eight colours can be told apart by colour-blind readers; six of Tol's "muted" scheme follow.
BLUE, SKY, ORANGE, GREEN, PURPLE = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#CC79A7"
VERMILION, YELLOW, INDIGO, TEAL, WINE, SAND, OLIVE, GREY = (
    "#D55E00", "#F0E442", "#332288", "#44AA99", "#882255", "#DDCC77", "#999933", "#BBBBBB",
)

CAUSE_COLOURS = {
    "compute": BLUE,
    "fill_drain": SKY,
    "filter": ORANGE,
    "ifmap": GREEN,
    "psum": PURPLE,
    "ofmap": VERMILION,
    "noc": YELLOW,
    "bank_conflict": INDIGO,
    "buffer_ports": TEAL,
    "imbalance": WINE,
    "queue_full": SAND,
    "adc": OLIVE,
    "index_matching": GREY,
}

OPERAND_LABELS = {"filter": "weights", "ifmap": "ifmap", "psum": "psum", "ofmap": "ofmap", "resident": "kept maps"}
OPERAND_COLOURS = {
    **{operand: CAUSE_COLOURS[operand] for operand in ("filter", "ifmap", "psum", "ofmap")},
    "resident": "#8C8C8C",
}

_COMPONENT_COLOURS = {
    "mac": BLUE,
    "pe_register": SKY,
    "vector_unit": PURPLE,
    "dram": VERMILION,
    "dram_standby": WINE,
    "noc": YELLOW,
    "adc": OLIVE,
    "leakage": GREY,
}
_BUFFER_COLOURS = (GREEN, ORANGE, INDIGO, SAND, WINE, OLIVE, YELLOW, "#44AA99", "#AA4499", "#117733", "#88CCEE")
_ARRAY_FIRST = ("mac", "pe_register")
_LAST = ("dram", "dram_standby", "leakage")


def buffers(result: RunResult) -> dict[str, dict[str, Any]]:
    """Name -> the buffer as the architecture has it (`word_bits` filled in), from the array outward."""
    found = {}
    for buffer in result.arch_data.get("buffers", []):
        found[str(buffer["name"])] = {**buffer, "word_bits": int(buffer.get("word_bits", 64))}
    return found


def components(result: RunResult) -> list[str]:
    """Components that take energy, from the array outward, then leakage."""
    present = result.energy_by_component()
    known = [*_ARRAY_FIRST, *buffers(result), *_LAST]
    others = [name for name in present if name not in known]
    order = [*_ARRAY_FIRST, *others, *buffers(result), *_LAST]
    return [name for name in order if present.get(name, 0.0) > 0.0]


def component_colours(result: RunResult) -> dict[str, str]:
    """One fixed colour for each component; buffers take theirs in the architecture's order."""
    return colours_of([*buffers(result), *components(result)])


def array_first(names: Iterable[str]) -> list[str]:
    """Components in the order of stacks where no architecture gives one: array, others, DRAM, leakage."""
    found = list(names)
    others = [name for name in found if name not in (*_ARRAY_FIRST, *_LAST)]
    return [name for name in (*_ARRAY_FIRST, *others, *_LAST) if name in found]


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """One fixed colour for each component of this list; those that are nobody's take the buffers' in turn."""
    colours: dict[str, str] = {}
    names = list(names)
    taken = {_COMPONENT_COLOURS[name] for name in names if name in _COMPONENT_COLOURS}
    free = cycle([colour for colour in _BUFFER_COLOURS if colour not in taken])
    for name in names:
        if name not in colours:
            colours[name] = _COMPONENT_COLOURS.get(name) or next(free)
    return colours


def causes(result: RunResult) -> list[str]:
    """Causes to show: compute, fill and drain, and those that cost at least one cycle."""
    total = result.cycles_by_cause()
    return [cause for cause in ATTRIBUTION if total[cause] or cause in ("compute", "fill_drain")]


@dataclass
class Part:
    """One layer, or several summed.

    Attributes
    ----------
    name : str
    layers : int
        How many it stands for.
    buffer_bytes : dict
        Buffer -> bytes read and written by array and DMA together.
    array_bytes : float
        Bytes read and written in the registers of the array.
    busy_macs : float
        MACs that the array could have done while it was streaming (for spatial utilization).
    peak_macs : int
        MACs that the array could have done in all of its cycles.
    elapsed : int or None
        Cycles from beginning to end, where they are not the sum of the layers' (which overlap); rates are over these.
    """

    name: str
    layers: int = 0
    start_cycle: int = 0
    cycles: int = 0
    cycles_by_cause: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ATTRIBUTION, 0))
    macs: int = 0
    effectual_macs: int = 0
    peak_macs: int = 0
    busy_macs: float = 0.0
    dram_bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TRAFFIC, 0))
    buffer_bytes: dict[str, float] = field(default_factory=dict)
    array_bytes: float = 0.0
    energy_pj: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, None] = field(default_factory=dict)
    elapsed: int | None = None

    def add(self, layer: LayerResult, word_bits: dict[str, int]) -> None:
        """Sum one more layer in."""
        self.start_cycle = min(self.start_cycle, layer.start_cycle) if self.layers else layer.start_cycle
        self.layers += 1
        self.cycles += layer.cycles
        for cause, cycles in layer.cycles_by_cause.items():
            self.cycles_by_cause[cause] += cycles
        self.macs += layer.macs
        self.effectual_macs += layer.effectual_macs
        self.peak_macs += layer.peak_macs_per_cycle * layer.cycles
        spatial = float(layer.info.get("spatial_utilization", 0.0))
        self.busy_macs += layer.macs / spatial if spatial else 0.0
        for operand, n_bytes in layer.dram_bytes.items():
            self.dram_bytes[operand] += n_bytes
        for (component, action), count in layer.counts.items():
            self._add_traffic(component, action, count, word_bits)
        for component, energy in layer.energy_pj.items():
            self.energy_pj[component] = self.energy_pj.get(component, 0.0) + energy
        self.kinds[layer.kind] = None

    def _add_traffic(self, component: str, action: str, count: int, word_bits: dict[str, int]) -> None:
        if component in word_bits:
            moved = count * word_bits[component] / 8
            self.buffer_bytes[component] = self.buffer_bytes.get(component, 0.0) + moved
        elif component != "dram":
            unit = action.rsplit("_", 1)[-1]
            self.array_bytes += count * {"bit": 1 / 8, "byte": 1.0}.get(unit, 0.0)

    @property
    def kind(self) -> str:
        """The operator, or "" for several."""
        return next(iter(self.kinds)) if len(self.kinds) == 1 else ""

    @property
    def spatial_utilization(self) -> float | None:
        """PEs with work over PEs while operands stream; None without MACs."""
        return self.macs / self.busy_macs if self.busy_macs else None

    @property
    def mac_utilization(self) -> float | None:
        """MACs over what the PEs could have done in all cycles; None if the array had no part in it."""
        return self.macs / self.peak_macs if self.macs and self.peak_macs else None

    @property
    def total_dram_bytes(self) -> int:
        """Both directions."""
        return sum(self.dram_bytes.values())

    @property
    def total_energy_pj(self) -> float:
        """Dynamic and static."""
        return sum(self.energy_pj.values())

    @property
    def tops_per_watt(self) -> float | None:
        """Operations per picojoule; None without MACs."""
        return 2 * self.macs / self.total_energy_pj if self.macs and self.total_energy_pj else None

    def tops(self, clock_hz: int) -> float | None:
        """Two operations for each MAC, in 10^12 per second; None without MACs."""
        cycles = self.cycles if self.elapsed is None else self.elapsed
        return 2 * self.macs * clock_hz / cycles / 1e12 if self.macs and cycles else None


def summed(result: RunResult, layers: Iterable[LayerResult], name: str) -> Part:
    """The sum of some layers of a result."""
    word_bits = {name: b["word_bits"] for name, b in buffers(result).items()}
    part = Part(name)
    for layer in layers:
        part.add(layer, word_bits)
    return part


def parts_of(result: RunResult, at_most: int | None = None) -> list[Part]:
    """One part for each layer in order; with `at_most`, that many of the longest, then the sum of the others.

    Ties go to the earlier layer. The parts always sum to the whole.
    """
    layers = result.layers
    if at_most is None or len(layers) <= at_most:
        return [summed(result, [layer], layer.name) for layer in layers]
    longest = sorted(range(len(layers)), key=lambda i: (-layers[i].cycles, i))[:at_most]
    shown = set(longest)
    parts = [summed(result, [layer], layer.name) for i, layer in enumerate(layers) if i in shown]
    rest = [layer for i, layer in enumerate(layers) if i not in shown]
    return [*parts, summed(result, rest, f"{len(rest)} other layers")]


def whole(result: RunResult) -> Part:
    """All layers; its utilization is over all cycles, those of layers without MACs too."""
    part = summed(result, result.layers, "total")
    part.peak_macs = result.peak_macs_per_cycle * result.cycles
    part.elapsed = result.cycles
    return part


def shortened(name: str, width: int) -> str:
    """`name` in at most `width` characters; what is left out stands in the middle, as ".."."""
    if len(name) <= width:
        return name
    if width < 6:
        return name[:width]
    tail = (width - 2) * 3 // 5
    return f"{name[: width - 2 - tail]}..{name[-tail:]}"


def shortened_apart(names: Sequence[str], width: int) -> list[str]:
    """Each name as `shortened`, but so that different names stay different: cut elsewhere, else numbered."""
    short = {name: shortened(name, width) for name in names}
    alike: dict[str, list[str]] = {}
    for name, text in short.items():
        alike.setdefault(text, []).append(name)
    taken = {text for text, group in alike.items() if len(group) == 1}
    for group in alike.values():
        if len(group) > 1:
            texts = _cut_apart(group, width, taken)
            short.update(zip(group, texts, strict=True))
            taken.update(texts)
    return [short[name] for name in names]


def _cut_apart(names: Sequence[str], width: int, taken: set[str]) -> list[str]:
    """Different texts for names that `shortened` makes alike, none of them `taken`."""
    usual = (width - 2) * 3 // 5
    for tail in sorted(range(width - 2), key=lambda tail: (abs(tail - usual), tail)):
        texts = [f"{name[: width - 2 - tail]}..{name[len(name) - tail :]}" for name in names]
        if len(set(texts)) == len(names) and taken.isdisjoint(texts):
            return texts
    found: list[str] = []
    number = 0
    for name in names:
        text = ""
        while not text or text in taken:
            number += 1
            text = f"{shortened(name, max(0, width - len(str(number)) - 1))}#{number}"
        found.append(text)
    return found


def common_prefix(names: Sequence[str]) -> str:
    """The leading path (up to and with a '/' or '.') that all names share, for example `/model/`."""
    if len(names) < 2:
        return ""
    low, high = min(names), max(names)
    end = 0
    for i, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            break
        if a in "/.":
            end = i + 1
    return low[:end]


def assumed(result: RunResult) -> list[str]:
    """Keys of the architecture whose value its file says is assumed, in the file's order."""
    notes: dict[str, str] = result.arch_data.get("notes") or {}
    return [key for key, note in notes.items() if "assumed:" in str(note).lower()]
