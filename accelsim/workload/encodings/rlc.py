"""Run-length coding: each stored value with the number of zeros before it.

A run that does not fit its field is broken by a padding zero: the longest run, followed by the value zero, which
is itself an element. Zeros after the last nonzero need no entry: the shape says how many there are.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.workload.encodings.base import ENCODINGS, Dims, Encoding, Part, Payload
from accelsim.workload.encodings.bitmap import check_count, check_end, unpacked
from accelsim.workload.encodings.pair_kernels import place_pairs, words_of_pairs
from accelsim.workload.encodings.group_kernels import decode_runs, encode_runs
from accelsim.workload.encodings.sparse_kernels import lanes
from accelsim.workload.packing import Words, limits, pack_in_place, unpack, value_dtype, words_for


def entries_of(values: NDArray[Any], run_bits: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Runs and values (as lanes) of a tensor in C order."""
    found = encode_runs(lanes(values), (1 << run_bits) - 1, run_bits)
    return unpack(found.runs, found.count, run_bits, False), found.values[: found.count]


def tensor_of(runs: Words, values: NDArray[Any], nonzeros: int, run_bits: int, count: int) -> NDArray[Any]:
    """`count` elements from packed runs, and values that may be anything, but have this number of nonzeros.

    Raises
    ------
    ConfigError
        If they lead beyond the last element, or hold a zero that is no padding.
    """
    out = np.zeros(count, values.dtype)
    check_entry(decode_runs(runs, lanes(values), nonzeros, run_bits, lanes(out)), count)
    return out


def check_entry(wrong: int, count: int) -> None:
    """Refuse what a decoder has refused."""
    if wrong >= 0:
        raise ConfigError(f"entry {wrong} must lead to an element of {count}, and be zero only to pad a run")


@ENCODINGS.register("rlc")
class RunLength(Encoding):
    """Arrays: `runs` at `run_bits` bits and `values` at `bits` bits, both packed. Parameter: `run_bits`, 1 to 16."""

    kind: ClassVar[str] = "rlc"

    class Params(Spec):
        """`run_bits`: the widest run is 2**run_bits - 1 zeros. Default: Eyeriss' 5."""

        run_bits: int = pydantic.Field(default=5, ge=1, le=16)

    class Meta(Spec):
        """`entries`: stored pairs, padding zeros among them."""

        run_bits: int = pydantic.Field(ge=1, le=16)
        entries: int = pydantic.Field(ge=0)
        nonzeros: int = pydantic.Field(ge=0)

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        found = encode_runs(lanes(values), (1 << params.run_bits) - 1, params.run_bits)
        meta = self.Meta(run_bits=params.run_bits, entries=found.count, nonzeros=found.nonzeros)
        return {"runs": found.runs, "values": pack_in_place(found.values, found.count, bits)}, meta

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        check_count(meta.entries, prod(shape), "entries")
        check_count(meta.nonzeros, meta.entries, "nonzeros")
        return {
            "runs": Part("u8", (words_for(meta.entries, meta.run_bits),)),
            "values": Part("u8", (words_for(meta.entries, bits),)),
        }

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        check_end(payload, "runs", meta.entries, meta.run_bits)
        values = unpacked(payload, "values", meta.entries, bits, signed)
        check_nonzeros(values, meta.nonzeros)
        return tensor_of(payload["runs"], values, meta.nonzeros, meta.run_bits, prod(shape)).reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.entries) * bits

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.entries * meta.run_bits)

    def count_nonzeros(self, values: NDArray[Any], payload: Payload, meta: Any) -> int:
        return int(meta.nonzeros)

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{}, {"run_bits": 1}, {"run_bits": 4}, {"run_bits": 11}]


def check_nonzeros(values: NDArray[Any], promised: int) -> None:
    """Refuse stored values with another number of nonzeros than the meta says."""
    found = int(np.count_nonzero(values))
    if found != promised:
        raise ConfigError(f"payload 'values' must hold {promised} nonzeros, got {found}")


_MARK = np.uint64(1 << 63)


@ENCODINGS.register("eyeriss_rlc")
class EyerissRunLength(Encoding):
    """Eyeriss' own: 64-bit words of three pairs (run of 5 bits, value of 16 bits) and a bit that marks the last word.

    Chen et al., "Eyeriss: an energy-efficient reconfigurable accelerator", JSSC 2017, section V-A and figure 9. The
    paper gives the fields and not their places; here pairs start at bits 0, 21 and 42, the run below its value, and
    the mark is bit 63. Places left in the last word are (0, 0), which is no entry, since a zero pads only a run of 31.
    Values of fewer than 16 bits take 16 all the same. One array: `data`.
    """

    kind: ClassVar[str] = "eyeriss_rlc"
    widths: ClassVar[range] = range(1, 17)

    RUN_BITS: ClassVar[int] = 5
    VALUE_BITS: ClassVar[int] = 16
    PAIRS: ClassVar[int] = 3
    PAIR_BITS: ClassVar[int] = RUN_BITS + VALUE_BITS

    class Meta(Spec):
        """`entries`: pairs, padding zeros among them."""

        entries: int = pydantic.Field(ge=0)
        nonzeros: int = pydantic.Field(ge=0)

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        data, entries, nonzeros = words_of_pairs(lanes(values), signed)
        if data.size:
            data[-1] |= _MARK
        return {"data": data}, self.Meta(entries=entries, nonzeros=nonzeros)

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        check_count(meta.entries, prod(shape), "entries")
        check_count(meta.nonzeros, meta.entries, "nonzeros")
        return {"data": Part("u8", (ceil_div(meta.entries, self.PAIRS),))}

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        data, out = payload["data"], np.zeros(shape, value_dtype(bits, signed))
        last = int(data[-1]) if data.size else 0
        wrong = place_pairs(data, meta.entries, meta.nonzeros, bits, signed, lanes(out))
        if wrong == -2 or (data.size and not last >> 63):
            raise ConfigError("payload 'data' must mark its last word, and only that")
        if (last & (int(_MARK) - 1)) >> (self.PAIR_BITS * (meta.entries - self.PAIRS * (data.size - 1))):
            raise ConfigError("payload 'data' must be zero after its last entry")
        check_entry(wrong, out.size)
        if wrong == -3:
            low, high = limits(bits, signed)
            raise ConfigError(f"payload 'data' must hold values from {low} to {high}")
        check_nonzeros(out, meta.nonzeros)
        return out

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.entries) * self.VALUE_BITS

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        """Runs, marks, and the empty places of the last word."""
        return 64 * ceil_div(meta.entries, self.PAIRS) - self.payload_bits(meta, shape, bits)

    def count_nonzeros(self, values: NDArray[Any], payload: Payload, meta: Any) -> int:
        return int(meta.nonzeros)
