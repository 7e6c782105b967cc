"""Marks that several files of this folder use."""

from __future__ import annotations

import os

import pytest

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")

compiled_only = pytest.mark.skipif(not COMPILED, reason="too many flits for plain Python")
