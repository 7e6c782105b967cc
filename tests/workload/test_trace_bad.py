"""Trace files that are damaged, forged, or no traces at all: one clear message each, and nothing allocated."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.workload.container import MAX_HEADER_BYTES, parse_json
from accelsim.workload.trace import Trace
from tests.workload.traces import put_together, rewrite, take_apart, write

TENSOR = "cell/recurrent/data"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "a.trace")


def refuses(path: Path, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Trace.open(path)


# --- the container ---


def test_missing_files_and_things_that_are_no_files(tmp_path: Path) -> None:
    refuses(tmp_path / "none.trace", "none.trace: cannot be read: No such file or directory")
    refuses(tmp_path, "must be a regular file")
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    refuses(tmp_path / "pipe", "must be a regular file")
    refuses(Path("a\0b"), "cannot be read")


@pytest.mark.parametrize("size", range(0, 3000, 113))
def test_truncated_anywhere(path: Path, size: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    refuses(path, "is not a trace: it has only|is truncated: the header promises|data_offsets must be")


def test_last_byte_missing_or_one_too_many(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    refuses(path, "the bytes that the file has")
    path.write_bytes(whole + b"\0")
    refuses(path, "has 1 bytes after its last tensor")


def test_a_header_that_promises_terabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    for length in (2**40, 2**64 - 1):
        path.write_bytes(length.to_bytes(8, "little") + b"{}" + b" " * 100)
        refuses(path, f"header must be at most {MAX_HEADER_BYTES} bytes, but promises {length}")
    path.write_bytes((2**20).to_bytes(8, "little") + b"{}" + b" " * 100)
    refuses(path, "is truncated: the header promises 1048576 bytes, the file has 102")


def test_a_sparse_terabyte_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = put_together(tmp_path / "a.trace", {}, b"")
    with open(path, "r+b") as file:
        file.truncate(2**40)
    refuses(path, "bytes after its last tensor")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"a":' * 30 + "1" + "}" * 30])
def test_nesting_is_bounded(tmp_path: Path, text: str) -> None:
    raw = text.encode()
    if raw[:1] != b"{":
        raw = b'{"a":' + raw
    path = tmp_path / "a.trace"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    refuses(path, "header: is nested more than 24 levels deep")


def test_nesting_inside_the_trace_header(path: Path) -> None:
    header, data = take_apart(path)
    header["__metadata__"]["trace"] = "[" * 100_000
    refuses(put_together(path, header, data), "header does not have the hash")
    deep: Any = []
    for _ in range(40):
        deep = [deep]
    rewrite(write(path), lambda h: h.update(recipe=deep))
    refuses(path, "a.trace: header: is nested more than 24 levels deep")


def test_many_small_values_are_refused_before_they_are_built() -> None:
    text = "[" + "[]," * 3_000_000 + "[]]"
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match="x: must have at most 2000000 JSON values"):
            parse_json(text, "x")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"not json at all....", "is not a trace"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 20, "promises|is truncated|is not a trace"),
        (b'{"a": 1,}', "header: is not valid JSON"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": 1, "a": 2}', "a key is repeated"),
        (b'{"a": ' + b"9" * 5000 + b"}", "header: is not valid JSON"),
        (b'{"a": "\xff"}', "header: must be UTF-8 text"),
        (b'{"\\ud800": 1}', "header: must be UTF-8 text"),
        (b'{"__metadata__": []}', "__metadata__ must map names to text"),
        (b'{"__metadata__": {"a": 1}}', "__metadata__ must map names to text"),
        (b'{"a": 5}', "tensor 'a': must have the keys dtype, shape and data_offsets"),
    ],
)
def test_headers_that_are_none(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "a.trace"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    refuses(path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "F8"}, "dtype must be one of U8"),
        ({"dtype": 5}, "dtype must be one of U8"),
        ({"dtype": "U32"}, rf"tensor '{TENSOR}': U32\[5\] needs 20 bytes, but has 40"),
        ({"shape": [6]}, r"U64\[6\] needs 48 bytes, but has 40"),
        ({"shape": [2**40, 2**40]}, "needs .* bytes, but has 40"),
        ({"shape": [-5]}, "shape must be at most 8 integers >= 0"),
        ({"shape": [True]}, "shape must be at most 8 integers >= 0"),
        ({"shape": [1] * 9}, "shape must be at most 8 integers >= 0"),
        ({"shape": 5}, "shape must be at most 8 integers >= 0"),
        ({"data_offsets": [40, 0]}, "data_offsets must be 0 <= begin <= end"),
        ({"data_offsets": [0, 2**62]}, "data_offsets must be 0 <= begin <= end"),
        ({"data_offsets": [0]}, "data_offsets must be 0 <= begin <= end"),
        ({"data_offsets": ["0", 40]}, "data_offsets must be 0 <= begin <= end"),
        ({"extra": 1}, "must have the keys dtype, shape and data_offsets, and no others"),
    ],
)
def test_tensors_that_contradict_themselves(path: Path, change: dict[str, Any], message: str) -> None:
    header, data = take_apart(path)
    header[TENSOR].update(change)
    refuses(put_together(path, header, data), message)


def test_tensors_that_overlap_or_leave_gaps(path: Path) -> None:
    header, data = take_apart(path)
    spot = header[TENSOR]["data_offsets"]
    header[TENSOR]["data_offsets"] = [spot[0] - 8, spot[1] - 8]
    refuses(put_together(path, header, data), "overlaps another tensor")
    header[TENSOR]["data_offsets"] = [spot[0] + 8, spot[1] + 8]
    refuses(put_together(path, header, data), "leaves a gap of 8 bytes before it")


# --- the trace's own header ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "pt"}, "is no trace: metadata key 'format' must be 'accelsim-trace', got 'pt'"),
        ({"version": "2", "tool": "accelsim 9.9"}, r"trace version 2 was written by a newer accelsim \(accelsim 9.9\)"),
        ({"version": "999", "tool": "\n"}, "trace version 999 was written by a newer accelsim; this one"),
        ({"version": "1.5"}, "metadata key 'version' must be a positive integer, got '1.5'"),
        ({"version": "0"}, "must be a positive integer, got '0'"),
        ({"version": "\u0661"}, "must be a positive integer"),
        ({"content_hash": "0" * 64}, "header does not have the hash that it states"),
        ({"trace": "{}"}, "header does not have the hash that it states"),
    ],
)
def test_metadata(path: Path, change: dict[str, str], message: str) -> None:
    header, data = take_apart(path)
    header["__metadata__"].update(change)
    refuses(put_together(path, header, data), message)


@pytest.mark.parametrize("key", ["format", "version", "content_hash", "trace"])
def test_metadata_that_is_missing(path: Path, key: str) -> None:
    header, data = take_apart(path)
    del header["__metadata__"][key]
    refuses(put_together(path, header, data), f"metadata key '{key}'")


def test_a_foreign_safetensors_file(tmp_path: Path) -> None:
    refuses(put_together(tmp_path / "a.trace", {"__metadata__": {"format": "pt"}}, b""), "is no trace")
    refuses(put_together(tmp_path / "a.trace", {}, b""), "is no trace: .* got None")


def operand(layer: str, role: str, /, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        for item in header["operands"]:
            if (item["layer"], item["role"]) == (layer, role):
                item.update(changes)

    return change


GENERATOR = {"bits": 5, "signed": True}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.pop("operands"), "key 'operands' is required but missing"),
        (lambda h: h.update(extra=1), "extra: unknown key"),
        (lambda h: h.update(name=""), "a.trace: name: "),
        (lambda h: h.update(network={}), "network: key 'name' is required"),
        (lambda h: h["network"]["nodes"][1].update(kind="convex"), r"network.nodes\[1\] .*unknown operator 'convex'"),
        (lambda h: h["network"]["nodes"][1]["fields"].update(channels=5), r"conv/filter: shape must be \[5, 3, 3, 3\]"),
        (lambda h: h["operands"].append(h["operands"][0]), "block/conv/filter: is described twice"),
        (lambda h: h["operands"].pop(), "tensors, but its header describes"),
        (operand("cell", "recurrent", layer="sell"), "unknown layer 'sell'; did you mean cell"),
        (operand("cell", "recurrent", role="weights"), "unknown role 'weights'"),
        (operand("cell", "recurrent", role="ifmap"), r"cell/ifmap: shape must be \[1, 2, 3\], as the network says"),
        (operand("cell", "recurrent", shape=[4, 16]), r"cell/recurrent: shape must be \[16, 4\], as the network says"),
        (operand("cell", "recurrent", shape=[2**40, 2**40]), "an operand must have at most 8589934592 elements"),
        (operand("cell", "recurrent", shape=[]), "shape must be 1 to 8 integers >= 1"),
        (operand("cell", "recurrent", bits=6), r"'data' of encoding dense must be u8\[6\] .* at 6 bits, got u8\[5\]"),
        (operand("cell", "recurrent", bits=77), r"operands\[7\].bits: must be <= 32, got 77"),
        (operand("cell", "recurrent", bits="5"), r"operands\[7\].bits: must be an integer, got '5'"),
        (operand("cell", "recurrent", encoding="zip"), "unknown encoding 'zip'"),
        (operand("cell", "recurrent", encoding="float"), "bits must be 16, 32 for encoding float, got 5"),
        (operand("cell", "recurrent", meta={"x": 1}), "cell/recurrent: meta: x: unknown key"),
        (operand("cell", "recurrent", nonzeros=65), "nonzeros must be 0 to 64, got 65"),
        (operand("cell", "recurrent", nonzeros=None), "nonzeros must be 0 to 64, got None"),
        (operand("cell", "recurrent", scale=0.0), "scale: must be > 0.0, got 0.0"),
        (operand("cell", "recurrent", scale=None), "scale must be one number, or 16, one for each first index"),
        (operand("block/conv", "filter", scale=1.0), "scale must be one number, or 4, one for each first index"),
        (operand("cell", "recurrent", encoding=None), "must have an encoding or a generator"),
        (operand("cell", "recurrent", generator=GENERATOR), "must have either a generator or an encoding"),
        (operand("cell", "recurrent", generator={"bits": 99}), r"generator.bits: must be <= 32, got 99"),
        (operand("cell", "recurrent", generator={"density": "x"}), "generator.density: must be a number, got 'x'"),
        (operand("cell", "recurrent", parts={}), "payload of encoding dense must be data, got "),
        (
            operand("cell", "recurrent", parts={"data": {"dtype": "u8", "shape": [5], "hash": "xyz"}}),
            r"operands\[7\].parts.data.hash: ",
        ),
    ],
)
def test_headers_that_do_not_fit(path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    refuses(rewrite(path, change), message)


def test_generated_operands_that_do_not_fit(path: Path) -> None:
    bare = dict.fromkeys(("encoding", "nonzeros")) | {"meta": {}, "parts": {}}
    for generator, more, message in (
        ({"bits": 8}, {}, "bits and signed must be the generator's, 8 and True, got 5 and True"),
        (GENERATOR, {"scale": None}, "scale and zero_point of a generated operand must be numbers"),
        (GENERATOR, {}, "tensors, but its header describes"),
    ):
        rewrite(write(path), operand("cell", "recurrent", **bare, **more, generator=generator))
        refuses(path, message)


def test_a_tensor_that_is_not_the_one_described(path: Path) -> None:
    header, data = take_apart(path)
    header["cell/recurrent/date"] = header.pop(TENSOR)
    refuses(put_together(path, header, data), f"tensor '{TENSOR}' is missing")
    header, data = take_apart(write(path))
    header[TENSOR].update(dtype="I64")
    refuses(put_together(path, header, data), rf"tensor '{TENSOR}' must be u8\[5\], as the header says, got i8\[5\]")


# --- payloads ---


def test_a_tampered_byte_is_found_when_it_is_read(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    header, data = take_apart(path)
    start = len(whole) - len(data)
    for name, item in header.items():
        if name == "__metadata__":
            continue
        changed = bytearray(whole)
        changed[start + item["data_offsets"][0]] ^= 1
        path.write_bytes(changed)
        trace = Trace.open(path)  # the header is well
        with pytest.raises(ConfigError, match=f"tensor '{name}' does not have the hash that the header states"):
            trace.verify()
        layer, role, part = name.rsplit("/", 2)
        operand = trace.operand(layer, role)
        assert operand is not None
        for _ in range(2):  # and again, not only once
            with pytest.raises(ConfigError, match=f"tensor '{name}'"):
                operand.values() if part == "data" else operand.scale if part == "scale" else operand.zero_point


def test_any_byte_of_the_header_matters(path: Path) -> None:
    whole = path.read_bytes()
    _, data = take_apart(path)
    at = whole.index(b"block/conv")
    for offset in (at, at + 5, whole.index(b"version") + 12, 8):
        changed = bytearray(whole)
        changed[offset] ^= 2
        path.write_bytes(changed)
        with pytest.raises(ConfigError):
            Trace.open(path)


def forge(path: Path, name: str, array: np.ndarray) -> None:
    """Replace a payload, with hashes that fit."""
    import hashlib

    header, data = take_apart(path)
    begin, end = header[name]["data_offsets"]
    assert array.nbytes == end - begin
    put_together(path, header, data[:begin] + array.tobytes() + data[end:])
    layer, role, part = name.rsplit("/", 2)
    digest = hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()

    def change(inner: dict[str, Any]) -> None:
        for item in inner["operands"]:
            if (item["layer"], item["role"]) == (layer, role):
                item["parts"][part]["hash"] = digest

    rewrite(path, change)


def test_forged_payloads_with_fitting_hashes(path: Path) -> None:
    forge(path, "block/conv/ofmap/data", np.full(7, 2**64 - 1, np.uint64))
    with pytest.raises(ConfigError, match="block/conv/ofmap: payload 'data' must be zero after its last element"):
        Trace.open(path).verify()
    forge(write(path), "fc/filter/data", np.full(180, np.nan, np.float32))
    with pytest.raises(ConfigError, match="fc/filter: payload 'data' must be finite numbers"):
        Trace.open(path).verify()
    forge(write(path), "block/conv/filter/scale", np.array([1, 2, 0, 1.0]))
    with pytest.raises(ConfigError, match="block/conv/filter: scale must be finite and > 0, got 0.0"):
        Trace.open(path).verify()
    forge(write(path), "cell/state/data", np.zeros(1, np.uint64))
    with pytest.raises(ConfigError, match="cell/state: nonzeros must be 0, which is what the payload holds, got"):
        Trace.open(path).verify()


def test_a_file_that_shrinks_after_it_was_opened(path: Path) -> None:
    trace = Trace.open(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ConfigError, match="has changed since it was opened"):
        trace.verify()
