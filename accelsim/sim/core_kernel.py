"""The rules of `player` and `manycore` for many cores, as one kernel that is called for one cycle after another.

Whoever calls it owns the clock, the memory and the network. A call takes the transfers and messages that are complete
in a cycle, lets every core do what it can in that cycle, and says what is asked of memory and network now, which jobs
are complete, and when the next core has something to do of itself. The results are those of the SimPy processes,
pass by pass (tests compare them on random cases); `core_arrays` says what the arrays hold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim.base.kernels import kernel

# columns of `rows`: passes of all cores
(
    R_FILTER, R_IFMAP, R_PSUM,  # move that fetches the operand, or -1
    R_OFMAP, R_SPILL,  # move that stores results, spilled sums, or -1
    R_RENEW, R_RENEW_IFMAP, R_RENEW_PSUM,  # 1: the operand's tile is not needed any more after the pass
    R_LOAD, R_LOAD_FREE, R_STREAM, R_FINISH, R_BARRIER,
    R_CAME, R_CAME_IFMAP, R_CAME_PSUM,  # cycle in which the operand came, or -1
    R_STORES,  # stores that are not complete
    R_NEXT,  # the next pass of the core whose results are to leave
    R_START, R_STREAMED, R_DONE,
    R_SIZE,
) = range(22)  # fmt: skip
# columns of `tables`: each a layer's passes on one core
(
    L_FIRST, L_LAST, L_STATIONARY, L_PREFETCH,
    L_SLOTS, L_SLOTS_IFMAP, L_SLOTS_PSUM, L_SLOTS_OFMAP,
    L_FOREIGN, L_FOREIGN_IFMAP, L_FOREIGN_PSUM,  # 1: comes over the network alone
    L_JOB, L_BEGIN, L_DONE, L_END,
    L_WAITS, L_WAITS_IFMAP, L_WAITS_PSUM, L_WAITS_OFMAP, L_WAITS_NOC,
    L_SIZE,
) = range(21)  # fmt: skip
# columns of `cores`
(
    C_LAST,  # table
    C_LOADING, C_LOAD_ROW, C_LOAD_OPERAND,  # what the loader asks for next
    C_TABLE, C_ROW, C_PHASE, C_OPERAND, C_BEGUN,  # what the engine does
    C_WAITED, C_CAUSE, C_IDEAL, C_START, C_LOAD_FREE, C_STREAM_FREE, C_LAST_DONE,
    C_HELD, C_HELD_IFMAP, C_HELD_PSUM, C_RESULTS,
    C_DRAIN, C_DRAIN_TAIL,  # passes whose results are to leave, or -1
    C_TIMER,  # cycle in which the engine goes on, or -1
    C_LISTED,
    C_SIZE,
) = range(25)  # fmt: skip
# columns of `moves`: tiles that cores fetch together, and stores
(
    M_KIND, M_LEFT,  # what is still missing: cores that ask for it, or results and sums that are added to them
    M_DRAM, M_LOCAL,  # 1: through the DRAM; 1: from a terminal to itself
    M_CHAIN,  # of partial sums: the store to which they are added, or -1 (none); NO_CHAIN
    M_ROW, M_CORE,  # of a store
    M_FIRST, M_END,  # of a tile: its members
    M_SIZE,
) = range(10)  # fmt: skip
FETCH, STORE = 0, 1
NO_CHAIN = -2
# columns of `jobs`
J_LEFT, J_PHASE, J_NEEDS, J_NEEDS_END, J_COMPLETE, J_END, J_SIZE = range(7)
# columns of `phases`
P_LEFT, P_BEGINS, P_SIZE = range(3)
# words of `io`
(
    IO_NOW, IO_FED, IO_ASKED, IO_COMPLETE, IO_NEXT, IO_OPEN, IO_LISTED, IO_PHASE_BEGAN, IO_PHASE_CYCLES,
    IO_AT_FED, IO_AT_ASKED, IO_AT_COMPLETE, IO_AT_LISTED,
    IO_SIZE,
) = range(14)  # fmt: skip
# phases of the engine
BEGIN, PASS, OPERANDS, RESULTS, STREAM, FINISH, WRITTEN, END = range(8)
# how far a move is
_STARTS, _READ, _SENT = range(3)

_INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}


@kernel(**_INNER)
def _enlist(cores: Any, io: Any, core: Any) -> None:
    """Let a core look again at what it can do."""
    if cores[core, C_LISTED] == 0:
        cores[core, C_LISTED] = 1
        io[io[IO_AT_LISTED] + io[IO_LISTED]] = core
        io[IO_LISTED] += 1


@kernel(**_INNER)
def _ask(io: Any, move: Any, model: Any) -> None:
    io[io[IO_AT_ASKED] + io[IO_ASKED]] = 2 * move + model
    io[IO_ASKED] += 1


@kernel(**_INNER)
def _stored(rows: Any, cores: Any, moves: Any, io: Any, move: Any) -> None:
    """A store is complete; with the last of its pass the slot of the results is free."""
    row, core = moves[move, M_ROW], moves[move, M_CORE]
    rows[row, R_STORES] -= 1
    if rows[row, R_STORES] == 0:
        cores[core, C_RESULTS] -= 1
        _enlist(cores, io, core)


@kernel(**_INNER)
def _follow(rows: Any, cores: Any, moves: Any, members: Any, io: Any, move: Any, stage: Any) -> None:
    """A move starts, or has been read or written, or has been sent: what comes next."""
    while True:
        if moves[move, M_KIND] == FETCH:
            if stage == _STARTS and moves[move, M_DRAM]:
                _ask(io, move, 0)
                return
            if stage != _SENT and moves[move, M_LOCAL] == 0:
                _ask(io, move, 1)
                return
            for n in range(moves[move, M_FIRST], moves[move, M_END]):
                rows[members[n, 0], R_CAME + members[n, 1]] = io[IO_NOW]
                _enlist(cores, io, members[n, 2])
            return
        if stage == _STARTS and moves[move, M_LOCAL] == 0:
            _ask(io, move, 1)
            return
        chain = moves[move, M_CHAIN]
        if stage != _READ and chain == NO_CHAIN and moves[move, M_DRAM]:
            _ask(io, move, 0)
            return
        _stored(rows, cores, moves, io, move)
        if chain < 0:
            return
        moves[chain, M_LEFT] -= 1
        if moves[chain, M_LEFT]:
            return
        move, stage = chain, _STARTS


@kernel(**_INNER)
def _opens(jobs: Any, needs: Any, phases: Any, now: Any, job: Any) -> Any:
    """Whether a job may begin."""
    for n in range(jobs[job, J_NEEDS], jobs[job, J_NEEDS_END]):
        if jobs[needs[n], J_COMPLETE] == 0:
            return False
    phase = jobs[job, J_PHASE]
    return phase < 0 or 0 <= phases[phase, P_BEGINS] <= now


@kernel(**_INNER)
def _leaves(cores: Any, jobs: Any, phases: Any, io: Any, job: Any) -> None:
    """A core is done with a job; if it is the last one, cores that wait for it look again."""
    jobs[job, J_LEFT] -= 1
    if jobs[job, J_LEFT]:
        return
    now = io[IO_NOW]
    jobs[job, J_COMPLETE], jobs[job, J_END] = 1, now
    io[IO_OPEN] -= 1
    io[io[IO_AT_COMPLETE] + io[IO_COMPLETE]] = job
    io[IO_COMPLETE] += 1
    for core in range(len(cores)):
        if cores[core, C_PHASE] == BEGIN:
            _enlist(cores, io, core)
    phase = jobs[job, J_PHASE]
    if phase < 0:
        return
    phases[phase, P_LEFT] -= 1
    if phases[phase, P_LEFT] == 0 and phase + 1 < len(phases):
        io[IO_PHASE_BEGAN] = max(now, io[IO_PHASE_BEGAN] + io[IO_PHASE_CYCLES])
        phases[phase + 1, P_BEGINS] = io[IO_PHASE_BEGAN]


@kernel(**_INNER)
def _load(rows: Any, tables: Any, cores: Any, moves: Any, members: Any, io: Any, core: Any) -> None:
    """The loader asks for what has room."""
    c = cores[core]
    while c[C_LOADING] <= c[C_LAST]:
        table, row, operand = c[C_LOADING], c[C_LOAD_ROW], c[C_LOAD_OPERAND]
        early = c[C_BEGUN] < table
        if early and row == tables[table, L_FIRST] and operand == 0 and tables[table, L_PREFETCH] == 0:
            return
        move = rows[row, R_FILTER + operand]
        if move >= 0:
            slots = tables[table, L_SLOTS + operand]
            if (early and operand) or (slots and c[C_HELD + operand] >= slots):
                return
            c[C_HELD + operand] += 1
        c[C_LOAD_OPERAND] = (operand + 1) % 3
        if operand == 2:
            c[C_LOAD_ROW] += 1
            if row == tables[table, L_LAST]:
                c[C_LOADING] += 1
        if move >= 0:
            moves[move, M_LEFT] -= 1
            if moves[move, M_LEFT] == 0:
                _follow(rows, cores, moves, members, io, move, _STARTS)


@kernel(**_INNER)
def _starts(rows: Any, tables: Any, c: Any) -> None:
    """The engine starts a pass for which everything is there."""
    table, row = c[C_TABLE], c[C_ROW]
    if c[C_CAUSE] >= 0:
        tables[table, L_WAITS + c[C_CAUSE]] += c[C_START] - c[C_IDEAL]
    start = c[C_START]
    c[C_LOAD_FREE] = start + rows[row, R_LOAD_FREE]
    c[C_STREAM_FREE] = start + rows[row, R_STREAM]
    c[C_LAST_DONE] = max(c[C_LAST_DONE], start + rows[row, R_FINISH])
    rows[row, R_START], rows[row, R_STREAMED], rows[row, R_DONE] = start, c[C_STREAM_FREE], c[C_LAST_DONE]
    if rows[row, R_STORES]:
        rows[row, R_NEXT] = -1
        if c[C_DRAIN] < 0:
            c[C_DRAIN] = row
        else:
            rows[c[C_DRAIN_TAIL], R_NEXT] = row
        c[C_DRAIN_TAIL] = row
    c[C_PHASE] = STREAM


@kernel(**_INNER)
def _operands(rows: Any, tables: Any, c: Any) -> Any:
    """Whether the operands of the engine's pass have come; who came last is noted."""
    table, row = c[C_TABLE], c[C_ROW]
    while c[C_OPERAND] < 3:
        operand = c[C_OPERAND]
        if rows[row, R_FILTER + operand] >= 0:
            ready = rows[row, R_CAME + operand]
            if ready < 0:
                return False
            if operand == tables[table, L_STATIONARY]:
                ready += rows[row, R_LOAD]
            if ready > c[C_START]:
                c[C_START] = ready
                c[C_CAUSE] = 4 if tables[table, L_FOREIGN + operand] else operand
        c[C_OPERAND] += 1
    return True


