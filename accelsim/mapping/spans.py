"""Input positions that a tile of outputs needs along one axis. Padding is not fetched."""

from __future__ import annotations

from accelsim.base.words import Word, part


@part
def span(
    first: Word, count: Word, size: Word, taps: Word, stride: Word, dilation: Word, pad: Word
) -> tuple[Word, Word]:
    """(low, high) of the inputs between the first and the last one that `count` outputs read, high exclusive."""
    low = max(0, first * stride - pad)
    high = min(size, (first + count - 1) * stride - pad + (taps - 1) * dilation + 1)
    return low, max(low, high)


@part
def rows_read(
    first: Word, count: Word, size: Word, taps: Word, stride: Word, dilation: Word, pad: Word, low: Word
) -> Word:
    """Input rows from `low` on that `count` outputs read: strided windows that do not touch leave rows between them."""
    begin, end = span(first, count, size, taps, stride, dilation, pad)
    reach = (taps - 1) * dilation + 1
    if stride <= reach:
        return max(0, end - max(begin, low))
    total = 0
    for out in range(first, first + count):
        begin, end = span(out, 1, size, taps, stride, dilation, pad)
        total += max(0, end - max(begin, low))
    return total


@part
def axis_sums(
    extent: Word, tile: Word, size: Word, taps: Word, taps_tile: Word, stride: Word, dilation: Word, pad: Word,
    skips: Word,
) -> tuple[Word, Word, Word]:
    """Over all tiles of `tile` outputs and `taps_tile` taps: (sum of spans, sum of what no earlier tile read, largest).

    What earlier tiles read counts only if a tile has all taps; the sum is over tap tiles too. With `skips`
    (the vertical axis) rows that no output reads are left out; a row is fetched as one piece.
    """
    total = 0
    fresh = 0
    largest = 0
    for tap in range(0, taps, taps_tile):
        before = 0
        first = 0
        while first < extent:
            count, shifted = min(tile, extent - first), pad - tap * dilation
            low, high = span(first, count, size, taps_tile, stride, dilation, shifted)
            if skips:
                whole = rows_read(first, count, size, taps_tile, stride, dilation, shifted, 0)
                new = rows_read(first, count, size, taps_tile, stride, dilation, shifted, before)
            else:
                whole, new = high - low, max(0, high - max(low, before))
            total += whole
            fresh += new
            largest = max(largest, whole)
            before = max(before, high)
            first += tile
    return total, fresh, largest
