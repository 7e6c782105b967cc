"""Calls of the command line inside of the test's process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from accelsim.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Outcome:
    """What a command left."""

    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """`accelsim arguments...`."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    return Outcome(code, *capsys.readouterr())
