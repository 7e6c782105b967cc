"""The arrays that `core_kernel` works on: passes, tables, cores, moves and jobs, with everything known beforehand.

A *move* is a tile on its way to all cores that fetch it together, or the results of a pass on their way out. What can
be known of it before a run is worked out here for all of them at once: who takes part, its message, its transfer of
the DRAM, and its turn among others of the same cycle (see `exchange` for the rules).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.sim import core_kernel as k
from accelsim.sim.corework import OFMAP, CoreWork, Job, Route, consistent
from accelsim.sim.passes import PASS_DTYPE, PATTERN, PassArray, fold_passes
from accelsim.sim.pipe import ADDRESSES, BYTES, renewals

Ints = NDArray[np.int64]


@dataclass
class Arrays:
    """What the kernel takes, and what its caller needs to know of moves.

    Attributes
    ----------
    folded : PassArray
        Passes of all tables, one table after another.
    table_of : int array
        Of each pass.
    messages : list of (source, target or targets, bytes)
        For each move; None if it needs none.
    transfers : list of (address, bytes, is_write)
        For each move.
    runs : int array, shape (moves, 5)
        How the bytes of the transfers lie; rows 0: one run.
    turns : (list, list)
        Place of each move among all, as a transfer and as a message.
    dram : list of (job, operand, address, bytes)
    """

    rows: Ints
    tables: Ints
    cores: Ints
    moves: Ints
    members: Ints
    jobs: Ints
    needs: Ints
    phases: Ints
    io: Ints
    folded: PassArray
    table_of: Ints
    messages: list[tuple[int, Any, int] | None]
    transfers: list[tuple[int, int, bool]]
    runs: Ints
    turns: tuple[list[int], list[int]]
    dram: list[tuple[int, int, int, int]]

    def kernel(self) -> tuple[Ints, ...]:
        """The kernel's arguments."""
        return (
            self.rows, self.tables, self.cores, self.moves, self.members, self.jobs, self.needs, self.phases, self.io
        )  # fmt: skip


@dataclass
class _Moves:
    """Columns of many moves."""

    core: Ints  # the first
    table: Ints
    ordinal: Ints
    serial: Ints
    row: Ints
    operand: Ints
    address: Ints
    n_bytes: Ints
    dram: NDArray[np.bool_]
    source: Ints
    targets: list[tuple[int, ...]]
    message_bytes: Ints


