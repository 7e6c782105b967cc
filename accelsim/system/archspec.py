"""Architecture files: what they may say, and how `extends` and overrides become one validated spec."""

from __future__ import annotations

from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from accelsim.base.errors import ConfigError, nearest
from accelsim.base.paths import find, shipped_names
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import Document, KeyPath, Mark, dotted, parse_yaml, read_yaml
from accelsim.engines.base import ENGINES, Engine
from accelsim.mapping.problem import Mapping, Room
from accelsim.memory.dram_spec import DramConfig, resolve
from accelsim.noc.build import build_noc
from accelsim.noc.model import NocModel
from accelsim.system.bufferspec import Buffer, Whole, whole
from accelsim.system.extends import overlay


class Technology(Spec):
    """The process that energy and area are given for."""

    node_nm: Whole = pydantic.Field(ge=5, le=180, description="feature size, nm")
    vdd: float | None = pydantic.Field(default=None, gt=0.3, le=2.0, description="supply, V (default: nominal)")


class Dram(Spec):
    """The memory off the chip."""

    standard: str = pydantic.Field(description="row of the energy tables, and of the detailed model")
    bandwidth_bytes_per_s: Whole = pydantic.Field(
        ge=1, le=10**18, description="bytes per second, both directions together"
    )
    latency_ns: Whole = pydantic.Field(default=0, ge=0, le=10**6, description="from request to last byte, unloaded")
    burst_bytes: Whole = pydantic.Field(default=1, ge=1, le=4096, description="transfers move whole bursts")
    layout: Literal["nhwc", "nchw"] = pydantic.Field(
        default="nhwc", description="order of a feature map's dimensions in DRAM, outermost first"
    )
    fidelity: Literal["ideal", "bandwidth", "detailed"] = pydantic.Field(
        default="bandwidth",
        description="no time at all; a pipe of this bandwidth and latency; or banks, rows and a controller "
        "(default: detailed where `detail` is given)",
    )
    detail: DramConfig | None = pydantic.Field(
        default=None, description="the detailed model: a table of accelsim/memory/standards and its controller"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_exact_as_it_is_given(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("fidelity") is None:
            return {**data, "fidelity": "detailed" if data.get("detail") else "bandwidth"}
        return data

    @pydantic.model_validator(mode="after")
    def _has_detail(self) -> Any:
        if self.fidelity == "detailed" and self.detail is None:
            raise ValueError("fidelity: detailed needs the key dram.detail, for example {standard: ddr4_2400}")
        return self


class Precision(Spec):
    """Bits of an element as it is stored and moved; narrower operands of a trace are padded to this.

    With `follow_trace` these are the widest, and the operands of each layer are stored as the trace has them.
    """

    ifmap: Whole = pydantic.Field(default=8, ge=1, le=32)
    filter: Whole = pydantic.Field(default=8, ge=1, le=32)
    psum: Whole = pydantic.Field(default=32, ge=1, le=64)
    ofmap: Whole = pydantic.Field(default=8, ge=1, le=32)
    follow_trace: bool = pydantic.Field(
        default=False, description="operands are stored and moved with the bits that the trace has, layer by layer"
    )


class Vector(Spec):
    """The unit for pooling, element-wise and normalisation layers."""

    lanes: Whole = pydantic.Field(ge=1, le=2**20, description="simple operations per cycle")


class Pin(Spec):
    """A mapping fixed for the layers whose names match."""

    layers: str = pydantic.Field(default="*", description="glob over layer names")
    groups: Whole = pydantic.Field(default=1, ge=1)
    images: Whole = pydantic.Field(default=1, ge=1, description="images (GEMM: rows m) of a tile")
    rows: Whole = pydantic.Field(default=2**40, ge=1, description="output rows of a tile")
    cols: Whole = pydantic.Field(default=2**40, ge=1, description="output columns of a tile")
    outputs: Whole = pydantic.Field(default=2**40, ge=1, description="output channels (GEMM: n) of a tile")
    channels: Whole = pydantic.Field(default=2**40, ge=1, description="input channels (GEMM: k) of a tile")
    taps: Literal["all", "row", "one"] = pydantic.Field(default="all", description="taps of the window in a tile")
    order: Literal["mnk", "mkn", "nmk", "nkm", "kmn", "knm"] = pydantic.Field(
        default="nmk", description="loop order, outermost first"
    )
    keep: list[Literal["ifmap", "filter", "psum"]] = pydantic.Field(
        default=[], description="operands that stay resident for the whole layer"
    )

    def mapping(self) -> Mapping:
        """As the mapping room writes it."""
        return Mapping(
            self.groups,
            self.images,
            self.rows,
            self.cols,
            self.outputs,
            self.channels,
            1 if self.taps != "all" else 2**20,
            1 if self.taps == "one" else 2**20,
            self.order,
            *(operand in self.keep for operand in ("ifmap", "filter", "psum")),
        )


class MappingSpec(Spec):
    """How layers are cut into tiles."""

    objective: Literal["traffic", "cycles"] = pydantic.Field(
        default="traffic", description="what a searched mapping is chosen by first; the other breaks ties"
    )
    prefetch: bool = pydantic.Field(default=False, description="fetch the next layer's filters early if they fit")
    factors: Literal["multiply", "contract"] = pydantic.Field(
        default="multiply", description="decomposed weights: multiplied out before, or a product for each factor"
    )
    pinned: list[Pin] = pydantic.Field(default=[], description="first match wins; other layers are searched")


class SharedBuffer(Spec):
    """An on-chip memory at the hubs of a many-core chip, where feature maps stay between layers while they fit."""

    name: str = pydantic.Field(pattern=r"^[a-z][a-z0-9_]*$", description="as in reports and action counts")
    capacity_bytes: Whole = pydantic.Field(ge=1, le=2**40, description="bytes, all hubs together")
    word_bits: Whole = pydantic.Field(ge=1, le=65536, description="bits that one access moves")


class Assign(Spec):
    """Which cores do the layers that match; the first match counts."""

    layers: str = pydantic.Field(default="*", description="glob over layer names")
    kinds: list[str] = pydantic.Field(default=[], description="kinds of layers: conv, linear, ...; empty: all")
    cores: list[Whole] = pydantic.Field(min_length=1, description="numbers of cores, from 0 on")


class PartitionPin(Spec):
    """A partition fixed for the layers whose names match; see `accelsim.system.partition`."""

    layers: str = pydantic.Field(default="*", description="glob over layer names")
    images: Whole = pydantic.Field(default=1, ge=1)
    rows: Whole = pydantic.Field(default=1, ge=1)
    outputs: Whole = pydantic.Field(default=1, ge=1)
    channels: Whole = pydantic.Field(default=1, ge=1)
    shares: dict[Literal["images", "rows", "outputs", "channels"], list[Annotated[Whole, pydantic.Field(ge=1)]]] = (
        pydantic.Field(default={}, description="loop -> how its parts compare, one number each (default: even)")
    )

    @pydantic.model_validator(mode="after")
    def _one_for_each_part(self) -> Any:
        for loop, shares in self.shares.items():
            if len(shares) != getattr(self, loop):
                raise ValueError(f"shares of {loop} must be {getattr(self, loop)} numbers, got {len(shares)}")
        return self


class Cores(Spec):
    """Many equal cores, each with the file's engine, vector unit and buffers, on the network `noc`."""

    count: Whole = pydantic.Field(ge=1, le=4096, description="cores")
    terminals: list[Whole] | None = pydantic.Field(
        default=None, description="terminal of the network that each core has (default: 0, 1, 2, ...)"
    )
    hubs: list[Whole] = pydantic.Field(min_length=1, description="terminals where DRAM and the shared buffer are")
    stripe_bytes: Whole = pydantic.Field(default=4096, ge=1, description="addresses take turns among the hubs")
    bridge_cycles: Whole = pydantic.Field(
        default=8, ge=1, le=1000, description="from a core or a memory into the network, and back"
    )
    resident_weights: bool = pydantic.Field(
        default=False, description="all weights are in the cores before the run; refused if they do not fit"
    )
    shared_buffer: SharedBuffer | None = None
    schedule: Literal["layers", "pipeline", "placed"] = pydantic.Field(
        default="layers",
        description="layers: all cores work on one layer after another; pipeline: layers run as soon as what they "
        "need is there, on the cores that `assign` gives them, several inputs in flight; placed: every layer has "
        "crossbars of its own, early ones are replicated, and rows of feature maps travel between layers",
    )
    feature_maps: Literal["hubs", "cores"] = pydantic.Field(
        default="hubs",
        description="where they stay between layers: in the shared buffer at the hubs, or in the cores that make them, "
        "in the buffer that holds the ofmap, from where their readers fetch them",
    )
    items: Whole = pydantic.Field(default=1, ge=1, le=4096, description="inputs that follow each other in a pipeline")
    phase_cycles: Whole = pydantic.Field(
        default=0, ge=0, description="not 0: all cores advance together, in phases of at least this length"
    )
    assign: list[Assign] = pydantic.Field(default=[], description="default: every layer may use all cores")
    assignment: Literal["pinned", "searched"] = pydantic.Field(
        default="pinned", description="which cores a pipeline's layers get: those of `assign`, or the slowest the most"
    )
    placement: Literal["searched", "order"] = pydantic.Field(
        default="searched", description="which core gets which share: the fewest byte-hops, or as they come"
    )
    partition: list[PartitionPin] = pydantic.Field(default=[], description="first match wins; others are searched")
    shares: Literal["even", "searched"] = pydantic.Field(
        default="even", description="searched: cores far from the data get less of a layer where that is faster"
    )
    hop_mm: float = pydantic.Field(default=1.0, gt=0, description="length of a link of the network, for its energy")
    package_pj_per_bit: float = pydantic.Field(
        default=1.17, gt=0, description="a link between chips, pJ/bit (default: Poulton et al., JSSC 54(1), 2019)"
    )

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Any:
        if self.terminals is not None and len(set(self.terminals)) != self.count:
            raise ValueError(f"terminals must name {self.count} different terminals, got {len(set(self.terminals))}")
        if self.schedule == "layers" and (self.items > 1 or self.assign or self.phase_cycles):
            raise ValueError("items, assign and phase_cycles belong to schedule: pipeline")
        if self.assignment == "searched" and (self.assign or self.schedule != "pipeline"):
            raise ValueError("assignment: searched is for schedule: pipeline, without assign")
        if self.feature_maps == "cores" and self.shared_buffer is not None:
            raise ValueError("feature_maps: cores needs no shared_buffer: give only one of them")
        if self.schedule == "placed" and not self.resident_weights:
            raise ValueError("schedule: placed needs resident_weights: true")
        if self.schedule == "placed" and (self.assign or self.partition or self.phase_cycles or self.shared_buffer):
            raise ValueError("schedule: placed finds its own places: leave out assign, partition and the like")
        for entry in self.assign:
            if max(entry.cores) >= self.count or min(entry.cores) < 0:
                raise ValueError(f"assign: cores must be 0 to {self.count - 1}, got {entry.cores}")
        return self


class Energy(Spec):
    """Where costs come from."""

    table: str | None = pydantic.Field(
        default=None, description="a CSV or an Accelergy reference table that replaces ours (path beside this file)"
    )


class EngineKind(Spec):
    """Only the kind; the other keys belong to that engine."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True, strict=True)
    kind: str


class ArchSpec(Spec):
    """One accelerator."""

    name: str = pydantic.Field(min_length=1)
    source: str = pydantic.Field(min_length=1, description="paper or data sheet")
    description: str = ""
    technology: Technology
    clock_hz: Whole = pydantic.Field(ge=10**3, le=10**11, description="core clock")
    engine: EngineKind
    vector: Vector
    precision: Precision = Precision()
    buffers: list[Buffer] = pydantic.Field(min_length=1, description="from the array outward")
    dram: Dram
    mapping: MappingSpec = MappingSpec()
    cores: Cores | None = pydantic.Field(default=None, description="many cores; absent: one")
    noc: dict[str, Any] | None = pydantic.Field(
        default=None, description="the network between cores: {topology: mesh, ...}; see docs/networks.md"
    )
    energy: Energy = Energy()
    notes: dict[str, str] = pydantic.Field(
        default={}, description='dotted key -> where its value comes from, or "assumed: why"'
    )

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Any:
        names = [b.name for b in self.buffers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"buffers: name {name!r} is used twice")
        for operand in ("ifmap", "filter", "ofmap"):
            holders = [b.name for b in self.buffers if operand in b.holds]
            if len(holders) != 1:
                raise ValueError(f"buffers: exactly one must hold {operand}, got {holders or 'none'}")
        if sum("psum" in b.holds for b in self.buffers) > 1:
            raise ValueError("buffers: at most one may hold psum (default: with the ofmap)")
        keepers = [b for b in self.buffers if b.keep_activations]
        if any("ifmap" not in b.holds or "ofmap" not in b.holds for b in keepers):
            raise ValueError("buffers: keep_activations needs a buffer that holds both ifmap and ofmap")
        if (self.cores is None) != (self.noc is None):
            raise ValueError("cores and noc belong together: give both or none")
        if self.precision.psum < max(self.precision.ifmap, self.precision.filter):
            raise ValueError("precision: psum must have at least the bits of its operands")
        for buffer, room in zip(self.buffers, self.rooms(), strict=True):
            if buffer.operand_banks is not None and set(buffer.operand_banks) != set(room.holds):
                held = ", ".join(room.holds)
                raise ValueError(f"buffers: operand_banks of {buffer.name!r} must name what it holds: {held}")
            for key in ("layout", "pad_words"):
                for operand in getattr(buffer, key):
                    if operand not in room.holds:
                        raise ValueError(
                            f"buffers: {key} of {buffer.name!r} must name what it holds: {', '.join(room.holds)}; "
                            f"got {operand}"
                        )
        return self

    def rooms(self) -> tuple[Room, ...]:
        """The buffers, empty, as the tiler sees them; psums stay with the ofmap if no buffer claims them."""
        claimed = any("psum" in b.holds for b in self.buffers)
        return tuple(
            Room(
                b.name,
                b.capacity_bytes,
                (*b.holds, "psum") if not claimed and "ofmap" in b.holds else tuple(b.holds),
                b.slots,
                -(-b.word_bits // 8) if b.whole_words else 0,
                b.line_buffer,
            )
            for b in self.buffers
        )

    def bits(self) -> dict[str, int]:
        """Stored bits of every operand."""
        p = self.precision
        return {"ifmap": p.ifmap, "filter": p.filter, "psum": p.psum, "ofmap": p.ofmap}

    def dram_bytes_per_cycle(self) -> Fraction:
        """Exact peak bandwidth in core-clock cycles: of the detailed model if that is asked for."""
        if self.dram.fidelity == "detailed" and self.dram.detail is not None:
            parameters = resolve(self.dram.detail, where="dram.detail")
            bytes_per_burst = parameters.channels * parameters.burst_bytes
            clock = Fraction(10**12, parameters.tCK_ps)
            return Fraction(bytes_per_burst, parameters.timing.tBL) * clock / self.clock_hz
        return Fraction(self.dram.bandwidth_bytes_per_s, self.clock_hz)

    def dram_latency_cycles(self) -> int:
        """Latency, rounded up."""
        return -(-self.dram.latency_ns * self.clock_hz // 10**9)

    def pin_for(self, layer: str) -> Mapping | None:
        """The pinned mapping of a layer, or None."""
        for pin in self.mapping.pinned:
            if fnmatchcase(layer, pin.layers):
                return pin.mapping()
        return None


class Architecture:
    """A validated spec with its engine, ready to simulate.

    Attributes
    ----------
    spec : ArchSpec
    engine : Engine
    data : dict
        The merged YAML, as plain data: what results record and hash.
    path : Path or None
    """

    def __init__(self, document: Document, path: Path | None = None) -> None:
        self.spec = build(ArchSpec, document)
        self.data: dict[str, Any] = document.data
        self.path = path
        where = document.where(("engine", "kind"))
        engine_type = ENGINES.lookup(self.spec.engine.kind, where)
        parameters = {k: whole(v) for k, v in document.data["engine"].items() if k != "kind"}
        self.engine: Engine = engine_type(build(engine_type.Spec, document, ("engine",), parameters))
        holder = {o: b for b, room in zip(self.spec.buffers, self.spec.rooms(), strict=True) for o in room.holds}
        self.engine.meet({operand: b.word_bits for operand, b in holder.items()}, self.spec.bits())
        self._check_layouts(document)
        self._check_notes(document)
        self._document = document
        if self.spec.cores is not None:
            self._check_terminals(self.spec.cores)

    def build_noc(self) -> NocModel:
        """A fresh model of the network between the cores."""
        return build_noc(self._document, ("noc",))

    def _check_terminals(self, cores: Cores) -> None:
        terminals = self.build_noc().terminals
        used = [*(cores.terminals or range(cores.count)), *cores.hubs]
        if max(used) >= terminals:
            what = f"the network has {terminals} terminals, from 0 on, but cores and hubs use number {max(used)}"
            raise ConfigError(what, self._document.where(("cores",)))

    @property
    def name(self) -> str:
        """As written in the file."""
        return self.spec.name

    def _check_layouts(self, document: Document) -> None:
        """Refuse keys that change nothing with this engine."""
        for index, buffer in enumerate(self.spec.buffers):
            if buffer.line_buffer and not self.engine.keeps_operands:
                what = f"engine {self.engine.kind!r} keeps no ifmap between tiles; line_buffer must be left out"
                raise ConfigError(what, document.where(("buffers", index, "line_buffer")))
            for key in ("layout", "pad_words"):
                for operand in getattr(buffer, key):
                    where = document.where(("buffers", index, key, operand))
                    if operand not in self.engine.laid_out:
                        known = f"only of {', '.join(self.engine.laid_out)}" if self.engine.laid_out else "of none"
                        raise ConfigError(
                            f"engine {self.engine.kind!r} takes {operand} words one after another; "
                            f"{key} must be given {known}", where,
                        )
                    if buffer.fidelity != "detailed":
                        raise ConfigError(f"{key} must be left out, unless the buffer is of fidelity: detailed", where)

    def _check_notes(self, document: Document) -> None:
        for key in self.spec.notes:
            if not _has(self.data, key):
                raise ConfigError(f"note about {key!r}, but there is no such key", document.where(("notes", key)))


def load_arch(name: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Architecture:
    """Read an architecture by shipped name or path, follow `extends`, apply `key=value` overrides.

    Raises
    ------
    ConfigError
        Before anything else happens, for anything that is wrong in the file or the overrides.
    """
    document, path = read_arch(name)
    for override in overrides:
        apply_override(document, override)
    return Architecture(document, path)


def read_arch(name: str | Path) -> tuple[Document, Path]:
    """The file of an architecture with what it extends, not yet checked: for those who make many of one.

    Raises
    ------
    ConfigError
        If there is none, or it cannot be read.
    """
    path = find(str(name), "arch_configs", "architecture")
    return _read(path, shipped=path.name if str(name) == path.stem else str(path)), path


def list_archs() -> list[str]:
    """Names of the shipped architectures."""
    return shipped_names("arch_configs")


def _read(path: Path, shipped: str) -> Document:
    document = read_yaml(path, shipped)
    if not isinstance(document.data, dict):
        raise ConfigError("an architecture must be a mapping", document.where(()))
    parent = document.data.pop("extends", None)
    if parent is None:
        return document
    where = document.where(("extends",))
    if not isinstance(parent, str):
        raise ConfigError(f"must be a name or a path, got {parent!r}", where)
    beside = path.parent / parent
    base_path = beside if beside.is_file() else find(parent, "arch_configs", "architecture")
    base = read_yaml(base_path)
    if not isinstance(base.data, dict):
        raise ConfigError("an architecture must be a mapping", base.where(()))
    if "extends" in base.data:
        raise ConfigError(f"{parent!r} itself extends another file; one level only", where)
    return overlay(base, document)


def apply_override(document: Document, override: str) -> None:
    """Set `a.b[0].c=value`; a list item may be called by its name (`buffers.weight_fifo.slots=8`).

    Raises
    ------
    ConfigError
        If the text has no `=`, the value is not YAML, or a key on the way does not exist.
    """
    key, separator, text = override.partition("=")
    where = f"--set {override}"
    if not separator or not key.strip():
        raise ConfigError("must be key=value, for example engine.rows=64", where)
    set_key(document, key.strip(), parse_yaml(text, where).data if text.strip() else "", where)


def set_key(document: Document, key: str, value: Any, where: str) -> None:
    """Set `a.b[0].c` or `buffers.NAME.slots` to plain data; `where` is what messages about it will name.

    Raises
    ------
    ConfigError
        If a key on the way does not exist.
    """
    parts = key.replace("[", ".").replace("]", "").split(".")
    target: Any = document.data
    path: KeyPath = ()
    for part in parts[:-1]:
        target, path = _enter(target, part, path, where)
    last = parts[-1]
    if isinstance(target, list):
        index = _index(target, last, path, where)
        target[index], path = value, (*path, index)
    elif isinstance(target, dict):
        target[last], path = value, (*path, last)
    else:
        raise ConfigError(f"{dotted(path)} has no keys", where)
    for old in [p for p in document.marks if p[: len(path)] == path]:
        del document.marks[old]
    document.marks[path] = Mark(where, 0, 0)


def _enter(target: Any, part: str, path: KeyPath, where: str) -> tuple[Any, KeyPath]:
    if isinstance(target, list):
        index = _index(target, part, path, where)
        return target[index], (*path, index)
    if not isinstance(target, dict):
        raise ConfigError(f"{dotted(path)} has no keys", where)
    if part not in target:
        known = [str(k) for k in target]
        if not path and part in ArchSpec.model_fields or path == ("mapping",):
            target[part] = {}
        else:
            close = nearest(part, known) or known
            raise ConfigError(f"unknown key {dotted((*path, part))}; did you mean {' or '.join(close)}?", where)
    return target[part], (*path, part)


def _index(target: list[Any], part: str, path: KeyPath, where: str) -> int:
    if part.isdigit() and int(part) < len(target):
        return int(part)
    for index, item in enumerate(target):
        if isinstance(item, dict) and item.get("name") == part:
            return index
    names = [str(i.get("name", n)) if isinstance(i, dict) else str(n) for n, i in enumerate(target)]
    raise ConfigError(f"{dotted(path)} has no item {part!r}; items: {', '.join(names)}", where)


def _has(data: Any, key: str) -> bool:
    target = data
    for part in key.replace("[", ".").replace("]", "").split("."):
        if isinstance(target, dict) and part in target:
            target = target[part]
        elif isinstance(target, list):
            match = [i for n, i in enumerate(target) if str(n) == part or isinstance(i, dict) and i.get("name") == part]
            if not match:
                return False
            target = match[0]
        else:
            return False
    return True
