"""A device under test: the kernels' gates, driven by hand."""

from __future__ import annotations

from accelsim.base.kernels import kernel
from accelsim.base.words import Word, Words
from accelsim.memory import dram_layout as lay
from accelsim.memory.dram_device import column_issue, command_ready, row_issue
from accelsim.memory.dram_layout import RD
from accelsim.memory.dram_state import DramParameters, build_state

NEVER = -(10**6)


@kernel(_nrt=False)
def device(m: Words, command: Word, place: Word, clock: Word, row: Word) -> Word:
    """First clock for `command` at the bank or rank `place`; if `clock` >= 0, it is issued there."""
    ready = command_ready(m, command, place)
    if clock >= 0:
        if command >= RD:
            column_issue(m, command, place, clock)
        else:
            row_issue(m, command, place, clock, row)
    return ready


class DeviceUnderTest:
    """Channel 0 of a DRAM. Banks are numbered through the channel; PREA and REF take a rank."""

    def __init__(self, p: DramParameters) -> None:
        self.p = p
        self.m = build_state(p)

    def _place(self, command: str, where: int) -> int:
        if command in ("PREA", "REF"):
            return int(self.m[self.m[lay.M_CHANNEL0] + lay.H_RANK0]) + where * lay.RANK_WORDS
        return int(self.m[lay.M_BANK0]) + where * lay.BANK_WORDS

    def probe(self, command: str, where: int, clock: int) -> bool:
        """Whether the command is legal at `clock`; changes nothing."""
        before = self.m.copy()
        legal = int(device(self.m, _code(command), self._place(command, where), -1, 0)) <= clock
        assert (self.m == before).all()
        return legal

    def issue(self, command: str, where: int, clock: int, row: int = 0) -> None:
        """Issue a command, which must be legal."""
        assert self.probe(command, where, clock), f"{command} at {clock} is not legal"
        device(self.m, _code(command), self._place(command, where), clock, row)

    def earliest_is(self, command: str, where: int, clock: int) -> None:
        """Assert that the command is refused one clock before `clock`, and accepted then."""
        assert not self.probe(command, where, clock - 1), f"{command} is legal before {clock}"
        assert self.probe(command, where, clock), f"{command} is not legal at {clock}"


def _code(command: str) -> int:
    return lay.COMMAND_NAMES.index(command)
