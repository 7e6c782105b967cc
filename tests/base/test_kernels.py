"""The kernel decorator: lazy, cached by all sources, and without a cache where none can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from accelsim.base import kernels
from accelsim.base.kernels import kernel, kernel_sources, source_hash

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="about compiled code"
)

ROOT = Path(__file__).resolve().parents[2]

CALLEE = "from {decorator_module} import {decorator}\n\n\n@{decorator}\ndef rule(x):\n    return x * {factor}\n"
CALLER = (
    "from {decorator_module} import {decorator}\nfrom {package} import callee\nfrom {package}.callee import rule\n\n\n"
    "@{decorator}\ndef twice(x):\n    return rule(x) + rule(x)\n"
)


def python(code: str, folder: Path, **env: str) -> str:
    """Output of `code` in a fresh interpreter with `folder` first on its path."""
    variables = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **env}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def edit(path: Path, text: str) -> None:
    """Write, with an mtime that no file system rounds to that of the version before."""
    path.write_text(text)
    stamp = path.stat().st_mtime + edit.__dict__.setdefault("step", 10)
    edit.__dict__["step"] += 10
    os.utime(path, (stamp, stamp))


@needs_jit
def test_numba_runs_stale_code_after_an_edit_of_a_callee(tmp_path: Path) -> None:
    """Why the decorator exists: numba's cache looks at the caller's file only."""
    package = tmp_path / "plain"
    package.mkdir()
    edit(package / "__init__.py", "")
    edit(package / "deco.py", "import numba\n\ncached = numba.njit(cache=True)\n")
    names = {"decorator_module": "plain.deco", "decorator": "cached", "package": "plain"}
    edit(package / "callee.py", CALLEE.format(factor=3, **names))
    edit(package / "caller.py", CALLER.format(**names))
    code = "from plain.caller import twice; print(twice(5))"
    assert python(code, tmp_path) == "30"
    edit(package / "callee.py", CALLEE.format(factor=5, **names))
    assert python(code, tmp_path) == "30"  # 50 would be right


@needs_jit
def test_ours_does_not(tmp_path: Path) -> None:
    """The same edit, of a copy of accelsim's own decorator and two kernels inside its package."""
    package = tmp_path / "accelsim"
    (package / "base").mkdir(parents=True)
    for path in (package / "__init__.py", package / "base" / "__init__.py"):
        edit(path, "")
    edit(package / "base" / "kernels.py", Path(kernels.__file__).read_text())
    names = {"decorator_module": "accelsim.base.kernels", "decorator": "kernel", "package": "accelsim"}
    edit(package / "callee.py", CALLEE.format(factor=3, **names))
    edit(package / "caller.py", CALLER.format(**names))
    code = "from accelsim.caller import twice; print(twice(5))"
    cache = {"ACCELSIM_CACHE_DIR": str(tmp_path / "cache")}
    assert python(code, tmp_path, **cache) == "30"
    assert python(code, tmp_path, **cache) == "30"
    edit(package / "callee.py", CALLEE.format(factor=5, **names))
    assert python(code, tmp_path, **cache) == "50"
    # and back: the first cache is still there, and right
    edit(package / "callee.py", CALLEE.format(factor=3, **names))
    assert python(code, tmp_path, **cache) == "30"
    names_of = sorted(d.name.split("-")[0] for d in (tmp_path / "cache" / "kernels").iterdir())
    assert names_of == ["callee", "callee", "caller", "caller"]


@needs_jit
def test_an_edit_elsewhere_leaves_the_cache_alone(tmp_path: Path) -> None:
    package = tmp_path / "accelsim"
    (package / "base").mkdir(parents=True)
    for path in (package / "__init__.py", package / "base" / "__init__.py"):
        edit(path, "")
    edit(package / "base" / "kernels.py", Path(kernels.__file__).read_text())
    for name in ("one", "two"):
        edit(
            package / f"{name}.py",
            "from accelsim.base.kernels import kernel\n\n\n@kernel\ndef f(x):\n    return x + 1\n",
        )
    cache = {"ACCELSIM_CACHE_DIR": str(tmp_path / "cache")}
    code = "import accelsim.one, accelsim.two; print(accelsim.one.f(1) + accelsim.two.f(1))"
    assert python(code, tmp_path, **cache) == "4"
    before = {d.name for d in (tmp_path / "cache" / "kernels").iterdir()}
    edit(package / "two.py", (package / "two.py").read_text().replace("x + 1", "x + 2"))
    assert python(code, tmp_path, **cache) == "5"
    after = {d.name for d in (tmp_path / "cache" / "kernels").iterdir()}
    assert len(before) == 2 and len(after - before) == 1


