"""The translation of parts (`accelsim.base.words`) into LLVM functions of the module of the kernel that calls them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from accelsim.base.words import _ARITHMETIC, _COMPARISONS, _WORDS, Part, look_up, syntax_tree

I64 = ir.IntType(64)
I1 = ir.IntType(1)
POINTER = I64.as_pointer()
VOID = ir.VoidType()


def call(builder: Any, target: Part[..., Any], values: list[Any]) -> Any:
    """Emit a call of `target`, which is translated into the module where it is not there yet."""
    return builder.call(_function(builder.module, target), values)


def _function(module: Any, target: Part[..., Any]) -> Any:
    name = f"{target.py_func.__module__}.{target.py_func.__qualname__}"
    if name in module.globals:
        return module.globals[name]
    arguments: list[Any] = []
    for kind in target.kinds:
        arguments += [I64] if kind == "Word" else [POINTER] + [I64] * (_WORDS[kind] - 1)
    many = target.results
    result = VOID if many == 0 else I64 if many == 1 else ir.ArrayType(I64, many)
    function = ir.Function(module, ir.FunctionType(result, arguments), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    if target.inline:
        function.attributes.add("alwaysinline")
    _Body(function, target).translate()
    return function


class _Body:
    """One part while it is translated: all its integers are in memory, which LLVM turns into registers."""

    def __init__(self, function: Any, target: Part[..., Any]) -> None:
        self.function, self.target = function, target
        self.entry = function.append_basic_block("entry")
        self.builder = ir.IRBuilder(function.append_basic_block("body"))
        self.names: dict[str, Any] = {}
        self.arrays: dict[str, list[Any]] = {}
        self.loops: list[tuple[Any, Any]] = []

    def translate(self) -> None:
        """Parameters, then the statements."""
        tree = syntax_tree(self.target)
        first, values = self.builder.block, list(self.function.args)
        for argument, kind in zip(tree.args.args, self.target.kinds, strict=True):
            here, values = values[: _WORDS[kind]], values[_WORDS[kind] :]
            if kind == "Word":
                self.builder.store(here[0], self._variable(argument.arg))
            else:
                self.arrays[argument.arg] = here
        self._statements(tree.body)
        if not self.builder.block.is_terminated:
            self._return([ir.Constant(I64, 0)] * self.target.results)
        ir.IRBuilder(self.entry).branch(first)

    def _fail(self, node: ast.AST, what: str) -> TypeError:
        code = self.target.py_func.__code__
        return TypeError(f"{code.co_filename}:{getattr(node, 'lineno', '?')}: {code.co_name}: {what}")

    def _variable(self, name: str) -> Any:
        if name not in self.names:
            self.names[name] = ir.IRBuilder(self.entry).alloca(I64, name=name)
        return self.names[name]

    # --- statements ---

    def _statements(self, body: list[ast.stmt]) -> None:
        for node in body:
            if self.builder.block.is_terminated:
                return  # behind a break, a continue or a return
            handler: Callable[[Any], None] | None = getattr(self, f"_on_{type(node).__name__}", None)
            if handler is None:
                raise self._fail(node, f"{type(node).__name__} is not in the subset of parts")
            handler(node)

    def _on_Pass(self, node: ast.Pass) -> None:
        pass

    def _on_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._call(node.value)
        elif not isinstance(node.value, ast.Constant):
            raise self._fail(node, "an expression without effect")

    def _on_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) != 1:
            raise self._fail(node, "assign to one target at a time")
        target = node.targets[0]
        if isinstance(target, ast.Tuple):
            values = self._many(node.value, len(target.elts))
            for each, value in zip(target.elts, values, strict=True):
                self.builder.store(value, self._place(each))
        else:
            value = self.value(node.value)
            self.builder.store(value, self._place(target))

    def _on_AugAssign(self, node: ast.AugAssign) -> None:
        place = self._place(node.target, known=True)
        before = self.builder.load(place)
        self.builder.store(self._binary(node, node.op, before, self.value(node.value)), place)

    def _on_Return(self, node: ast.Return) -> None:
        many = self.target.results
        if node.value is None:
            self._return([])
        else:
            self._return([self.value(node.value)] if many == 1 else self._many(node.value, many))

    def _return(self, values: list[Any]) -> None:
        if len(values) != self.target.results:
            raise TypeError(f"{self.target.py_func.__name__}: returns something else than its annotation says")
        if len(values) < 2:
            self.builder.ret(values[0]) if values else self.builder.ret_void()
            return
        whole = ir.Constant(self.function.function_type.return_type, ir.Undefined)
        for i, value in enumerate(values):
            whole = self.builder.insert_value(whole, value, i)
        self.builder.ret(whole)

    def _on_If(self, node: ast.If) -> None:
        then, after = self._block("then"), self._block("after")
        other = self._block("else") if node.orelse else after
        self.branch(node.test, then, other)
        for block, body in ((then, node.body), (other, node.orelse)):
            if body:
                self.builder.position_at_end(block)
                self._statements(body)
                self._go(after)
        self.builder.position_at_end(after)

    def _on_While(self, node: ast.While) -> None:
        test, body, after = self._block("test"), self._block("loop"), self._block("after")
        self._go(test)
        self.builder.position_at_end(test)
        self.branch(node.test, body, after)
        self._loop(node, body, test, test, after)

    def _on_For(self, node: ast.For) -> None:
        first, stop, step = self._range(node)
        counter = self._variable(f".{node.lineno}.{node.col_offset}")
        self.builder.store(first, counter)
        test, body, onward, after = (self._block(n) for n in ("test", "loop", "next", "after"))
        self._go(test)
        self.builder.position_at_end(test)
        now = self.builder.load(counter)
        goes_on = self.builder.icmp_signed("<", now, stop)
        if not isinstance(step, ir.Constant):
            down = self.builder.icmp_signed(">", now, stop)
            goes_on = self.builder.select(self.builder.icmp_signed(">", step, ir.Constant(I64, 0)), goes_on, down)
        elif step.constant < 0:
            goes_on = self.builder.icmp_signed(">", now, stop)
        self.builder.cbranch(goes_on, body, after)
        self.builder.position_at_end(body)
        self.builder.store(now, self._place(node.target))
        self.builder.position_at_end(onward)
        self.builder.store(self.builder.add(now, step), counter)
        self.builder.branch(test)
        self._loop(node, body, test, onward, after)

    def _range(self, node: ast.For) -> tuple[Any, Any, Any]:
        loop = node.iter
        if not (isinstance(loop, ast.Call) and isinstance(loop.func, ast.Name) and loop.func.id == "range"):
            raise self._fail(node, "a loop goes over a range")
        values = [self.value(a) for a in loop.args]
        if len(values) == 1:
            values.insert(0, ir.Constant(I64, 0))
        if len(values) == 2:
            values.append(ir.Constant(I64, 1))
        return values[0], values[1], values[2]

    def _loop(self, node: ast.While | ast.For, body: Any, test: Any, onward: Any, after: Any) -> None:
        if node.orelse:
            raise self._fail(node, "else of a loop is not in the subset of parts")
        self.builder.position_at_end(body)
        self.loops.append((onward, after))
        self._statements(node.body)
        self.loops.pop()
        self._go(onward)
        self.builder.position_at_end(after)

    def _on_Break(self, node: ast.Break) -> None:
        self.builder.branch(self.loops[-1][1])

    def _on_Continue(self, node: ast.Continue) -> None:
        self.builder.branch(self.loops[-1][0])

    def _block(self, name: str) -> Any:
        return self.function.append_basic_block(name)

    def _go(self, block: Any) -> None:
        if not self.builder.block.is_terminated:
            self.builder.branch(block)

    # --- where something stands ---

    def _place(self, node: ast.expr, known: bool = False) -> Any:
        if isinstance(node, ast.Name):
            if node.id in self.arrays or known and node.id not in self.names:
                raise self._fail(node, f"{node.id} is no integer variable")
            return self._variable(node.id)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in self.arrays:
            array = self.arrays[node.value.id]
            wanted = len(array) - 1
            indices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if len(indices) == wanted:
                at = self.value(indices[0])
                if wanted == 2:
                    at = self.builder.add(self.builder.mul(at, array[2]), self.value(indices[1]))
                return self.builder.gep(array[0], [at])
        raise self._fail(node, "neither a variable nor a word of an array")

    def _many(self, node: ast.expr, many: int) -> list[Any]:
        """`many` values of a tuple, of a call, of the first words of an array or of those of a row."""
        if isinstance(node, ast.Tuple) and len(node.elts) == many:
            return [self.value(each) for each in node.elts]
        if isinstance(node, ast.Call):
            whole = self._call(node)
            if isinstance(whole.type, ir.ArrayType) and whole.type.count == many:
                return [self.builder.extract_value(whole, i) for i in range(many)]
        if isinstance(node, ast.Name) and len(self.arrays.get(node.id, ())) == 2:
            return self._words(self.arrays[node.id][0], ir.Constant(I64, 0), many)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            array, index = self.arrays.get(node.value.id, []), node.slice
            if len(array) == 2 and isinstance(index, ast.Slice) and index.step is None and isinstance(
                index.upper, ast.Constant
            ):
                first = 0 if index.lower is None else getattr(index.lower, "value", None)
                if first is not None and index.upper.value == first + many:
                    return self._words(array[0], ir.Constant(I64, first), many)
            if len(array) == 3 and not isinstance(index, (ast.Slice, ast.Tuple)):
                return self._words(array[0], self.builder.mul(self.value(index), array[2]), many)
        raise self._fail(node, f"not {many} values")

    def _words(self, data: Any, first: Any, many: int) -> list[Any]:
        steps = [self.builder.add(first, ir.Constant(I64, i)) for i in range(many)]
        return [self.builder.load(self.builder.gep(data, [at])) for at in steps]

    # --- expressions ---

    def value(self, node: ast.expr) -> Any:
        """An int64."""
        handler: Callable[[Any], Any] | None = getattr(self, f"_of_{type(node).__name__}", None)
        if handler is None:
            raise self._fail(node, f"{type(node).__name__} is not in the subset of parts")
        return handler(node)

    def _of_Constant(self, node: ast.Constant) -> Any:
        if not isinstance(node.value, int):
            raise self._fail(node, f"{node.value!r} is no integer")
        return ir.Constant(I64, int(node.value))

    def _of_Name(self, node: ast.Name) -> Any:
        if node.id in self.names:
            return self.builder.load(self.names[node.id])
        constant = None if node.id in self.arrays else look_up(self.target, node.id)
        if not isinstance(constant, int):
            raise self._fail(node, f"{node.id} is no integer")
        return ir.Constant(I64, constant)

    def _of_Subscript(self, node: ast.Subscript) -> Any:
        shape = node.value
        if isinstance(shape, ast.Attribute) and shape.attr == "shape" and isinstance(shape.value, ast.Name):
            array = self.arrays.get(shape.value.id, [])
            axis = node.slice.value if isinstance(node.slice, ast.Constant) else None
            if isinstance(axis, int) and 0 <= axis < len(array) - 1:
                return array[1 + axis]
        return self.builder.load(self._place(node))

    def _of_BinOp(self, node: ast.BinOp) -> Any:
        first = self.value(node.left)
        return self._binary(node, node.op, first, self.value(node.right))

    def _binary(self, node: ast.AST, operation: ast.operator, first: Any, second: Any) -> Any:
        if type(operation) in _ARITHMETIC:
            return getattr(self.builder, _ARITHMETIC[type(operation)])(first, second)
        if not isinstance(operation, (ast.FloorDiv, ast.Mod)):
            raise self._fail(node, f"{type(operation).__name__} is not in the subset of parts")
        b, zero = self.builder, ir.Constant(I64, 0)
        by_zero = b.icmp_signed("==", second, zero)
        divisor = b.select(by_zero, ir.Constant(I64, 1), second)
        rest = b.srem(first, divisor)
        # LLVM's division rounds towards zero
        other_sign = b.and_(b.icmp_signed("!=", rest, zero), b.icmp_signed("<", b.xor(rest, divisor), zero))
        if isinstance(operation, ast.Mod):
            return b.select(by_zero, zero, b.select(other_sign, b.add(rest, divisor), rest))
        quotient = b.sub(b.sdiv(first, divisor), b.zext(other_sign, I64))
        return b.select(by_zero, zero, quotient)

    def _of_UnaryOp(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return self._of_Compare(node)
        value = self.value(node.operand)
        if isinstance(node.op, ast.USub):
            known = isinstance(value, ir.Constant)
            return ir.Constant(I64, -value.constant) if known else self.builder.neg(value)
        return self.builder.not_(value) if isinstance(node.op, ast.Invert) else value

    def _of_Compare(self, node: ast.expr) -> Any:
        yes, no, after = self._block("yes"), self._block("no"), self._block("after")
        self.branch(node, yes, no)
        for block in (yes, no):
            self.builder.position_at_end(block)
            self.builder.branch(after)
        self.builder.position_at_end(after)
        result = self.builder.phi(I64)
        result.add_incoming(ir.Constant(I64, 1), yes)
        result.add_incoming(ir.Constant(I64, 0), no)
        return result

    def _of_BoolOp(self, node: ast.BoolOp) -> Any:
        """The operand that decides, as in Python."""
        place = self._variable(f".{node.lineno}.{node.col_offset}")
        after = self._block("after")
        for each in node.values[:-1]:
            value = self.value(each)
            self.builder.store(value, place)
            other = self._block("other")
            truth = self.builder.icmp_signed("!=", value, ir.Constant(I64, 0))
            self.builder.cbranch(truth, *((other, after) if isinstance(node.op, ast.And) else (after, other)))
            self.builder.position_at_end(other)
        self.builder.store(self.value(node.values[-1]), place)
        self.builder.branch(after)
        self.builder.position_at_end(after)
        return self.builder.load(place)

    def _of_IfExp(self, node: ast.IfExp) -> Any:
        place = self._variable(f".{node.lineno}.{node.col_offset}")
        yes, no, after = self._block("yes"), self._block("no"), self._block("after")
        self.branch(node.test, yes, no)
        for block, each in ((yes, node.body), (no, node.orelse)):
            self.builder.position_at_end(block)
            self.builder.store(self.value(each), place)
            self.builder.branch(after)
        self.builder.position_at_end(after)
        return self.builder.load(place)

    def _of_Call(self, node: ast.Call) -> Any:
        found = self._call(node)
        if found.type != I64:
            raise self._fail(node, "returns no single integer")
        return found

    def _call(self, node: ast.Call) -> Any:
        if node.keywords or not isinstance(node.func, ast.Name):
            raise self._fail(node, "a call names a part and gives its arguments in order")
        target = look_up(self.target, node.func.id)
        if target is int and len(node.args) == 1:
            return self.value(node.args[0])
        if target is min or target is max:
            least, *rest = [self.value(a) for a in node.args]
            for other in rest:
                less = self.builder.icmp_signed("<" if target is min else ">", other, least)
                least = self.builder.select(less, other, least)
            return least
        if not isinstance(target, Part) or len(target.kinds) != len(node.args):
            raise self._fail(node, f"{node.func.id} is no part with {len(node.args)} parameters")
        flat: list[Any] = []
        for argument, kind in zip(node.args, target.kinds, strict=True):
            if kind == "Word":
                flat.append(self.value(argument))
                continue
            array = self.arrays.get(argument.id, []) if isinstance(argument, ast.Name) else []
            if len(array) != _WORDS[kind]:
                raise self._fail(argument, f"{node.func.id} takes {kind} here")
            flat += array
        return call(self.builder, target, flat)

    # --- conditions ---

    def branch(self, node: ast.expr, yes: Any, no: Any) -> None:
        """End the block: go to `yes` if the expression is true, else to `no`."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.branch(node.operand, no, yes)
        elif isinstance(node, ast.BoolOp):
            for each in node.values[:-1]:
                other = self._block("other")
                self.branch(each, *((other, no) if isinstance(node.op, ast.And) else (yes, other)))
                self.builder.position_at_end(other)
            self.branch(node.values[-1], yes, no)
        elif isinstance(node, ast.Compare):
            self._compare(node, yes, no)
        elif isinstance(node, ast.Constant):
            self.builder.branch(yes if node.value else no)
        else:
            self.builder.cbranch(self.builder.icmp_signed("!=", self.value(node), ir.Constant(I64, 0)), yes, no)

    def _compare(self, node: ast.Compare, yes: Any, no: Any) -> None:
        left = self.value(node.left)
        for i, (operation, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
            if type(operation) not in _COMPARISONS:
                raise self._fail(node, f"{type(operation).__name__} is not in the subset of parts")
            value = self.value(right)
            holds = self.builder.icmp_signed(_COMPARISONS[type(operation)], left, value)
            last = i == len(node.ops) - 1
            following = yes if last else self._block("other")
            self.builder.cbranch(holds, following, no)
            if not last:
                self.builder.position_at_end(following)
            left = value
