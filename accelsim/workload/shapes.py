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

    Per step and direction: ofmap[batch, gates*hidden] = x[batch, features] . W + state[batch, state] . U,
    where the products of x do not wait for the recurrence.
    """

    batch: int
    steps: int
    features: int
    hidden: int
    gates: int
    state: int
    directions: int = 1

    def __post_init__(self) -> None:
        check_dims(
            "RecurrentShape",
            batch=self.batch,
            steps=self.steps,
            features=self.features,
            hidden=self.hidden,
            gates=self.gates,
            directions=self.directions,
        )
        check_dims("RecurrentShape", state=self.state)

    @property
    def input_gemm(self) -> GemmShape:
        """All time steps' input products at once, one for each direction."""
        return GemmShape(self.batch * self.steps, self.gates * self.hidden, self.features, self.directions)

    @property
    def step_gemm(self) -> GemmShape:
        """The recurrent products of one time step of one direction."""
        return GemmShape(self.batch, self.gates * self.hidden, self.state)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all steps and directions; element-wise gate products not counted."""
        return self.input_gemm.macs + self.directions * self.steps * self.step_gemm.macs


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
