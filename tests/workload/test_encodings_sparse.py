"""Sparse encodings: the laws that all keep, then each against a plain twin and its paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings import sparse_kernels as kernels
from accelsim.workload.encodings.base import Encoded, encoding
from accelsim.workload.packing import limits, unpack, value_dtype

KINDS = ("bitmap", "rlc", "eyeriss_rlc", "csr", "csc", "coo", "nm", "block", "bitplanes")
CANONICAL = set(KINDS) - {"nm"}  # which zeros of an N:M group are stored may differ
SHAPES = [(1,), (7,), (64,), (65,), (3, 1), (4, 9), (17, 70), (2, 3, 5), (6, 4, 3, 3)]


def tensor(seed: int, shape: tuple[int, ...], bits: int, signed: bool, density: float) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    low, high = limits(bits, signed)
    values = rng.integers(low, high, shape, endpoint=True)
    return np.where(rng.random(shape) < density, values, 0).astype(value_dtype(bits, signed))


def case(kind: str, data: Any) -> tuple[NDArray[Any], int, bool, dict[str, Any]]:
    codec = encoding(kind)
    bits = data.draw(st.sampled_from([b for b in (1, 2, 3, 4, 7, 8, 9, 12, 16, 20, 31, 32) if b in codec.widths]))
    signed, shape = data.draw(st.booleans()), data.draw(st.sampled_from(SHAPES))
    options = data.draw(st.sampled_from(codec.examples(bits)))
    if kind == "nm" and len(shape) < 2:
        options = {**options, "axis": 0}
    density = data.draw(st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]))
    values = tensor(data.draw(st.integers(0, 99)), shape, bits, signed, density)
    chosen = codec.Params.model_validate(options)
    return np.asarray(codec.representable(values, bits, signed, chosen), values.dtype), bits, signed, options


def decode(kind: str, encoded: Encoded, shape: tuple[int, ...], bits: int, signed: bool) -> NDArray[Any]:
    return encoding(kind).decode(encoded.payload, encoded.meta, shape, bits, signed)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data())
def test_round_trip_layout_and_counts(kind: str, data: Any) -> None:
    values, bits, signed, options = case(kind, data)
    codec = encoding(kind)
    encoded = codec.encode(values, bits, signed, **options)
    back = decode(kind, encoded, values.shape, bits, signed)
    assert back.dtype == values.dtype and back.shape == values.shape
    assert np.array_equal(back, values)
    assert encoded.nonzeros == np.count_nonzero(values)
    meta = codec.read_meta(encoded.meta)
    assert codec.payload_bits(meta, values.shape, bits) >= 0
    assert codec.index_bits(meta, values.shape, bits) >= 0
    assert codec.read_meta(dict(encoded.meta)) == meta


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, derandomize=True, max_examples=120)
@given(data=st.data())
def test_damaged_payloads_are_refused_or_mean_what_they_say(kind: str, data: Any) -> None:
    """One changed byte: a ConfigError, or a tensor whose own encoding is this very payload."""
    values, bits, signed, options = case(kind, data)
    codec = encoding(kind)
    encoded = codec.encode(values, bits, signed, **options)
    arrays = {name: array for name, array in sorted(encoded.payload.items()) if array.size}
    if not arrays:
        return
    name = data.draw(st.sampled_from(sorted(arrays)))
    damaged = np.ascontiguousarray(arrays[name]).copy()
    octets = damaged.view(np.uint8).reshape(-1)
    octets[data.draw(st.integers(0, octets.size - 1))] ^= data.draw(st.integers(1, 255))
    payload = {**encoded.payload, name: damaged}
    try:
        found = codec.decode(payload, encoded.meta, values.shape, bits, signed)
    except ConfigError:
        return
    assert found.shape == values.shape and found.dtype == values.dtype
    if kind in CANONICAL:
        again = codec.encode(found, bits, signed, **options)
        assert again.payload.keys() == payload.keys()
        assert all(np.array_equal(again.payload[key], payload[key]) for key in payload)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_layouts_are_refused(kind: str) -> None:
    codec = encoding(kind)
    values = np.asarray(codec.representable(tensor(1, (8, 8), 4, True, 0.3), 4, True, codec.Params()))
    encoded = codec.encode(values, 4, True)
    name = sorted(encoded.payload)[0]
    longer = {**encoded.payload, name: np.append(encoded.payload[name], encoded.payload[name])}
    with pytest.raises(ConfigError, match=f"payload {name!r} of encoding {kind} must be"):
        codec.decode(longer, encoded.meta, (8, 8), 4, True)
    with pytest.raises(ConfigError, match=f"payload of encoding {kind} must be"):
        codec.decode({}, encoded.meta, (8, 8), 4, True)
    with pytest.raises(ConfigError, match="unknown key"):
        codec.decode(encoded.payload, {**encoded.meta, "colour": 1}, (8, 8), 4, True)


@pytest.mark.parametrize(
    ("kind", "key", "text"),
    [
        ("bitmap", "nonzeros", "nonzeros must be at most 64, got"),
        ("coo", "nonzeros", "nonzeros must be at most 64, got"),
        ("rlc", "entries", "entries must be at most 64, got"),
        ("eyeriss_rlc", "entries", "entries must be at most 64, got"),
        ("csr", "entries", "entries must be at most 64, got"),
        ("csc", "entries", "entries must be at most 64, got"),
        ("block", "blocks", "blocks must be at most 4, got"),
        ("bitplanes", "stored", r"stored must be less than 2\*\*4, got"),
    ],
)
def test_a_header_cannot_ask_for_more_than_the_tensor_has(kind: str, key: str, text: str) -> None:
    codec = encoding(kind)
    encoded = codec.encode(tensor(2, (8, 8), 4, True, 0.3), 4, True)
    with pytest.raises(ConfigError, match=text):
        codec.decode(encoded.payload, {**encoded.meta, key: 2**31}, (8, 8), 4, True)


# --- kernels and their plain twins ---


def plain_runs(values: NDArray[Any], length: int, top: int) -> tuple[list[int], list[int], list[int]]:
    runs, taken, pointers = [], [], [0]
    for line in values.reshape(-1, length).tolist():
        run = 0
        while line and line[-1] == 0:
            line.pop()
        for value in line:
            if value == 0 and run < top:
                run += 1
            else:
                runs.append(run)
                taken.append(value)
                run = 0
        pointers.append(len(runs))
    return runs, taken, pointers


def plain_places(runs: list[int], taken: list[int], pointers: list[int], length: int) -> list[int]:
    out: list[int] = []
    for begin, end in zip(pointers, pointers[1:], strict=False):
        line: list[int] = []
        for run, value in zip(runs[begin:end], taken[begin:end], strict=True):
            line += [0] * run + [value]
        out += line + [0] * (length - len(line))
    return out


@settings(deadline=None, derandomize=True, max_examples=80)
@given(
    seed=st.integers(0, 999),
    lines=st.integers(1, 9),
    length=st.integers(1, 150),
    run_bits=st.integers(1, 7),
    density=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    lane=st.sampled_from([np.uint8, np.uint16, np.uint32]),
)
def test_run_kernels_equal_plain_ones(
    seed: int, lines: int, length: int, run_bits: int, density: float, lane: Any
) -> None:
    values = tensor(seed, (lines * length,), 7, False, density).astype(lane)
    top = (1 << run_bits) - 1
    runs, taken, pointers = kernels.runs_of(values, length, run_bits)
    plain = plain_runs(values, length, top)
    assert (runs.tolist(), taken.tolist(), pointers.tolist()) == plain
    out = np.zeros(values.size, lane)
    assert kernels.place_runs(runs, taken, pointers, length, top, out) == -1
    assert out.tolist() == plain_places(*plain, length) == values.tolist()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 999), count=st.integers(1, 300), density=st.sampled_from([0.0, 0.1, 0.6, 1.0]))
def test_mask_kernels_equal_numpy(seed: int, count: int, density: float) -> None:
    values = tensor(seed, (count,), 8, False, density)
    mask = kernels.nonzero_mask(values)
    flags = np.unpackbits(mask.view(np.uint8), bitorder="little")
    assert np.array_equal(flags[:count], values != 0) and not flags[count:].any()
    assert kernels.mask_count(mask) == np.count_nonzero(values)
    nonzeros = kernels.gather(values, mask)
    assert np.array_equal(nonzeros, values[values != 0])
    every = np.zeros(nonzeros.size + 1, np.uint8)
    assert kernels.gather_nonzero(values, every) == nonzeros.size
    assert np.array_equal(every[:-1], nonzeros)
    out = np.zeros(count, np.uint8)
    kernels.scatter(mask, nonzeros, out)
    assert np.array_equal(out, values)


def test_lowest_set_bit() -> None:
    rng = np.random.default_rng(0)
    for place in range(64):
        above = int(rng.integers(0, 2**63)) << (place + 1)
        word = np.uint64((above | 1 << place) & (2**64 - 1))
        with np.errstate(over="ignore"):
            assert kernels.lowest(word) == place


@pytest.mark.parametrize("count", [kernels.CHUNK - 1, kernels.CHUNK, kernels.CHUNK + 65])
@pytest.mark.parametrize("kind", ["bitmap", "rlc", "coo", "bitplanes", "csr", "csc"])
def test_chunks_join_without_a_seam(kind: str, count: int) -> None:
    values = tensor(3, (1, count), 8, True, 0.01)
    values[0, -1] = 5
    assert np.array_equal(decode(kind, encoding(kind).encode(values, 8, True), values.shape, 8, True), values)


# --- run-length coding ---


def test_rlc_pads_a_run_that_does_not_fit() -> None:
    """EIE, section III-A: 18 zeros before a 3 take a padding zero after 15 (its own example has a column of these)."""
    values = np.array([1, 2] + [0] * 18 + [3], np.int8)
    encoded = encoding("rlc").encode(values, 4, True, run_bits=4)
    assert encoded.meta == {"run_bits": 4, "entries": 4, "nonzeros": 3}
    assert unpack(encoded.payload["runs"], 4, 4, False).tolist() == [0, 0, 15, 2]
    assert unpack(encoded.payload["values"], 4, 4, True).tolist() == [1, 2, 0, 3]
    meta = encoding("rlc").read_meta(encoded.meta)
    assert encoding("rlc").payload_bits(meta, values.shape, 4) == 16
    assert encoding("rlc").index_bits(meta, values.shape, 4) == 16


def test_rlc_refuses_zeros_that_pad_nothing() -> None:
    encoded = encoding("rlc").encode(np.array([0, 1, 0, 0], np.int8), 8, True)
    nothing = {**encoded.payload, "values": np.zeros(1, np.uint64)}
    with pytest.raises(ConfigError, match="entry 0 must lead to an element of 4, and be zero only to pad a run"):
        encoding("rlc").decode(nothing, {**encoded.meta, "nonzeros": 0}, (4,), 8, True)
    with pytest.raises(ConfigError, match="must hold 0 nonzeros, got 1"):
        encoding("rlc").decode(encoded.payload, {**encoded.meta, "nonzeros": 0}, (4,), 8, True)
    with pytest.raises(ConfigError, match="entry 0 must lead to an element of 1"):
        encoding("rlc").decode(encoded.payload, encoded.meta, (1,), 8, True)


def test_eyeriss_rlc_figure_9() -> None:
    """The paper's example: 0 0 12, four zeros and 53, two zeros and 22 make the first word, which is not the last."""
    values = np.array([0, 0, 12, 0, 0, 0, 0, 53, 0, 0, 22, 7], np.int16)
    encoded = encoding("eyeriss_rlc").encode(values, 16, True)
    first, second = (int(word) for word in encoded.payload["data"])
    fields = [(first >> (21 * i) & 31, first >> (21 * i + 5) & 0xFFFF) for i in range(3)]
    assert fields == [(2, 12), (4, 53), (2, 22)] and first >> 63 == 0
    assert second == 7 << 5 | 1 << 63
    meta = encoding("eyeriss_rlc").read_meta(encoded.meta)
    assert encoding("eyeriss_rlc").payload_bits(meta, values.shape, 16) == 4 * 16
    assert encoding("eyeriss_rlc").index_bits(meta, values.shape, 16) == 2 * 64 - 4 * 16


