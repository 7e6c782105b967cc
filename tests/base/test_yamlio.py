"""YAML from strangers: 1.2 rules, lines, and refusals before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.base.errors import ConfigError
from accelsim.base.yamlio import MAX_BYTES, dump_yaml, parse_yaml, read_yaml


def test_yaml_1_2_scalars() -> None:
    data = parse_yaml("a: 1e1\nb: off\nc: 010\nd: 1:30\ne: true\nf: ~\n").data
    assert data == {"a": 10.0, "b": "off", "c": 10, "d": "1:30", "e": True, "f": None}


def test_every_key_has_its_place() -> None:
    document = parse_yaml("a:\n  - b: 1\n    c: 2\n", "f.yaml")
    assert str(document.mark(("a", 0, "c"))) == "f.yaml:3:5"
    assert document.where(("a", 0, "missing")).startswith("f.yaml:2:5: a[0].missing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"f.yaml:\d+:\d+: not valid YAML"),
        ("a: 1\na: 2", "f.yaml:2:1: not valid YAML: found duplicate key"),
        ("a: &x [1]\nb: *x", r"f.yaml:2:4: YAML aliases \(\*x\) are not allowed"),
        ("[" * 100 + "]" * 100, "nested more than 40 levels deep"),
        ("{a: " * 100, "nested more than 40 levels deep"),
        ("", "the file is empty"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
        ("a: !!binary x", "not valid YAML"),
        ("? [a, b]\n: 1", "not valid YAML"),
        ("a: \x07", "not valid YAML"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "f.yaml")


def test_a_huge_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(2**30)  # a hole: nothing is written, and nothing must be read
    with pytest.raises(ConfigError, match=f"must be at most {MAX_BYTES} bytes, got {2**30}"):
        read_yaml(path)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="must be UTF-8 text, but byte 3 is not"):
        read_yaml(tmp_path / "b.yaml")


def test_round_trip() -> None:
    data = {"b": [1, 2.5, None, True], "a": {"x": "off", "y": "1e3"}}
    assert parse_yaml(dump_yaml(data)).data == data
