"""Old PyTorch checkpoints: tensors with their strides, and nothing else."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.workload.torch_legacy import read_legacy_checkpoint

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Storage:
    """Pickles as a storage of torch does."""

    def __init__(self, key: str, kind: Any, data: np.ndarray, count: int | None = None) -> None:
        self.key, self.kind, self.data = key, kind, data
        self.count = data.size if count is None else count


class Tensor:
    """Pickles as a tensor of torch does."""

    def __init__(self, rebuild: Any, *args: Any) -> None:
        self.rebuild, self.args = rebuild, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.rebuild, (*self.args, False, OrderedDict())


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in with the names that such pickles mention."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage", "HalfStorage"):
        setattr(module, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*args: Any) -> None: ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    setattr(utils, "_rebuild_tensor_v2", _rebuild_tensor_v2)
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    module._utils = utils  # type: ignore[attr-defined]
    return module


def dump(state: Any, storages: list[Storage], magic: int = MAGIC) -> bytes:
    stream = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return ("storage", value.kind, value.key, "cpu", value.count, None)
            return None

    machine = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {}}
    for part in (magic, PROTOCOL, machine, state, [s.key for s in storages]):
        Pickler(stream, 2).dump(part)
    for storage in storages:
        stream.write(storage.data.size.to_bytes(8, "little") + storage.data.tobytes())
    return stream.getvalue()


def read(data: bytes, folder: Path) -> dict[str, np.ndarray]:
    path = folder / "net.pth"
    path.write_bytes(data)
    return read_legacy_checkpoint(path, hashlib.sha256(data).hexdigest())


def test_strides_are_respected(torch: Any, tmp_path: Path) -> None:
    filters = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    stored = Storage("a", torch.FloatStorage, np.ascontiguousarray(filters.transpose(2, 3, 1, 0)).reshape(-1))
    count = Storage("b", torch.LongStorage, np.array([7, 8, 9], np.int64))
    rebuild = torch._utils._rebuild_tensor_v2
    state = OrderedDict(
        w=Tensor(rebuild, stored, 0, (2, 3, 2, 2), (1, 2, 12, 6)), n=Tensor(rebuild, count, 1, (), ()),
        tail=Tensor(rebuild, count, 1, (2,), (1,)),
    )  # fmt: skip
    found = read(dump(state, [stored, count]), tmp_path)
    assert np.array_equal(found["w"], filters) and found["w"].flags.c_contiguous
    assert (found["n"], found["tail"].tolist()) == (8, [8, 9])


class Evil:
    """Would run a command when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch pwned",)


def test_no_other_name_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot|read safely: (posix|nt|os)\.system is not allowed"):
        read(dump(OrderedDict(w=Evil()), []), tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_another_file_is_not_even_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(dump(OrderedDict(w=Evil()), []))
    with pytest.raises(ConfigError, match="must have SHA-256 00.*got [0-9a-f]{64}: not the file"):
        read_legacy_checkpoint(path, "00")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_legacy_checkpoint(tmp_path / "net.pth", "00")


@pytest.mark.parametrize("args, message", [
    ((0, (5,), (1,)), "beyond its storage"), ((3, (2,), (1,)), "beyond its storage"),
    ((0, (2, 2), (1, 3)), "beyond its storage"), ((0, (2,), (-1,)), "beyond its storage"),
    ((-1, (2,), (1,)), "beyond its storage"),
])  # fmt: skip
def test_tensors_stay_inside_their_storage(args: Any, message: str, torch: Any, tmp_path: Path) -> None:
    stored = Storage("a", torch.FloatStorage, np.zeros(4, np.float32))
    state = OrderedDict(w=Tensor(torch._utils._rebuild_tensor_v2, stored, *args))
    with pytest.raises(ConfigError, match=message):
        read(dump(state, [stored]), tmp_path)


def test_counts_must_agree(torch: Any, tmp_path: Path) -> None:
    stored = Storage("a", torch.FloatStorage, np.zeros(4, np.float32), count=5)
    state = OrderedDict(w=Tensor(torch._utils._rebuild_tensor_v2, stored, 0, (4,), (1,)))
    with pytest.raises(ConfigError, match="storage a has 4 elements instead of 5"):
        read(dump(state, [stored]), tmp_path)


def test_other_contents_are_refused(torch: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="something else than tensors"):
        read(dump(OrderedDict(w=3), []), tmp_path)
    with pytest.raises(ConfigError, match="not a legacy checkpoint"):
        read(dump(OrderedDict(), [], magic=1), tmp_path)
    half = Storage("a", torch.HalfStorage, np.zeros(4, np.float16))
    state = OrderedDict(w=Tensor(torch._utils._rebuild_tensor_v2, half, 0, (4,), (1,)))
    with pytest.raises(ConfigError, match="torch.HalfStorage is not allowed"):
        read(dump(state, [half]), tmp_path)


def test_every_truncation_is_refused(torch: Any, tmp_path: Path) -> None:
    stored = Storage("a", torch.FloatStorage, np.ones(4, np.float32))
    data = dump(OrderedDict(w=Tensor(torch._utils._rebuild_tensor_v2, stored, 0, (4,), (1,))), [stored])
    for cut in range(len(data)):
        with pytest.raises(ConfigError):
            read(data[:cut], tmp_path)
