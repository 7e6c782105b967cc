"""Axes of a design space: what a sweep may write beside a key, and the values that follow.

| in the file | values |
|---|---|
| `[16, 32, 64]` | these |
| `{linear: [16, 64], step: 16}` | 16, 32, 48, 64 |
| `{linear: [0.1, 0.9], count: 5}` | five at equal distances, both ends included |
| `{log: [1e9, 64e9], count: 7}` | seven at equal ratios |
| `{powers_of_two: [8, 128]}` | 8, 16, 32, 64, 128 |
| `{linear: [16, 64]}`, `{log: [1e9, 64e9]}` | any number between, for samples and searches only |

Where both ends are whole numbers all values are (rounded, without repeats). A sample draws from lists and counted
ranges too; there each value is as likely as the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.base.errors import ConfigError, unknown_name

MAX_VALUES = 100_000
"""Most values on one axis."""

_KINDS = ("linear", "log", "powers_of_two")


@dataclass(frozen=True)
class Axis:
    """A key and its values.

    Attributes
    ----------
    key : str
    values : tuple
        Empty for an open range.
    low, high : int or float
        Ends of an open range.
    log : bool
        Whether an open range is even in ratios.
    """

    key: str
    values: tuple[Any, ...] = ()
    low: int | float = 0
    high: int | float = 0
    log: bool = False

    @property
    def is_open(self) -> bool:
        """Any number between `low` and `high`."""
        return not self.values

    @property
    def is_whole(self) -> bool:
        """Whether an open range holds integers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, fraction: float) -> Any:
        """The value at 0 <= fraction < 1 of the axis."""
        if not self.is_open:
            return self.values[int(fraction * len(self.values))]
        if not self.is_whole:
            return _between(self.low, self.high, fraction, self.log)
        # every integer owns an equal part of the scale, the ends as well
        low, high = self.low - 0.5, self.high + 0.5
        value = round(_between(max(low, 0.5) if self.log else low, high, fraction, self.log))
        return int(min(max(value, self.low), self.high))


def read_axis(key: str, data: Any, where: str) -> Axis:
    """The axis that `data` describes.

    Raises
    ------
    ConfigError
        Empty, not a list or range, or with bounds that cannot be.
    """
    if isinstance(data, list):
        return Axis(key, _listed(data, where))
    if not isinstance(data, dict):
        raise ConfigError(f"must be a list or a range such as {{linear: [1, 9], step: 2}}, got {data!r:.60}", where)
    kind = next((k for k in data if k in _KINDS), None)
    if kind is None:
        raise unknown_name("range", next(iter(data), ""), _KINDS, where)
    for name in data:
        if name not in (kind, "step", "count"):
            raise unknown_name("key of a range", str(name), (kind, "step", "count"), where)
    low, high = _ends(data[kind], where)
    if kind == "powers_of_two":
        return Axis(key, _powers(low, high, data, where))
    if kind == "log" and low <= 0:
        raise ConfigError(f"both ends of a log range must be above 0, got {low}", where)
    if "step" in data and "count" in data:
        raise ConfigError("a range has a step or a count, not both", where)
    if "step" in data:
        if kind == "log":
            raise ConfigError("a log range has a count, not a step", where)
        return Axis(key, _stepped(low, high, data["step"], where))
    if "count" in data:
        return Axis(key, _counted(low, high, data["count"], kind == "log", where))
    if low == high:
        return Axis(key, (low,))
    return Axis(key, (), low, high, kind == "log")


def _listed(values: list[Any], where: str) -> tuple[Any, ...]:
    if not values:
        raise ConfigError("must have at least one value, got an empty list", where)
    if len(values) > MAX_VALUES:
        raise ConfigError(f"must have at most {MAX_VALUES:,} values, got {len(values):,}", where)
    kept: list[Any] = []
    seen: set[str] = set()
    for value in values:
        mark = repr(value)
        if mark in seen:
            raise ConfigError(f"has {value!r:.60} twice", where)
        seen.add(mark)
        kept.append(value)
    return tuple(kept)


def _number(value: Any, what: str, where: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{what} must be a number, got {value!r:.60}", where)
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) >= 1e6 else value


def _ends(data: Any, where: str) -> tuple[int | float, int | float]:
    if not isinstance(data, list) or len(data) != 2:
        raise ConfigError(f"a range must be two numbers, [first, last], got {data!r:.60}", where)
    low, high = (_number(end, "an end of a range", where) for end in data)
    if low > high:
        raise ConfigError(f"the first end of a range must be at most the last, got [{low}, {high}]", where)
    return low, high


def _powers(low: int | float, high: int | float, data: Any, where: str) -> tuple[int, ...]:
    if len(data) > 1:
        raise ConfigError("powers_of_two takes neither step nor count", where)
    for end in (low, high):
        if not isinstance(end, int) or end < 1 or end & (end - 1):
            raise ConfigError(f"both ends must be powers of two, got {end}", where)
    return tuple(1 << n for n in range(int(low).bit_length() - 1, int(high).bit_length()))


def _stepped(low: int | float, high: int | float, step: Any, where: str) -> tuple[int | float, ...]:
    step = _number(step, "step", where)
    if step <= 0:
        raise ConfigError(f"step must be above 0, got {step}", where)
    # a step that meets the last end up to rounding includes it
    size = math.floor((high - low) / step + 1e-9) + 1
    if size > MAX_VALUES:
        raise ConfigError(f"must have at most {MAX_VALUES:,} values, got {size:,}", where)
    return tuple(low + n * step for n in range(size))


def _counted(low: int | float, high: int | float, count: Any, log: bool, where: str) -> tuple[int | float, ...]:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_VALUES:
        raise ConfigError(f"count must be an integer from 1 to {MAX_VALUES:,}, got {count!r:.60}", where)
    if count == 1 and low != high:
        raise ConfigError("a count of 1 needs both ends to be the same", where)
    inner = [_between(low, high, n / (count - 1), log) for n in range(1, count - 1)]
    values: Sequence[int | float] = [low, *inner, high] if count > 1 else [low]
    if isinstance(low, int) and isinstance(high, int):
        values = [round(v) for v in values]
    return tuple(dict.fromkeys(values))


def _between(low: float, high: float, fraction: float, log: bool) -> float:
    if log:
        # correctly rounded exponentials are the same everywhere only to the last digit but a few: round those off
        return float(f"{math.exp(math.log(low) + fraction * (math.log(high) - math.log(low))):.12g}")
    return low + fraction * (high - low)
