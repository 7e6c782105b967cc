"""Tensor networks: trains, rings and hierarchical Tucker, by successive truncation. Survey, Section III-C2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accelsim.compress.decompose.linalg import leading, projected, svd
from accelsim.compress.decompose.multilinear import unfold
from accelsim.workload.encodings.hierarchical import core_name, dimension_tree
from accelsim.workload.encodings.tensorized import contract

Float = NDArray[np.float32]


def train(
    tensor: Float, ranks: Sequence[int] | None, delta2: float = 0.0, exact: bool = False
) -> tuple[list[Float], float]:
    """TT-SVD from the first mode to the last. Oseledets, SIAM J. Sci. Comput. 33(5), 2011, Algorithm 1.

    Returns the cores [r_{k-1}, n_k, r_k] and the energy left out by all cuts together: the squared error is at most
    that (here equal to it but for rounding: every cut projects). Without ranks, each of the d - 1 cuts leaves out at
    most delta2 / (d - 1).
    """
    sizes, lost, left = tensor.shape, 0.0, 1
    cores: list[Float] = []
    rest: Float = tensor
    cuts = max(1, len(sizes) - 1)
    for k, size in enumerate(sizes[:-1]):
        rest = rest.reshape(left * size, -1)
        if ranks is not None and ranks[k + 1] == rest.shape[0]:  # nothing is left out: any basis will do
            basis = np.eye(rest.shape[0], dtype=np.float32)
        else:
            basis, tail = leading(rest, None if ranks is None else ranks[k + 1], delta2 / cuts, exact)
            rest, lost = projected(basis, rest), lost + tail
        cores.append(basis.reshape(left, size, -1))
        left = basis.shape[1]
    cores.append(rest.reshape(left, sizes[-1], 1))
    return cores, lost


def ring(tensor: Float, ranks: Sequence[int], exact: bool = False) -> tuple[list[Float], float]:
    """TR-SVD: the first cut is split in two ranks, one of which closes the ring. Zhao et al., arXiv 1606.05535, Alg. 1.

    `ranks`: r_0, ..., r_d = r_0 with r_0 r_1 at most n_1. Returns the cores and the energy left out.
    """
    sizes, closing = tensor.shape, ranks[0]
    u, s, vt, lost = svd(tensor.reshape(sizes[0], -1), ranks[0] * ranks[1], 0.0, exact)
    first = u.reshape(sizes[0], closing, ranks[1]).transpose(1, 0, 2)
    cores, left = [np.ascontiguousarray(first)], ranks[1]
    rest: Float = np.ascontiguousarray((s[:, None] * vt).reshape(closing, left, -1).transpose(1, 2, 0))
    for k, size in enumerate(sizes[1:-1], start=1):
        rest = rest.reshape(left * size, -1)
        basis, tail = leading(rest, ranks[k + 1], 0.0, exact)
        rest, lost = projected(basis, rest), lost + tail
        cores.append(basis.reshape(left, size, -1))
        left = basis.shape[1]
    cores.append(np.ascontiguousarray(rest.reshape(left, sizes[-1], closing)))
    return cores, lost


def hierarchical(
    tensor: Float, ranks: Sequence[int] | None, delta2: float = 0.0, exact: bool = False
) -> tuple[dict[str, Float], float]:
    """From the leaves to the root, projecting after every node. Grasedyck, SIAM J. Matrix Anal. 31(4), 2010.

    `ranks` in preorder, the root's 1. Without them, each of the 2d - 2 nodes below the root leaves out at most its
    share of `delta2`. Returns the cores in preorder and the energy left out.
    """
    nodes = dimension_tree(tensor.ndim)
    share, lost = delta2 / max(1, len(nodes) - 1), 0.0
    bases: dict[int, Float] = {}
    frontier = sorted((i for i, node in enumerate(nodes) if node.leaf), key=lambda i: nodes[i].low)
    if len(nodes) == 1:
        return {core_name(0, nodes[0]): tensor.reshape(-1, 1)}, 0.0
    for i in [*frontier, *(i for i in reversed(range(1, len(nodes))) if not nodes[i].leaf)]:
        node = nodes[i]
        axis = frontier.index(i if node.leaf else node.left)
        if not node.leaf:
            pair = tensor.shape[axis : axis + 2]
            tensor = tensor.reshape(*tensor.shape[:axis], pair[0] * pair[1], *tensor.shape[axis + 2 :])
            frontier[axis : axis + 2] = [i]
        basis, tail = leading(unfold(tensor, axis), None if ranks is None else ranks[i], share, exact)
        tensor, lost = contract(tensor, basis, axis), lost + tail
        bases[i] = basis if node.leaf else basis.reshape(*pair, -1)
    bases[0] = tensor.reshape(*tensor.shape, 1)
    return {core_name(i, node): bases[i] for i, node in enumerate(nodes)}, lost
