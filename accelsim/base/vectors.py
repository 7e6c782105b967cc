"""What LLVM's vectoriser does not find by itself: steps between the bytes of vectors, written for any processor.

A `Callee` of this kind writes LLVM's own vectors, which become the instructions of whatever processor is there; called
from Python (NUMBA_DISABLE_JIT) it does the same by numpy.
"""

from __future__ import annotations

import functools
from typing import Any

from accelsim.base.kernels import Callee

BYTES = 32
"""Of a vector. It is two lanes of 16, in which neighbours change places by one instruction of x86-64 or ARM."""
SIXTEENS = 32
"""Results of one call of `largest_of_sixteens`."""
_LANE = 16


def place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Pointer to a vector that begins at an index of a contiguous array of bytes."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), splat(0).type.as_pointer())


def splat(value: int, bits: int = 8) -> Any:
    """A vector of equal integers."""
    from llvmlite import ir

    count = 8 * BYTES // bits
    return ir.Constant(ir.VectorType(ir.IntType(bits), count), [value % (1 << bits)] * count)


def shuffled(builder: Any, first: Any, second: Any, order: list[int]) -> Any:
    """Bytes out of those of two vectors, one behind the other."""
    from llvmlite import ir

    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order))


def shifted(builder: Any, value: Any, by: int) -> Any:
    """Words of 16 bits shifted to the left (`by` > 0) or right: processors have no shift of bytes."""
    words = splat(abs(by), 16)
    wide = builder.bitcast(value, words.type)
    return builder.bitcast((builder.shl if by > 0 else builder.lshr)(wide, words), value.type)


def larger(builder: Any, first: Any, second: Any) -> Any:
    """Of each byte, without sign."""
    return builder.select(builder.icmp_unsigned(">", first, second), first, second)


class LargestOfSixteens(Callee):
    """largest_of_sixteens(values, at, kept, where, out, first): out[first + s] = max over i < 16 of
    values[at + 16 s + i] & kept[where + 16 s + i], for s below `SIXTEENS`.

    All arrays are uint8 of one dimension, contiguous. Nothing is checked.
    """

    def __call__(self, values: Any, at: int, kept: Any, where: int, out: Any, first: int) -> None:
        """The same by numpy."""
        count = 16 * SIXTEENS
        seen = values[at : at + count] & kept[where : where + count]
        out[first : first + SIXTEENS] = seen.reshape(SIXTEENS, 16).max(axis=1)

    @functools.lru_cache(maxsize=None)
    def compiled(self) -> Any:
        """What numba knows how to compile."""
        from llvmlite import ir
        from numba import void
        from numba.extending import intrinsic

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            (values, at, kept, where, out, first), kinds = args, signature.args
            source = place(context, builder, kinds[0], values, at)
            masks = place(context, builder, kinds[2], kept, where)
            found = []
            for i in range(16 * SIXTEENS // BYTES):
                index = [ir.Constant(ir.IntType(64), i)]
                seen, mask = (builder.load(builder.gep(p, index), align=1) for p in (source, masks))
                found.append(builder.and_(seen, mask))
            width = 1  # vectors that are merged lie beside each other in pieces of so many bytes
            while len(found) > 1:
                low = [p for lane in range(0, BYTES, _LANE) for p in _interleaved(lane, width)]
                high = [p + _LANE // 2 for p in low]
                pairs = zip(found[::2], found[1::2], strict=True)
                found = [larger(builder, shuffled(builder, a, b, low), shuffled(builder, a, b, high)) for a, b in pairs]
                width *= 2
            order = [lane + i for i in range(_LANE) for lane in range(0, BYTES, _LANE)]
            result = shuffled(builder, found[0], found[0], order)
            builder.store(result, place(context, builder, kinds[4], out, first), align=1)
            return context.get_dummy_value()

        @intrinsic
        def largest(typing_context, values, at, kept, where, out, first):  # type: ignore[no-untyped-def]
            return void(values, at, kept, where, out, first), emit

        return largest


def _interleaved(lane: int, width: int) -> list[int]:
    """Bytes of the lower halves of the lanes of two vectors, in turn `width` of each."""
    places = []
    for start in range(lane, lane + _LANE // 2, width):
        places += [start + i for i in range(width)] + [BYTES + start + i for i in range(width)]
    return places


largest_of_sixteens = LargestOfSixteens()
