"""DRAM standards as data tables, and their resolution into whole clocks.

A table is a YAML file in `standards/`: organisation, timing in clocks or nanoseconds, currents; each
value with its source: a key of the table's `sources`, perhaps with a remark ("jedec: 7.8 us"), or
"assumed: why".
"""

from __future__ import annotations

import functools
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.registry import normalise
from accelsim.base.spec import Spec, build
from accelsim.base.units import ceil_div
from accelsim.base.yamlio import parse_yaml, read_yaml
from accelsim.memory.dram_map import parse_map
from accelsim.memory.dram_state import NO_CAP, DramParameters, DramTimings

Count = Annotated[int, pydantic.Field(ge=1, le=2**48)]
Positive = Annotated[float | int, pydantic.Field(gt=0)]


class Number(Spec):
    """A whole number and where it comes from."""

    value: Count
    source: str


class Real(Spec):
    """A number and where it comes from."""

    value: Positive
    source: str


class Time(Spec):
    """A time in clocks, in nanoseconds, or the longer of both, as JEDEC's max(nCK, ns)."""

    clocks: Annotated[int, pydantic.Field(ge=0, le=10**6)] | None = None
    ns: Positive | None = None
    source: str

    @pydantic.model_validator(mode="after")
    def _has_one(self) -> Time:
        if self.clocks is None and self.ns is None:
            raise ValueError("must give clocks, ns, or both")
        return self

    def in_clocks(self, tck_ps: int, down: bool = False) -> int:
        """Whole clocks; nanoseconds are rounded up (an interval between refreshes: down)."""
        exact = Fraction(str(self.ns)) * 1000 / tck_ps if self.ns is not None else Fraction(0)
        rounded = exact.numerator // exact.denominator if down else ceil_div(exact.numerator, exact.denominator)
        return max(self.clocks or 0, rounded)


class Organisation(Spec):
    """How a memory is built up; a pseudo-channel counts as a channel of its own."""

    channels: Number
    ranks: Number
    bankgroups: Number
    banks_per_group: Number
    rows: Number
    columns: Number
    device_width: Number
    devices: Number
    burst_length: Number
    transfers_per_clock: Number
    capacity_bytes: Number


class Timing(Spec):
    """JEDEC's parameters by their names. Those without a value follow from others."""

    tCL: Time
    tCWL: Time
    tRCD: Time
    tRCDWR: Time | None = None
    tRP: Time
    tRPab: Time | None = None
    tRAS: Time
    tRC: Time
    tCCD_S: Time
    tCCD_L: Time
    tRRD_S: Time
    tRRD_L: Time
    tFAW: Time
    tWR: Time
    tWTR_S: Time
    tWTR_L: Time
    tRTP: Time
    tRFC: Time
    tREFI: Time
    tRTW: Time | None = None
    tCS: Time
    tPPD: Time | None = None


class CommandBus(Spec):
    """Commands: one bus or one for rows and one for columns, and the clocks that an activate takes."""

    separate_row_and_column: bool
    activate_clocks: Annotated[int, pydantic.Field(ge=1, le=8)]
    source: str


class Rail(Spec):
    """Supply currents of one device (mA), as data sheets define IDD0, IDD2N, IDD3N, IDD4R, IDD4W and IDD5B."""

    vdd_v: Positive
    idd0_ma: Positive
    idd2n_ma: Positive
    idd3n_ma: Positive
    idd4r_ma: Positive
    idd4w_ma: Positive
    idd5b_ma: Positive
    source: str


class Table(Spec):
    """One standard at one speed."""

    name: str
    sources: dict[str, str]
    tCK_ps: Number
    organisation: Organisation
    timing: Timing
    command_bus: CommandBus
    mapping: str
    rails: list[Rail] = []


