"""The project as a whole: style, types, import direction, and the kernels once more without the compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_style() -> None:
    done = run("flake8", "accelsim", "tests", "benchmarks")
    assert done.returncode == 0, done.stdout


def test_types(tmp_path: Path) -> None:
    done = run("mypy", "--cache-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout


def test_imports_go_down() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


PARTS = 4  # of the engines' tests, which several workers then share


SUITES = ["mapping", "dataflow", "memory/test_dram_twin.py", "noc/test_flits_twin.py"]


@pytest.mark.parametrize("suite", [*(f"engines/{i}" for i in range(PARTS)), *SUITES])
def test_kernels_mean_the_same_without_the_compiler(suite: str) -> None:
    """The suites that compare kernels with plain twins, as plain Python."""
    paths = [f"tests/{suite}"]
    if suite.startswith("engines/"):
        paths = [str(path) for path in sorted((ROOT / "tests" / "engines").glob("test_*.py"))[int(suite[-1]) :: PARTS]]
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        pytest.skip("this run is already without the compiler")
    done = run("pytest", "-q", "-p", "no:cacheprovider", *paths, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_file_is_larger_than_it_needs_to_be() -> None:
    """Code in pieces that can be read: no module over 600 lines."""
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / "accelsim").rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 600
    }
    assert not long


def test_every_folder_is_installed() -> None:
    from configparser import ConfigParser

    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "accelsim").rglob("*.py")}
    assert folders <= listed, f"setup.cfg does not install {sorted(folders - listed)}"
