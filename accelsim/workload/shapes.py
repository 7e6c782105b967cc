"""Shapes of work: convolution, GEMM, recurrence, element-wise; and how each becomes a GEMM.

The letters of convolution (N, M, C, P, Q, R, S, G) live in `ConvShape` only, those of GEMM
(M, N, K) in `GemmShape` only; `ConvShape.to_gemm` is the one place that knows both.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from accelsim.base.errors import ConfigError
from accelsim.base.units import INT63

Dims = tuple[int, ...]


def check_dims(where: str, **dims: int) -> None:
    """Refuse dimensions that are not positive integers, or whose product overflows 63 bits.

    Raises
    ------
    ConfigError
        Naming the dimension and its value.
    """
    for name, value in dims.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} must be an integer >= 1, got {value!r}", where)
    product = prod(dims.values())
    if product > INT63:
        raise ConfigError(f"the product of {', '.join(dims)} overflows 63 bits ({product:.3e})", where)


@dataclass(frozen=True)
class GemmShape:
    """`batch` independent products ofmap[m, n] = ifmap[m, k] . filter[k, n].

    `batch` counts products that share no operand (groups of a convolution, attention heads).
    """

    m: int
    n: int
    k: int
    batch: int = 1

    def __post_init__(self) -> None:
        check_dims("GemmShape", m=self.m, n=self.n, k=self.k, batch=self.batch)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole."""
        return self.batch * self.m * self.n * self.k