class DramConfig(Spec):
    """How a detailed DRAM is used: a table, what differs from it, and the controller."""

    standard: str = pydantic.Field(description="name of a table: ddr4_2400, hbm2...")
    channels: Count | None = pydantic.Field(default=None, description="pseudo-channels count one by one")
    ranks: Count | None = None
    rows: Count | None = None
    capacity_bytes: Count | None = pydantic.Field(default=None, description="refused if no address reaches it all")
    mapping: str | None = pydantic.Field(default=None, description="permutation such as row|bank|col|bankgroup|channel")
    scheduler: Literal["frfcfs", "frfcfs_row_hit", "bank_queues"] = "frfcfs_row_hit"
    bank_queue: Annotated[int, pydantic.Field(ge=1, le=4096)] = pydantic.Field(
        default=8, description="commands that wait at each bank (scheduler bank_queues)"
    )
    row_cap: Annotated[int, pydantic.Field(ge=1, le=10**6)] = pydantic.Field(
        default=4, description="accesses after which a row may be closed against those that still want it (bank_queues)"
    )
    drain_idle: Annotated[int, pydantic.Field(ge=0, le=4096)] = pydantic.Field(
        default=8, description="more writes than this are drained when no command waits (bank_queues)"
    )
    row_policy: Literal["open", "closed"] = "open"
    read_queue: Annotated[int, pydantic.Field(ge=1, le=4096)] = 32
    write_queue: Annotated[int, pydantic.Field(ge=1, le=4096)] = 32
    drain_high_percent: Annotated[int, pydantic.Field(ge=0, le=100)] = 80
    drain_low_percent: Annotated[int, pydantic.Field(ge=0, le=100)] = 20
    drain_cap: Annotated[int, pydantic.Field(ge=1, le=10**6)] | None = pydantic.Field(
        default=None, description="writes in a row while reads wait; without it as many as the marks allow"
    )
    refresh: bool = True
    write_done: Literal["accepted", "written"] = pydantic.Field(
        default="accepted", description="a write is complete when the controller holds it, or when it is in the DRAM"
    )
    ports: Annotated[int, pydantic.Field(ge=1, le=1024)] = 1
    timing: dict[str, Annotated[int, pydantic.Field(ge=0, le=10**6)]] = pydantic.Field(
        default={}, description="parameters in clocks that replace the table's"
    )


_ADDRESS_BITS = 62
_FOLDER = Path(__file__).resolve().parent / "standards"