def test_eyeriss_rlc_marks_its_last_word_only() -> None:
    encoded = encoding("eyeriss_rlc").encode(np.arange(1, 9, dtype=np.int16), 16, True)
    data = encoded.payload["data"].copy()
    data[0] |= np.uint64(1 << 63)
    with pytest.raises(ConfigError, match="must mark its last word, and only that"):
        encoding("eyeriss_rlc").decode({"data": data}, encoded.meta, (8,), 16, True)


# --- CSR, CSC, COO ---


def test_csc_is_dealt_to_pes_as_in_eie_figure_3() -> None:
    """Rows i of a column belong to PE i % pes; each has its own runs, values and pointers."""
    matrix = tensor(5, (37, 11), 4, True, 0.3)
    encoded = encoding("csc").encode(matrix, 4, True, index_bits=2, pes=4)
    pointers = encoded.payload["pointers"].astype(int)
    runs = unpack(encoded.payload["indices"], encoded.meta["entries"], 2, False).tolist()
    values = unpack(encoded.payload["values"], encoded.meta["entries"], 4, True).tolist()
    for column in range(11):
        for pe in range(4):
            begin, end = pointers[column * 4 + pe : column * 4 + pe + 2]
            mine = matrix[pe::4, column]
            want_runs, want_values, _ = plain_runs(mine, mine.size, 3)
            assert runs[begin:end] == want_runs and values[begin:end] == want_values
    of_pe = np.diff(pointers).reshape(11, 4).sum(axis=0)
    assert encoded.meta["pointer_bits"] == int(of_pe.max()).bit_length()


