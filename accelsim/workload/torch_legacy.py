"""Tensors out of a PyTorch checkpoint of the old kind (before the zip container), without PyTorch.

Such a file is five pickles (magic number, protocol version, machine, state, list of storage keys) followed by
the raw storages. Unpickling can run code, so this reader (a) demands the SHA-256 of the file, and (b) resolves
exactly four names, none of which does more than build a record. Tensors keep their strides: the storages of
convolution filters are not in the order of their dimensions, and ignoring that gives a network of plausible
but wrong weights.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.base.errors import ConfigError

MAX_BYTES = 2**30
_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py
_PROTOCOL = 1001
_DTYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _tensor(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(size), tuple(stride))


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): "FloatStorage",
    ("torch", "LongStorage"): "LongStorage",
}


class _Unpickler(pickle.Unpickler):
    """Knows four names; any other ends the reading."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed") from None

    def persistent_load(self, pid: Any) -> _Storage:
        tag, kind, key, _device, count, *_view = pid
        if tag != "storage" or kind not in _DTYPES:
            raise pickle.UnpicklingError(f"unknown storage {pid!r}")
        return _Storage(str(key), kind, int(count))


def read_legacy_checkpoint(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """Name -> array of a state dictionary.

    Parameters
    ----------
    path : Path
    sha256 : str
        What the whole file must hash to; it is not unpickled otherwise.

    Raises
    ------
    ConfigError
        The file is missing, is another file, or holds anything but tensors.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"a checkpoint must be at most {MAX_BYTES} bytes", str(path))
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", str(path)) from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ConfigError(f"must have SHA-256 {sha256}, got {found}: not the file that accelsim knows", str(path))
    try:
        return _tensors(data)
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ConfigError(f"is no checkpoint that can be read safely: {error}", str(path)) from None


def _tensors(data: bytes) -> dict[str, np.ndarray]:
    stream = io.BytesIO(data)
    magic, protocol, machine, state, keys = (_Unpickler(stream).load() for _ in range(5))
    if magic != _MAGIC or protocol != _PROTOCOL or not machine["little_endian"]:
        raise ValueError("not a legacy checkpoint of a little-endian machine")
    records = {name: value for name, value in state.items() if isinstance(value, _Tensor)}
    if len(records) != len(state):
        raise ValueError("it holds something else than tensors")
    kinds = {record.storage.key: record.storage for record in records.values()}
    storages: dict[str, np.ndarray] = {}
    at = stream.tell()
    for key in keys:
        kind = kinds[key]
        count = int.from_bytes(data[at : at + 8], "little")
        if count != kind.count:
            raise ValueError(f"storage {key} has {count} elements instead of {kind.count}")
        storages[key] = np.frombuffer(data, _DTYPES[kind.kind], count, at + 8)
        at += 8 + storages[key].nbytes
    return {name: _view(storages[record.storage.key], record) for name, record in records.items()}


def _view(storage: np.ndarray, record: _Tensor) -> np.ndarray:
    last = record.offset + sum((d - 1) * s for d, s in zip(record.size, record.stride, strict=True))
    if min((record.offset, *record.size, *record.stride), default=0) < 0 or last >= storage.size:
        raise ValueError("a tensor reaches beyond its storage")
    strides = tuple(s * storage.itemsize for s in record.stride)
    view = np.lib.stride_tricks.as_strided(storage[record.offset :], record.size, strides, writeable=False)
    return np.ascontiguousarray(view)
