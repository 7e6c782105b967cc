"""What LLVM's vectoriser does not find by itself: steps between the bytes of vectors, written for any processor."""

from __future__ import annotations

import functools
from typing import Any

from accelsim.base.kernels import Callee

SIXTEENS = 32
"""Results of one call of `largest_of_sixteens`."""
_LANE, _BYTES = 16, 32  # vectors of 32 bytes, as two lanes: what x86-64 and ARM do in a lane is one instruction


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

        byte = ir.IntType(8)
        vector = ir.VectorType(byte, _BYTES)

        def place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
            data = context.make_array(kind)(context, builder, array).data
            return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

        def shuffled(builder: Any, first: Any, second: Any, order: list[int]) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
            return builder.shuffle_vector(first, second, mask)

        def larger(builder: Any, first: Any, second: Any) -> Any:
            return builder.select(builder.icmp_unsigned(">", first, second), first, second)

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            (values, at, kept, where, out, first), kinds = args, signature.args
            source = place(context, builder, kinds[0], values, at)
            masks = place(context, builder, kinds[2], kept, where)
            index = [ir.Constant(ir.IntType(64), i) for i in range(_LANE)]
            found = [
                builder.and_(
                    builder.load(builder.gep(source, [i]), align=1), builder.load(builder.gep(masks, [i]), align=1)
                )
                for i in index
            ]
            width = 1  # vectors that are merged lie beside each other in pieces of so many bytes
            while len(found) > 1:
                low = [p for lane in (0, _LANE) for p in _interleaved(lane, width)]
                high = [p + _LANE // 2 for p in low]
                pairs = zip(found[::2], found[1::2], strict=True)
                found = [larger(builder, shuffled(builder, a, b, low), shuffled(builder, a, b, high)) for a, b in pairs]
                width *= 2
            order = [lane + i for i in range(_LANE) for lane in (0, _LANE)]
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
        places += [start + i for i in range(width)] + [_BYTES + start + i for i in range(width)]
    return places


largest_of_sixteens = LargestOfSixteens()
