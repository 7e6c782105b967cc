"""What a storage format of an operand is.

To add one, write one file in this folder: a subclass of `Encoding` with its `Params`, its `Meta` and five
methods, decorated with `@ENCODINGS.register("name")`. Traces can then hold it, and the contract suite under
`tests/` tries it on every width, sign and density that it says it takes, and on damaged payloads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.registry import Registry
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import Document
from accelsim.workload.packing import MAX_BITS, limits, value_dtype

ENCODINGS: Registry[type[Encoding]] = Registry("encoding", "accelsim.workload.encodings")

Dims = tuple[int, ...]
Payload = dict[str, NDArray[Any]]
S = TypeVar("S", bound=Spec)

MAX_ELEMENTS = 2**33
"""Most elements of one operand (GPT-3's largest matrix has 2**29.2); decoding never allocates more than these."""


@dataclass(frozen=True)
class Part:
    """One payload array: numpy dtype (little-endian: "u8" is uint64) and shape."""

    dtype: str
    shape: Dims

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return np.dtype(self.dtype).itemsize * prod(self.shape)


@dataclass(frozen=True)
class Encoded:
    """An encoded operand.

    Attributes
    ----------
    payload : dict of str to ndarray
        The arrays that a trace stores.
    meta : dict
        What the trace's header has to carry so that the payload can be checked and decoded; plain JSON data.
    nonzeros : int
        Elements other than zero.
    """

    payload: Payload
    meta: dict[str, Any] = field(default_factory=dict)
    nonzeros: int = 0


class Encoding:
    """Base of all encodings. Stateless: `encoding(name)` gives the one instance.

    A subclass answers for values that the base has already checked: integers in the range of `bits` bits
    (or finite float32 if `floating`), and payloads whose arrays have exactly the dtypes and shapes that its
    `layout` gives.

    No payload array may be called `scale` or `zero_point`: traces keep an operand's own under these names.
    """

    kind: ClassVar[str] = ""
    widths: ClassVar[Sequence[int]] = range(1, MAX_BITS + 1)
    floating: ClassVar[bool] = False

    class Params(Spec):
        """What may be chosen when encoding."""

    class Meta(Spec):
        """What the header carries. Everything that `layout`, `payload_bits` and `index_bits` need."""

    # --- what a subclass writes ---

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        """Payload and an instance of `Meta` for checked values of any shape.

        Raises
        ------
        ConfigError
            If these values cannot be held (says which and why).
        """
        raise NotImplementedError

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        """Exactly the arrays that `meta` and `shape` promise. Cheap: a trace asks when it is opened.

        Raises
        ------
        ConfigError
            If meta, shape and bits contradict each other.
        """
        raise NotImplementedError

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        """The values, in `value_dtype(bits, signed)` (float32 if `floating`), of shape `shape`.

        The arrays fit `layout`; what they *contain* is the subclass' to check, before it is used as an index.

        Raises
        ------
        ConfigError
            If the payload is not one that `pack` can give.
        """
        raise NotImplementedError

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        """Bits that hold values, as hardware would store them (without the file's padding to whole words)."""
        raise NotImplementedError

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        """Bits that say where the values belong: masks, runs, pointers, code books."""
        return 0

    def count_nonzeros(self, values: NDArray[Any], payload: Payload, meta: Any) -> int:
        """Elements that are not zero once they are packed. Override where packing rounds."""
        return int(np.count_nonzero(values))

    def examples(self, bits: int) -> list[dict[str, Any]]:
        """For tests: the parameters that the contract suite tries at this width."""
        return [{}]

    def representable(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> NDArray[Any]:
        """For tests: values near the given ones that survive unchanged. Override where not all do."""
        return values

    # --- what everybody calls ---

    def encode(self, values: NDArray[Any], bits: int, signed: bool = True, **params: Any) -> Encoded:
        """Encode a tensor.

        Parameters
        ----------
        values : ndarray
            Integers (any integer dtype, any shape); numbers if `floating`.
        bits : int
        signed : bool
        **params
            As in `Params`.

        Raises
        ------
        ConfigError
            Wrong width or parameter, or values that do not fit.
        """
        self.check_width(bits, signed)
        chosen = _spec(self.Params, params, f"encoding {self.kind}")
        values = self._checked_values(values, bits, signed)
        payload, meta = self.pack(values, bits, signed, chosen)
        return Encoded(payload, meta.model_dump(), self.count_nonzeros(values, payload, meta))

    def decode(
        self, payload: Mapping[str, NDArray[Any]], meta: Any, shape: Dims, bits: int, signed: bool
    ) -> NDArray[Any]:
        """Decode a payload that may come from anywhere.

        Parameters
        ----------
        payload : mapping of str to ndarray
        meta : dict or Meta
        shape : tuple of int
        bits : int
        signed : bool

        Returns
        -------
        ndarray
            Of `value_dtype(bits, signed)` or float32; possibly a read-only view of the payload.

        Raises
        ------
        ConfigError
            If anything does not fit; nothing beyond `shape` is ever allocated, nothing read out of bounds.
        """
        self.check_width(bits, signed)
        check_shape(shape)
        meta = self.read_meta(meta)
        parts = {name: Part(a.dtype.str.lstrip("<|"), a.shape) for name, a in payload.items()}
        self.check_parts(parts, meta, shape, bits, signed)
        return self.unpack(dict(payload), meta, shape, bits, signed)

    def read_meta(self, meta: Any) -> Any:
        """`meta` as an instance of `Meta`."""
        return meta if isinstance(meta, self.Meta) else _spec(self.Meta, meta, "meta")

    def check_width(self, bits: int, signed: bool) -> None:
        """Refuse widths that the encoding does not take."""
        if bits not in self.widths:
            widths = self.widths
            known = f"{widths[0]} to {widths[-1]}" if isinstance(widths, range) else ", ".join(map(str, widths))
            raise ConfigError(f"bits must be {known} for encoding {self.kind}, got {bits!r}")
        if self.floating and not signed:
            raise ConfigError(f"signed must be true for encoding {self.kind}")

    def check_parts(self, parts: Mapping[str, Part], meta: Any, shape: Dims, bits: int, signed: bool) -> None:
        """Refuse arrays other than those that `layout` gives."""
        wanted = self.layout(meta, shape, bits, signed)
        if parts.keys() != wanted.keys():
            raise ConfigError(
                f"payload of encoding {self.kind} must be {', '.join(sorted(wanted))}, got {', '.join(sorted(parts))}"
            )
        for name, part in wanted.items():
            if parts[name] != part:
                raise ConfigError(
                    f"payload {name!r} of encoding {self.kind} must be {_shown(part)} for shape {list(shape)} "
                    f"at {bits} bits, got {_shown(parts[name])}"
                )

    def _checked_values(self, values: NDArray[Any], bits: int, signed: bool) -> NDArray[Any]:
        values = np.asarray(values)
        check_shape(values.shape)
        if self.floating:
            if values.dtype.kind not in "fiu":
                raise ConfigError(f"values must be numbers, got dtype {values.dtype}")
            if not np.isfinite(values).all():
                raise ConfigError("values must be finite, got NaN or infinity")
            return values
        if values.dtype.kind not in "iu":
            raise ConfigError(f"values must be integers for encoding {self.kind}, got dtype {values.dtype}")
        low, high = limits(bits, signed)
        held = np.iinfo(values.dtype)
        if held.min < low or held.max > high:
            least, most = int(values.min()), int(values.max())
            if least < low or most > high:
                sign = "signed" if signed else "unsigned"
                raise ConfigError(f"values must be {low} to {high} ({bits} bits, {sign}), got {least} to {most}")
        return values.astype(value_dtype(bits, signed), copy=False)


def check_shape(shape: Any) -> None:
    """Refuse shapes that are not 1 to 8 positive integers with a product that can be held.

    Raises
    ------
    ConfigError
    """
    fits = isinstance(shape, tuple) and 1 <= len(shape) <= 8 and all(type(d) is int and d >= 1 for d in shape)
    if not fits:
        raise ConfigError(f"shape must be 1 to 8 integers >= 1, got {shape!r:.60}")
    if prod(shape) > MAX_ELEMENTS:
        raise ConfigError(f"an operand must have at most {MAX_ELEMENTS} elements, got shape {list(shape)}")


_INSTANCES: dict[type[Encoding], Encoding] = {}


def encoding(name: str, where: str | None = None) -> Encoding:
    """The encoding called `name`.

    Raises
    ------
    ConfigError
        With the nearest known names.
    """
    kind = ENCODINGS.lookup(name, where)
    found = _INSTANCES.get(kind)
    return found if found is not None else _INSTANCES.setdefault(kind, kind())


def _spec(model: type[S], data: Any, where: str) -> S:
    if not isinstance(data, dict):
        raise ConfigError(f"must be a mapping, got {data!r:.60}", where)
    return build(model, Document(data, where))


def _shown(part: Part) -> str:
    return f"{part.dtype}{list(part.shape)}"