def test_csc_bits_of_eie() -> None:
    """EIE: 4-bit code and 4-bit index for each entry, and 16-bit pointers, columns + 1 for each of 64 PEs."""
    matrix = tensor(6, (640, 20), 4, True, 0.1)
    encoded = encoding("csc").encode(matrix, 4, True, pes=64, pointer_bits=16)
    codec, meta = encoding("csc"), encoding("csc").read_meta(encoded.meta)
    assert codec.payload_bits(meta, matrix.shape, 4) == 4 * meta.entries
    assert codec.index_bits(meta, matrix.shape, 4) == 4 * meta.entries + 21 * 64 * 16
    with pytest.raises(ConfigError, match="pointer_bits must be at least [0-9]+ for [0-9]+ entries, got 1"):
        codec.encode(matrix, 4, True, pointer_bits=1)


def test_absolute_csr_equals_scipy() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    matrix = tensor(7, (30, 50), 8, True, 0.2)
    encoded, known = encoding("csr").encode(matrix, 8, True, index="absolute"), sparse.csr_matrix(matrix)
    assert encoded.payload["pointers"].tolist() == known.indptr.tolist()
    assert unpack(encoded.payload["indices"], known.nnz, 6, False).tolist() == known.indices.tolist()
    assert unpack(encoded.payload["values"], known.nnz, 8, True).tolist() == known.data.tolist()


