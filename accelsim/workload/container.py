"""The safetensors container: reading one that strangers wrote, and writing one as its tensors arrive.

Layout: eight bytes with the header's length (little-endian), a JSON header (name -> dtype, shape, byte range;
`__metadata__` holds text), then the tensors' bytes without gaps. Reading is our own because we check before
we trust: the length against the file, every range against dtype, shape and its neighbours, and how much
Python memory the header may turn into. Any safetensors library can read what we write.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError

MAX_HEADER_BYTES = 64 * 2**20
MAX_JSON_VALUES = 2_000_000
MAX_JSON_DEPTH = 24
_COPY_BYTES = 2**20
_ALIGN = 64  # of the first tensor in the file

# name in the header: numpy dtype; safetensors knows more, but nothing of ours needs them
DTYPES = {
    "U8": "u1",
    "I8": "i1",
    "U16": "u2",
    "I16": "i2",
    "F16": "f2",
    "U32": "u4",
    "I32": "i4",
    "F32": "f4",
    "U64": "u8",
    "I64": "i8",
    "F64": "f8",
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies: numpy dtype, shape, and its first and last + 1 byte in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Container:
    """A checked header."""

    path: Path
    size: int
    metadata: dict[str, str]
    tensors: dict[str, Tensor]


def read_container(path: Path) -> Container:
    """Read and check the header; no tensor is touched.

    Raises
    ------
    ConfigError
        If the file cannot be read, is truncated or has bytes left over, or its header is too long, is not
        JSON of a bounded size, or contradicts itself.
    """
    where = str(path)
    with reading(path):
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError("must be a regular file", where)
        size = status.st_size
        if size < 10:
            raise ConfigError(f"is not a trace: it has only {size} bytes", where)
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ConfigError(f"header must be at most {MAX_HEADER_BYTES} bytes, but promises {length}", where)
            if length > size - 8:
                raise ConfigError(f"is truncated: the header promises {length} bytes, the file has {size - 8}", where)
            raw = file.read(length)
    if raw[:1] != b"{":
        raise ConfigError("is not a trace (no safetensors header)", where)
    header = parse_json(raw, f"{where}: header")
    if not isinstance(header, dict):
        raise ConfigError("header must be a mapping", where)
    metadata = _metadata(header.pop("__metadata__", {}), where)
    start = 8 + length
    tensors = {name: _tensor(item, start, size, f"{where}: tensor {name!r}") for name, item in header.items()}
    _check_cover(tensors, start, size, where)
    return Container(path, size, metadata, tensors)


def _metadata(data: Any, where: str) -> dict[str, str]:
    if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
        raise ConfigError("__metadata__ must map names to text", where)
    return data


def _tensor(item: Any, start: int, size: int, where: str) -> Tensor:
    if not isinstance(item, dict) or item.keys() != {"dtype", "shape", "data_offsets"}:
        raise ConfigError("must have the keys dtype, shape and data_offsets, and no others", where)
    name, shape, offsets = item["dtype"], item["shape"], item["data_offsets"]
    if not isinstance(name, str) or name not in DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, got {name!r:.40}", where)
    if not _counts(shape) or len(shape) > 8:
        raise ConfigError(f"shape must be at most 8 integers >= 0, got {shape!r:.60}", where)
    if not _counts(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= size - start:
        inside = f"0 <= begin <= end <= {size - start}, the bytes that the file has"
        raise ConfigError(f"data_offsets must be {inside}; got {offsets!r:.60}", where)
    wanted = prod(shape) * np.dtype(DTYPES[name]).itemsize
    if offsets[1] - offsets[0] != wanted:
        raise ConfigError(f"{name}{shape} needs {wanted} bytes, but has {offsets[1] - offsets[0]}", where)
    return Tensor(DTYPES[name], tuple(shape), start + offsets[0], start + offsets[1])


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 2**63 for v in value)


def _check_cover(tensors: dict[str, Tensor], start: int, size: int, where: str) -> None:
    at = start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin < at:
            raise ConfigError("overlaps another tensor", f"{where}: tensor {name!r}")
        if tensor.begin > at:
            raise ConfigError(f"leaves a gap of {tensor.begin - at} bytes before it", f"{where}: tensor {name!r}")
        at = tensor.end
    if at != size:
        raise ConfigError(f"has {size - at} bytes after its last tensor", where)


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(raw: bytes | str, where: str) -> Any:
    """JSON that strangers wrote, with bounded size, depth and number of values; no NaN, no repeated key.

    Raises
    ------
    ConfigError
    """
    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        if len(text) > 2 * MAX_JSON_VALUES:  # a value and what separates it from the next are two characters
            # Every value but the first follows one of these; those inside of strings only make us stricter.
            values = text.count(",") + text.count("[") + text.count("{")
            if values > MAX_JSON_VALUES:
                raise ConfigError(f"must have at most {MAX_JSON_VALUES} JSON values, has about {values}", where)
        data = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_repeats)
        if "\\u" in text and _SURROGATE.search(text):
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ConfigError(f"is nested more than {MAX_JSON_DEPTH} levels deep", where) from None
    except UnicodeError:
        raise ConfigError("must be UTF-8 text", where) from None
    except ValueError as error:
        raise ConfigError(f"is not valid JSON: {error}", where) from None
    level: list[Any] = [[data]]
    for _ in range(MAX_JSON_DEPTH + 1):
        members = chain.from_iterable(v.values() if v.__class__ is dict else v for v in level)
        level = [v for v in members if v.__class__ is dict or v.__class__ is list]
        if not level:
            return data
    raise ConfigError(f"is nested more than {MAX_JSON_DEPTH} levels deep", where)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def canonical_json(data: Any) -> str:
    """The one text of `data`: keys sorted, no white space, not escaped beyond need."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the operating system says into a ConfigError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ConfigError(f"cannot be read: {getattr(error, 'strerror', None) or error}", str(path)) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """As `reading`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be written: {getattr(error, 'strerror', None) or error}", str(path)) from None


