"""The clocks of memory and network, moved on together: what one causes never comes too late for the other."""

from __future__ import annotations

from typing import Any, Protocol

import simpy

from accelsim.base.errors import SimulationBug
from accelsim.sim.port import ADVANCE, FOREVER, SUBMIT, Memory, at_end_of_cycle, complete


class Network(Protocol):
    """What the simulator needs of a network model (see `accelsim.noc.model`)."""

    def submit(self, now: int, message_id: int, src: Any, dst: Any, n_bytes: int, kind: Any = None) -> None:
        """Hand over a message."""

    def advance(self, limit: int) -> tuple[int, int] | None:
        """The next completion (cycle, message id) at or before `limit`."""


Turn = tuple[int, int, int, int]
"""How many transfers of its layer the core has asked for before, core, table, and how many of that table's kind."""


class Models:
    """Moves the clocks of memory and network together.

    Whatever is asked for in cycle t is handed to its model in t + bridge, so a model may be moved on by
    `bridge` cycles beyond the present without missing anything that the other will cause.
    """

    def __init__(self, env: simpy.Environment, memory: Memory, network: Network, bridge: int) -> None:
        self.env, self.bridge = env, bridge
        self.models: tuple[Any, Any] = (memory, network)
        self._known = getattr(memory, "known_completion", None)
        self._asked: dict[int, list[tuple[Any, ...]]] = {}
        self._waiting: tuple[dict[int, simpy.Event], dict[int, simpy.Event]] = ({}, {})
        self._next = [0, 0]
        self._order = 0
        self._pumping = False

    def read_or_write(
        self, address: int, n_bytes: int, is_write: bool, runs: tuple[int, ...], turn: Turn
    ) -> simpy.Event:
        """A transfer of the DRAM."""
        return self._ask((0, is_write, turn), (address, n_bytes, is_write, runs))

    def send(self, source: int, targets: tuple[int, ...], n_bytes: int, turn: Turn) -> simpy.Event:
        """A message; to itself it takes no time."""
        away = tuple(t for t in targets if t != source)
        if not away:
            event = self.env.event()
            event.succeed(int(self.env.now))
            return event
        return self._ask((1, source, away, turn), (source, away[0] if len(away) == 1 else away, n_bytes))

    def _ask(self, key: tuple[Any, ...], what: tuple[Any, ...]) -> simpy.Event:
        event = self.env.event()
        due = int(self.env.now) + self.bridge
        if due not in self._asked:
            self._asked[due] = []
            at_end_of_cycle(self.env, SUBMIT, self._submit, self.bridge)
        self._asked[due].append((key, self._order, what, event))
        self._order += 1
        return event

    def _submit(self, _: simpy.Event) -> None:
        now = int(self.env.now)
        for key, _order, what, event in sorted(self._asked.pop(now), key=lambda a: a[:2]):
            kind = key[0]
            request = self._next[kind]
            self._next[kind] += 1
            if kind == 1:
                self.models[1].submit(now, request, *what)
            else:
                address, n_bytes, is_write, runs = what
                if runs and self._known is None:
                    self.models[0].submit_runs(now, request, (address, *runs), is_write)
                else:
                    self.models[0].submit(now, request, address, n_bytes, is_write)
                if self._known is not None:
                    complete(self.env, event, self._known())
                    continue
            self._waiting[kind][request] = event
        if not self._pumping and any(self._waiting):
            self._pumping = True
            at_end_of_cycle(self.env, ADVANCE, self._advance)

    def _advance(self, _: simpy.Event) -> None:
        now, peek = int(self.env.now), self.env.peek()
        busy = [kind for kind in (0, 1) if self._waiting[kind]]
        limit = FOREVER if peek == float("inf") else int(peek)
        if len(busy) == 2:
            limit = min(limit, now + self.bridge)
        for kind in busy:
            waiting, model = self._waiting[kind], self.models[kind]
            own = limit
            done = model.advance(own)
            while done is not None:
                cycle, request = done
                complete(self.env, waiting.pop(request), cycle)
                # what this completion causes may reach the model `bridge` later
                own = min(own, cycle + self.bridge)
                done = model.advance(own)
            limit = own
        if limit == FOREVER:
            raise SimulationBug(f"{sum(map(len, self._waiting))} transfers or messages will never be complete")
        self._pumping = any(self._waiting)
        if self._pumping:
            delay = max(0, int(min(limit, self.env.peek())) - now)
            at_end_of_cycle(self.env, ADVANCE, self._advance, delay)
