"""Scratchpads inside a PE: a few words, and so many reads and writes a cycle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydantic

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec


class Scratchpad(Spec):
    """One memory of a PE, without banks.

    Either it reads and writes at the same time, each up to its own limit, or `accesses_per_cycle` bounds both
    together (a single-ported SRAM: 1).
    """

    words: int = pydantic.Field(ge=1, le=2**24, description="capacity")
    word_bits: int = pydantic.Field(ge=1, le=1024, description="bits of a word")
    reads_per_cycle: int | None = pydantic.Field(default=None, ge=1, le=64, description="default: 1")
    writes_per_cycle: int | None = pydantic.Field(default=None, ge=1, le=64, description="default: 1")
    accesses_per_cycle: int | None = pydantic.Field(default=None, ge=1, le=64, description="reads and writes together")

    @pydantic.model_validator(mode="after")
    def _one_limit(self) -> Any:
        separate = self.reads_per_cycle is not None or self.writes_per_cycle is not None
        if self.accesses_per_cycle is not None and separate:
            raise ValueError(
                "accesses_per_cycle must not be given together with reads_per_cycle or writes_per_cycle"
            )
        return self

    def check(self, words: int, where: str) -> None:
        """Refuse a tile that does not fit.

        Raises
        ------
        ConfigError
        """
        if words > self.words:
            raise ConfigError(f"must hold {words} words, has room for {self.words}", where)

    def step_cycles(self, reads: Any, writes: Any) -> Any:
        """Cycles of a step that reads and writes so many words (int or int64 array); at least one."""
        if self.accesses_per_cycle is not None:
            return np.maximum(1, -(-(np.asarray(reads) + writes) // self.accesses_per_cycle))
        read = -(-np.asarray(reads) // (self.reads_per_cycle or 1))
        return np.maximum(1, np.maximum(read, -(-np.asarray(writes) // (self.writes_per_cycle or 1))))

    def stall_cycles(self, steps: Any, reads: Any, writes: Any) -> Any:
        """Cycles beyond one for each of `steps` steps that each read and write so many words."""
        return steps * (self.step_cycles(reads, writes) - 1)
