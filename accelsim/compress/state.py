"""What a step sees and changes: one operand of one layer on its way from its original numbers to a trace.

Rules, which make any order of steps possible
- `values` are always the real numbers that the operand stands for at this moment, in float32 and in the
  operand's own shape. `original` is never written to; `values` may be the same array until a step changes it.
- A zero is a zero: there is no mask beside `values`. A step that removes elements sets them to 0.0 (`zero_out`)
  and thereby says `pruned`; after that, every step has to leave zeros where they are, or refuse.
- `quantized` says which integers stand for `values`; whoever changes `values` otherwise than by `zero_out`
  (which changes the integers too) drops it, by `replace`.
- `factors` replace the tensor by smaller ones, each a `TensorState` of its own, to which later steps apply.
- A `described` operand has no numbers at all: only how to draw them (width, density, distribution).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.workload.encodings.base import encoding
from accelsim.workload.encodings.coded import Coded
from accelsim.workload.generator import GeneratorSpec
from accelsim.workload.network import Layer
from accelsim.workload.packing import value_dtype
from accelsim.workload.shapes import Dims

FloatArray = NDArray[np.float32]
IntArray = NDArray[Any]

ORIGINAL_BITS = 32
"""Width of an element before compression, to which every ratio refers: float32."""


@dataclass(frozen=True)
class Quantized:
    """Integers, and what they stand for.

    Attributes
    ----------
    codes : ndarray of value_dtype(bits, signed), in the operand's shape
    bits : int
    signed : bool
    meaning : str
        "affine", or the name of an encoding that is a `Coded` (codebook, grouped, log2, ...).
    tables : dict of str to ndarray
        Affine: `scale` (float32) and `zero_point` (int32), each of shape () or (first dimension,).
        Otherwise the tables of that encoding.
    meta : dict
        Plain data that the encoding's `Meta` wants beside `inner` and `inner_meta`.
    """

    codes: IntArray
    bits: int
    signed: bool
    meaning: str
    tables: dict[str, NDArray[Any]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def values(self) -> FloatArray:
        """The real numbers, float32."""
        if self.meaning == "affine":
            return affine_values(self.codes, self.tables["scale"], self.tables["zero_point"])
        coder = self.coder
        return coder.real(self.codes, self.tables, coder.read_meta(self.meta), self.bits)

    def rows(self, part: slice) -> Quantized:
        """The same for some of the first indices; the whole, if there is only one dimension."""
        if self.codes.ndim < 2:
            return self
        tables = {n: t[part] if t.ndim and t.shape[0] > 1 else t for n, t in self.tables.items()}
        return replace(self, codes=self.codes[part], tables=tables)

    @property
    def coder(self) -> Coded:
        """The encoding that gives the integers their meaning; not for "affine"."""
        found = encoding(self.meaning)
        if not isinstance(found, Coded):
            raise SimulationBug(f"encoding {self.meaning} does not say what integers stand for")
        return found

    def zeros(self) -> IntArray | None:
        """The integer that stands for 0.0, or one for each first index, ready to broadcast; None if there is none."""
        if self.meaning == "affine":
            points = np.asarray(self.tables["zero_point"]).astype(self.codes.dtype)
            return points.reshape(-1, *[1] * (self.codes.ndim - 1)) if points.ndim else points
        coder = self.coder
        code = coder.zero_code(self.tables, coder.read_meta(self.meta), self.bits)
        return None if code is None else np.asarray(code, self.codes.dtype)


def affine_values(codes: IntArray, scale: NDArray[Any], zero_point: NDArray[Any]) -> FloatArray:
    """scale * (codes - zero_point) in float32; `scale` and `zero_point` of shape () or (first dimension,)."""
    broad = (-1, *[1] * (codes.ndim - 1))
    scale, zero_point = (t.reshape(broad) if t.ndim else t for t in (np.asarray(scale), np.asarray(zero_point)))
    if zero_point.any():
        codes = codes.astype(np.int32) - zero_point.astype(np.int32)
    result: FloatArray = np.multiply(codes, scale.astype(np.float32), dtype=np.float32)
    return result


@dataclass(frozen=True)
class Storage:
    """How the integers (or floats) lie in memory: an encoding's name and its parameters."""

    encoding: str = "dense"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Factors:
    """A tensor as a product of smaller ones.

    Attributes
    ----------
    kind : str
        Name of the encoding that stores them: tt, tucker, cp, ...
    cores : list of TensorState
        In the encoding's order; `part` of each is its name there.
    meta : dict
        Plain data that the encoding wants (mode sizes, ranks).
    rebuild : callable
        Arrays of the cores, in order -> the operand in its own shape, float32.
    """

    kind: str
    cores: list[TensorState]
    meta: dict[str, Any]
    rebuild: Callable[[list[FloatArray]], FloatArray]


