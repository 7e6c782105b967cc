"""What every registered encoding has to do; a new file in the folder is tested here on arrival."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.encodings.base import ENCODINGS, Encoded, Encoding, Part, encoding
from accelsim.workload.encodings.coded import look_up, times_groups
from accelsim.workload.packing import limits, value_dtype
from accelsim.workload.trace_format import QUANTISATION

SHAPES = [(1,), (7,), (64,), (16, 4, 1), (2, 3, 4, 5), (3, 43)]
DENSITIES = [0.0, 0.3, 1.0]
NAMES = ENCODINGS.names()
parts_taken_by_traces = set(QUANTISATION)


def widths(codec: Encoding) -> list[int]:
    """All if few, else the ends, whole bytes and some between."""
    every = list(codec.widths)
    return every if len(every) <= 6 else [b for b in every if b in (every[0], every[-1], 2, 5, 8, 16)]


def cases(name: str) -> Iterator[tuple[Encoding, int, bool, dict[str, Any]]]:
    codec = encoding(name)
    for bits in widths(codec):
        for signed in (True,) if codec.floating else (False, True):
            for params in codec.examples(bits):
                yield codec, bits, signed, params


def draw(
    codec: Encoding, bits: int, signed: bool, params: dict[str, Any], shape: tuple[int, ...], density: float, seed: int
) -> NDArray[Any]:
    """Values that the encoding keeps as they are."""
    rng = np.random.default_rng([seed, bits, signed])
    keep = rng.random(shape) < density
    if codec.floating:
        values = (rng.standard_normal(shape) * keep).astype(np.float32)
    else:
        values = (rng.integers(*limits(bits, signed), shape, endpoint=True) * keep).astype(value_dtype(bits, signed))
    return codec.representable(values, bits, signed, codec.Params(**params))


def decoded(codec: Encoding, found: Encoded, shape: tuple[int, ...], bits: int, signed: bool) -> NDArray[Any]:
    """As a reader gets it: meta through JSON."""
    return codec.decode(found.payload, json.loads(json.dumps(found.meta)), shape, bits, signed)


def check(
    codec: Encoding, bits: int, signed: bool, params: dict[str, Any], shape: tuple[int, ...], density: float, seed: int
) -> None:
    values = draw(codec, bits, signed, params, shape, density, seed)
    found = codec.encode(values, bits, signed, **params)
    back = decoded(codec, found, shape, bits, signed)
    assert back.dtype == (np.float32 if codec.floating else value_dtype(bits, signed))
    assert back.shape == shape
    assert np.array_equal(back, values)
    assert found.nonzeros == np.count_nonzero(values)
    meta = codec.read_meta(found.meta)
    assert not parts_taken_by_traces & found.payload.keys()
    parts = {name: Part(a.dtype.str.lstrip("<|"), a.shape) for name, a in found.payload.items()}
    assert codec.layout(meta, shape, bits, signed) == parts
    for counted in (codec.payload_bits(meta, shape, bits), codec.index_bits(meta, shape, bits)):
        assert type(counted) is int and counted >= 0
    again = codec.encode(values, bits, signed, **params)
    assert again.meta == found.meta
    assert all(np.array_equal(again.payload[k], a) for k, a in found.payload.items())


@pytest.mark.parametrize("name", NAMES)
def test_round_trip(name: str) -> None:
    assert encoding(name).kind == name  # what a trace's header says
    for codec, bits, signed, params in cases(name):
        for i, shape in enumerate(SHAPES):
            for density in DENSITIES:
                check(codec, bits, signed, params, shape, density, i)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, derandomize=True, max_examples=30)
@given(data=st.data())
def test_round_trip_at_random(name: str, data: st.DataObject) -> None:
    codec, bits, signed, params = data.draw(st.sampled_from(list(cases(name))))
    shape = tuple(data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))
    check(codec, bits, signed, params, shape, data.draw(st.floats(0, 1)), data.draw(st.integers(0, 99)))


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused(name: str) -> None:
    codec = encoding(name)
    for bits in {0, 33, -1, *range(1, 33)} - set(codec.widths):
        with pytest.raises(ConfigError, match=f"bits must be .* for encoding {codec.kind}, got {bits}"):
            codec.encode(np.ones(4, np.int8), bits)
    _, bits, signed, params = next(cases(name))
    with pytest.raises(ConfigError, match="unknown key"):
        codec.encode(np.ones(4, np.int8), bits, signed, **params, no_such_parameter=1)
    with pytest.raises(ConfigError, match="shape must be"):
        codec.encode(np.zeros((0, 3), np.int8), bits, signed, **params)
    if codec.floating:
        with pytest.raises(ConfigError, match="signed must be true"):
            codec.encode(np.ones(4), bits, False, **params)
        for bad in (np.nan, np.inf):
            with pytest.raises(ConfigError, match="finite"):
                codec.encode(np.array([1.0, bad]), bits, True, **params)
    else:
        low, high = limits(bits, signed)
        for value in (low - 1, high + 1):
            with pytest.raises(ConfigError, match=f"values must be {low} to {high}"):
                codec.encode(np.array([0, value]), bits, signed, **params)
        with pytest.raises(ConfigError, match="must be integers"):
            codec.encode(np.ones(4), bits, signed, **params)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_that_do_not_fit_are_refused(name: str) -> None:
    for codec, bits, signed, params in cases(name):
        shape = (8, 8)
        found = codec.encode(draw(codec, bits, signed, params, shape, 0.5, 3), bits, signed, **params)
        for part, array in found.payload.items():
            others: dict[str, dict[str, NDArray[Any]]] = {
                "missing": {k: a for k, a in found.payload.items() if k != part},
                "extra": {**found.payload, "surplus": array},
                "longer": {**found.payload, part: np.concatenate([array, array[:1]]) if array.size else array[None]},
                "dtype": {**found.payload, part: array.astype("i1" if array.dtype != np.int8 else "u8")},
                "swapped": {**found.payload, part: array.astype(array.dtype.newbyteorder(">")).astype(">u4")},
            }
            if array.size:
                others["shorter"] = {**found.payload, part: array[:-1]}
            for payload in others.values():
                with pytest.raises(ConfigError, match="payload"):
                    codec.decode(payload, found.meta, shape, bits, signed)
        with pytest.raises(ConfigError):
            codec.decode(found.payload, {**found.meta, "no_such_key": 1}, shape, bits, signed)
        with pytest.raises(ConfigError, match="must be a mapping"):
            codec.decode(found.payload, [1], shape, bits, signed)
        for wrong in ((), (0, 8), (2**20, 2**20), (-8, -8), [8, 8], (8.0, 8)):
            with pytest.raises(ConfigError, match="shape|elements"):
                codec.decode(found.payload, found.meta, wrong, bits, signed)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_refused_or_harmless(name: str) -> None:
    """No damage to contents or meta may end in anything but ConfigError or an array of the declared shape."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for codec, bits, signed, params in cases(name):
        shape = (5, 13)
        found = codec.encode(draw(codec, bits, signed, params, shape, 0.4, 1), bits, signed, **params)
        for trial in range(12):
            payload = {k: a.copy() for k, a in found.payload.items()}
            for array in payload.values():
                raw = array.reshape(-1).view(np.uint8)
                if raw.size:
                    hits = rng.integers(0, raw.size, rng.integers(1, 4) if trial % 2 else raw.size)
                    raw[hits] = rng.integers(0, 256, hits.size)
            meta = damaged_meta(rng, found.meta) if trial % 3 == 0 else found.meta
            try:
                back = codec.decode(payload, meta, shape, bits, signed)
            except ConfigError:
                continue
            assert back.shape == shape
            if codec.floating:
                assert np.isfinite(back).all()
            elif back.size:
                low, high = limits(bits, signed)
                assert low <= back.min() and back.max() <= high