@needs_jit
def test_a_constant_in_another_file_counts_as_a_source(tmp_path: Path) -> None:
    package = tmp_path / "accelsim"
    (package / "base").mkdir(parents=True)
    for path in (package / "__init__.py", package / "base" / "__init__.py"):
        edit(path, "")
    edit(package / "base" / "kernels.py", Path(kernels.__file__).read_text())
    edit(package / "constants.py", "LATENCY = 7\n")
    edit(
        package / "user.py",
        "from accelsim.base.kernels import kernel\nfrom accelsim.constants import LATENCY\n\n\n"
        "@kernel\ndef later(x):\n    return x + LATENCY\n",
    )
    code = "from accelsim.user import later; print(later(1))"
    cache = {"ACCELSIM_CACHE_DIR": str(tmp_path / "cache")}
    assert python(code, tmp_path, **cache) == "8"
    edit(package / "constants.py", "LATENCY = 9\n")
    assert python(code, tmp_path, **cache) == "10"


@needs_jit
def test_without_a_writable_cache_kernels_still_run(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    code = (
        "from accelsim.base import kernels\n"
        "kernels.on_compile(print)\n"
        "@kernels.kernel\ndef add(a, b):\n    return a + b\n"
        "print(add(2, 3))"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    out = python(
        f"exec(compile(open({str(script)!r}).read(), {str(script)!r}, 'exec'))",
        ROOT,
        ACCELSIM_CACHE_DIR=str(blocked / "x"),
    )
    assert out.endswith("5")
    assert "no cache directory can be written" in out


def test_importing_kernels_imports_no_compiler() -> None:
    code = "import accelsim.mapping.search, accelsim.engines.systolic, sys; print('numba' in sys.modules)"
    assert python(code, ROOT) == "False"


def test_plain_functions_under_disabled_jit() -> None:
    code = (
        "import sys\nfrom accelsim.mapping.spans import span\n"
        "print(span(0, 3, 10, 3, 1, 1, 1))\nprint('numba' in sys.modules)"
    )
    assert python(code, ROOT, NUMBA_DISABLE_JIT="1").splitlines() == ["(0, 4)", "False"]


def test_every_kernel_says_how_to_warm_it_up_or_is_called_by_one_that_does() -> None:
    import importlib

    package = Path(kernels.__file__).resolve().parents[1]
    for path in kernel_sources():
        importlib.import_module(
            ".".join(("accelsim", *path.relative_to(package).with_suffix("").parts)).removesuffix(".__init__")
        )
    ours = [k for k in kernels.registered() if k.py_func.__module__.startswith("accelsim.")]
    assert len(ours) > 5
    reached = set()
    queue = [k for k in ours if k.example is not None]
    while queue:
        item = queue.pop()
        if item in reached:
            continue
        reached.add(item)
        names = kernels._all_names(item.py_func.__code__)
        scope = item.py_func.__globals__
        queue += [scope[n] for n in names if isinstance(scope.get(n), kernels.Kernel)]
    # what drives the flit kernel as BookSim drives itself serves comparisons only; no run calls it
    ours = [k for k in ours if k.py_func.__module__ != "accelsim.noc.booksim" and k.py_func.__name__ != "run_trace"]
    lost = sorted(f"{k.py_func.__module__}.{k.py_func.__name__}" for k in ours if k not in reached)
    assert not lost, f"`accelsim warmup` would not compile {lost}"


def test_the_hash_is_stable_in_a_process() -> None:
    path = Path(kernels.__file__).resolve()
    assert source_hash(path) == source_hash(path)
    assert path in kernel_sources()


def test_a_kernel_is_a_function_with_its_documentation() -> None:
    @kernel
    def add(a: int, b: int) -> int:
        """Sum."""
        return a + b

    assert add(1, 2) == 3
    assert add.__doc__ == "Sum."