@kernel(**_INNER)
def _engine(rows: Any, tables: Any, cores: Any, jobs: Any, needs: Any, phases: Any, io: Any, core: Any) -> Any:
    """The engine goes on until it has to wait; whether it did anything."""
    c, now, moved = cores[core], io[IO_NOW], 0
    c[C_TIMER] = -1
    while c[C_PHASE] != END:
        phase, table, row = c[C_PHASE], c[C_TABLE], c[C_ROW]
        if phase == BEGIN:
            if not _opens(jobs, needs, phases, now, tables[table, L_JOB]):
                return moved
            c[C_BEGUN], c[C_ROW] = table, tables[table, L_FIRST]
            c[C_LOAD_FREE], c[C_STREAM_FREE], c[C_LAST_DONE] = now, now, now
            tables[table, L_BEGIN] = now
            c[C_PHASE] = PASS
        elif phase == PASS:
            loadable, streamable = c[C_LOAD_FREE], c[C_STREAM_FREE]
            if rows[row, R_BARRIER]:
                streamable = max(streamable, c[C_LAST_DONE])
                if tables[table, L_STATIONARY] == 1:
                    loadable = max(loadable, c[C_LAST_DONE])
            c[C_IDEAL] = max(loadable + rows[row, R_LOAD], streamable)
            c[C_START], c[C_CAUSE], c[C_OPERAND], c[C_WAITED] = c[C_IDEAL], -1, 0, 0
            c[C_PHASE] = OPERANDS
        elif phase == OPERANDS:
            if not _operands(rows, tables, c):
                return moved
            c[C_PHASE] = RESULTS
        elif phase == RESULTS:
            if rows[row, R_STORES]:
                slots = tables[table, L_SLOTS_OFMAP]
                if slots and c[C_RESULTS] >= slots:
                    c[C_WAITED] = 1
                    return moved
                if c[C_WAITED] and now > c[C_START]:
                    c[C_START], c[C_CAUSE] = now, 3
                c[C_RESULTS] += 1
            _starts(rows, tables, c)
        elif phase == STREAM:
            if c[C_STREAM_FREE] > now:
                c[C_TIMER] = c[C_STREAM_FREE]
                return moved
            for operand in range(3):
                c[C_HELD + operand] -= rows[row, R_RENEW + operand]
            c[C_ROW] += 1
            c[C_PHASE] = PASS if row < tables[table, L_LAST] else FINISH
        elif phase == FINISH:
            if c[C_LAST_DONE] > now:
                c[C_TIMER] = c[C_LAST_DONE]
                return moved
            c[C_PHASE] = WRITTEN
        else:
            if c[C_RESULTS]:
                return moved
            tables[table, L_DONE], tables[table, L_END] = c[C_LAST_DONE], now
            c[C_TABLE] += 1
            c[C_PHASE] = BEGIN if table < c[C_LAST] else END
            _leaves(cores, jobs, phases, io, tables[table, L_JOB])
        moved = 1
    return moved


