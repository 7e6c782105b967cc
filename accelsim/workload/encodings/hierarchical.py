"""Hierarchical Tucker: a binary tree over the modes. Survey, eq. (20)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import ENCODINGS, Dims
from accelsim.workload.encodings.tensorized import Float, Tensorized, mode_sizes, ranks_must_be


@dataclass(frozen=True)
class Node:
    """Modes `low` to `high - 1`; `left` and `right` are numbers of nodes, 0 for a leaf (the root is no child)."""

    low: int
    high: int
    left: int = 0
    right: int = 0

    @property
    def leaf(self) -> bool:
        """Whether it stands for a single mode."""
        return self.high - self.low == 1


@lru_cache(maxsize=64)
def dimension_tree(modes: int) -> tuple[Node, ...]:
    """The canonical (balanced) tree in preorder: node 0 is the root; children come after their parents.

    A node of k modes gives the first (k + 1) // 2 to its left child. Survey, Fig. 12(a).
    """
    nodes: list[Node] = []

    def grow(low: int, high: int) -> int:
        here = len(nodes)
        nodes.append(Node(low, high))
        if high - low > 1:
            middle = low + (high - low + 1) // 2
            nodes[here] = Node(low, high, grow(low, middle), grow(middle, high))
        return here

    grow(0, modes)
    return tuple(nodes)


@ENCODINGS.register("ht")
class HierarchicalTucker(Tensorized):
    """Each inner node's basis is made of its children's bases by a transfer tensor: U_t = (U_l kron U_r) B_t.

    Cores, in preorder: `leaf{k}` [m_k n_k, r], `transfer{i}` [r_left, r_right, r] of node i; ranks: one for each node
    in preorder, the root's 1. Hackbusch and Kuehn, J. Fourier Anal. Appl. 15, 2009; survey, eq. (20).
    """

    kind: ClassVar[str] = "ht"
    trivial = {"ranks": [1]}

    def tensor_cores(self, meta: Any) -> dict[str, Dims]:
        sizes = mode_sizes(meta.row_modes, meta.column_modes)
        nodes = dimension_tree(len(sizes))
        ranks_must_be(len(nodes), meta, "one for each node of the tree, in preorder")
        if meta.ranks[0] != 1:
            raise ConfigError(f"ranks must begin with 1, the root's, got {meta.ranks}")
        ranks = meta.ranks
        return {
            core_name(i, node): (sizes[node.low], ranks[i])
            if node.leaf
            else (ranks[node.left], ranks[node.right], ranks[i])
            for i, node in enumerate(nodes)
        }

    def multiply(self, cores: list[Float], meta: Any) -> Float:
        nodes = dimension_tree(len(meta.row_modes))
        bases: dict[int, Float] = {}
        for i in reversed(range(len(nodes))):
            node = nodes[i]
            bases[i] = cores[i] if node.leaf else _joined(bases.pop(node.left), bases.pop(node.right), cores[i])
        return bases[0]


def core_name(number: int, node: Node) -> str:
    """`leaf{mode}` or `transfer{number of the node}`."""
    return f"leaf{node.low}" if node.leaf else f"transfer{number}"


def _joined(left: Float, right: Float, transfer: Float) -> Float:
    """[n_left, r_left], [n_right, r_right], [r_left, r_right, r] -> [n_left n_right, r]."""
    half = np.tensordot(right, transfer, ([1], [1]))  # [n_right, r_left, r]
    whole: Float = left @ half.transpose(1, 0, 2).reshape(left.shape[1], -1)
    return whole.reshape(-1, transfer.shape[2])
