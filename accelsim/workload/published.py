"""Counts that papers and reference implementations print, to the precision to which they print them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.base.expr import evaluate
from accelsim.workload.network import Network

_NUMBER = re.compile(r"(\d{1,20})(?:\.(\d{1,20}))?\s*([kMGT]?)")
_SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Figure:
    """One published count.

    Attributes
    ----------
    what : str
        "parameters" or "macs".
    text : str
        As printed: `25557032`, `4.09 G`, or the formula that a paper gives.
    low, high : Fraction
        The counts that round to it; equal where every digit is printed.
    source : str
        Who prints it.
    of : str
        Pattern of the names of the layers that it counts (`conv*`); "*" for all.
    differs : str
        If not empty, why the count of the network file is another one.
    """

    what: str
    text: str
    low: Fraction
    high: Fraction
    source: str
    of: str = "*"
    differs: str = ""

    def ours(self, network: Network) -> int:
        """What the layers of `network` that this figure is about add up to."""
        counted = [layer for layer in network if self.of == "*" or fnmatch.fnmatchcase(layer.name, self.of)]
        return sum(layer.params if self.what == "parameters" else layer.macs for layer in counted)

    def agrees(self, count: int) -> bool:
        """Whether `count`, rounded to the printed precision, is this figure."""
        return self.low <= count <= self.high

    def error(self, count: int) -> float:
        """(count - figure) / figure."""
        middle = (self.low + self.high) / 2
        return float((count - middle) / middle)


def parse_count(value: int | str) -> tuple[Fraction, Fraction]:
    """`(low, high)` of an integer (exact) or of a text such as "4.09 G" (half a unit of its last digit).

    Raises
    ------
    ConfigError
        If the text is no such number.
    """
    if isinstance(value, int):
        if isinstance(value, bool) or value < 1:
            raise ConfigError(f"must be a positive count, got {value!r}")
        return Fraction(value), Fraction(value)
    match = _NUMBER.fullmatch(value)
    if not match or not float(match[1] + "." + (match[2] or "0")):
        raise ConfigError(f'must be a positive count such as 61100840, "61.1 M" or "4.09 G", got {value!r}')
    digits = match[2] or ""
    unit = Fraction(_SCALE[match[3]], 10 ** len(digits))
    middle = int(match[1] + digits) * unit
    half = unit / 2 if unit != 1 else Fraction(0)
    return middle - half, middle + half


def formula_count(text: str, names: Mapping[str, Any]) -> Fraction:
    """The whole number that a formula over the file's variables gives."""
    value = evaluate(text, names)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"must give a positive whole number, got {value!r}")
    return Fraction(value)
