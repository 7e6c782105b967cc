"""Every kernel of the front end against its plain twin, as machine code and in the interpreter."""

from __future__ import annotations

import ast
import copy
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelsim
from accelsim.base.kernels import Kernel
from tests.kernel_twins import TWINS

PACKAGE = Path(accelsim.__file__).parent


def kernels_of(rooms: tuple[str, ...]) -> set[str]:
    """Names of all functions marked as kernels, from the source."""
    found = set()
    for room in rooms:
        for path in (PACKAGE / room).rglob("*.py"):
            module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                marks = [ast.unparse(mark).split("(")[0] for mark in getattr(node, "decorator_list", [])]
                if isinstance(node, ast.FunctionDef) and "kernel" in marks:
                    found.add(f"{module}.{node.name}")
    return found


def test_every_kernel_has_a_twin() -> None:
    assert set(TWINS) == kernels_of(("workload", "compress"))


@pytest.mark.parametrize("name", sorted(TWINS))
def test_kernel_equals_its_twin_with_and_without_the_compiler(name: str) -> None:
    module, _, function = name.rpartition(".")
    kernel: Kernel[..., Any] = getattr(importlib.import_module(f"accelsim.{module}"), function)
    for seed in range(6):
        args, expected, value = TWINS[name](np.random.default_rng(seed))
        for run in (kernel, kernel.py_func):
            mine = copy.deepcopy(args)
            with np.errstate(over="ignore"):
                returned = run(*mine)
            assert returned == value if value is not None else returned is None
            for place, wanted in expected.items():
                count, array = wanted if isinstance(wanted, tuple) else (mine[place].size, wanted)
                assert mine[place].reshape(-1)[:count].tolist() == np.asarray(array).reshape(-1)[:count].tolist()
