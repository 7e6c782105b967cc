"""The README says what really happens: its output is printed by its command, its other commands work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from accelsim.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def block(mark: str) -> str:
    """The fenced block after the comment `mark`."""
    match = re.search(rf"<!-- {mark} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert match, f"README.md has no block marked {mark!r}"
    return match[1]


def command(mark: str) -> list[str]:
    """The accelsim command at the end of a block, without the folder of its environment."""
    return shlex.split(block(mark).split("&&")[-1])[1:]


def test_the_main_job_prints_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command("main job")) == 0
    printed = capsys.readouterr().out.splitlines()
    shown = block("output of the main job").splitlines()
    assert len(shown) > 25
    at = 0
    for line in shown:
        if line.strip() == "...":
            continue
        assert line in printed[at:], f"not printed, or not in this order: {line!r}"
        at = printed.index(line, at) + 1
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {
        f"{name}.{kind}" for name in ("cycles", "energy", "roofline", "activity") for kind in ("png", "pdf")
    }


def test_the_test_command_is_one_line_that_makes_its_own_environment() -> None:
    assert block("test command").startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert block("test command").count("\n") == 1


def test_the_other_commands_work_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later ones read what earlier ones have written; files that are the user's own, and downloads, are left out."""
    lines = [
        line.split("#")[0].strip()
        for line in re.findall(r"^accelsim .*$", README.split("## What to type next")[1], re.MULTILINE)
        if not re.search(r"model\.onnx|topology\.csv|mine\.yaml|capture|hopper", line)
    ]
    assert len(lines) >= 10
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, line


def test_the_python_example_works() -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    exec(compile(code[1], "README.md", "exec"), {})


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
