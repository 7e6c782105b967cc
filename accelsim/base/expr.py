"""Arithmetic that a user may write in a YAML file or on a command line: safe, bounded, without side effects.

`${2 * planes}` in a network file, `rows * cols <= 1024` as the constraint of a sweep. There are numbers,
text, names (dotted: `array.rows`), `+ - * / // % **`, comparisons (chained as in Python), `and`, `or`,
`not`, `a if c else b`, and the functions of `FUNCTIONS`. Nothing else: no attributes of objects, no
subscripts, no calls of anything but these functions. Size, depth and magnitude are bounded before any
work is done, so that neither a long text nor `9 ** 9 ** 9` can hold the machine up.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from accelsim.base.errors import ConfigError, unknown_name

Value = int | float | bool | str

MAX_CHARACTERS = 500
MAX_NODES = 200
MAX_DEPTH = 60
MAX_BITS = 128
"""Largest integer (in bits) that any step may give; 63 bits is what kernels take."""


class Expression:
    """A parsed expression: `.names` lists what it refers to, `.value(names)` evaluates it.

    Parameters
    ----------
    text : str
    where : str, optional
        Prefix of every error message.

    Raises
    ------
    ConfigError
        If the text is too long, too deep, not an expression, or uses what is not allowed.
    """

    def __init__(self, text: str, where: str | None = None) -> None:
        self.text = text
        self.where = where
        try:
            self._root, self.names = _parse(text)
        except ConfigError as error:
            raise ConfigError(str(error), where) from None

    def value(self, names: Mapping[str, Any], where: str | None = None) -> Value:
        """The value, with names looked up whole (`"array.rows"`) or else part by part in nested mappings.

        Raises
        ------
        ConfigError
            Unknown name (the nearest are offered), wrong type, division by zero, or a result
            beyond the bounds.
        """
        try:
            return _evaluate(self._root, names)
        except ConfigError as error:
            raise ConfigError(f"{error}, in {self.text!r}", where or self.where) from None


def evaluate(text: str, names: Mapping[str, Any], where: str | None = None) -> Value:
    """Parse and evaluate in one go; parsing is remembered."""
    try:
        return _expression(text).value(names)
    except ConfigError as error:
        raise ConfigError(str(error), where) from None


@functools.lru_cache(maxsize=4096)
def _expression(text: str) -> Expression:
    return Expression(text)


def _parse(text: str) -> tuple[ast.expr, frozenset[str]]:
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"an expression must be at most {MAX_CHARACTERS} characters, got {len(text)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "1if x else 2" only warns in some Python versions
            root = ast.parse(text.strip(), mode="eval").body
        return root, _check(root)
    except (SyntaxError, ValueError, MemoryError, Warning) as error:
        detail = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"{_short(text)} is not an expression: {detail or 'it cannot be read'}") from None
    except RecursionError:
        raise ConfigError(f"{_short(text)} is nested too deeply") from None


def _check(root: ast.expr) -> frozenset[str]:
    """Refuse what is not on the list, breadth first, so that depth is known before anything recurses."""
    names: set[str] = set()
    level: list[ast.expr] = [root]
    count = depth = 0
    while level:
        depth += 1
        count += len(level)
        if depth > MAX_DEPTH or count > MAX_NODES:
            raise ConfigError(f"an expression must have at most {MAX_NODES} parts, nested {MAX_DEPTH} deep")
        names.update(name for node in level if (name := _dotted(node)))
        level = [part for node in level for part in _parts(node)]
    return frozenset(names)


def _parts(node: ast.expr) -> list[ast.expr]:
    """The operands of an allowed node."""
    match node:
        case ast.Constant(value=value):
            if not isinstance(value, (int, float, str)):
                raise ConfigError(f"only numbers, true, false and text are allowed, got {value!r}")
            _bounded(value)
            return []
        case ast.Name():
            return []
        case ast.Attribute():
            if not _dotted(node):
                raise ConfigError("a dot may only join names")
            return []
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _BINARY:
            return [left, right]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return [operand]
        case ast.BoolOp(values=values):
            return values
        case ast.Compare(ops=ops, left=left, comparators=rest) if all(type(op) in _COMPARE for op in ops):
            return [left, *rest]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [test, body, orelse]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            if name not in FUNCTIONS:
                raise unknown_name("function", name, FUNCTIONS)
            least, most = _ARGUMENTS[name]
            if not least <= len(args) <= most:
                raise ConfigError(f"{name} takes {least if least == most else f'{least} or more'} arguments")
            return args
    raise ConfigError(f"{type(node).__name__} is not allowed in an expression")


def _dotted(node: ast.AST) -> str:
    """`array.rows` for a chain of names, else ""."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Value:
    match node:
        case ast.Constant(value=value):
            return value  # type: ignore[return-value]
        case ast.Name(id=name):
            if name in names:
                return _scalar(name, names[name])
            if name in _WORDS:
                return _WORDS[name]
            raise unknown_name("name", name, names)
        case ast.Attribute():
            return _look_up(_dotted(node), names)
        case ast.BinOp(op=op, left=left, right=right):
            a, b = _evaluate(left, names), _evaluate(right, names)
            return _binary(type(op), a, b)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, names)
        case ast.UnaryOp(op=op, operand=operand):
            return _bounded(_UNARY[type(op)](_number(_evaluate(operand, names))))
        case ast.BoolOp(op=ast.And(), values=values):  # true or false, never the operand itself
            return all(_evaluate(v, names) for v in values)
        case ast.BoolOp(values=values):
            return any(_evaluate(v, names) for v in values)
        case ast.Compare(ops=ops, left=left, comparators=rest):
            return _compare(_evaluate(left, names), ops, rest, names)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _evaluate(test, names) else orelse, names)
        case ast.Call(func=ast.Name(id=name), args=args):
            return _call(name, [_number(_evaluate(a, names)) for a in args])
    raise AssertionError(node)


