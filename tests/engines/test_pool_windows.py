"""Which outputs of a tile a max pooling behind it may take: against brute force over its windows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.engines.kernels.pool_windows import PoolWindows, TileWindows

SIDES = st.tuples(st.integers(2, 7), st.integers(2, 7))


@given(
    seed=st.integers(0, 10**6), size=SIDES, kernel=st.integers(1, 3), stride=st.integers(1, 3), pad=st.integers(0, 1),
    cut=st.tuples(*[st.integers(0, 3)] * 4),
)  # fmt: skip
@settings(max_examples=80, deadline=None, derandomize=True, database=None)
def test_windows_equal_brute_force(
    seed: int, size: tuple[int, int], kernel: int, stride: int, pad: int, cut: tuple[int, int, int, int]
) -> None:
    pad = min(pad, kernel - 1)
    count = [(side + 2 * pad - kernel) // stride + 1 for side in size]
    if min(count) < 1:
        return
    pool = PoolWindows((kernel, kernel), (stride, stride), (pad, pad), (count[0], count[1]), size)
    first = min(cut[0], size[0] - 1), min(cut[1], size[1] - 1)
    extent = max(1, size[0] - first[0] - cut[2]), max(1, size[1] - first[1] - cut[3])
    tile = TileWindows(pool, first, extent)
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, (1, *extent, 2)).astype(float)  # with many equal ones
    held = {(y, x) for y in range(first[0], first[0] + extent[0]) for x in range(first[1], first[1] + extent[1])}
    whole, open_ = [], set(held)
    for i in range(count[0]):
        for j in range(count[1]):
            window = [
                (y, x)
                for y in range(i * stride - pad, i * stride - pad + kernel)
                for x in range(j * stride - pad, j * stride - pad + kernel)
                if 0 <= y < size[0] and 0 <= x < size[1]
            ]
            if window and set(window) <= held:
                whole.append(window)
    inside = {place for window in whole for place in window}
    for place in held:
        across = any(
            place in window
            for window in (
                [(y, x) for y in range(i * stride - pad, i * stride - pad + kernel)
                 for x in range(j * stride - pad, j * stride - pad + kernel) if 0 <= y < size[0] and 0 <= x < size[1]]
                for i in range(count[0]) for j in range(count[1])
            )
            if not set(window) <= held
        )  # fmt: skip
        if place in inside and not across:
            open_.discard(place)
    expected = {(m, *place) for place in open_ for m in range(2)}
    for m in range(2):
        for window in whole:
            at = max(window, key=lambda p: (values[0, p[0] - first[0], p[1] - first[1], m], [-p[0], -p[1]]))
            expected.add((m, *at))
    if not whole:
        assert tile.open().all()
        return
    found = {(int(m), int(y) + first[0], int(x) + first[1]) for _, y, x, m in zip(*np.nonzero(tile.winners(values)))}
    assert found == expected
