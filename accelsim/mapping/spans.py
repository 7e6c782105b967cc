"""Input positions that a tile of outputs needs along one axis. Padding is not fetched."""

from __future__ import annotations

from accelsim.base.kernels import kernel


@kernel
def span(first, count, size, taps, stride, dilation, pad):  # type: ignore[no-untyped-def]
    """(low, high) of the inputs between the first and the last one that `count` outputs read, high exclusive."""
    low = max(0, first * stride - pad)
    high = min(size, (first + count - 1) * stride - pad + (taps - 1) * dilation + 1)
    return low, max(low, high)


@kernel
def rows_read(first, count, size, taps, stride, dilation, pad, low):  # type: ignore[no-untyped-def]
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


@kernel
def axis_sums(extent, tile, size, taps, taps_tile, stride, dilation, pad, skips):  # type: ignore[no-untyped-def]
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