def standard_names() -> list[str]:
    """Names of the tables that are shipped."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def find_standard(name: str, where: str | None = None) -> str:
    """The table called `name`: upper and lower case, '-' and '_' are the same, and a speed may be left out.

    Raises
    ------
    ConfigError
        If there is none, or several speeds.
    """
    key = normalise(name)
    names = standard_names()
    if key in names:
        return key
    speeds = [n for n in names if n.rpartition("_")[0] == key]
    if len(speeds) == 1:
        return speeds[0]
    if speeds:
        raise ConfigError(f"DRAM standard {name!r} must name a speed: {', '.join(speeds)}", where)
    raise unknown_name("DRAM standard", name, names, where)


@functools.cache
def load_standard(name: str) -> Table:
    """The table called `name` (see `find_standard`), checked.

    Raises
    ------
    ConfigError
        As `parse_standard`.
    """
    path = _FOLDER / f"{find_standard(name)}.yaml"
    table = build(Table, read_yaml(path, path.name))
    check_table(table, path.name)
    return table


def parse_standard(text: str, name: str = "<text>") -> Table:
    """A table from YAML text.

    Raises
    ------
    ConfigError
        If it is malformed, has values without a source, or contradicts itself; names the key.
    """
    table = build(Table, parse_yaml(text, name))
    check_table(table, name)
    return table


def check_table(table: Table, where: str) -> None:
    """Refuse sources that are not explained and whatever `resolve` refuses."""
    for path, source in _sources(table, ""):
        if source.split(":")[0] not in (*table.sources, "assumed"):
            known = ", ".join(sorted(table.sources))
            what = f"source must be one of {known} or begin with 'assumed:', got {source!r}"
            raise ConfigError(what, f"{where}: {path}")
    for i, rail in enumerate(table.rails):
        _check_rail(rail, f"{where}: rails[{i}]")
    o = table.organisation
    parameters = resolve(DramConfig(standard=table.name), table, where)
    if parameters.capacity_bytes != o.capacity_bytes.value:
        what = f"addresses reach {parameters.capacity_bytes} bytes, got {o.capacity_bytes.value}"
        raise ConfigError(f"must be what the organisation gives: {what}", f"{where}: organisation.capacity_bytes")


def _check_rail(r: Rail, where: str) -> None:
    pairs = (("idd3n_ma", "idd2n_ma"), ("idd4r_ma", "idd3n_ma"), ("idd4w_ma", "idd3n_ma"), ("idd5b_ma", "idd3n_ma"))
    for key, other in (*pairs, ("idd0_ma", "idd2n_ma")):
        if getattr(r, key) < getattr(r, other):
            what = f"must be at least {other} ({getattr(r, other)}), got {getattr(r, key)}"
            raise ConfigError(what, f"{where}.{key}")


def _sources(model: Spec, path: str) -> list[tuple[str, str]]:
    found = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        here = f"{path}.{name}" if path else name
        if name == "source":
            found.append((path, value))
        for i, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, Spec):
                found += _sources(item, f"{here}[{i}]" if isinstance(value, list) else here)
    return found


def resolve(config: DramConfig, table: Table | None = None, where: str = "dram") -> DramParameters:
    """Whole numbers out of a configuration and its table.

    Raises
    ------
    ConfigError
        For contradictory timings, sizes that are no powers of two, maps that do not cover the address bits
        exactly once, capacities that no address reaches; names the key and the reason.
    """
    if table is None:
        table = load_standard(find_standard(config.standard, f"{where}: standard"))
    o = table.organisation
    sizes = {
        "channels": config.channels or o.channels.value,
        "ranks": config.ranks or o.ranks.value,
        "bankgroups": o.bankgroups.value,
        "banks_per_group": o.banks_per_group.value,
        "rows": config.rows or o.rows.value,
        "columns": o.columns.value,
        "burst_length": o.burst_length.value,
        "transfers_per_clock": o.transfers_per_clock.value,
        "device_width": o.device_width.value,
        "devices": o.devices.value,
    }
    for key, value in sizes.items():
        if value & (value - 1):
            raise ConfigError(f"must be a power of two, got {value}", f"{where}: {key}")
    for large, small in (("columns", "burst_length"), ("burst_length", "transfers_per_clock")):
        if sizes[large] < sizes[small]:
            raise ConfigError(f"must be at least {small} ({sizes[small]}), got {sizes[large]}", f"{where}: {large}")
    burst_bits = sizes["burst_length"] * sizes["device_width"] * sizes["devices"]
    if burst_bits < 8:
        raise ConfigError(f"a burst must be whole bytes, got {burst_bits} bits", f"{where}: device_width")
    bursts_per_row = sizes["columns"] // sizes["burst_length"]
    timing = _timings(config, table, sizes["burst_length"] // sizes["transfers_per_clock"], where)
    bits = {
        "channel": sizes["channels"].bit_length() - 1,
        "rank": sizes["ranks"].bit_length() - 1,
        "bankgroup": sizes["bankgroups"].bit_length() - 1,
        "bank": sizes["banks_per_group"].bit_length() - 1,
        "row": sizes["rows"].bit_length() - 1,
        "col": bursts_per_row.bit_length() - 1,
    }
    mapping = table.mapping if config.mapping is None else config.mapping
    parts, xors = parse_map(mapping, bits, f"{where}: mapping")
    parameters = DramParameters(
        name=table.name,
        tCK_ps=table.tCK_ps.value,
        channels=sizes["channels"],
        ranks=sizes["ranks"],
        bankgroups=sizes["bankgroups"],
        banks_per_group=sizes["banks_per_group"],
        rows=sizes["rows"],
        bursts_per_row=bursts_per_row,
        burst_bytes=burst_bits // 8,
        timing=timing,
        map_parts=tuple(parts),
        map_xors=tuple(xors),
        read_queue=config.read_queue,
        write_queue=config.write_queue,
        drain_above=config.write_queue * config.drain_high_percent // 100,
        drain_below=ceil_div(config.write_queue * config.drain_low_percent, 100),
        drain_cap=NO_CAP if config.drain_cap is None else config.drain_cap,
        row_hit_first=config.scheduler == "frfcfs_row_hit",
        bank_queue_depth=config.bank_queue if config.scheduler == "bank_queues" else 0,
        row_cap=config.row_cap,
        drain_idle=config.drain_idle,
        closed_rows=config.row_policy == "closed",
        dual_bus=table.command_bus.separate_row_and_column,
        activate_clocks=table.command_bus.activate_clocks,
        refresh=config.refresh,
        posted_writes=config.write_done == "accepted",
        ports=config.ports,
    )
    if parameters.capacity_bytes > 2**_ADDRESS_BITS:
        what = f"must be so few that {_ADDRESS_BITS} address bits reach them all, got {sizes['rows']}"
        raise ConfigError(what, f"{where}: rows")
    if config.drain_low_percent > config.drain_high_percent:
        what = f"at most drain_high_percent ({config.drain_high_percent}), got {config.drain_low_percent}"
        raise ConfigError(f"must be {what}", f"{where}: drain_low_percent")
    if config.capacity_bytes is not None and config.capacity_bytes > parameters.capacity_bytes:
        what = f"no address reaches beyond {parameters.capacity_bytes} bytes, got {config.capacity_bytes}"
        raise ConfigError(what, f"{where}: capacity_bytes")
    return parameters


def _timings(config: DramConfig, table: Table, burst_clocks: int, where: str) -> DramTimings:
    t, tck = table.timing, table.tCK_ps.value
    clocks = {"tBL": burst_clocks}
    for name in Timing.model_fields:
        time: Time | None = getattr(t, name)
        if time is not None:
            clocks["tRCDRD" if name == "tRCD" else name] = time.in_clocks(tck, down=name == "tREFI")
    for name, value in config.timing.items():
        if name not in DramTimings.__dataclass_fields__:
            raise unknown_name("timing parameter", name, DramTimings.__dataclass_fields__, f"{where}: timing")
        clocks[name] = value
    clocks.setdefault("tRCDWR", clocks["tRCDRD"])
    clocks.setdefault("tRPab", clocks["tRP"])
    clocks.setdefault("tPPD", 1)
    # the data of the write follows the data of the read after two clocks, as in most controllers
    clocks.setdefault("tRTW", clocks["tCL"] + clocks["tBL"] + 2 - clocks["tCWL"])
    timing = DramTimings(**clocks)
    _check_timings(timing, where)
    return timing


def _check_timings(t: DramTimings, where: str) -> None:
    rules = (
        ("tBL", t.tBL, "1 clock", 1),
        ("tCL", t.tCL, "1 clock", 1),
        ("tRP", t.tRP, "1 clock", 1),
        ("tRCDRD", t.tRCDRD, "1 clock", 1),
        ("tRCDWR", t.tRCDWR, "1 clock", 1),
        ("tRAS", t.tRAS, "tRCDRD", t.tRCDRD),
        ("tRC", t.tRC, "tRAS + tRP", t.tRAS + t.tRP),
        ("tRPab", t.tRPab, "tRP", t.tRP),
        ("tCCD_S", t.tCCD_S, "the clocks of a burst", t.tBL),
        ("tCCD_L", t.tCCD_L, "tCCD_S", t.tCCD_S),
        ("tRRD_S", t.tRRD_S, "1 clock", 1),
        ("tRRD_L", t.tRRD_L, "tRRD_S", t.tRRD_S),
        ("tWTR_L", t.tWTR_L, "tWTR_S", t.tWTR_S),
        ("tFAW", t.tFAW, "tRRD_S", t.tRRD_S),
        ("tRTW", t.tRTW, "tCL + burst - tCWL, or data collide on the bus", t.tCL + t.tBL - t.tCWL),
        ("tRFC", t.tRFC, "tRP", t.tRP),
        ("tREFI", t.tREFI, "tRFC + tRPab + tRC, or refresh never ends", t.tRFC + t.tRPab + t.tRC),
    )
    for key, value, what, least in rules:
        if value < least:
            raise ConfigError(f"must be at least {what} ({least}), got {value}", f"{where}: timing.{key}")
