"""Which ranks are possible, and which a single number means. Everything here is decided before any algebra."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, prod

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.hierarchical import dimension_tree

Sizes = Sequence[int]


def matrix_ranks(sizes: Sizes, rank: int) -> list[int]:
    """Rank of a matrix with these two sides."""
    return [min(rank, *sizes)]


def tucker_ranks(sizes: Sizes, rank: int) -> list[int]:
    """At most `rank`, the mode's size, and what the other ranks can span."""
    ranks = [min(rank, size, prod(sizes) // size) for size in sizes]
    for _ in sizes:
        ranks = [min(r, prod(ranks) // r) if len(ranks) > 1 else r for r in ranks]
    return ranks


def cp_ranks(sizes: Sizes, rank: int) -> list[int]:
    """Terms: N / (largest mode) are always enough."""
    return [min(rank, prod(sizes) // max(sizes))]


def train_ranks(sizes: Sizes, rank: int) -> list[int]:
    """1, r_1, ..., r_{d-1}, 1: each at most what either side of the cut spans."""
    d = len(sizes)
    return [1, *(min(rank, prod(sizes[:k]), prod(sizes[k:])) for k in range(1, d)), 1]


def ring_ranks(sizes: Sizes, rank: int) -> list[int]:
    """r_0, ..., r_{d-1}, r_0: r_0 r_1 as much of the first unfolding's rank as can be, then r_0 as large as can be."""
    d, first = len(sizes), min(sizes[0], prod(sizes[1:]))
    if d == 1:
        return [1, 1]
    closing = max(range(1, min(rank, isqrt(first)) + 1), key=lambda c: (c * min(rank, first // c), c))
    ranks = [closing, min(rank, first // closing)]
    for k in range(2, d):
        ranks.append(min(rank, ranks[-1] * sizes[k - 1], prod(sizes[k:]) * closing))
    return [*ranks, closing]


def tree_ranks(sizes: Sizes, rank: int) -> list[int]:
    """One for each node in preorder: at most what its children, or all other modes, span."""
    nodes, whole = dimension_tree(len(sizes)), prod(sizes)
    ranks = [1] * len(nodes)
    for i in reversed(range(1, len(nodes))):
        node = nodes[i]
        inside = sizes[node.low] if node.leaf else ranks[node.left] * ranks[node.right]
        ranks[i] = min(rank, inside, whole // prod(sizes[node.low : node.high]))
    return ranks


def check_matrix(sizes: Sizes, ranks: Sizes) -> None:
    """One rank, at most the shorter side."""
    _count(ranks, 1, "the rank")
    _at_most("rank", ranks[0], min(sizes), f"the shorter side of {sizes[0]} x {sizes[1]}")


def check_tucker(sizes: Sizes, ranks: Sizes) -> None:
    """One for each mode, at most its size, and at most the product of all others."""
    _count(ranks, len(sizes), "one for each mode")
    for k, (rank, size) in enumerate(zip(ranks, sizes, strict=True)):
        _at_most(f"ranks[{k}]", rank, size, f"the size of mode {k}")
        others = prod(ranks) // rank
        if len(ranks) > 1:
            _at_most(f"ranks[{k}]", rank, others, "the product of the other ranks")


def check_cp(sizes: Sizes, ranks: Sizes) -> None:
    """The number of terms."""
    _count(ranks, 1, "the number of terms")
    _at_most("rank", ranks[0], prod(sizes) // max(sizes), f"the elements over the largest mode of {_shown(sizes)}")


def check_train(sizes: Sizes, ranks: Sizes) -> None:
    """d + 1 ranks that chain: 1, ..., 1."""
    d = len(sizes)
    _count(ranks, d + 1, "1, one for each cut, 1")
    if ranks[0] != 1 or ranks[-1] != 1:
        raise ConfigError(f"ranks of a train must begin and end with 1, got {list(ranks)}")
    _chained(sizes, ranks, 1)


def check_ring(sizes: Sizes, ranks: Sizes) -> None:
    """d + 1 ranks that chain, the first and the last the same, r_0 r_1 within the first unfolding."""
    _count(ranks, len(sizes) + 1, "r_0, one for each cut, r_0 again")
    if ranks[0] != ranks[-1]:
        raise ConfigError(f"ranks of a ring must begin and end with the same, got {list(ranks)}")
    most = min(sizes[0], prod(sizes[1:]))
    if len(sizes) == 1:
        _at_most("ranks[0]", ranks[0], 1, "a ring of one mode")
    else:
        _at_most("ranks[0] * ranks[1]", ranks[0] * ranks[1], most, f"the first unfolding of {_shown(sizes)}")
    _chained(sizes, ranks, 2)


def _chained(sizes: Sizes, ranks: Sizes, first: int) -> None:
    """r_k within r_{k-1} n_k and within what lies to its right, from cut `first` on."""
    for k in range(first, len(sizes)):
        most = min(ranks[k - 1] * sizes[k - 1], prod(sizes[k:]) * ranks[-1])
        why = f"of modes {_shown(sizes)} behind rank {ranks[k - 1]}"
        _at_most(f"ranks[{k}]", ranks[k], most, why)


def check_tree(sizes: Sizes, ranks: Sizes) -> None:
    """One for each node in preorder, the root's 1."""
    nodes, whole = dimension_tree(len(sizes)), prod(sizes)
    _count(ranks, len(nodes), "one for each node of the tree, in preorder")
    if ranks[0] != 1:
        raise ConfigError(f"ranks must begin with 1, the root's, got {list(ranks)}")
    for i in range(1, len(nodes)):
        node = nodes[i]
        inside = sizes[node.low] if node.leaf else ranks[node.left] * ranks[node.right]
        most = min(inside, whole // prod(sizes[node.low : node.high]))
        _at_most(f"ranks[{i}]", ranks[i], most, f"of the node of modes {node.low} to {node.high - 1}")


def _count(ranks: Sizes, count: int, what: str) -> None:
    if len(ranks) != count:
        raise ConfigError(f"ranks must be {count} numbers ({what}), got {len(ranks)}: {list(ranks)}")


def _at_most(name: str, rank: int, most: int, why: str) -> None:
    if rank > most:
        raise ConfigError(f"{name} must be at most {most}, {why}, got {rank}")


def _shown(sizes: Sizes) -> str:
    return "x".join(map(str, sizes))
