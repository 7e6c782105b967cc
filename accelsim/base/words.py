"""Long kernels that compile quickly: functions on int64 words, translated to LLVM in one piece.

numba types, lowers and optimises a function once by itself and once more in each function that inlines it; a
kernel of fifty functions takes it ten seconds. A `@part` is written in a subset of Python in which nothing is
to be inferred, so it is translated statement by statement; LLVM sees a kernel and all its parts once. numba
still calls and caches the kernel (`accelsim.base.kernels`), whose body is the call of a part.

The subset: parameters are named `Word` (an int64), `Words` (a one-dimensional array) or `Table` (a
two-dimensional one) by their annotations, results `Word`, a tuple of them or None. Statements: assignments (of
tuples too, or of the first words of an array or of a row), `if`, `while`, `for` over a `range`, `break`,
`continue`, `return`, calls. Expressions: integers, globals that are integers, `a[i]`, `t[i, j]`, `a.shape[0]`,
arithmetic, comparisons, `and`, `or`, `not`, conditional expressions, `min`, `max`, calls of parts. Indices count from
the beginning only; division rounds down as Python's, by zero it gives 0.
"""

from __future__ import annotations

import ast
import builtins
import functools
import linecache
import numbers
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from accelsim.base.kernels import Callee

P = ParamSpec("P")
R = TypeVar("R")

Word = Any  # an int64
Words = Any  # a one-dimensional int64 array
Table = Any  # a two-dimensional int64 array

_WORDS = {"Word": 1, "Words": 2, "Table": 3}
"""Of how many LLVM values a parameter consists: an array is its data and its lengths."""

_ARITHMETIC = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor",
    ast.LShift: "shl", ast.RShift: "ashr",
}
_COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


class Part(Callee, Generic[P, R]):
    """A function that kernels and other parts call; see the module's text."""

    def __init__(self, py_func: Callable[P, R], inline: bool) -> None:
        functools.update_wrapper(self, py_func)
        self.py_func = py_func
        self.inline = inline

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """In plain Python."""
        return self.py_func(*args, **kwargs)

    @functools.cached_property
    def kinds(self) -> list[str]:
        """`Word`, `Words` or `Table` for each parameter.

        Raises
        ------
        TypeError
            If an annotation is none of these.
        """
        code = self.py_func.__code__
        names = code.co_varnames[: code.co_argcount]
        kinds = [str(self.py_func.__annotations__.get(name)) for name in names]
        for name, kind in zip(names, kinds, strict=True):
            if kind not in _WORDS:
                raise TypeError(f"{code.co_name}: {name} must be a Word, Words or a Table, got {kind}")
        return kinds

    @property
    def results(self) -> int:
        """How many words are returned."""
        kind = str(self.py_func.__annotations__.get("return"))
        return 0 if kind == "None" else kind.count("Word")

    def compiled(self) -> Any:
        """What numba calls in a kernel; kernels that run as plain Python call the part itself."""
        return _intrinsic(self)


def part(py_func: Callable[P, R]) -> Part[P, R]:
    """Mark a function as a part, of which each call becomes a copy of its code."""
    return Part(py_func, True)


def rare_part(py_func: Callable[P, R]) -> Part[P, R]:
    """Mark a function as a part that is seldom called: LLVM may leave it a call, which compiles more quickly."""
    return Part(py_func, False)


@functools.lru_cache(maxsize=None)
def _intrinsic(target: Part[..., Any]) -> Any:
    import inspect

    from numba.core import types
    from numba.core.errors import TypingError
    from numba.extending import intrinsic

    from accelsim.base.words_llvm import call

    nb: Any = types

    def typing(typing_context: Any, *args: Any) -> Any:
        wanted = []
        for kind, given in zip(target.kinds, args, strict=True):
            if kind == "Word":
                wanted.append(nb.int64)
                continue
            if getattr(given, "dtype", None) != nb.int64 or given.ndim != _WORDS[kind] - 1 or given.layout != "C":
                raise TypingError(f"{target.py_func.__name__}: {kind} must be a C-contiguous int64 array, got {given}")
            wanted.append(given)
        many = target.results
        result = nb.none if many == 0 else nb.int64 if many == 1 else nb.UniTuple(nb.int64, many)

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            flat = []
            for given, value in zip(signature.args, values, strict=True):
                if given == nb.int64:
                    flat.append(value)
                else:
                    array = context.make_array(given)(context, builder, value)
                    flat.append(array.data)
                    flat += [builder.extract_value(array.shape, i) for i in range(given.ndim)]
            found = call(builder, target, flat)
            return context.get_dummy_value() if many == 0 else found

        return result(*wanted), code

    names = target.py_func.__code__.co_varnames[: len(target.kinds)]
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("typing_context", *names)]
    typing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    typing.__name__ = target.py_func.__name__
    return intrinsic(typing)


@functools.lru_cache(maxsize=None)
def _functions(path: str) -> dict[int, ast.FunctionDef]:
    """The functions of a source file by the lines on which they begin, decorators included."""
    tree = ast.parse("".join(linecache.getlines(path)), path)
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {min([node.lineno, *(d.lineno for d in node.decorator_list)]): node for node in found}


def syntax_tree(target: Part[..., Any]) -> ast.FunctionDef:
    """The source of a part.

    Raises
    ------
    TypeError
        If it has none.
    """
    code = target.py_func.__code__
    node = _functions(code.co_filename).get(code.co_firstlineno)
    if node is None:
        raise TypeError(f"{code.co_name}: a part needs its source, {code.co_filename} has none at that line")
    return node


def look_up(target: Part[..., Any], name: str) -> Any:
    """A global or a builtin of the part's module; an integer as int.

    Raises
    ------
    NameError
        If there is none.
    """
    scope = target.py_func.__globals__
    value = scope[name] if name in scope else getattr(builtins, name, None)
    if value is None:
        raise NameError(f"{target.py_func.__name__}: {name} is not defined")
    return int(value) if isinstance(value, numbers.Integral) else value
