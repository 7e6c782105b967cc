"""Where the reference figures lie: data of other simulators and papers, not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def reference(name: str) -> Path:
    """The path of reference file `name`; skips the calling test where the references are absent."""
    root = Path(os.environ.get("ACCELSIM_REFERENCES", Path(__file__).resolve().parents[2] / "shared" / "refs"))
    path = root / name
    if not path.exists():
        pytest.skip(f"reference data {name} is not here (set ACCELSIM_REFERENCES)")
    return path
