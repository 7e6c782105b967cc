"""Whatever is done to a trace file: the reader says ConfigError, or reads it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.workload.trace import Trace, synthetic_trace
from tests.workload.traces import network, put_together, rewrite, take_apart, write

fuzz = settings(deadline=None, derandomize=True, max_examples=250)
MAX_ELEMENTS = 10_000  # a forged network may rightly describe a large tensor; reading it proves nothing


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """Where to write, and valid files: stored operands, and generated ones."""
    folder = tmp_path_factory.mktemp("fuzz")
    stored = write(folder / "a.trace").read_bytes()
    synthetic_trace(network(), activation_density=0.5).write(folder / "a.trace")
    return folder / "b.trace", [stored, (folder / "a.trace").read_bytes()]


def read_all(path: Path) -> bool:
    """Whether everything could be read; anything but ConfigError fails the test."""
    try:
        trace = Trace.open(path)
        for operand in trace:
            str(operand), operand.stored_bytes, operand.scale, operand.zero_point
            if operand.elements <= MAX_ELEMENTS:
                assert operand.values().shape == operand.shape
        trace.layers_with("filter")
        if all(operand.elements <= MAX_ELEMENTS for operand in trace):
            trace.verify()
        return True
    except ConfigError as error:
        assert str(error).startswith(str(path))
        str(error).encode()
        return False


@fuzz
@given(st.data())
def test_bytes_changed_cut_and_inserted(files: tuple[Path, list[bytes]], data: st.DataObject) -> None:
    path, valid = files
    raw = bytearray(data.draw(st.sampled_from(valid)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1) | st.integers(0, min(60, len(raw) - 1)))
        match data.draw(st.sampled_from(["flip", "set", "insert", "delete", "repeat"])):
            case "flip":
                raw[at] ^= 1 << data.draw(st.integers(0, 7))
            case "set":
                raw[at] = data.draw(st.sampled_from(b'0129-"[]{},:\\/ \xff\0eu'))
            case "insert":
                raw[at:at] = data.draw(st.binary(max_size=9))
            case "delete":
                del raw[at : at + data.draw(st.integers(1, 64))]
            case "repeat":
                raw[at:at] = raw[at : at + 64]
        if not raw:
            break
    path.write_bytes(raw)
    read_all(path)


STRANGE: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 16, 2**31, 2**63 - 1, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, 5e-324,
    "", "x", "conv", "fc", "input", "cell", "filter", "dense", "float", "\u0000", "\U0001f600", "a" * 1000,
    [], [0], [1], [-1], [1, 2, 3, 4], [2**40] * 8, [2**62] * 16, [[]], {}, {"a": 1},
]  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value inside."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(items):
        yield value, key
        yield from places(child)


def mutation(data: st.DataObject) -> Callable[[Any], None]:
    def change(header: Any) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            spots = list(places(header))
            if not spots:
                return
            owner, key = spots[data.draw(st.integers(0, len(spots) - 1))]
            match data.draw(st.sampled_from(["replace", "nudge", "delete", "add", "swap"])):
                case "delete":
                    del owner[key]
                case "add" if isinstance(owner, dict):
                    owner[data.draw(st.sampled_from(["x", "nodes", "parts", "generator", "bits"]))] = 1
                case "swap":
                    other, place = spots[data.draw(st.integers(0, len(spots) - 1))]
                    owner[key] = json.loads(json.dumps(other[place]))
                case "nudge" if type(owner[key]) is int:
                    owner[key] += data.draw(st.sampled_from([-1, 1, 8]))
                case _:
                    owner[key] = copy.deepcopy(data.draw(st.sampled_from(STRANGE)))

    return change


@fuzz
@given(st.data())
def test_header_values_changed_with_a_fitting_hash(files: tuple[Path, list[bytes]], data: st.DataObject) -> None:
    path, valid = files
    path.write_bytes(data.draw(st.sampled_from(valid)))
    read_all(rewrite(path, mutation(data)))


@fuzz
@given(st.data())
def test_container_values_changed(files: tuple[Path, list[bytes]], data: st.DataObject) -> None:
    path, valid = files
    path.write_bytes(data.draw(st.sampled_from(valid)))
    header, payload = take_apart(path)
    mutation(data)(header)
    read_all(put_together(path, header, payload))


def test_the_files_that_are_fuzzed_are_valid(files: tuple[Path, list[bytes]]) -> None:
    path, valid = files
    for raw in valid:
        path.write_bytes(raw)
        assert read_all(path)