@dataclass
class TensorState:
    """One operand (or one core of a decomposed one) in the middle of a recipe; the module's text has the rules.

    Attributes
    ----------
    layer : Layer
        As in the network at this point of the recipe.
    role : str
        See `trace_format.ROLES`.
    shape : tuple of int
    original : ndarray of float32 or None
        The numbers before any step, read-only; None for a described operand. For cores: at decomposition.
    part : str
        Name of a core; "" for a whole operand.
    pruned : bool
        Zeros have a meaning, and must stay.
    signed : bool
        Whether the operand may be negative (activations after ReLU are not).
    storage : Storage or None
        Chosen by an `encode` step; None: dense integers, or float32.
    notes : list of str
        What steps have to say, for the report.
    """

    layer: Layer
    role: str
    shape: Dims
    original: FloatArray | None
    part: str = ""
    pruned: bool = False
    signed: bool = True
    quantized: Quantized | None = None
    factors: Factors | None = None
    described: GeneratorSpec | None = None
    storage: Storage | None = None
    notes: list[str] = field(default_factory=list)
    _values: FloatArray | None = None

    @property
    def name(self) -> str:
        """`conv1/filter`, or `conv1/filter.core0`."""
        return f"{self.layer.name}/{self.role}" + (f".{self.part}" if self.part else "")

    @property
    def elements(self) -> int:
        """Number of elements, zeros included."""
        return prod(self.shape)

    @property
    def values(self) -> FloatArray:
        """The numbers now; do not write into it. Cores are multiplied out on every call."""
        if self.factors is not None:
            return self.factors.rebuild([core.values for core in self.factors.cores])
        if self._values is None and self.quantized is not None:
            self._values = self.quantized.values()
        found = self.original if self._values is None else self._values
        if found is None:
            raise ConfigError("has no values: it is only described", self.name)
        return found

    def rows(self, part: slice) -> FloatArray:
        """The numbers of some of the first indices; cheap where integers stand for them. Not for one dimension."""
        if self._values is None and self.quantized is not None and self.factors is None:
            return self.quantized.rows(part).values()
        return self.values[part]

    def leaves(self) -> Iterator[TensorState]:
        """Itself, or the cores that replace it: the states to which element-wise steps apply."""
        if self.factors is None:
            yield self
        else:
            for core in self.factors.cores:
                yield from core.leaves()

    # --- the four ways to change it ---

    def replace(self, values: FloatArray) -> None:
        """New real numbers of the same shape; what integers stood for the old ones is forgotten."""
        self._check(values)
        self._values, self.quantized, self.factors = values, None, None

    def zero_out(self, removed: NDArray[np.bool_]) -> None:
        """Set elements to zero for good (`removed`: True where), in the numbers and in the integers alike.

        Raises
        ------
        ConfigError
            If the tensor is quantized to levels without a zero: prune first, or quantize again.
        """
        quantized = self.quantized
        if quantized is None:
            self._values = np.where(removed, np.float32(0), self.values)
        else:
            zero = quantized.zeros()
            if zero is None:
                what = f"cannot be pruned: its {quantized.meaning} levels have no zero; prune first"
                raise ConfigError(what, self.name)
            codes = np.where(removed, zero, quantized.codes)
            self._values, self.quantized = None, replace(quantized, codes=codes)
        self.pruned = True

    def quantize(self, quantized: Quantized) -> None:
        """Let integers stand for the tensor; `values` become theirs (on demand).

        Raises
        ------
        ConfigError
            If the tensor is pruned, but zero has no code.
        """
        if self.pruned and quantized.zeros() is None:
            raise ConfigError(f"is pruned, but its new {quantized.meaning} levels have no zero", self.name)
        codes, dtype = quantized.codes, value_dtype(quantized.bits, quantized.signed)
        if codes.shape != self.shape or codes.dtype != dtype:
            raise SimulationBug(f"{self.name}: codes must be {dtype}{self.shape}, got {codes.dtype}{codes.shape}")
        self._values, self.quantized, self.factors = None, quantized, None

    def decompose(self, factors: Factors) -> None:
        """Let cores stand for the tensor."""
        self._values, self.quantized, self.factors = None, None, factors

    def describe(self, spec: GeneratorSpec) -> None:
        """Change the description of an operand without values."""
        if self.original is not None:
            raise SimulationBug(f"{self.name} has values")
        self.described = spec

    def _check(self, values: FloatArray) -> None:
        if values.shape != self.shape or values.dtype != np.float32:
            got = f"{values.dtype}{list(values.shape)}"
            raise SimulationBug(f"{self.name}: values must be float32{list(self.shape)}, got {got}")

    # --- what the report counts ---

    @property
    def bits(self) -> int:
        """Width of a stored element now: of the codes, or 32; of cores the widest."""
        if self.factors is not None:
            return max(core.bits for core in self.factors.cores)
        if self.described is not None:
            return self.described.bits
        return self.quantized.bits if self.quantized else ORIGINAL_BITS
