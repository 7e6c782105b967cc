"""The simulator's side of a memory: transfers become SimPy events."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import simpy

FOREVER = 2**62


class Memory(Protocol):
    """What the simulator needs of a memory model (see `accelsim.memory.model` for the contract)."""

    def submit(self, now: int, request_id: int, address: int, n_bytes: int, is_write: bool, port: int = 0) -> None:
        """Hand over a transfer."""

    def advance(self, limit: int) -> tuple[int, int] | None:
        """The next completion (cycle, request id) at or before `limit`."""


class MemoryPort:
    """Turns transfers into events that happen when the transfer is complete.

    A model whose completions cannot change after submission says so by having `known_completion`;
    it costs one event for each transfer. Any other model is advanced no further than the next event
    of the rest of the system, so nothing that is still to be submitted can come too late.
    """

    def __init__(self, env: simpy.Environment, memory: Memory) -> None:
        self.env = env
        self.memory = memory
        self._known = getattr(memory, "known_completion", None)
        self._waiting: dict[int, simpy.Event] = {}
        self._next_id = 0
        self._wake: simpy.Event | None = None
        if self._known is None:
            env.process(self._pump())

    def transfer(self, address: int, n_bytes: int, is_write: bool, port: int = 0) -> simpy.Event:
        """Start a transfer now; the event's value is the cycle of its completion."""
        request, self._next_id = self._next_id, self._next_id + 1
        now = int(self.env.now)
        self.memory.submit(now, request, address, n_bytes, is_write, port)
        if self._known is not None:
            done = self._known()
            return self.env.timeout(done - now, done)
        event = self._waiting[request] = self.env.event()
        if self._wake is not None:
            wake, self._wake = self._wake, None
            wake.succeed()
        return event

    def _pump(self) -> Generator[simpy.Event, Any, None]:
        env = self.env
        while True:
            if not self._waiting:
                self._wake = env.event()
                yield self._wake
                # everyone else who acts in this cycle acts first
                yield env.timeout(0)
            limit = env.peek()
            done = self.memory.advance(FOREVER if limit == float("inf") else int(limit))
            if done is not None:
                cycle, request = done
                if cycle > env.now:
                    yield env.timeout(cycle - int(env.now))
                self._waiting.pop(request).succeed(cycle)
            elif limit > env.now:
                yield env.timeout(int(limit) - int(env.now))
            else:
                yield env.timeout(0)