class _Builder:
    def __init__(self, cores: Sequence[CoreWork], jobs: Sequence[Job], prefetch: bool) -> None:
        self.works = cores
        known: dict[int, PassArray] = {}
        tables = [table for work in cores for table in work.tables]
        parts = [known.setdefault(id(t), fold_passes(t)) if id(t) not in known else known[id(t)] for t in tables]
        self.folded: PassArray = np.empty(sum(map(len, parts)), PASS_DTYPE)
        at = 0
        for part in parts:  # (np.concatenate looks at all fields of each)
            self.folded[at : at + len(part)] = part
            at += len(part)
        self.core_of = np.repeat(np.arange(len(cores)), [len(work.tables) for work in cores])
        self.first_of = np.cumsum([0, *(len(work.tables) for work in cores)])
        self.job_of = np.array([job for work in cores for job in work.jobs], np.int64)
        self.terminal = np.array([work.terminal for work in cores], np.int64)
        counts = np.array([len(part) for part in parts], np.int64)
        self.table_of: Ints = np.repeat(np.arange(len(parts)), counts)
        ends = np.cumsum(counts)
        self.tables: Ints = np.zeros((len(parts), k.L_SIZE), np.int64)
        self.tables[:, k.L_FIRST], self.tables[:, k.L_LAST] = ends - counts, ends - 1
        self.tables[:, k.L_JOB] = self.job_of
        stationary = {"filter": 0, "ifmap": 1}
        for n, table in enumerate(tables):
            slots = [table.slots.get(operand, 0) for operand in ("filter", "ifmap", "psum", "ofmap")]
            self.tables[n, k.L_STATIONARY : k.L_SLOTS_OFMAP + 1] = [
                stationary.get(table.stationary, -1), prefetch and table.prefetch, *slots
            ]  # fmt: skip
        self.sizes: Ints = np.stack([self.folded[name] for name in BYTES], axis=1)
        self.address: Ints = np.stack([self.folded[name] for name in ADDRESSES], axis=1)
        self._index_routes()

    def _index_routes(self) -> None:
        """Every table's routes as numbers; what is asked of a route, in arrays."""
        numbers: dict[int, int] = {}
        self.routes: list[Route] = []
        self.route_of: Ints = np.zeros((len(self.tables), OFMAP + 2), np.int64)
        table = 0
        for work in self.works:
            for routes in work.routes:
                for operand, route in routes.items():
                    if id(route) not in numbers:
                        numbers[id(route)] = len(self.routes)
                        self.routes.append(route)
                    self.route_of[table, operand] = numbers[id(route)]
                table += 1
        hubs = [route.hubs for route in self.routes]
        self.hubs = np.array([hub for own in hubs for hub in own], np.int64)
        ways = [(len(r.hubs), r.stripe_bytes, r.base, r.period, r.dram, r.chain, *r.scale) for r in self.routes]
        self.ways = np.array(ways, np.int64)
        self.hubs_at = np.cumsum([0, *map(len, hubs)])[:-1]
        self.tables[:, k.L_FOREIGN : k.L_FOREIGN_PSUM + 1] = self.ways[self.route_of[:, :3], 4] == 0

    def hub(self, route: Ints, address: Ints) -> Ints:
        """As `Route.hub`."""
        count, stripe, base, period = self.ways[route, :4].T
        return np.asarray(self.hubs[self.hubs_at[route] + (address - base) % period // stripe % count])

    # --- tiles ---

    def fetches(self) -> tuple[_Moves, Ints, Ints]:
        """Tiles that cores fetch together; the members (pass, operand, core) of all, and where those of each begin."""
        row, operand = np.nonzero(self.sizes[:, :3])
        table, address = self.table_of[row], self.address[row, operand]
        core, job = self.core_of[table], self.job_of[table]
        ordinal = _since(table)
        again = _repeats(table, operand, address)
        private = np.where(operand == 2, -1 - core, self._classes(table, operand, address, again))
        keys = private, again, address, operand, job
        order = np.lexsort((core, *keys))
        fresh = np.ones(len(order), bool)
        fresh[1:] = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
        begin = np.flatnonzero(fresh)
        members = np.stack([row[order], operand[order], core[order]], axis=1)
        first = order[begin]
        group = np.cumsum(fresh) - 1
        # cores at the edge may want less of a tile
        n_bytes = self.sizes[row, operand]
        largest = order[np.lexsort((np.arange(len(order)), -n_bytes[order], group))][begin]
        route = self.route_of[table[first], operand[first]]
        source = self.hub(route, address[first])
        bounds = np.append(begin, len(order))
        pairs = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        to = self.terminal[core[order]].tolist()
        targets = [tuple(dict.fromkeys(to[a:b])) for a, b in pairs]
        moves = _Moves(
            core[first], table[first], ordinal[first], ordinal[first], row[largest], operand[first], address[first],
            n_bytes[largest], self.ways[route, 4] > 0, source, targets, n_bytes[largest],
        )  # fmt: skip
        return moves, members, bounds

    def _classes(self, table: Ints, operand: Ints, address: Ints, again: Ints) -> Ints:
        """For each fetch, a number that is the same where cores may share: see `consistent`."""
        tiles = np.stack([operand, address, again], axis=1)
        begin = np.searchsorted(table, np.arange(len(self.tables) + 1)).tolist()
        of_job: dict[int, list[int]] = {}
        for n, job in enumerate(self.job_of.tolist()):
            of_job.setdefault(job, []).append(n)
        found: Ints = np.zeros(len(table), np.int64)
        judged: dict[tuple[bytes, ...], bool] = {}
        for own in of_job.values():
            orders = {n: tiles[begin[n] : begin[n + 1]].tobytes() for n in own}
            distinct = tuple(dict.fromkeys(orders.values()))
            if distinct not in judged:
                lists = [np.frombuffer(text, np.int64).reshape(-1, 3).tolist() for text in distinct]
                judged[distinct] = consistent([[(a, b, c) for a, b, c in tiles] for tiles in lists])
            if not judged[distinct]:
                for n in own:
                    found[begin[n] : begin[n + 1]] = distinct.index(orders[n])
        return found

    # --- results ---

    def stores(self) -> tuple[_Moves, Ints, Ints]:
        """Results and spilled sums; sums that each waits for, and the store (of these) that adds it, as in M_CHAIN."""
        row, kind = np.nonzero(self.sizes[:, 3:])
        table, address = self.table_of[row], self.address[row, 3 + kind]
        core = self.core_of[table]
        serial = _since(table)
        results = kind == 0
        before = np.cumsum(results) - results
        ordinal = before - before[np.searchsorted(table, table)]
        route = self.route_of[table, OFMAP + kind]
        n_bytes = self.sizes[row, 3 + kind]
        next_core = np.where(results, self.ways[route, 5], -1)
        chained = next_core >= 0
        target = np.where(chained, self.terminal[next_core], self.hub(route, address))
        wide = -(-n_bytes * self.ways[route, 6] // self.ways[route, 7])
        expected, chain = self._chains(table, ordinal, results, next_core)
        moves = _Moves(
            core, table, ordinal, serial, row, OFMAP + kind, address, n_bytes, (self.ways[route, 4] > 0) & ~chained,
            self.terminal[core], [(t,) for t in target.tolist()], np.where(chained, wide, n_bytes),
        )  # fmt: skip
        return moves, expected, chain

    def _chains(self, table: Ints, ordinal: Ints, results: NDArray[np.bool_], next_core: Ints) -> tuple[Ints, Ints]:
        """Sums that come to each store, and the store to which each goes."""
        chain = np.full(len(table), k.NO_CHAIN, np.int64)
        expected = np.zeros(len(table), np.int64)
        if not np.any(self.ways[self.route_of[:, OFMAP], 5] >= 0):
            return expected, chain
        parts = zip(self.core_of.tolist(), self.job_of.tolist(), strict=True)
        table_at = {part: n for n, part in enumerate(parts)}
        numbers = np.flatnonzero(results)
        slots = {(t, o): n for t, o, n in zip(*(a[numbers].tolist() for a in (table, ordinal)), numbers.tolist())}
        comes: Counter[int] = Counter()
        for n, own in enumerate(self.route_of[:, OFMAP].tolist()):
            if self.routes[own].chain >= 0:
                comes[table_at[self.routes[own].chain, int(self.job_of[n])]] += 1
        for n in np.flatnonzero(next_core >= 0).tolist():
            there = table_at[int(next_core[n]), int(self.job_of[table[n]])]
            chain[n] = slots.get((there, int(ordinal[n])), -1)
        expected[numbers] = [comes[t] for t in table[numbers].tolist()]
        return expected, chain


def build(cores: Sequence[CoreWork], jobs: Sequence[Job], prefetch: bool, phase_cycles: int) -> Arrays:
    """All arrays, as they are before the first cycle."""
    b = _Builder(cores, jobs, prefetch)
    tiles, members, begin = b.fetches()
    stores, expected, chain = b.stores()
    count = len(tiles.core)
    rows = _rows(b)
    rows[members[:, 0], k.R_FILTER + members[:, 1]] = np.repeat(np.arange(count), np.diff(begin))
    rows[stores.row, k.R_OFMAP + stores.operand - OFMAP] = count + np.arange(len(stores.core))
    rows[:, k.R_STORES] = (rows[:, [k.R_OFMAP, k.R_SPILL]] >= 0).sum(axis=1)
    chain = np.where(chain >= 0, chain + count, chain)
    away = [tuple(t for t in ts if t != s) for m in (tiles, stores) for s, ts in zip(m.source.tolist(), m.targets)]
    moves = np.zeros((len(away), k.M_SIZE), np.int64)
    moves[:, k.M_KIND] = np.arange(len(away)) >= count
    moves[:, k.M_LEFT] = np.concatenate([np.diff(begin), 1 + expected])
    moves[:, k.M_LOCAL] = [not targets for targets in away]
    moves[:, k.M_DRAM] = np.concatenate([tiles.dram, stores.dram])
    moves[count:, k.M_CHAIN], moves[:count, k.M_CHAIN] = chain, k.NO_CHAIN
    moves[count:, k.M_ROW], moves[count:, k.M_CORE] = stores.row, stores.core
    moves[:count, k.M_FIRST], moves[:count, k.M_END] = begin[:-1], begin[1:]
    column = {name: np.concatenate([getattr(tiles, name), getattr(stores, name)]) for name in _JOINED}
    targets = [None if not t else t[0] if len(t) == 1 else t for t in away]
    ends = zip(column["source"].tolist(), targets, column["message_bytes"].tolist(), strict=True)
    writes = (moves[:, k.M_KIND] > 0).tolist()
    ledger = _jobs(b, jobs)
    io = _io(len(away), len(cores), len(jobs), phase_cycles)
    named = ("table", "operand", "address", "n_bytes")
    through = zip(*(column[name][column["dram"]].tolist() for name in named), strict=True)
    job_of = b.job_of.tolist()
    return Arrays(
        rows, b.tables, _cores(b), moves, np.ascontiguousarray(members), *ledger, io, b.folded, b.table_of,
        [None if end[1] is None else end for end in ends],
        list(zip(column["address"].tolist(), column["n_bytes"].tolist(), writes, strict=True)),
        _patterns(b.folded, column["row"], column["operand"]),
        _turns(column, moves[:, k.M_KIND], away),
        [(job_of[table], *rest) for table, *rest in through],  # type: ignore[misc]
    )  # fmt: skip


_JOINED = (
    "core", "table", "ordinal", "serial", "row", "operand", "address", "n_bytes", "dram", "source", "message_bytes"
)  # fmt: skip


def _rows(b: _Builder) -> Ints:
    rows = np.full((len(b.folded), k.R_SIZE), -1, np.int64)
    rows[:, k.R_RENEW : k.R_RENEW_PSUM + 1] = renewals(b.sizes[:, :3], b.tables)
    for column, name in (
        (k.R_LOAD, "load_cycles"), (k.R_LOAD_FREE, "load_free_cycles"), (k.R_STREAM, "stream_cycles"),
        (k.R_FINISH, "finish_cycles"), (k.R_BARRIER, "barrier"),
    ):  # fmt: skip
        rows[:, column] = b.folded[name]
    return rows


def _cores(b: _Builder) -> Ints:
    cores = np.zeros((len(b.works), k.C_SIZE), np.int64)
    cores[:, k.C_LAST] = b.first_of[1:] - 1
    cores[:, k.C_BEGUN] = b.first_of[:-1] - 1
    cores[:, k.C_LOADING] = cores[:, k.C_TABLE] = b.first_of[:-1]
    idle = cores[:, k.C_TABLE] > cores[:, k.C_LAST]
    cores[:, k.C_LOAD_ROW] = np.where(idle, 0, b.tables[np.where(idle, 0, cores[:, k.C_TABLE]), k.L_FIRST])
    cores[:, k.C_PHASE] = np.where(idle, k.END, k.BEGIN)
    cores[:, k.C_LISTED] = 1
    cores[:, [k.C_DRAIN, k.C_TIMER]] = -1
    return cores


def _jobs(b: _Builder, jobs: Sequence[Job]) -> tuple[Ints, Ints, Ints]:
    out = np.zeros((len(jobs), k.J_SIZE), np.int64)
    out[:, k.J_LEFT] = np.bincount(b.job_of, minlength=len(jobs))
    out[:, k.J_PHASE] = [job.phase for job in jobs]
    ends = np.cumsum([len(job.needs) for job in jobs])
    out[1:, k.J_NEEDS], out[:, k.J_NEEDS_END] = ends[:-1], ends
    needs = np.array([n for job in jobs for n in job.needs], np.int64)
    phases = np.full((1 + max(job.phase for job in jobs), k.P_SIZE), -1, np.int64)
    own = out[:, k.J_PHASE][out[:, k.J_PHASE] >= 0]
    phases[:, k.P_LEFT] = np.bincount(own, minlength=len(phases))
    phases[:1, k.P_BEGINS] = 0
    return out, needs, phases


def _io(moves: int, cores: int, jobs: int, phase_cycles: int) -> Ints:
    rooms = moves, moves, jobs, cores
    at = k.IO_SIZE + np.cumsum([0, *rooms])
    io: Ints = np.zeros(at[-1], np.int64)
    io[k.IO_AT_FED : k.IO_AT_LISTED + 1] = at[:-1]
    io[k.IO_OPEN], io[k.IO_PHASE_CYCLES] = jobs, phase_cycles
    io[k.IO_LISTED] = cores  # in the first cycle all look at what they can do
    io[at[3] : at[4]] = np.arange(cores)[::-1]
    return io


def _patterns(folded: PassArray, row: Ints, operand: Ints) -> Ints:
    """How the bytes of each move lie."""
    runs = np.zeros((len(row), len(PATTERN)), np.int64)
    for which, name in ((1, "ifmap"), (OFMAP, "ofmap")):
        own = np.flatnonzero(operand == which)
        for n, part in enumerate(PATTERN):
            runs[own, n] = folded[f"{name}_{part}"][row[own]]
    return runs


def _turns(column: dict[str, Any], writes: Ints, away: list[tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """The place of each move among all that could be asked for in one cycle, as a transfer and as a message."""
    places = {targets: place for place, targets in enumerate(sorted(set(away)))}
    to = np.array([places[targets] for targets in away], np.int64)
    turn = column["serial"], column["table"], column["core"], column["ordinal"]
    found = []
    for order in (np.lexsort((*turn, writes)), np.lexsort((*turn, to, column["source"]))):
        place = np.zeros(len(order), np.int64)
        place[order] = np.arange(len(order))
        found.append(place.tolist())
    return found[0], found[1]


def _since(key: Ints) -> Ints:
    """For each entry of ascending keys, how many before it have the same."""
    return np.asarray(np.arange(len(key)) - np.searchsorted(key, key))


def _repeats(*keys: Ints) -> Ints:
    """For each entry, how many before it have the same keys."""
    order = np.lexsort(keys[::-1])
    fresh = np.ones(len(order), bool)
    fresh[1:] = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
    out = np.zeros(len(order), np.int64)
    out[order] = np.arange(len(order)) - np.flatnonzero(fresh)[np.cumsum(fresh) - 1]
    return out
