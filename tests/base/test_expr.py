"""Expressions: right where Python is, refused where it could do harm."""

from __future__ import annotations

import math
import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.base.expr import MAX_BITS, Expression, evaluate

NAMES = {"rows": 32, "cols": 8, "ratio": 0.5, "flow": "ws", "on": True, "array": {"pe": {"bits": 8}}, "a.b": 3}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 / 2", 3.5),
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("-7 % 4", 1),
        ("2 ** 10", 1024),
        ("2 ** -1", 0.5),
        ("rows * cols", 256),
        ("array.pe.bits + a.b", 11),
        ("min(rows, cols, 3) + max(1, 2)", 5),
        ("ceil(rows / 5) + floor(rows / 5)", 13),
        ("abs(-3)", 3),
        ("log2(rows)", 5),
        ("1 < cols <= 8 < rows", True),
        ("1 < cols < 8", False),
        ("rows == 32 and not cols == 9 or false", True),
        ("rows if flow == 'ws' else cols", 32),
        ("flow != 'os'", True),
        ("on and true", True),
        ("+ratio", 0.5),
        ("on + 1", 2),
    ],
)
def test_values(text: str, value: float | bool) -> None:
    result = evaluate(text, NAMES)
    assert result == value and type(result) is type(value)


def test_log2_of_a_power_of_two_is_whole() -> None:
    assert [evaluate("log2(n)", {"n": 2**k}) for k in range(100)] == list(range(100))
    assert evaluate("log2(6)", {}) == math.log2(6)


def test_and_or_give_true_or_false_never_an_operand() -> None:
    assert evaluate("2 and 3", {}) is True
    assert evaluate("0 or 3", {}) is True
    assert evaluate("0 or ''", {}) is False


def test_names_are_listed_whole_and_without_functions() -> None:
    found = Expression("max(array.pe.bits, rows) + x if on else y").names
    assert found == {"array.pe.bits", "rows", "x", "on", "y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9 ** 9 ** 9", r"\*\* is too large, in '9 \*\* 9 \*\* 9'"),
        ("2 ** 1000000000000", "too large"),
        ("10 ** 39", "below 2\\*\\*128"),
        ("1e308 * 10", "too large"),
        ("1e308 ** 2", "too large"),
        ("2 ** 127 * 2 * 1.0 ** 3 * 4", "below 2\\*\\*128"),
        ("1" * 60, "below 2\\*\\*128"),
        ("1 / 0", "division by zero"),
        ("1 % (cols - 8)", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("(-8) ** 0.5", "not a real number"),
        ("log2(0)", "log2 needs a number above 0"),
        ("rosw + 1", "unknown name 'rosw'; did you mean rows"),
        ("array.pe.bit", "unknown name 'array.pe.bit'"),
        ("array", "array must be a number or text, got dict"),
        ("array.pe", "array.pe must be a number or text"),
        ("flow + 1", "arithmetic needs numbers, got 'ws'"),
        ("'a' * 100", "arithmetic needs numbers, got 'a'"),
        ("-flow", "arithmetic needs numbers"),
        ("flow < 3", "text and number cannot be compared"),
        ("floor()", "floor takes 1 arguments"),
        ("min(1)", "min takes 2 or more"),
    ],
)
def test_faults_of_values(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(text, NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "rows.bit_length()",
        "().__class__",
        "'a'.join",
        "[1, 2]",
        "{1}",
        "rows[0]",
        "lambda: 1",
        "(x := 1)",
        "f'{rows}'",
        "max(*rows)",
        "max(a=1, b=2)",
        "1 if rows",
        "1 is 1",
        "1 in rows",
        "1 << 100",
        "~1",
        "1j",
        "None",
        "b'x'",
        "...",
        "yield 1",
        "rows = 1",
        "import os",
        "1; 2",
        "",
        "1if rows else 2",
        "'\\d'",
        "\0",
        "eval('1')",
    ],
)
def test_only_arithmetic_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match="allowed|expression|function|dot|argument|unknown name"):
        evaluate(text, NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "1+" * 400 + "1",
        "-" * 499 + "1",
        "(" * 240 + "1" + ")" * 240,
        "not " * 120 + "1",
        "+".join(["1"] * 240),
        "max(" * 60 + "1" + ", 1)" * 60,
        "9" * 501,
    ],
)
def test_size_and_depth_are_bounded(text: str) -> None:
    with pytest.raises(ConfigError, match="at most|nested|not an expression"):
        evaluate(text, {})


def test_messages_carry_the_place() -> None:
    with pytest.raises(ConfigError, match=r"^net.yaml:3:7: unknown name 'x'.*in 'x \+ 1'"):
        evaluate("x + 1", {}, "net.yaml:3:7")
    with pytest.raises(ConfigError, match=r"^sweep.yaml: '1 \+' is not an expression"):
        Expression("1 +", "sweep.yaml")


numbers = st.one_of(st.integers(-(2**40), 2**40), st.integers(-(10**9), 10**9).map(lambda n: n / 1000))
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "<": operator.lt,
    ">=": operator.ge,
    "==": operator.eq,
}


@settings(deadline=None, derandomize=True, max_examples=200)
@given(a=numbers, b=numbers, c=numbers, first=st.sampled_from(sorted(OPERATORS)), second=st.sampled_from("+-*"))
def test_agrees_with_python(a: float, b: float, c: float, first: str, second: str) -> None:
    names = {"a": a, "b": b, "c": c}
    if b == 0 and first in ("/", "//", "%"):
        with pytest.raises(ConfigError, match="division by zero"):
            evaluate(f"a {first} b", names)
        return
    left = OPERATORS[first](a, b)
    assert evaluate(f"a {first} b", names) == left
    assert evaluate(f"(a {first} b) {second} c", names) == OPERATORS[second](left, c)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(base=st.integers(-(2**70), 2**70), power=st.integers(-200, 200))
def test_powers_are_exact_or_refused(base: int, power: int) -> None:
    try:
        result = evaluate("base ** power", {"base": base, "power": power})
    except ConfigError:
        assert (base == 0 and power < 0) or abs(power) > MAX_BITS or abs(base) ** abs(power) >= 2**MAX_BITS
        return
    assert result == base**power