def test_pointers_are_checked() -> None:
    encoded = encoding("csr").encode(tensor(8, (4, 8), 8, True, 0.5), 8, True)
    pointers = encoded.payload["pointers"].copy()
    pointers[1] = pointers[-1] + 1
    with pytest.raises(ConfigError, match="payload 'pointers' must ascend from 0 to"):
        encoding("csr").decode({**encoded.payload, "pointers": pointers}, encoded.meta, (4, 8), 8, True)


def test_coo_equals_numpy() -> None:
    values = tensor(9, (5, 1, 9), 8, True, 0.3)
    encoded = encoding("coo").encode(values, 8, True)
    first, _, third = np.nonzero(values)
    assert sorted(encoded.payload) == ["index0", "index2", "values"]
    assert unpack(encoded.payload["index0"], first.size, 3, False).tolist() == first.tolist()
    assert unpack(encoded.payload["index2"], third.size, 4, False).tolist() == third.tolist()
    meta = encoding("coo").read_meta(encoded.meta)
    assert encoding("coo").index_bits(meta, values.shape, 8) == first.size * 7


# --- N:M, blocks, planes ---


def plain_nm(row: list[int], n: int, m: int) -> tuple[list[int], list[int]]:
    values, places = [], []
    for at in range(0, len(row), m):
        group = (row[at : at + m] + [0] * m)[:m]
        full = [i for i in range(m) if group[i]]
        empty = [i for i in range(m) if not group[i]]
        kept = sorted(full + empty[: n - len(full)])
        values += [group[i] for i in kept]
        places += kept
    return values, places


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 99), length=st.integers(1, 30), m=st.integers(2, 9), data=st.data())
def test_nm_equals_a_plain_one(seed: int, length: int, m: int, data: Any) -> None:
    n = data.draw(st.integers(1, m))
    codec = encoding("nm")
    chosen = codec.Params.model_validate({"n": n, "m": m})
    row = np.asarray(codec.representable(tensor(seed, (1, length), 8, True, 0.5), 8, True, chosen), np.int8)
    encoded = codec.encode(row, 8, True, n=n, m=m)
    values, places = plain_nm(row[0].tolist(), n, m)
    assert unpack(encoded.payload["values"], len(values), 8, True).tolist() == values
    assert unpack(encoded.payload["places"], len(places), (m - 1).bit_length(), False).tolist() == places


