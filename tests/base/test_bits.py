"""Bits gathered by the processor, and bodies of kernels for where it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from accelsim.base import bits
from accelsim.base.kernels import kernel, target

ROOT = Path(__file__).resolve().parents[2]

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="about compiled code"
)


@pytest.mark.parametrize(
    "triple, processor, features, quick",
    [
        ("x86_64-unknown-linux-gnu", "znver3", {"bmi2", "avx2"}, True),
        ("x86_64-pc-windows-msvc", "haswell", {"bmi2"}, True),
        ("x86_64-unknown-linux-gnu", "znver2", {"bmi2"}, False),
        ("x86_64-unknown-linux-gnu", "generic", set(), False),
        ("aarch64-apple-darwin", "apple-m1", {"neon"}, False),
    ],
)
def test_quick_bits_by_processor(
    monkeypatch: pytest.MonkeyPatch, triple: str, processor: str, features: set[str], quick: bool
) -> None:
    monkeypatch.setattr(bits, "target", lambda: (triple, processor, frozenset(features)))
    assert bits.has_quick_bits() is quick


def test_the_target_is_what_numba_compiles_for() -> None:
    triple, processor, features = target()
    assert "-" in triple and processor and all(f and f[0] not in "+-" for f in features)


def test_an_instruction_is_for_compiled_code() -> None:
    with pytest.raises(TypeError, match="compiled code only"):
        bits.pext(1, 1)


@needs_jit
def test_the_other_body_is_compiled_where_it_should_be() -> None:
    def doubled() -> tuple[int, int]:
        return int(one(4)), int(other(4))

    @kernel
    def one(x):  # type: ignore[no-untyped-def]
        return x + x

    @kernel
    def other(x):  # type: ignore[no-untyped-def]
        return x + x

    one.instead(lambda: True)(lambda x: 2 * x + 1)  # not the same result, so that one sees which it is
    other.instead(lambda: False)(lambda x: 2 * x + 1)
    assert doubled() == (9, 8) and one.py_func(4) == 8


CODE = """
import hashlib
import numpy as np
from accelsim.base.bits import has_quick_bits
from accelsim.workload.encodings.base import encoding
from accelsim.workload.packing import pack, unpack

values = np.random.default_rng(5).integers(0, 128, 3000).astype(np.uint8)
values[values > 60] = 0
digest = hashlib.sha256()
for name in ("rlc", "eyeriss_rlc", "bitmap"):
    encoded = encoding(name).encode(values, 7, False)
    for key in sorted(encoded.payload):
        digest.update(encoded.payload[key].tobytes())
    back = encoding(name).decode(encoded.payload, encoded.meta, values.shape, 7, False)
    assert np.array_equal(back, values)
print(has_quick_bits(), digest.hexdigest())
"""


@needs_jit
def test_streams_are_the_same_on_every_processor() -> None:
    """Machine code for this processor, and for one without the instructions, from one cache."""
    found = []
    for variables in ({}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}):
        env = {**os.environ, **variables}
        done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    assert found[1][0] == "False" and found[0][1] == found[1][1]