def damaged_meta(rng: np.random.Generator, meta: dict[str, Any]) -> dict[str, Any]:
    """One value replaced by one that a stranger might write."""
    if not meta:
        return meta
    strange = [-1, 0, 1, 2**40, 2**70, -(2**63), "", "x", None, True, 0.5, [], {}, [0], [1, 2, 3]]
    key = list(meta)[int(rng.integers(len(meta)))]
    return {**meta, key: strange[int(rng.integers(len(strange)))]}


def test_unknown_encoding_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="here: unknown encoding 'dens'; did you mean dense"):
        encoding("dens", "here")


def test_dense_accounts_for_every_element() -> None:
    codec = encoding("dense")
    meta = codec.read_meta({})
    assert codec.payload_bits(meta, (3, 7), 5) == 105
    assert codec.index_bits(meta, (3, 7), 5) == 0


def test_dense_refuses_bits_after_the_last_element() -> None:
    codec = encoding("dense")
    found = codec.encode(np.arange(5), 3, False)
    found.payload["data"][0] |= np.uint64(1 << 20)
    with pytest.raises(ConfigError, match="'data' must be zero after its last element"):
        decoded(codec, found, (5,), 3, False)


def test_floats_round_to_the_nearest_even() -> None:
    codec = encoding("float")
    # bfloat16 keeps 8 significant bits: 257 lies between 256 and 258, 259 between 258 and 260
    values = np.array([257.0, 259.0, -257.0, 1e-45, 3.0e38], np.float32)
    found = codec.encode(values, 16, format="bf16")
    assert decoded(codec, found, (5,), 16, True)[:3].tolist() == [256.0, 260.0, -256.0]
    assert found.nonzeros == 4  # the subnormal number became zero
    half = codec.encode(np.array([2049.0, 2051.0, 1e-9]), 16)
    assert decoded(codec, half, (3,), 16, True).tolist() == [2048.0, 2052.0, 0.0]
    assert half.nonzeros == 2


@pytest.mark.parametrize(
    ("bits", "params", "value"), [(16, {}, 70000.0), (16, {"format": "bf16"}, 3.4e38), (32, {}, 1e39)]
)
def test_floats_that_overflow_are_refused(bits: int, params: dict[str, Any], value: float) -> None:
    with pytest.raises(ConfigError, match="values must fit .*, but the largest is"):
        encoding("float").encode(np.array([1.0, -value]), bits, **params)


def test_float_format_and_width_must_agree() -> None:
    with pytest.raises(ConfigError, match="format fp32 has 32 bits, not 16"):
        encoding("float").encode(np.ones(3), 16, format="fp32")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 9), st.booleans(), st.integers(0, 999))
def test_kernels_of_coded_numbers_equal_plain_numpy(rows: int, length: int, group: int, own: bool, seed: int) -> None:
    """`take_levels` with one table or one for each row, and `scale_groups` with a last group that is cut off."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-8, 8, (rows, length)).astype(np.int8)
    table = rng.standard_normal((rows if own else 1, 16)).astype(np.float32)
    found = look_up(codes, table, 8)
    row = np.arange(rows)[:, None] if own else 0
    assert np.array_equal(found, table[row, codes.astype(np.int64) + 8])
    scales = rng.standard_normal((rows, -(-length // group))).astype(np.float32)
    plain = found * np.repeat(scales, group, axis=1)[:, :length]
    times_groups(found, scales, group)
    assert np.array_equal(found, plain)