@dataclass(frozen=True)
class ConvShape:
    """A 2-D convolution: n images of c x h x w, m filters of (c/g) x r x s.

    `pad` is (top, left, bottom, right), in zeros; `stride` and `dilation` are (vertical, horizontal).
    """

    n: int
    c: int
    h: int
    w: int
    m: int
    r: int
    s: int
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    g: int = 1

    def __post_init__(self) -> None:
        check_dims("ConvShape", n=self.n, c=self.c, h=self.h, w=self.w)
        check_dims("ConvShape", m=self.m, c=self.c, r=self.r, s=self.s)
        check_dims("ConvShape", stride_h=self.stride[0], stride_w=self.stride[1])
        check_dims("ConvShape", dilation_h=self.dilation[0], dilation_w=self.dilation[1], groups=self.g)
        if min(self.pad) < 0:
            raise ConfigError(f"pad must be >= 0, got {self.pad}", "ConvShape")
        if self.c % self.g or self.m % self.g:
            raise ConfigError(
                f"groups must divide input and output channels, got groups={self.g}, c={self.c}, m={self.m}",
                "ConvShape",
            )
        if self.p < 1 or self.q < 1:
            raise ConfigError(
                f"the filter ({self.r}x{self.s}, dilation {self.dilation}) is larger than "
                f"the padded input ({self.h}x{self.w}, pad {self.pad})",
                "ConvShape",
            )
        check_dims("ConvShape", n=self.n, m=self.m, p=self.p, q=self.q, c=self.c, r=self.r, s=self.s)

    @property
    def p(self) -> int:
        """Output height (floor, as in every framework)."""
        return (self.h + self.pad[0] + self.pad[2] - self.dilation[0] * (self.r - 1) - 1) // self.stride[0] + 1

    @property
    def q(self) -> int:
        """Output width."""
        return (self.w + self.pad[1] + self.pad[3] - self.dilation[1] * (self.s - 1) - 1) // self.stride[1] + 1

    @property
    def depthwise(self) -> bool:
        """One input channel for each group."""
        return self.g > 1 and self.g == self.c

    @property
    def macs(self) -> int:
        """Multiply-accumulates, taps on padding included (as every published count does)."""
        return self.n * self.m * self.p * self.q * (self.c // self.g) * self.r * self.s

    def to_gemm(self) -> GemmShape:
        """im2col: m = N*P*Q, n = M/G, k = (C/G)*R*S, batch = G; k runs over r, then s, then c (c fastest)."""
        return GemmShape(
            m=self.n * self.p * self.q,
            n=self.m // self.g,
            k=self.c // self.g * self.r * self.s,
            batch=self.g,
        )


@dataclass(frozen=True)
class RecurrentShape:
    """`steps` time steps of a cell; each needs the state of the step before it.

    Products of the input do not wait for the recurrence: for all steps at once, and for each direction,
    sums[batch * steps, in_rows] = x[batch * steps, window * features] . W. Then in each step, one after another, the
    products of `step_gemms`, and `unit_ops` simple operations for each of `hidden` units.

    `fed_back` of the `gates` read the state (None: all of them). `projection` is the width of what is fed back and
    put out if it is not `hidden` (Sak et al., INTERSPEECH 2014); each of `groups` cells reads and makes its own part of
    the vectors (but one projection is of them all), and a `rank` other than 0 puts a vector of that width between the
    inputs and the gates (Kuchaiev and Ginsburg, "Factorization tricks for LSTM networks", 2017).
    """

    batch: int
    steps: int
    features: int
    hidden: int
    gates: int
    state: int
    directions: int = 1
    fed_back: int | None = None
    window: int = 1
    projection: int = 0
    groups: int = 1
    rank: int = 0
    unit_ops: int = 0

    def __post_init__(self) -> None:
        check_dims("RecurrentShape", batch=self.batch, steps=self.steps, features=self.features, window=self.window)
        check_dims("RecurrentShape", hidden=self.hidden, gates=self.gates, directions=self.directions)
        check_dims("RecurrentShape", state=self.state, groups=self.groups)
        check_dims("RecurrentShape", batch=self.batch, steps=self.steps, inputs=self.window * self.features,
                   rows=self.gates * self.hidden, directions=self.directions)  # fmt: skip
        for name in ("features", "hidden", "state", "projection", "rank"):
            if getattr(self, name) % self.groups:
                value = getattr(self, name)
                what = f"groups must divide {name}, got groups={self.groups}, {name}={value}"
                raise ConfigError(what, "RecurrentShape")
        if (self.rank or self.projection) and self.gates_fed_back < self.gates:
            raise ConfigError("rank and projection need a cell whose gates all read the state", "RecurrentShape")

    @property
    def gates_fed_back(self) -> int:
        """How many gates have a product with the state."""
        return self.gates if self.fed_back is None else self.fed_back

    @property
    def in_rows(self) -> int:
        """Sums that the input products give, for each step and direction."""
        return self.rank or self.gates * self.hidden

    @property
    def weights(self) -> dict[str, Dims]:
        """Shape of each matrix by its role, all directions; of a group, its own columns only."""
        fed_back = self.rank or self.gates_fed_back * self.hidden
        found = {"filter": (self.in_rows, self.window * self.features // self.groups)}
        if fed_back:
            found["recurrent"] = (fed_back, self.state // self.groups)
        if self.rank:
            found["expansion"] = (self.gates * self.hidden, self.rank // self.groups)
        if self.projection:
            found["projection"] = (self.projection, self.hidden)
        return {role: (self.directions * rows, columns) for role, (rows, columns) in found.items()}

    @property
    def input_gemm(self) -> GemmShape:
        """All time steps' input products at once, one for each direction and group."""
        k = self.window * self.features // self.groups
        batch = self.directions * self.groups
        return GemmShape(self.batch * self.steps, self.in_rows // self.groups, k, batch)

    @property
    def step_gemms(self) -> dict[str, GemmShape]:
        """The products of one time step of one direction, by role of their matrix; each waits for the one before."""
        found = {}
        for role, (rows, k) in self.weights.items():
            groups = 1 if role == "projection" else self.groups
            if role != "filter":
                found[role] = GemmShape(self.batch, rows // (self.directions * groups), k, groups)
        return found

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all steps and directions; element-wise gate products not counted."""
        return self.input_gemm.macs + self.directions * self.steps * sum(g.macs for g in self.step_gemms.values())


@dataclass(frozen=True)
class VectorShape:
    """Element-wise or windowed work without weights: `outputs` results of `ops_per_output` simple operations."""

    inputs: int
    outputs: int
    ops_per_output: int

    @property
    def macs(self) -> int:
        """None: vector work is counted in operations."""
        return 0

    @property
    def ops(self) -> int:
        """Simple operations (compare, add, multiply, look-up)."""
        return self.outputs * self.ops_per_output


WorkShape = ConvShape | GemmShape | RecurrentShape | VectorShape