def test_two_of_four_takes_two_bits_a_value() -> None:
    """Ampere: half of the values, and 2 bits for each: 9/16 of dense 16-bit data, 5/8 of 8-bit data."""
    codec = encoding("nm")
    values = np.tile(np.array([0, 3, 0, -5], np.int8), (16, 8))
    encoded = codec.encode(values, 8, True)
    meta = codec.read_meta(encoded.meta)
    assert codec.payload_bits(meta, values.shape, 8) == values.size // 2 * 8
    assert codec.index_bits(meta, values.shape, 8) == values.size // 2 * 2
    values[3, 4] = 1
    with pytest.raises(ConfigError, match="at most 2 nonzeros in every 4 along axis 1, got 3 in group 25"):
        codec.encode(values, 8, True)
    with pytest.raises(ConfigError, match="n must be at most m, got 5:4"):
        codec.encode(values, 8, True, n=5)
    with pytest.raises(ConfigError, match=r"axis must be less than 2 for shape \[16, 32\], got 3"):
        codec.encode(values, 8, True, axis=3)


def test_blocks_at_the_edge_are_filled_with_zeros() -> None:
    matrix = np.zeros((5, 6), np.int8)
    matrix[4, 5] = 7
    codec = encoding("block")
    encoded = codec.encode(matrix, 8, True, rows=4, columns=4)
    assert encoded.meta["blocks"] == 1 and int(encoded.payload["mask"][0]) == 0b1000
    stored = encoded.payload["values"].view(np.int8).reshape(4, 4)
    assert stored[0, 1] == 7 and np.count_nonzero(stored) == 1
    meta = codec.read_meta(encoded.meta)
    assert (codec.payload_bits(meta, (5, 6), 8), codec.index_bits(meta, (5, 6), 8)) == (128, 4)


def test_planes_without_a_bit_are_not_stored() -> None:
    values = np.array([0, 2, -2, 6], np.int8)
    codec = encoding("bitplanes")
    encoded = codec.encode(values, 8, True, form="sign_magnitude")
    assert encoded.meta["stored"] == 0b10000110
    assert encoded.payload["planes"][:, 0].tolist() == [0b1110, 0b1000, 0b0100]
    assert codec.payload_bits(codec.read_meta(encoded.meta), (4,), 8) == 12
    with pytest.raises(ConfigError, match="values must be more than -128 in sign-magnitude form at 8 bits"):
        codec.encode(np.array([-128], np.int8), 8, True, form="sign_magnitude")
