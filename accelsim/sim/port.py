"""The simulator's side of a memory: transfers become SimPy events."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import simpy

from accelsim.base.errors import SimulationBug

FOREVER = 2**62


class Memory(Protocol):
    """What the simulator needs of a memory model (see `accelsim.memory.model` for the contract)."""

    def submit(self, now: int, request_id: int, address: int, n_bytes: int, is_write: bool, port: int = 0) -> None:
        """Hand over a transfer."""

    def submit_runs(self, now: int, request_id: int, runs: tuple[int, ...], is_write: bool, port: int = 0) -> None:
        """Hand over a strided transfer: base, row_bytes, row_stride, rows, plane_stride, planes."""

    def advance(self, limit: int) -> tuple[int, int] | None:
        """The next completion (cycle, request id) at or before `limit`."""


class Move(NamedTuple):
    """A transfer that is asked for.

    `runs` (row_bytes, row_stride, rows, plane_stride, planes) says how its bytes lie; a model without rows and banks
    cannot tell the difference, and takes it as one run. `tag` (layer, operand) is for ports that route by it.
    """

    address: int
    n_bytes: int
    is_write: bool
    port: int = 0
    runs: tuple[int, ...] = ()
    tag: tuple[int, int] = (0, 0)


class Port(Protocol):
    """Where a core's transfers go."""

    def transfer(self, move: Move) -> simpy.Event:
        """Ask for a transfer in this cycle; the event's value is the cycle of its completion."""


# SimPy runs events of one instant by priority: everyone who acts (1), then what they asked for is
# handed to the memory (2), then the memory's clock is moved on (3).
SUBMIT = 2
ADVANCE = 3


def at_end_of_cycle(
    env: simpy.Environment, priority: int, action: Callable[[simpy.Event], None], delay: int = 0
) -> None:
    """Call `action` in `delay` cycles, after everything of that cycle that comes before `priority`."""
    event = env.event()
    event._ok, event._value = True, None
    assert event.callbacks is not None
    event.callbacks.append(action)
    env.schedule(event, priority, delay)  # type: ignore[arg-type]


def complete(env: simpy.Environment, event: simpy.Event, cycle: int) -> None:
    """Let `event` happen at `cycle`, with that cycle as its value."""
    event._ok, event._value = True, cycle
    env.schedule(event, delay=cycle - int(env.now))


class MemoryPort:
    """Turns transfers into events that happen when the transfer is complete.

    All transfers asked for in one cycle are handed over together at its end, reads before writes,
    then by port, then in the order in which that port asked: never by the order in which processes
    were built. A model whose completions cannot change after submission says so by having
    `known_completion`. Any other model is advanced no further than the next event of the rest of
    the system, so nothing that is still to be submitted can come too late.
    """

    def __init__(self, env: simpy.Environment, memory: Memory) -> None:
        self.env = env
        self.memory = memory
        self._known = getattr(memory, "known_completion", None)
        self._asked: list[tuple[bool, int, int, int, int, tuple[int, ...], simpy.Event]] = []
        self._waiting: dict[int, simpy.Event] = {}
        self._next_id = 0
        self._pumping = False

    def transfer(self, move: Move) -> simpy.Event:
        """See `Port.transfer`."""
        event = self.env.event()
        if not self._asked:
            at_end_of_cycle(self.env, SUBMIT, self._submit)
        self._asked.append((move.is_write, move.port, self._next_id, move.address, move.n_bytes, move.runs, event))
        self._next_id += 1
        return event

    def _submit(self, _: simpy.Event) -> None:
        now = int(self.env.now)
        asked, self._asked = self._asked, []
        for is_write, port, request, address, n_bytes, runs, event in sorted(asked, key=lambda a: a[:3]):
            if runs and self._known is None:
                self.memory.submit_runs(now, request, (address, *runs), is_write, port)
            else:
                self.memory.submit(now, request, address, n_bytes, is_write, port)
            if self._known is not None:
                complete(self.env, event, self._known())
            else:
                self._waiting[request] = event
        if self._waiting and not self._pumping:
            self._pumping = True
            at_end_of_cycle(self.env, ADVANCE, self._advance)

    def _advance(self, _: simpy.Event) -> None:
        """Move the memory's clock to its next completion, but not past anyone's next event."""
        now, limit = int(self.env.now), self.env.peek()
        done = self.memory.advance(FOREVER if limit == float("inf") else int(limit))
        while done is not None:
            cycle, request = done
            complete(self.env, self._waiting.pop(request), cycle)
            if cycle > now:
                limit = cycle
                break
            done = self.memory.advance(now)
            limit = now
        if done is None and limit == float("inf"):
            raise SimulationBug(f"memory: {len(self._waiting)} transfers will never be complete")
        self._pumping = bool(self._waiting)
        if self._pumping:
            at_end_of_cycle(self.env, ADVANCE, self._advance, int(limit) - now)
