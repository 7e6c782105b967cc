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
def axis_sums(extent, tile, size, taps, taps_tile, stride, dilation, pad):  # type: ignore[no-untyped-def]
    """Over all tiles of `tile` outputs and `taps_tile` taps: (sum of spans, sum of what no earlier tile read, largest).

    What earlier tiles read counts only if a tile has all taps; the sum is over tap tiles too.
    """
    total = 0
    fresh = 0
    largest = 0
    for tap in range(0, taps, taps_tile):
        before = 0
        first = 0
        while first < extent:
            low, high = span(first, min(tile, extent - first), size, taps_tile, stride, dilation, pad - tap * dilation)
            total += high - low
            fresh += max(0, high - max(low, before))
            largest = max(largest, high - low)
            before = max(before, high)
            first += tile
    return total, fresh, largest
