"""The address map: which bit of an address is channel, rank, bank group, bank, row or column.

A map is a permutation string, most significant field first: `row|bank|bankgroup|col`. A field may be
split, giving all but one of its parts a number of bits (`row|col|bank|bankgroup|col:2`), and may be
xored with the low end of the column or row number, from a given bit on (`bank^col+2`: the bank number
xor column >> 2). The burst offset lies below all of them and is not written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.memory.dram_state import MapPart, XorStep

FIELDS = ("channel", "rank", "bankgroup", "bank", "row", "col")
_PART = re.compile(r"^([a-z]+)(?::(\d+))?((?:\^(?:row|col)\+\d+)?)$")


def parse_map(text: str, bits: Mapping[str, int], where: str = "mapping") -> tuple[list[MapPart], list[XorStep]]:
    """The parts of a map from the least significant bit up, and its xor steps.

    Parameters
    ----------
    text : str
        The permutation string.
    bits : mapping
        Bits of each of `FIELDS`; a field of none may be left out.
    where : str
        Names the key in messages.

    Raises
    ------
    ConfigError
        If a part is not understood or the parts do not cover every bit of every field exactly once.
    """
    pieces: list[tuple[str, int | None, str]] = []
    for word in text.split("|"):
        match = _PART.match(word.strip())
        if match is None:
            raise ConfigError(f"each part must be like 'row', 'col:2' or 'bank^col+0', got {word.strip()!r}", where)
        name, width, xor = match.groups()
        if name not in FIELDS:
            raise unknown_name("address field", name, FIELDS, where)
        pieces.append((name, int(width) if width else None, xor))
    widths = _widths(pieces, bits, text, where)
    parts: list[MapPart] = []
    done = dict.fromkeys(FIELDS, 0)
    low = 0
    for (name, _, _), width in zip(reversed(pieces), reversed(widths)):
        if width:
            parts.append((low, width, name, done[name]))
        done[name] += width
        low += width
    xors = [step for name, _, xor in pieces if xor for step in _xor_steps(name, xor, parts, bits, where)]
    return parts, xors


def _widths(
    pieces: list[tuple[str, int | None, str]], bits: Mapping[str, int], text: str, where: str
) -> list[int]:
    """Bits of each piece; a piece without a width takes what the others of its field leave."""
    for name in FIELDS:
        given = [width for field, width, _ in pieces if field == name]
        fixed = sum(width for width in given if width is not None)
        open_ended = given.count(None)
        if open_ended > 1:
            raise ConfigError(f"only one part of {name!r} may be without a number of bits, got {text!r}", where)
        if not given and bits[name]:
            what = f"{name!r} ({bits[name]} bits) is not in {text!r}"
            raise ConfigError(f"must cover every address bit exactly once: {what}", where)
        if fixed > bits[name] or (given and not open_ended and fixed != bits[name]):
            what = f"{name!r} has {bits[name]} bits, but {text!r} gives it {fixed}"
            raise ConfigError(f"must cover every address bit exactly once: {what}", where)
        if open_ended and len(given) > 1 and fixed == bits[name]:
            raise ConfigError(f"the part of {name!r} without a number of bits is left with none in {text!r}", where)
    rest = {name: bits[name] - sum(width or 0 for field, width, _ in pieces if field == name) for name in FIELDS}
    return [rest[name] if width is None else width for name, width, _ in pieces]


def _xor_steps(name: str, xor: str, parts: list[MapPart], bits: Mapping[str, int], where: str) -> list[XorStep]:
    """`name` ^= source >> shift, as xors of runs of address bits."""
    source, shift_text = xor[1:].split("+")
    shift = int(shift_text)
    if name == "col" or name == source:
        raise ConfigError(f"a column, or a row by itself, cannot be xored, got {name}{xor}", where)
    if shift >= bits[source]:
        raise ConfigError(f"{source!r} has only {bits[source]} bits, got {name}{xor}", where)
    steps: list[XorStep] = []
    for bit in range(min(bits[name], bits[source] - shift)):
        here, there = _position(source, shift + bit, parts), _position(name, bit, parts)
        if steps and here - steps[-1][0] == there - steps[-1][1] == steps[-1][2]:
            steps[-1] = (steps[-1][0], steps[-1][1], steps[-1][2] + 1)
        else:
            steps.append((here, there, 1))
    return steps


def _position(name: str, bit: int, parts: list[MapPart]) -> int:
    """Where bit `bit` of field `name` stands in the burst number."""
    for low, width, field, shift in parts:
        if field == name and shift <= bit < shift + width:
            return low + bit - shift
    raise AssertionError((name, bit))


def locate(burst: int, parts: tuple[MapPart, ...], xors: tuple[XorStep, ...]) -> dict[str, int]:
    """The coordinates of burst number `burst`: what the kernels' tables hold, in plain Python."""
    mixed = burst
    for source, target, bits in xors:
        mixed ^= ((burst >> source) & ((1 << bits) - 1)) << target
    place = dict.fromkeys(FIELDS, 0)
    for low, width, name, shift in parts:
        place[name] |= ((mixed >> low) & ((1 << width) - 1)) << shift
    return place
