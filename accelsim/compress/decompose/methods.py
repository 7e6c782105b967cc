"""The methods by name: which encoding holds the cores, which modes and ranks, and the algebra.

`decompose(values, plan)` is the function behind the recipe step, for use from Python as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import nan, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.compress.decompose import matrix, modes, multilinear, networks, ranks
from accelsim.compress.decompose.linalg import GRAM_FLOOR, energy, single_blas
from accelsim.workload.encodings.base import Dims, encoding
from accelsim.workload.encodings.factored import Factored
from accelsim.workload.encodings.low_rank import matrix_shape
from accelsim.workload.encodings.tensorized import check_modes, mode_sizes, tensorize

Float = NDArray[np.float32]
Cores = dict[str, Float]

_ANY_CORE = {"name": "x", "encoding": "float", "shape": [1], "bits": 32, "signed": True}


@dataclass(frozen=True)
class Plan:
    """What is wanted of one operand; `resolve` fills in what is None.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    row_modes, column_modes : list of int, optional
        Not for matrix methods. None: chosen (see `modes`).
    ranks : list of int, optional
        As the method counts them.
    rank : int, optional
        The most that each rank may be.
    error : float, optional
        Relative error in the Frobenius norm that must not be exceeded.
    ratio : float, optional
        Elements before over elements of the cores that must at least be reached.
    order : int
        Modes to choose for a tensorized matrix.
    blocks : int
        Of `btd`.
    iterations : int, optional
        The most rounds of tucker (25), btd (25) and cp (100).
    exact : bool
        Full singular value decompositions instead of Gram matrices.
    seed : int
        Of what cp starts from where singular vectors do not suffice.
    """

    method: str
    row_modes: list[int] | None = None
    column_modes: list[int] | None = None
    ranks: list[int] | None = None
    rank: int | None = None
    error: float | None = None
    ratio: float | None = None
    order: int = 4
    blocks: int = 2
    iterations: int | None = None
    exact: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Method:
    """How a decomposition works.

    Attributes
    ----------
    encoding : str
    choose : callable or None
        (shape, order) -> modes; None: a matrix.
    possible, check : callable
        See `ranks`.
    solve : callable
        (tensor or matrix, ranks or None, delta2, plan) -> cores in the encoding's order.
    by_energy : bool
        `solve` takes None for ranks, and finds those that leave out at most `delta2` of the energy.
    """

    encoding: str
    choose: Callable[[Dims, int], modes.Modes] | None
    possible: Callable[[Sequence[int], int], list[int]]
    check: Callable[[Sequence[int], Sequence[int]], None]
    solve: Callable[[Float, list[int] | None, float, Plan], Cores]
    by_energy: bool = True


@dataclass(frozen=True)
class Decomposition:
    """What came out.

    Attributes
    ----------
    encoding : str
        Which holds the cores.
    cores : dict of str to float32 array
    meta : dict
        Modes and ranks, for the encoding.
    error : float
        ||A - A'|| / ||A||, measured on the cores as they are stored (float32); nan if not measured.
    """

    encoding: str
    cores: Cores
    meta: dict[str, Any]
    error: float
    shape: Dims = field(default=(1,))

    @property
    def parameters(self) -> int:
        """Elements of all cores."""
        return sum(core.size for core in self.cores.values())

    @property
    def ratio(self) -> float:
        """Elements before over elements of the cores."""
        return prod(self.shape) / self.parameters

    def values(self) -> Float:
        """The operand that the cores multiply out to."""
        return rebuild(self.encoding, list(self.cores.values()), self.meta, self.shape)


def decompose(values: Float, plan: Plan, measure: bool = True) -> Decomposition:
    """Decompose a tensor: a matrix, a kernel (M, C, R, S), or anything with a first dimension and others.

    `measure`: multiply the cores out and find the error, which costs about as much as a train; always done where an
    error is the target.

    Raises
    ------
    ConfigError
        If the plan does not fit the shape, a target cannot be met, or values are not finite.
    """
    values = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ConfigError(f"values must be finite, but {bad} of {values.size} are NaN or infinite")
    plan = resolve(plan, values.shape)
    method = METHODS[plan.method]
    if method.choose is None:
        tensor = values.reshape(matrix_shape(values.shape))
    else:
        tensor = tensorize(values, plan.row_modes or [], plan.column_modes or [])
    with single_blas():
        if plan.error is None:
            return _attempt(values, tensor, plan, plan.ranks, 0.0, measure)
        return _by_energy(values, tensor, plan) if method.by_energy else _by_rank(values, tensor, plan)


def resolve(plan: Plan, shape: Dims) -> Plan:
    """The plan with modes, and with ranks unless these follow from an error; all that can be wrong is found here.

    Raises
    ------
    ConfigError
    """
    if plan.method not in METHODS:
        raise unknown_name("method", plan.method, METHODS)
    given = [name for name in ("ranks", "rank", "error", "ratio") if getattr(plan, name) is not None]
    if len(given) != 1:
        raise ConfigError(f"one of rank, ranks, error and ratio must be given, got {' and '.join(given) or 'none'}")
    plan, sizes = _with_modes(plan, shape)
    method = METHODS[plan.method]
    _check_numbers(plan)
    if plan.ranks is not None:
        method.check(sizes, plan.ranks)
        return plan
    largest = method.possible(sizes, prod(sizes))
    if plan.rank is not None:
        if plan.rank > max(largest):
            shown = "x".join(map(str, sizes))
            raise ConfigError(f"rank must be at most {max(largest)} for {plan.method} of {shown}, got {plan.rank}")
        return replace(plan, ranks=method.possible(sizes, plan.rank))
    if plan.ratio is not None:
        return replace(plan, ranks=_ranks_for_ratio(plan, sizes, shape, max(largest)))
    return plan


def _with_modes(plan: Plan, shape: Dims) -> tuple[Plan, list[int]]:
    choose = METHODS[plan.method].choose
    if choose is None:
        if plan.row_modes or plan.column_modes:
            raise ConfigError(f"row_modes and column_modes must not be given for {plan.method}: it works on the matrix")
        return plan, list(matrix_shape(shape))
    if (plan.row_modes is None) != (plan.column_modes is None):
        raise ConfigError("row_modes and column_modes must be given both, or neither")
    if plan.row_modes is None or plan.column_modes is None:
        rows, columns = choose(shape, plan.order)
        plan = replace(plan, row_modes=rows, column_modes=columns)
    check_modes(plan.row_modes or [], plan.column_modes or [], shape)
    sizes = mode_sizes(plan.row_modes or [], plan.column_modes or [])
    most = getattr(encoding(METHODS[plan.method].encoding), "most_modes", len(sizes))
    if len(sizes) > most:
        raise ConfigError(f"modes must be at most {most} for {plan.method}, got {len(sizes)}")
    return plan, sizes


def _check_numbers(plan: Plan) -> None:
    for name in ("rank", "order", "blocks"):
        value = getattr(plan, name)
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be >= 1, got {value}")
    if plan.ranks is not None and min(plan.ranks, default=0) < 1:
        raise ConfigError(f"ranks must be >= 1, got {plan.ranks}")
    if plan.error is not None and not 0 < plan.error < 1:
        raise ConfigError(f"error must be above 0 and below 1, got {plan.error}")
    if plan.ratio is not None and not plan.ratio > 0:
        raise ConfigError(f"ratio must be above 0, got {plan.ratio}")


def meta_of(plan: Plan, found: list[int]) -> dict[str, Any]:
    """What the encoding says about cores of these ranks."""
    if METHODS[plan.method].choose is None:
        return {"rank": found[0]}
    meta: dict[str, Any] = {"row_modes": plan.row_modes, "column_modes": plan.column_modes, "ranks": found}
    return {**meta, "blocks": plan.blocks} if plan.method == "btd" else meta


def core_shapes(kind: str, meta: dict[str, Any], shape: Dims) -> dict[str, Dims]:
    """Names and shapes of the cores of an encoding with this meta."""
    codec = _codec(kind)
    return codec.core_shapes(codec.read_meta({**meta, "cores": [_ANY_CORE]}), shape)


def rebuild(kind: str, cores: list[Float], meta: dict[str, Any], shape: Dims) -> Float:
    """The operand that cores multiply out to."""
    codec = _codec(kind)
    return codec.rebuild(cores, codec.read_meta({**meta, "cores": [_ANY_CORE]}), shape)


def parameter_count(plan: Plan, found: list[int], shape: Dims) -> int:
    """Elements of all cores of these ranks."""
    shapes = core_shapes(METHODS[plan.method].encoding, meta_of(plan, found), shape)
    return sum(prod(dims) for dims in shapes.values())


def _codec(kind: str) -> Factored:
    codec = encoding(kind)
    assert isinstance(codec, Factored)
    return codec


def _ranks_for_ratio(plan: Plan, sizes: list[int], shape: Dims, most: int) -> list[int]:
    """The largest common rank whose cores are few enough."""
    possible, whole = METHODS[plan.method].possible, prod(shape)
    target = plan.ratio or 0.0

    def fits(rank: int) -> bool:
        return parameter_count(plan, possible(sizes, rank), shape) * target <= whole

    if not fits(1):
        best = whole / parameter_count(plan, possible(sizes, 1), shape)
        raise ConfigError(f"ratio must be at most {best:.1f}, that of rank 1, got {plan.ratio}")
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return possible(sizes, low)


def _attempt(
    values: Float, tensor: Float, plan: Plan, found: list[int] | None, delta2: float, measure: bool = True
) -> Decomposition:
    method = METHODS[plan.method]
    cores = {n: np.ascontiguousarray(c, np.float32) for n, c in method.solve(tensor, found, delta2, plan).items()}
    if not all(np.isfinite(core).all() for core in cores.values()):
        raise ConfigError(f"cores of {plan.method} must be finite, but overflow float32; try other ranks")
    meta = meta_of(plan, found or found_ranks(method.encoding, cores))
    result = Decomposition(method.encoding, cores, meta, nan, values.shape)
    if not measure:
        return result
    signal, noise = energy(values), energy(values - result.values())
    return replace(result, error=sqrt(noise / signal) if signal else 0.0)


def found_ranks(kind: str, cores: Cores) -> list[int]:
    """The ranks that the shapes of cores say."""
    arrays = list(cores.values())
    if kind == "tucker":
        return list(arrays[0].shape)
    if kind in ("tt", "ring"):
        return [arrays[0].shape[0], *(core.shape[-1] for core in arrays)]
    if kind == "ht":
        return [core.shape[-1] for core in arrays]
    return [arrays[-1].shape[0]]


def _by_energy(values: Float, tensor: Float, plan: Plan) -> Decomposition:
    """The methods bound the error by the energy left out; if rounding to float32 gets in the way, leave out less."""
    target, whole = plan.error or 0.0, energy(values)
    plan = replace(plan, exact=plan.exact or target < GRAM_FLOOR)
    for part in (1.0, 0.9, 0.5, 0.0):
        found = _attempt(values, tensor, plan, None, whole * (target * part) ** 2)
        if found.error <= target:
            return found
    raise _unreachable(plan, found.error)


def _by_rank(values: Float, tensor: Float, plan: Plan) -> Decomposition:
    """The least common rank, by doubling and halving."""
    target = plan.error or 0.0
    method, sizes = METHODS[plan.method], list(tensor.shape)
    most = max(method.possible(sizes, prod(sizes)))
    low, high, best = 0, 1, None
    while best is None:
        found = _attempt(values, tensor, plan, method.possible(sizes, high), 0.0)
        if found.error <= target:
            best = found
        elif high == most:
            raise _unreachable(plan, found.error)
        else:
            low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        found = _attempt(values, tensor, plan, method.possible(sizes, middle), 0.0)
        if found.error <= target:
            best, high = found, middle
        else:
            low = middle
    return best


def _unreachable(plan: Plan, error: float) -> ConfigError:
    return ConfigError(f"error must be at least {error:.3g}, which {plan.method} reaches here, got {plan.error}")


def _matrix(solve: Callable[..., Cores]) -> Callable[[Float, list[int] | None, float, Plan], Cores]:
    return lambda a, found, delta2, plan: solve(a, found[0] if found else None, delta2, plan.exact)


def _tensor_train(a: Float, found: list[int] | None, delta2: float, plan: Plan) -> Cores:
    return _chain(networks.train(a, found, delta2, plan.exact)[0], plan)


def _tensor_ring(a: Float, found: list[int] | None, delta2: float, plan: Plan) -> Cores:
    if a.ndim == 1:
        return _chain([a.reshape(1, -1, 1)], plan)
    return _chain(networks.ring(a, found or [], plan.exact)[0], plan)


def _chain(cores: list[Float], plan: Plan) -> Cores:
    """[r, m n, r'] -> [r, m, n, r'], named."""
    pairs = zip(plan.row_modes or [], plan.column_modes or [], strict=True)
    shapes = [(core.shape[0], m, n, core.shape[2]) for core, (m, n) in zip(cores, pairs, strict=True)]
    return {f"core{k}": core.reshape(dims) for k, (core, dims) in enumerate(zip(cores, shapes, strict=True))}


def _hosvd(a: Float, found: list[int] | None, delta2: float, plan: Plan) -> Cores:
    return multilinear.hosvd(a, found, delta2, plan.exact)


def _tucker(a: Float, found: list[int] | None, delta2: float, plan: Plan) -> Cores:
    return multilinear.tucker(a, found, delta2, plan.exact, plan.iterations or 25)


def _btd(a: Float, found: list[int] | None, delta2: float, plan: Plan) -> Cores:
    return multilinear.block_terms(a, found or [], plan.blocks, plan.exact, plan.iterations or 25)


def _cp(a: Float, found: list[int] | None, delta2: float, plan: Plan) -> Cores:
    noise = np.random.Generator(np.random.Philox(key=plan.seed))
    return multilinear.cp(a, (found or [1])[0], noise, plan.iterations or 100)


def _ht(a: Float, found: list[int] | None, delta2: float, plan: Plan) -> Cores:
    return networks.hierarchical(a, found, delta2, plan.exact)[0]


def _tensor_modes(shape: Dims, order: int) -> modes.Modes:
    """Convolutions as they stand, matrices tensorized."""
    return modes.natural_modes(shape) if len(shape) > 2 else modes.chain_modes(shape, order)


def _prime_modes(shape: Dims, order: int) -> modes.Modes:
    return modes.prime_modes(shape)


_TUCKER = (_tensor_modes, ranks.tucker_ranks, ranks.check_tucker)
_TRAIN = (ranks.train_ranks, ranks.check_train, _tensor_train)
_MATRIX = (None, ranks.matrix_ranks, ranks.check_matrix)

METHODS: dict[str, Method] = {
    "full_rank": Method("low_rank", *_MATRIX, _matrix(matrix.full_rank_cores)),
    "svd": Method("svd", *_MATRIX, _matrix(matrix.svd_cores)),
    "qr": Method("low_rank", *_MATRIX, _matrix(matrix.qr_cores)),
    "cur": Method("cur", *_MATRIX, _matrix(matrix.cur_cores), by_energy=False),
    "tucker": Method("tucker", *_TUCKER, _tucker),
    "hosvd": Method("tucker", *_TUCKER, _hosvd),
    "cp": Method("cp", _tensor_modes, ranks.cp_ranks, ranks.check_cp, _cp, by_energy=False),
    "btd": Method("btd", *_TUCKER, _btd, by_energy=False),
    "ht": Method("ht", modes.chain_modes, ranks.tree_ranks, ranks.check_tree, _ht),
    "tt": Method("tt", modes.chain_modes, *_TRAIN),
    "qtt": Method("tt", _prime_modes, *_TRAIN),
    "ring": Method("ring", modes.chain_modes, ranks.ring_ranks, ranks.check_ring, _tensor_ring, by_energy=False),
}
