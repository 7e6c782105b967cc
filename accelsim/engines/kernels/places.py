"""What a brick costs Bit-Pragmatic, for 32 bricks beside each other, as the vectors of LLVM."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from accelsim.base.kernels import Callee
from accelsim.base.vectors import BYTES, larger, place, shifted, shuffled, splat

LANES, BRICKS = 16, BYTES
"""Lanes of a brick, and bricks of one call of `BrickEnds`."""


class BrickEnds(Callee):
    """ends(values, at, apart, out, first): out[first + i] = cycles of brick i, of `BRICKS`, for lanes that reach
    `reach` places above the lowest pending one; see `essential_bits`.

    values: uint8; brick i of lane l has its value, of `octets` bytes, at `at` + `apart` l + `octets` i. Nothing is
    checked.
    """

    def __init__(self, reach: int, octets: int) -> None:
        self.reach, self.octets = reach, octets

    def __call__(self, values: Any, at: int, apart: int, out: Any, first: int) -> None:
        """The same by numpy."""
        starts = range(at, at + LANES * apart, apart)
        lanes = [values[s : s + BRICKS * self.octets].view(f"u{self.octets}") for s in starts]
        end = np.zeros((LANES, BRICKS), np.uint8)
        ends = [np.zeros(BRICKS, np.uint8)]
        for p in range(8 * self.octets):
            bits = (np.array(lanes) >> p & 1).astype(np.uint8)
            end = np.maximum(end, ends[max(0, p - self.reach)]) + bits
            ends.append(end.max(axis=0))
        out[first : first + BRICKS] = ends[-1]

    @functools.lru_cache(maxsize=None)
    def compiled(self) -> Any:
        """What numba knows how to compile."""
        from numba import void
        from numba.extending import intrinsic

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            (values, at, apart, out, first), kinds = args, signature.args
            lanes = []  # of each: vectors of its bytes
            for _ in range(LANES):
                lanes.append(_lane(builder, place(context, builder, kinds[0], values, at), self.octets))
                at = builder.add(at, apart)
            if self.reach >= 8 * self.octets - 1:
                ends = _most_ones(builder, lanes)
            else:
                rows: list[Any] = []  # by place: with a bit for each of lanes 0-7, and for each of 8-15
                for octet in range(self.octets):
                    low, high = (_transposed(builder, [b[octet] for b in lanes[h : h + 8]]) for h in (0, 8))
                    rows += zip(low, high, strict=True)
                ends = _ends(builder, rows, self.reach)
            if self.octets == 2:
                ends = shuffled(builder, ends, ends, _IN_ORDER)
            builder.store(ends, place(context, builder, kinds[3], out, first), align=1)
            return context.get_dummy_value()

        @intrinsic
        def brick_ends(typing_context, values, at, apart, out, first):  # type: ignore[no-untyped-def]
            return void(values, at, apart, out, first), emit

        return brick_ends


_EVEN = [v + half + i for half in (0, 16) for v in (0, BYTES) for i in range(0, 16, 2)]
_IN_ORDER = [half + v + i for v in (0, 8) for half in (0, 16) for i in range(8)]


def _lane(builder: Any, source: Any, octets: int) -> list[Any]:
    """Bytes of a lane's values: of each brick the low one, then the high one; with two, in an order that is quick."""
    from llvmlite import ir

    index = [ir.Constant(ir.IntType(64), i) for i in range(octets)]
    loaded = [builder.load(builder.gep(source, [i]), align=1) for i in index]
    if octets == 1:
        return loaded
    return [shuffled(builder, loaded[0], loaded[1], [odd + i for i in _EVEN]) for odd in (0, 1)]


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Of eight vectors of bytes: bit l of a byte of result p is bit p of that byte of row l."""
    for apart, mask in ((4, 0x0F), (2, 0x33), (1, 0x55)):
        for low in range(8):
            if low & apart:
                continue
            a, b = rows[low], rows[low + apart]
            moved = builder.and_(builder.xor(shifted(builder, a, -apart), b), splat(mask))
            rows[low] = builder.xor(a, shifted(builder, moved, apart))
            rows[low + apart] = builder.xor(b, moved)
    return rows


def _most_ones(builder: Any, lanes: list[list[Any]]) -> Any:
    """Cycles of bricks without a limit: one bits of the lane that has the most."""
    counts = []
    for octets in lanes:
        ones = [_ones(builder, octet) for octet in octets]
        counts.append(ones[0] if len(ones) == 1 else builder.add(*ones))
    return functools.reduce(functools.partial(larger, builder), counts)


def _ones(builder: Any, octets: Any) -> Any:
    """One bits of each byte."""

    def part(value: Any, by: int, mask: int) -> Any:
        return builder.and_(shifted(builder, value, -by) if by else value, splat(mask))

    pairs = builder.sub(octets, part(octets, 1, 0x55))
    fours = builder.add(part(pairs, 0, 0x33), part(pairs, 2, 0x33))
    return builder.add(part(fours, 0, 0x0F), part(fours, 4, 0x0F))


def _ends(builder: Any, rows: list[tuple[Any, Any]], reach: int) -> Any:
    """Cycles of bricks, whose lanes with a one bit at place p are rows[p].

    Lanes that end at least k cycles above the gate, which all have passed, are a set of bits, for k up to one more than
    `reach`. The gate at place p is where the slowest lane ended `reach` places ago: it goes up
    with what that end did one place earlier. All steps are masks, -1 where the gate or that end goes up.
    """
    above: list[list[Any]] = [[None] * (reach + 1), [None] * (reach + 1)]  # None: no lane in any brick
    ups: list[Any] = []
    before: Any = None  # of the last place: levels above the gate without a lane, negative
    gates: Any = None
    for p, bits in enumerate(rows):
        gone = ups[p - reach - 1] if p > reach else None
        for half, bit in enumerate(bits):
            heights = above[half][:reach]  # none is higher than the gate can reach
            if gone is not None:
                stay = builder.not_(gone)
                pairs = zip(heights, above[half][1:], strict=True)
                heights = [_or(builder, higher, _and(builder, same, stay)) for same, higher in pairs]
            carried = [_and(builder, height, bit) for height in heights]
            above[half] = [_or(builder, a, b) for a, b in zip([*heights, None], [bit, *carried], strict=True)]
        levels = [_or(builder, a, b) for a, b in zip(*above, strict=True)]
        empty = None
        for level in levels:
            lacking = splat(-1) if level is None else builder.sext(
                builder.icmp_unsigned("==", level, splat(0)), level.type
            )
            empty = lacking if empty is None else builder.add(empty, lacking)
        previous = splat(-reach - 1) if before is None else before
        up = builder.sub(previous, empty)
        if gone is not None:
            up = builder.add(up, gone)
            gates = gone if gates is None else builder.add(gates, gone)
        ups.append(up)
        before = empty
    end = builder.add(before, splat(reach + 1))
    return end if gates is None else builder.sub(end, gates)


def _and(builder: Any, first: Any, second: Any) -> Any:
    return None if first is None or second is None else builder.and_(first, second)


def _or(builder: Any, first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    return builder.or_(first, second)