def _look_up(name: str, names: Mapping[str, Any]) -> Value:
    if name in names:
        return _scalar(name, names[name])
    found: Any = names
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise unknown_name("name", name, [*names, *(found if isinstance(found, Mapping) else ())])
        found = found[part]
    return _scalar(name, found)


def _scalar(name: str, value: Any) -> Value:
    if not isinstance(value, (int, float, str)):
        raise ConfigError(f"{name} must be a number or text, got {type(value).__name__}")
    return value


def _compare(left: Value, ops: list[ast.cmpop], rest: list[ast.expr], names: Mapping[str, Any]) -> bool:
    for op, node in zip(ops, rest, strict=True):
        right = _evaluate(node, names)
        if isinstance(left, str) != isinstance(right, str):
            raise ConfigError(f"text and number cannot be compared: {left!r} and {right!r}")
        if not _COMPARE[type(op)](left, right):
            return False
        left = right
    return True


def _binary(op: type[ast.operator], a: Value, b: Value) -> Value:
    x, y = _number(a), _number(b)
    if op is ast.Pow:
        return _power(x, y)
    if op in (ast.Div, ast.FloorDiv, ast.Mod) and y == 0:
        raise ConfigError("division by zero")
    try:
        return _bounded(_BINARY[op](x, y))
    except OverflowError:
        raise ConfigError("the result is too large") from None


def _power(x: int | float, y: int | float) -> Value:
    if x == 0 and y < 0:
        raise ConfigError("division by zero")
    # |x ** y| < 2 ** (bits of x * y): known before the power is taken
    if abs(y) > MAX_BITS or (isinstance(x, int) and isinstance(y, int) and x.bit_length() * abs(y) > 2 * MAX_BITS):
        raise ConfigError("the result of ** is too large")
    try:
        result = x**y
    except OverflowError:
        raise ConfigError("the result of ** is too large") from None
    if isinstance(result, complex):
        raise ConfigError(f"{x} ** {y} is not a real number")
    return _bounded(result)


def _number(value: Value) -> int | float:
    if isinstance(value, str):
        raise ConfigError(f"arithmetic needs numbers, got {value!r}")
    return int(value) if isinstance(value, bool) else value


def _bounded(value: Value) -> Value:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ConfigError(f"numbers must be below 2**{MAX_BITS}, got about 2**{value.bit_length()}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError("the result is too large")
    return value


def _call(name: str, args: list[int | float]) -> Value:
    if name == "log2" and args[0] <= 0:
        raise ConfigError(f"log2 needs a number above 0, got {args[0]}")
    return _bounded(FUNCTIONS[name](*args))


def _log2(x: int | float) -> int | float:
    """Whole for powers of two, so that `2 ** log2(n)` stays an integer."""
    if isinstance(x, int) and x & (x - 1) == 0:
        return x.bit_length() - 1
    return math.log2(x)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


FUNCTIONS: dict[str, Callable[..., int | float]] = {
    "min": min,
    "max": max,
    "ceil": math.ceil,
    "floor": math.floor,
    "log2": _log2,
    "abs": abs,
}
_ARGUMENTS = {"min": (2, 50), "max": (2, 50), "ceil": (1, 1), "floor": (1, 1), "log2": (1, 1), "abs": (1, 1)}
_WORDS = {"true": True, "false": False}  # as YAML writes them
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