@kernel(**_INNER)
def _drain(rows: Any, cores: Any, moves: Any, members: Any, io: Any, core: Any) -> None:
    """Results that are at the array's edge leave."""
    c = cores[core]
    while c[C_DRAIN] >= 0 and rows[c[C_DRAIN], R_DONE] <= io[IO_NOW]:
        row = c[C_DRAIN]
        c[C_DRAIN] = rows[row, R_NEXT]
        for which in range(2):
            move = rows[row, R_OFMAP + which]
            if move >= 0:
                moves[move, M_LEFT] -= 1
                if moves[move, M_LEFT] == 0:
                    _follow(rows, cores, moves, members, io, move, _STARTS)


@kernel(**_INNER)
def _next(rows: Any, cores: Any, core: Any) -> Any:
    """When a core does something of itself, or -1."""
    timer, drain = cores[core, C_TIMER], cores[core, C_DRAIN]
    if drain >= 0 and (timer < 0 or rows[drain, R_DONE] < timer):
        timer = rows[drain, R_DONE]
    return timer


@kernel(_nrt=False)
def step_cores(
    rows: Any, tables: Any, cores: Any, moves: Any, members: Any, jobs: Any, needs: Any, phases: Any, io: Any
) -> None:
    """Everything that cores do in cycle io[IO_NOW], given io[IO_FED] completions.

    A completion, and what is asked for, is 2 * move, plus 1 if it is a message and not a transfer of the memory.
    Sets io[IO_ASKED] (what is asked for, at io[IO_AT_ASKED]), io[IO_COMPLETE] (jobs, likewise) and io[IO_NEXT], the
    next cycle in which a core does something whatever happens elsewhere, or -1.
    """
    io[IO_ASKED] = io[IO_COMPLETE] = 0
    now = io[IO_NOW]
    for n in range(io[IO_FED]):
        fed = io[io[IO_AT_FED] + n]
        _follow(rows, cores, moves, members, io, fed >> 1, _READ + (fed & 1))
    begins = 0
    for phase in range(len(phases)):
        if phases[phase, P_BEGINS] == now:
            begins = 1
    for core in range(len(cores)):
        if (begins and cores[core, C_PHASE] == BEGIN) or 0 <= _next(rows, cores, core) <= now:
            _enlist(cores, io, core)
    while io[IO_LISTED]:
        io[IO_LISTED] -= 1
        core = io[io[IO_AT_LISTED] + io[IO_LISTED]]
        cores[core, C_LISTED] = 0
        _load(rows, tables, cores, moves, members, io, core)
        if _engine(rows, tables, cores, jobs, needs, phases, io, core):
            _enlist(cores, io, core)
        _drain(rows, cores, moves, members, io, core)
    then = -1
    for core in range(len(cores)):
        own = _next(rows, cores, core)
        if own >= 0 and (then < 0 or own < then):
            then = own
    for phase in range(len(phases)):
        begin = phases[phase, P_BEGINS]
        if begin > now and (then < 0 or begin < then):
            then = begin
    io[IO_NEXT] = then


@step_cores.warms_up_with
def _example() -> tuple[Any, ...]:
    shapes = (1, R_SIZE), (1, L_SIZE), (1, C_SIZE), (1, M_SIZE), (1, 3), (1, J_SIZE)
    arrays = tuple(np.zeros(shape, np.int64) for shape in shapes)
    arrays[2][0, C_PHASE], arrays[2][0, C_LOADING] = END, 1
    arrays[2][0, [C_DRAIN, C_TIMER]] = -1
    return *arrays, np.zeros(1, np.int64), np.zeros((0, P_SIZE), np.int64), np.zeros(IO_SIZE, np.int64)
