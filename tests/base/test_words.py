"""Parts: the translated code does what the same text does in Python, and what is not in the subset is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.kernels import kernel
from accelsim.base.words import Table, Word, Words, part, rare_part

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="about compiled code"
)

SEVEN = np.int64(7)
BITS = 3


@part
def _arithmetic(a: Word, b: Word, out: Words) -> None:
    s = b & 7
    out[0] = a + b * SEVEN - (a ^ b)
    out[1], out[2] = a // b, a % b
    out[3] = (a << s) | (b >> BITS)
    out[4] = -a + ~b
    out[5] = min(a, b, 5) + max(a, b)
    out[6] = a // 3 + a % 3
    out[7] = a // -3 + a % -3
    out[7] -= +b
    out[8] = (a < b) + (a <= b) * 2 + (a == b) * 4 + (a != b) * 8 + int(a > b) * 16 + (not a >= b) * 32


@part
def _logic(a: Word, b: Word, c: Word, out: Words) -> None:
    out[0] = a or b and c
    out[1] = (a and b) or c
    out[2] = int(not a) + int(not (a or b))
    out[3] = 1 if a < b < c else 2 if a == b else 3
    out[4] = 0
    if a > 0 and (b > 0 or not c > 0):
        out[4] = 1
    elif not (a < 0 or b < 0) and c:
        out[4] = 2
    else:
        out[4] = 3
    out[5] = a < b != c
    if a > 0 and out[5 // a] == 0 or a == 0:
        out[5] += 8


@part
def _collatz(n: Word) -> Word:
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
        if steps == 50:
            break
    return steps


@rare_part
def _both(a: Word, b: Word) -> tuple[Word, Word]:
    if a > b:
        return b, a
    return a, b


@part
def _loops(t: Table, w: Words, step: Word, out: Words) -> Word:
    a, b = w
    c, d = w[:2]
    e, f = t[1]
    low, high = _both(a, b)
    total = 0
    for i in range(low, high):
        if i % 3 == 0:
            continue
        for j in range(10, i, -4):
            i += 1  # does not move the loop
            total += i * j
            if total > 1000:
                break
        total += _collatz(i) if i > 0 else i
    for k in range(low, high, step):
        out[k & 3] += t[k & 1, 1] + k
    a, b = b, a
    while True:
        total += a - b
        if total > -50:
            return total * t.shape[0] + t.shape[1] + w.shape[0] + c - d + e + f
        total += 7 + max(b, -b) + max(a, -a)


@kernel
def arithmetic(a: Word, b: Word, out: Words) -> None:
    """Of all operators."""
    _arithmetic(a, b, out)


@kernel(_nrt=False)
def logic(a: Word, b: Word, c: Word, out: Words) -> None:
    """Of conditions."""
    _logic(a, b, c, out)


@kernel(_nrt=False)
def loops(t: Table, w: Words, step: Word, out: Words) -> Word:
    """Of statements."""
    return _loops(t, w, step, out)


@kernel
def ordered(a: Word, b: Word) -> Word:
    """A tuple to numba."""
    low, high = _both(a, b)
    return 1000 * low + high


small = st.integers(-40, 40)


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9) | small)
@settings(deadline=None, derandomize=True, max_examples=200)
def test_arithmetic_is_pythons(a: int, b: int) -> None:
    if b:
        ours, python = np.zeros(9, np.int64), np.zeros(9, np.int64)
        arithmetic(a, b, ours)
        _arithmetic(a, b, python)
        assert ours.tolist() == python.tolist()


@given(st.integers(-2, 3), st.integers(-2, 3), st.integers(-2, 3))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_conditions_are_pythons(a: int, b: int, c: int) -> None:
    ours, python = np.zeros(6, np.int64), np.zeros(6, np.int64)
    logic(a, b, c, ours)
    _logic(a, b, c, python)
    assert ours.tolist() == python.tolist()


@given(small, small, st.sampled_from([-3, -1, 1, 2]), st.integers(-9, 9))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_statements_are_pythons(a: int, b: int, step: int, x: int) -> None:
    t, w = np.arange(x, x + 6).reshape(3, 2), np.array([a, b])
    outs = np.zeros((2, 4), np.int64)
    assert int(loops(t, w, step, outs[0])) == _loops(t, w, step, outs[1])
    assert outs[0].tolist() == outs[1].tolist()
    assert ordered(a, b) == 1000 * min(a, b) + max(a, b)


@needs_jit
def test_division_by_zero_gives_zero() -> None:
    out = np.zeros(9, np.int64)
    arithmetic(5, 0, out)
    assert out[1] == out[2] == 0


def _of(text: str, annotation: str = "Word") -> Any:
    """A kernel around a part with a body that the translator has to refuse."""
    scope: dict[str, Any] = {"Word": Word, "part": part, "other": 0.5}
    name = f"refused {text}"
    source = f"from __future__ import annotations\n@part\ndef f(x: {annotation}) -> Word:\n    {text}\n"
    import linecache

    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    exec(compile(source, name, "exec"), scope)  # noqa: S102 - our own text
    return scope["f"]


@needs_jit
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("return x / 2", "Div is not in the subset"),
        ("return x ** 2", "Pow is not in the subset"),
        ("return 1 if x in y else 0", "In is not in the subset"),
        ("return 0.5", "0.5 is no integer"),
        ("return other", "other is no integer"),
        ("return missing", "missing is not defined"),
        ("return x[0]", "neither a variable nor a word of an array"),
        ("return abs(x)", "abs is no part with 1 parameters"),
        ("return min(x, key=x)", "gives its arguments in order"),
        ("return x, x", "Tuple is not in the subset"),
        ("a, b = x", "not 2 values"),
        ("a = b = x", "one target at a time"),
        ("y += x", "y is no integer variable"),
        ("x", "an expression without effect"),
        ("with x: pass", "With is not in the subset"),
        ("for i in x: pass", "a loop goes over a range"),
        ("while x: x -= 1\n    else: x = 1", "else of a loop"),
        ("return", "returns something else"),
    ],
)
def test_what_is_not_in_the_subset_is_refused(text: str, message: str) -> None:
    from llvmlite import ir

    from accelsim.base.words_llvm import _function

    with pytest.raises((TypeError, NameError), match=message):
        _function(ir.Module(), _of(text))


def test_parameters_are_words_or_arrays_of_words() -> None:
    with pytest.raises(TypeError, match="f: x must be a Word, Words or a Table, got float"):
        _of("return 1", "float").kinds  # noqa: B018 - is looked up


@needs_jit
def test_a_part_needs_its_source() -> None:
    scope: dict[str, Any] = {"part": part}
    exec("def f(x: 'Word') -> 'Word':\n    return x\n", scope)  # noqa: S102 - a text without a file
    from accelsim.base.words import syntax_tree

    with pytest.raises(TypeError, match="f: a part needs its source"):
        syntax_tree(part(scope["f"]))


@needs_jit
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: np.zeros(9, np.int32), "must be a C-contiguous int64 array"),
        (lambda: np.zeros((3, 3), np.int64), "must be a C-contiguous int64 array"),
        (lambda: np.zeros(18, np.int64)[::2], "must be a C-contiguous int64 array"),
    ],
)
def test_arrays_of_another_kind_are_refused(make: Callable[[], np.ndarray], message: str) -> None:
    from numba.core.errors import TypingError

    with pytest.raises(TypingError, match=message):
        arithmetic(1, 1, make())