class Spool:
    """Tensors on their way into a file: kept on disk, in nameless files beside the target, by element size.

    The finished file has the widest elements first, so that each is aligned without gaps; its header is
    known last but stands first. Nothing has a name until all bytes are written; then it is renamed into place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[int, IO[bytes]] = {}
        self._tensors: list[tuple[str, str, tuple[int, ...], int]] = []
        self._complete = True

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Append one tensor.

        Raises
        ------
        ConfigError
            If it cannot be written (no directory, no permission, no space).
        """
        dtype = array.dtype.str.lstrip("<|")
        data = np.ascontiguousarray(array)
        self._complete = False
        with writing(self.path):
            if not self._files:
                self._open(8)
            if data.itemsize not in self._files:
                self._open(data.itemsize)
            self._files[data.itemsize].write(data.reshape(-1).view(np.uint8).data)
        self._tensors.append((name, NAMES[dtype], data.shape, data.nbytes))
        self._complete = True

    def _open(self, size: int) -> None:
        self._files[size] = tempfile.TemporaryFile(dir=self.path.parent, prefix=".accelsim-")

    def finish(self, metadata: dict[str, str]) -> None:
        """Write the file and give it its name.

        Raises
        ------
        ConfigError
            As `add`; whatever stood at `path` before is then still there.
        """
        if not self._complete:
            raise ConfigError("cannot be written: an earlier operand was interrupted", str(self.path))
        order = sorted(self._tensors, key=lambda t: -np.dtype(DTYPES[t[1]]).itemsize)
        header: dict[str, Any] = {"__metadata__": metadata}
        at = 0
        for name, dtype, shape, nbytes in order:
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + nbytes]}
            at += nbytes
        raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
        raw += b" " * (-(8 + len(raw)) % _ALIGN)
        if len(raw) > MAX_HEADER_BYTES:
            raise ConfigError(f"header must be at most {MAX_HEADER_BYTES} bytes, got {len(raw)}", str(self.path))
        partial = self.path.with_name(f".{self.path.name[:100]}.{secrets.token_hex(4)}.partial")
        with writing(self.path):
            try:
                with open(partial, "xb") as file:
                    file.write(len(raw).to_bytes(8, "little") + raw)
                    for size in sorted(self._files, reverse=True):
                        self._files[size].seek(0)
                        shutil.copyfileobj(self._files[size], file, _COPY_BYTES)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(partial, self.path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            finally:
                self.close()

    def close(self) -> None:
        """Forget everything that is not finished."""
        for file in self._files.values():
            try:
                file.close()
            except OSError:
                pass  # what was buffered cannot be written, and is not wanted any more
        self._files.clear()
