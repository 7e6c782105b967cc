"""Low-rank decompositions of a matrix [M, N]. Survey, Section III-C1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.compress.decompose.linalg import pivots, svd, working

Float = NDArray[np.float32]
Cores = dict[str, Float]


def svd_cores(matrix: Float, rank: int | None, delta2: float, exact: bool) -> Cores:
    """A = U S V.T, truncated: the best of its rank. Survey, eq. (18)."""
    u, s, vt, _ = svd(matrix, rank, delta2, exact)
    return {"left": u, "sigma": s, "right": vt}


def full_rank_cores(matrix: Float, rank: int | None, delta2: float, exact: bool) -> Cores:
    """A = W H, the minimum of ||A - W H||: survey, eq. (17).

    By the theorem of Eckart and Young the minimum is the truncated SVD; its singular values are shared out evenly.
    """
    u, s, vt, _ = svd(matrix, rank, delta2, exact)
    root = np.sqrt(s)
    return {"left": u * root, "right": root[:, None] * vt}


def qr_cores(matrix: Float, rank: int | None, delta2: float, exact: bool) -> Cores:
    """A = Q R with pivoted columns, R put back into their order."""
    _, q, r = pivots(matrix, rank, delta2)
    return {"left": q, "right": r}


def cur_cores(matrix: Float, rank: int | None, delta2: float, exact: bool) -> Cores:
    """A = C U R: columns and rows of A itself, and U = pinv(C) A pinv(R), the best between them.

    Columns are those that a pivoted QR of A picks, rows those of its transpose. Mahoney and Drineas, PNAS 106(3), 2009;
    Stewart, Numer. Math. 83, 1999 (pivoted QR).
    """
    assert rank is not None
    columns = matrix[:, sorted(pivots(matrix, rank)[0])]
    rows = matrix[sorted(pivots(np.asarray(matrix.T), rank)[0])]
    a = working(matrix)
    left, right = (np.linalg.pinv(part.astype(np.float64)).astype(a.dtype) for part in (columns, rows))
    middle = (left @ a) @ right
    return {
        "columns": np.ascontiguousarray(columns),
        "middle": np.ascontiguousarray(middle, np.float32),
        "rows": np.ascontiguousarray(rows),
    }
