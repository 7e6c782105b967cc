"""Operators of a network: hyper-parameters only; shapes follow from the graph.

Each operator is one frozen dataclass, registered under its `kind`, with four questions answered:
the output's shape, the parameters, the `WorkShape` that engines see, and whether it has weights.
Tensors are (N, C, H, W) for images and (N, ..., features) for sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from accelsim.base.errors import ConfigError
from accelsim.base.registry import Registry
from accelsim.workload.cells import CELLS
from accelsim.workload.fields import limited, rules_of
from accelsim.workload.shapes import ConvShape, Dims, GemmShape, RecurrentShape, VectorShape, WorkShape

OPS: Registry[type[Op]] = Registry("operator", "accelsim.workload")


@dataclass(frozen=True)
class Op:
    """Base of all operators; the defaults fit a view (no work, no parameters, shape unchanged).

    Raises
    ------
    ConfigError
        If a field does not hold what it may hold (see `fields.limited`).
    """

    kind: ClassVar[str] = ""
    inputs_min: ClassVar[int] = 1
    inputs_max: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name, rule in rules_of(type(self)).items():
            value = getattr(self, name)
            if not rule.accepts(value):
                raise ConfigError(f"{self.kind}: {name} must be {rule.text}, got {value!r}")

    def output(self, ins: list[Dims]) -> Dims:
        """Shape of the result, from the shapes of the inputs; ConfigError if they do not fit."""
        return ins[0]

    def params(self, ins: list[Dims]) -> int:
        """Trainable parameters: weights, biases, scales and shifts."""
        return 0

    def work(self, ins: list[Dims]) -> WorkShape | None:
        """What an engine has to do; None for views, which cost nothing."""
        return None

    def weights(self, ins: list[Dims]) -> dict[str, Dims]:
        """Weight operands by role (`filter`, and `recurrent` for cells) and their shapes."""
        return {}


def _image(ins: list[Dims], kind: str) -> Dims:
    if len(ins[0]) != 4:
        raise ConfigError(f"{kind} needs an (N, C, H, W) input, got {ins[0]}")
    return ins[0]


def _axis(axis: int, dims: Dims) -> int:
    if not -len(dims) <= axis < len(dims):
        raise ConfigError(f"there is no axis {axis} in {dims}")
    return axis % len(dims)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


Pad = int | str | tuple[int, int] | tuple[int, int, int, int]
PADS = ("same", "valid")


def explicit_pad(
    pad: Pad, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) from an integer, a pair, a quadruple, "same" or "valid".

    "same" gives ceil(size / stride) outputs, the odd zero at the bottom right (TensorFlow's rule).
    """
    if isinstance(pad, int):
        return (pad, pad, pad, pad)
    if pad == "valid":
        return (0, 0, 0, 0)
    if isinstance(pad, str):
        total = [
            max(0, (-(-z // t) - 1) * t + d * (k - 1) + 1 - z)
            for z, k, t, d in zip(size, kernel, stride, dilation, strict=True)
        ]
        return (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
    if len(pad) == 2:
        return (pad[0], pad[1], pad[0], pad[1])
    return pad


@OPS.register("input")
@dataclass(frozen=True)
class Input(Op):
    """A network input of a given shape; the first dimension is the batch."""

    kind: ClassVar[str] = "input"
    inputs_min: ClassVar[int] = 0
    inputs_max: ClassVar[int] = 0
    shape: Dims = limited(least=1)

    def output(self, ins: list[Dims]) -> Dims:
        return self.shape


@OPS.register("conv")
@dataclass(frozen=True)
class Conv(Op):
    """2-D convolution. `kernel`, `stride`, `dilation`: (vertical, horizontal) or one integer."""

    kind: ClassVar[str] = "conv"
    channels: int = limited(least=1)
    kernel: int | tuple[int, int] = limited(1, least=1)
    stride: int | tuple[int, int] = limited(1, least=1)
    pad: Pad = limited(0, least=0, choices=PADS)
    dilation: int | tuple[int, int] = limited(1, least=1)
    groups: int = limited(1, least=1)
    bias: bool = True

    def shape(self, ins: list[Dims]) -> ConvShape:
        n, c, h, w = _image(ins, "conv")
        kernel, stride, dilation = _pair(self.kernel), _pair(self.stride), _pair(self.dilation)
        pad = explicit_pad(self.pad, (h, w), kernel, stride, dilation)
        return ConvShape(n, c, h, w, self.channels, *kernel, stride, pad, dilation, self.groups)

    def output(self, ins: list[Dims]) -> Dims:
        shape = self.shape(ins)
        return (shape.n, shape.m, shape.p, shape.q)

    def work(self, ins: list[Dims]) -> WorkShape:
        return self.shape(ins)

    def weights(self, ins: list[Dims]) -> dict[str, Dims]:
        return {"filter": (self.channels, ins[0][1] // self.groups, *_pair(self.kernel))}

    def params(self, ins: list[Dims]) -> int:
        return prod(self.weights(ins)["filter"]) + (self.channels if self.bias else 0)


@OPS.register("linear")
@dataclass(frozen=True)
class Linear(Op):
    """Fully connected layer over the last dimension; all leading dimensions are rows of the GEMM.

    `tied`: the filter is that of another layer (a language model's output layer and its embedding):
    it has to be fetched, but is not counted as a parameter again.
    """

    kind: ClassVar[str] = "linear"
    features: int = limited(least=1)
    bias: bool = True
    tied: bool = False

    def output(self, ins: list[Dims]) -> Dims:
        return (*ins[0][:-1], self.features)

    def work(self, ins: list[Dims]) -> WorkShape:
        return GemmShape(prod(ins[0][:-1]), self.features, ins[0][-1])

    def weights(self, ins: list[Dims]) -> dict[str, Dims]:
        return {"filter": (self.features, ins[0][-1])}

    def params(self, ins: list[Dims]) -> int:
        return self.features * ((0 if self.tied else ins[0][-1]) + (1 if self.bias else 0))


@OPS.register("matmul")
@dataclass(frozen=True)
class Matmul(Op):
    """Batched product of two activations: (..., M, K) x (..., K, N), or (..., N, K) if `transpose_b`.

    Leading dimensions broadcast as in numpy; an operand shared that way is counted once for each product.
    """

    kind: ClassVar[str] = "matmul"
    inputs_min: ClassVar[int] = 2
    inputs_max: ClassVar[int] = 2
    transpose_b: bool = False

    def _mnk(self, ins: list[Dims]) -> tuple[Dims, int, int, int]:
        a, b = ins
        kb, n = (b[-1], b[-2]) if self.transpose_b else (b[-2], b[-1])
        lead = tuple(map(max, a[:-2], b[:-2]))
        fits = all(x in (1, z) and y in (1, z) for x, y, z in zip(a[:-2], b[:-2], lead, strict=False))
        if len(a) != len(b) or not fits or a[-1] != kb:
            raise ConfigError(f"matmul operands do not fit: {a} x {b}, transpose_b={self.transpose_b}")
        return lead, a[-2], n, kb

    def output(self, ins: list[Dims]) -> Dims:
        lead, m, n, _ = self._mnk(ins)
        return (*lead, m, n)

    def work(self, ins: list[Dims]) -> WorkShape:
        lead, m, n, k = self._mnk(ins)
        return GemmShape(m, n, k, prod(lead))


@OPS.register("pool")
@dataclass(frozen=True)
class Pool(Op):
    """Max or average pooling; `kernel: global` pools the whole image. `ceil` rounds the size up (Caffe)."""

    kind: ClassVar[str] = "pool"
    mode: str = limited("max", choices=("max", "avg"))
    kernel: int | str | tuple[int, int] = limited(2, least=1, choices=("global",))
    stride: int | tuple[int, int] | None = limited(None, least=1)
    pad: Pad = limited(0, least=0, choices=PADS)
    ceil: bool = False

    def _window(self, ins: list[Dims]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        _, _, h, w = _image(ins, "pool")
        if isinstance(self.kernel, str):
            return (h, w), (1, 1), (1, 1)
        kernel = _pair(self.kernel)
        stride = kernel if self.stride is None else _pair(self.stride)
        pad = explicit_pad(self.pad, (h, w), kernel, stride, (1, 1))
        out = []
        for size, k, t, lo, hi in zip((h, w), kernel, stride, pad[:2], pad[2:], strict=True):
            span = size + lo + hi - k
            count = (-(-span // t) if self.ceil else span // t) + 1
            if self.ceil and (count - 1) * t >= size + lo:
                count -= 1  # the last window must start inside the image (Caffe, PyTorch)
            if count < 1:
                raise ConfigError(f"pool kernel {kernel} is larger than the padded input {h}x{w}")
            out.append(count)
        return kernel, stride, (out[0], out[1])

    def output(self, ins: list[Dims]) -> Dims:
        _, _, (p, q) = self._window(ins)
        return (*ins[0][:2], p, q)

    def work(self, ins: list[Dims]) -> WorkShape:
        kernel, _, _ = self._window(ins)
        return VectorShape(prod(ins[0]), prod(self.output(ins)), kernel[0] * kernel[1])


ELTWISE = ("add", "sub", "mul", "div", "max", "min", "mean", "pow", "mod", "compare", "logic", "where")


@OPS.register("eltwise")
@dataclass(frozen=True)
class Eltwise(Op):
    """Element-wise arithmetic, comparison or selection of two or more tensors, broadcast as in numpy.

    One input: the other operand is a constant scalar.
    """

    kind: ClassVar[str] = "eltwise"
    inputs_max: ClassVar[int] = 64
    mode: str = limited("add", choices=ELTWISE)

    def output(self, ins: list[Dims]) -> Dims:
        rank = max(map(len, ins))
        padded = [(1,) * (rank - len(d)) + d for d in ins]
        out = tuple(max(sizes) for sizes in zip(*padded, strict=True))
        if any(d not in (1, o) for dims in padded for d, o in zip(dims, out, strict=True)):
            raise ConfigError(f"eltwise inputs do not broadcast: {', '.join(map(str, ins))}")
        return out

    def work(self, ins: list[Dims]) -> WorkShape:
        return VectorShape(sum(map(prod, ins)), prod(self.output(ins)), max(1, len(ins) - 1))


# Simple operations per result. A transcendental function is one look-up in the units that we model.
ACTIVATIONS = {
    "relu": 1,
    "relu6": 2,
    "leaky_relu": 2,
    "prelu": 2,
    "sigmoid": 1,
    "tanh": 1,
    "gelu": 1,
    "silu": 2,
    "hard_sigmoid": 3,
    "hard_swish": 4,
    "elu": 2,
    "exp": 1,
    "sqrt": 1,
    "clip": 2,
    "erf": 1,
    "softplus": 1,
    "softsign": 3,
    "mish": 2,
    "log": 1,
    "reciprocal": 1,
    "trigonometric": 1,
    "abs": 1,
    "neg": 1,
    "sign": 1,
    "round": 1,
    "not": 1,
}


@OPS.register("activation")
@dataclass(frozen=True)
class Activation(Op):
    """A function of each element; may be fused into the layer that produces its input."""

    kind: ClassVar[str] = "activation"
    mode: str = limited("relu", choices=tuple(ACTIVATIONS))
    slopes: int = limited(0, least=0)  # trained slopes (PReLU)

    def work(self, ins: list[Dims]) -> WorkShape:
        return VectorShape(prod(ins[0]), prod(ins[0]), ACTIVATIONS[self.mode])

    def params(self, ins: list[Dims]) -> int:
        return self.slopes


@OPS.register("norm")
@dataclass(frozen=True)
class Norm(Op):
    """Normalisation. `batch` folds into the layer before it (no work); the others are computed.

    `layer` and `rms` work over the last dimension, `group` (and instance) over groups of channels (axis 1),
    `local` is LRN.
    `folded: false` for a batch normalisation that no convolution precedes (DenseNet's, after a concatenation):
    one multiplication and one addition for each element.
    """

    kind: ClassVar[str] = "norm"
    mode: str = limited("batch", choices=("batch", "layer", "group", "rms", "local"))
    affine: bool = True
    size: int = limited(5, least=1)  # window of LRN
    folded: bool = True

    def work(self, ins: list[Dims]) -> WorkShape | None:
        count = prod(ins[0])
        if self.mode == "batch":
            return None if self.folded else VectorShape(count, count, 2)
        if self.mode in ("layer", "group"):
            # mean, variance (subtract, square-accumulate), scale and shift
            return VectorShape(count, count, 5)
        if self.mode == "rms":
            return VectorShape(count, count, 3)  # square-accumulate, normalise, scale
        return VectorShape(count, count, self.size + 2)

    def params(self, ins: list[Dims]) -> int:
        if not self.affine or self.mode == "local":
            return 0
        by_channel = self.mode == "group" or (self.mode == "batch" and len(ins[0]) == 4)
        channels = ins[0][1] if by_channel else ins[0][-1]
        return channels if self.mode == "rms" else 2 * channels


@OPS.register("softmax")
@dataclass(frozen=True)
class Softmax(Op):
    """Softmax over the last dimension: maximum, exponential, sum, division."""

    kind: ClassVar[str] = "softmax"

    def work(self, ins: list[Dims]) -> WorkShape:
        return VectorShape(prod(ins[0]), prod(ins[0]), 4)


@OPS.register("embedding")
@dataclass(frozen=True)
class Embedding(Op):
    """Rows of a table chosen by integer indices: (N, T) -> (N, T, features)."""

    kind: ClassVar[str] = "embedding"
    entries: int = limited(least=1)
    features: int = limited(least=1)

    def output(self, ins: list[Dims]) -> Dims:
        return (*ins[0], self.features)

    def work(self, ins: list[Dims]) -> WorkShape:
        out = prod(self.output(ins))
        return VectorShape(out, out, 1)

    def params(self, ins: list[Dims]) -> int:
        return self.entries * self.features


@OPS.register("parameter")
@dataclass(frozen=True)
class Parameter(Op):
    """A tensor that enters the graph as it is: trained (class token, position embedding), or a fixed constant."""

    kind: ClassVar[str] = "parameter"
    inputs_min: ClassVar[int] = 0
    inputs_max: ClassVar[int] = 0
    shape: Dims = limited(least=1)
    learned: bool = True

    def output(self, ins: list[Dims]) -> Dims:
        return self.shape

    def params(self, ins: list[Dims]) -> int:
        return prod(self.shape) if self.learned else 0


@OPS.register("recurrent")
@dataclass(frozen=True)
class Recurrent(Op):
    """A layer of recurrent cells (see `cells.CELLS`) over (N, T, features) -> (N, T, directions * out).

    `projection`: width of what is fed back and put out (LSTMP). `groups`: the cell is split into that many, each with
    its own part of the input, the state and the output (G-LSTM). `rank`: of the two factors of the matrix that all
    gates share (F-LSTM). `window`: time steps of the input that a gate sees; 0: as the cell's paper has it.
    Biases: `bias_vectors` per gate, two in cuDNN, PyTorch and ONNX, one in TensorFlow and in most papers (always one
    where no gate reads the state); or none with `bias: false`. A second and third input are the initial hidden and
    cell state.
    """

    kind: ClassVar[str] = "recurrent"
    inputs_max: ClassVar[int] = 3
    cell: str = limited(choices=tuple(CELLS))
    hidden: int = limited(least=1)
    directions: int = limited(1, least=1)
    bias: bool = True
    bias_vectors: int = limited(2, least=1)
    projection: int = limited(0, least=0)
    groups: int = limited(1, least=1)
    rank: int = limited(0, least=0)
    window: int = limited(0, least=0)

    def shape(self, ins: list[Dims]) -> RecurrentShape:
        if len(ins[0]) != 3:
            raise ConfigError(f"recurrent needs an (N, T, features) input, got {ins[0]}")
        (n, t, features), cell = ins[0], CELLS[self.cell]
        gates = cell.gates + (cell.skip and features != self.hidden)
        return RecurrentShape(
            n, t, features, self.hidden, gates, self.out, self.directions, cell.fed_back, self.window or cell.window,
            self.projection, self.groups, self.rank, cell.ops,
        )  # fmt: skip

    @property
    def out(self) -> int:
        """Width of the state, and of the output of one direction."""
        return self.projection or self.hidden

    def bias_shape(self) -> Dims:
        """(vectors, elements) of all biases of all directions."""
        cell = CELLS[self.cell]
        return (self.bias_vectors if cell.fed_back else 1, self.directions * cell.biased * self.hidden)

    def output(self, ins: list[Dims]) -> Dims:
        return (*ins[0][:2], self.out * self.directions)

    def work(self, ins: list[Dims]) -> WorkShape:
        return self.shape(ins)

    def weights(self, ins: list[Dims]) -> dict[str, Dims]:
        return self.shape(ins).weights

    def params(self, ins: list[Dims]) -> int:
        vectors = self.directions * CELLS[self.cell].vectors * self.hidden
        return sum(map(prod, self.weights(ins).values())) + vectors + (prod(self.bias_shape()) if self.bias else 0)


# --- views: they rename or reorder data that is already there; tensors stay alive through them ---


@OPS.register("concat")
@dataclass(frozen=True)
class Concat(Op):
    """Join along `axis`: the parts are written side by side by their producers."""

    kind: ClassVar[str] = "concat"
    inputs_max: ClassVar[int] = 4096
    axis: int = 1

    def output(self, ins: list[Dims]) -> Dims:
        axis = _axis(self.axis, ins[0])
        for dims in ins:
            if len(dims) != len(ins[0]) or any(
                a != b for i, (a, b) in enumerate(zip(dims, ins[0], strict=True)) if i != axis
            ):
                raise ConfigError(f"concat inputs differ outside axis {axis}: {', '.join(map(str, ins))}")
        return (*ins[0][:axis], sum(d[axis] for d in ins), *ins[0][axis + 1 :])


@OPS.register("slice")
@dataclass(frozen=True)
class Slice(Op):
    """Every `step`-th element from `start` to `stop` (exclusive) along `axis`."""

    kind: ClassVar[str] = "slice"
    axis: int = limited()
    start: int = limited(least=0)
    stop: int = limited(least=1)
    step: int = limited(1, least=1)

    def output(self, ins: list[Dims]) -> Dims:
        axis = _axis(self.axis, ins[0])
        if not self.start < self.stop <= ins[0][axis]:
            raise ConfigError(f"slice {self.start}:{self.stop} is outside axis {axis} of {ins[0]}")
        return (*ins[0][:axis], -(-(self.stop - self.start) // self.step), *ins[0][axis + 1 :])


@OPS.register("reshape")
@dataclass(frozen=True)
class Reshape(Op):
    """New shape of the same elements; 0 keeps a dimension, one -1 is worked out."""

    kind: ClassVar[str] = "reshape"
    shape: Dims = limited((0, -1), least=-1)

    def output(self, ins: list[Dims]) -> Dims:
        dims = [ins[0][i] if d == 0 else d for i, d in enumerate(self.shape)]
        total = prod(ins[0])
        if dims.count(-1) == 1:
            known = prod(d for d in dims if d != -1)
            dims[dims.index(-1)] = total // known
        if prod(dims) != total:
            raise ConfigError(f"reshape of {ins[0]} to {self.shape} changes the number of elements")
        return tuple(dims)


@OPS.register("transpose")
@dataclass(frozen=True)
class Transpose(Op):
    """Permute dimensions. Free here: the consumer reads with another stride."""

    kind: ClassVar[str] = "transpose"
    order: Dims = limited(least=0)

    def output(self, ins: list[Dims]) -> Dims:
        if sorted(self.order) != list(range(len(ins[0]))):
            raise ConfigError(f"transpose order {self.order} is no permutation of the {len(ins[0])} dimensions")
        return tuple(ins[0][i] for i in self.order)


@OPS.register("expand")
@dataclass(frozen=True)
class Expand(Op):
    """The first input, of size 1 along `axis`, repeated to the second input's size there (a class token, over a batch).

    Only the second input's shape is used.
    """

    kind: ClassVar[str] = "expand"
    inputs_min: ClassVar[int] = 2
    inputs_max: ClassVar[int] = 2
    axis: int = 0

    def output(self, ins: list[Dims]) -> Dims:
        axis = _axis(self.axis, ins[0])
        if ins[0][axis] != 1:
            raise ConfigError(f"expand needs size 1 along axis {axis}, got {ins[0]}")
        return (*ins[0][:axis], ins[1][_axis(self.axis, ins[1])], *ins[0][axis + 1 :])


@OPS.register("upsample")
@dataclass(frozen=True)
class Upsample(Op):
    """Nearest or bilinear resampling of an image by integer factors, or to a `size` (height, width)."""

    kind: ClassVar[str] = "upsample"
    factor: int | tuple[int, int] = limited(2, least=1)
    size: tuple[int, int] | None = limited(None, least=1)

    def output(self, ins: list[Dims]) -> Dims:
        n, c, h, w = _image(ins, "upsample")
        fh, fw = _pair(self.factor)
        return (n, c, *self.size) if self.size else (n, c, h * fh, w * fw)

    def work(self, ins: list[Dims]) -> WorkShape:
        return VectorShape(prod(ins[0]), prod(self.output(ins)), 1)
