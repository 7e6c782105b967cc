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
from accelsim.workload.encodings.bitmap import check_count, unpacked
from accelsim.workload.encodings.sparse_kernels import lanes, place_runs, runs_in_room, runs_of
from accelsim.workload.packing import limits, pack, pack_in_place, value_dtype, words_for


def entries_of(values: NDArray[Any], run_bits: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Runs and values (as lanes) of a tensor in C order."""
    runs, taken, _ = runs_of(lanes(values), values.size, run_bits)
    return runs, taken


def tensor_of(runs: NDArray[Any], values: NDArray[Any], run_bits: int, count: int) -> NDArray[Any]:
    """`count` elements from runs and values that may be anything.

    Raises
    ------
    ConfigError
        If they lead beyond the last element, or hold a zero that is no padding.
    """
    out = np.zeros(count, values.dtype)
    ends = np.array([0, values.size])
    wrong = place_runs(runs, lanes(values), ends, count, (1 << run_bits) - 1, lanes(out))
    if wrong >= 0:
        raise ConfigError(f"entry {wrong} must lead to an element of {count}, and be zero only to pad a run")
    return out


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
        runs, taken, _, nonzeros = runs_in_room(lanes(values), values.size, params.run_bits)
        meta = self.Meta(run_bits=params.run_bits, entries=runs.size, nonzeros=nonzeros)
        return {"runs": pack(runs, params.run_bits), "values": pack_in_place(taken, runs.size, bits)}, meta

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        check_count(meta.entries, prod(shape), "entries")
        check_count(meta.nonzeros, meta.entries, "nonzeros")
        return {
            "runs": Part("u8", (words_for(meta.entries, meta.run_bits),)),
            "values": Part("u8", (words_for(meta.entries, bits),)),
        }

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        runs = unpacked(payload, "runs", meta.entries, meta.run_bits, False)
        values = unpacked(payload, "values", meta.entries, bits, signed)
        check_nonzeros(values, meta.nonzeros)
        return tensor_of(runs, values, meta.run_bits, prod(shape)).reshape(shape)

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

    class Meta(Spec):
        """`entries`: pairs, padding zeros among them."""

        entries: int = pydantic.Field(ge=0)
        nonzeros: int = pydantic.Field(ge=0)

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        runs, taken = entries_of(values, self.RUN_BITS)
        data: NDArray[np.uint64] = np.zeros(ceil_div(runs.size, self.PAIRS), np.uint64)
        numbers = taken.view(value_dtype(bits, signed)).astype(np.int16 if signed else np.uint16).view(np.uint16)
        for place in range(self.PAIRS):
            pairs = numbers[place :: self.PAIRS].astype(np.uint64) << np.uint64(self.RUN_BITS)
            pairs |= runs[place :: self.PAIRS]
            data[: pairs.size] |= pairs << np.uint64(place * (self.RUN_BITS + self.VALUE_BITS))
        if data.size:
            data[-1] |= np.uint64(1 << 63)
        return {"data": data}, self.Meta(entries=runs.size, nonzeros=int(np.count_nonzero(taken)))

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        check_count(meta.entries, prod(shape), "entries")
        check_count(meta.nonzeros, meta.entries, "nonzeros")
        return {"data": Part("u8", (ceil_div(meta.entries, self.PAIRS),))}

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        data = payload["data"]
        marks = data >> np.uint64(63)
        if data.size and not (marks[-1] and not marks[:-1].any()):
            raise ConfigError("payload 'data' must mark its last word, and only that")
        runs = np.empty(data.size * self.PAIRS, np.uint8)
        numbers = np.empty(data.size * self.PAIRS, np.uint16)
        for place in range(self.PAIRS):
            pair = data >> np.uint64(place * (self.RUN_BITS + self.VALUE_BITS))
            runs[place :: self.PAIRS] = pair & np.uint64(31)
            numbers[place :: self.PAIRS] = (pair >> np.uint64(self.RUN_BITS)) & np.uint64(0xFFFF)
        if runs[meta.entries :].any() or numbers[meta.entries :].any():
            raise ConfigError("payload 'data' must be zero after its last entry")
        values = numbers[: meta.entries].view(np.int16 if signed else np.uint16)
        low, high = limits(bits, signed)
        if values.size and (int(values.min()) < low or int(values.max()) > high):
            raise ConfigError(f"payload 'data' must hold values from {low} to {high}")
        check_nonzeros(values, meta.nonzeros)
        values = values.astype(value_dtype(bits, signed))
        return tensor_of(runs[: meta.entries], values, self.RUN_BITS, prod(shape)).reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.entries) * self.VALUE_BITS

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        """Runs, marks, and the empty places of the last word."""
        return 64 * ceil_div(meta.entries, self.PAIRS) - self.payload_bits(meta, shape, bits)

    def count_nonzeros(self, values: NDArray[Any], payload: Payload, meta: Any) -> int:
        return int(meta.nonzeros)
