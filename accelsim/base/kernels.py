"""The one decorator for numba code.

`@kernel` differs from `numba.njit(cache=True)` in what users feel:

- numba is imported, and the function compiled, on the first call: `accelsim --help` pays nothing.
- numba's own cache looks only at the file of the function itself; after an edit of a callee in
  another file it silently runs the old machine code. Ours lives in a directory named by a hash of
  the kernel's file, of *all* files that it imports, near and far, and of numba's version.
- where no cache directory can be written, kernels are compiled without a cache instead of failing.

Rules for kernels: arrays and integers in, arrays and integers out; timing constants are
arguments, never globals; a kernel calls other kernels by their bare imported name. A kernel may have a
second body for processors with an instruction that the first has to do without: `Kernel.instead`. What is long,
on int64 words only and wanted by everyone is better written as parts: see `accelsim.base.words`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")

_REGISTRY: list[Kernel[..., Any]] = []
_LOCK = threading.RLock()
_ON_COMPILE: list[Callable[[str], None]] = []
_KEEP_OLD_CACHES = 3
_PACKAGE = Path(__file__).resolve().parent.parent

Signature = tuple[Any, ...]


class Kernel(Generic[P, R]):
    """A function that becomes machine code on its first call; see the module's text."""

    def __init__(self, py_func: Callable[P, R], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, py_func)
        self.py_func = py_func
        self.options = options
        self.example: Callable[[], Signature] | None = None
        self._other: tuple[Callable[[], bool], Callable[P, R]] | None = None
        self._compiled: Callable[..., R] | None = None
        _REGISTRY.append(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        compiled = self._compiled
        if compiled is None:
            compiled = self.compiled()
        return compiled(*args, **kwargs)

    def warms_up_with(self, example: Callable[[], Signature]) -> Callable[[], Signature]:
        """Decorator: `example()` gives small arguments with which `accelsim warmup` compiles this."""
        self.example = example
        return example

    def instead(self, where: Callable[[], bool]) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorator: a body with the same results that is compiled in place of this one if `where()`.

        `where` looks at nothing but `target()`, by which numba tells apart what is in its cache.
        """

        def keep(body: Callable[P, R]) -> Callable[P, R]:
            self._other = where, body
            return body

        return keep

    def body(self) -> Callable[P, R]:
        """What is compiled here."""
        return self._other[1] if self._other is not None and self._other[0]() else self.py_func

    def compiled(self) -> Callable[..., R]:
        """The numba dispatcher (or the plain function under NUMBA_DISABLE_JIT=1)."""
        with _LOCK:
            if self._compiled is None:
                self._compiled = _materialise(self)
            return self._compiled


class Callee:
    """What kernels call beside kernels."""

    def compiled(self) -> Any:
        """What numba knows how to compile, in place of this."""
        raise NotImplementedError


class Instruction(Callee):
    """uint64 = name(uint64, uint64), an instruction as LLVM calls it: for the bodies of kernels alone."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, first: Any, second: Any) -> Any:
        raise TypeError(f"{self._name} is called by compiled code only")

    @functools.lru_cache(maxsize=None)
    def compiled(self) -> Any:
        """What numba knows how to compile."""
        from llvmlite import ir
        from numba import uint64
        from numba.core.cgutils import get_or_insert_function
        from numba.extending import intrinsic

        name = self._name

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = ir.IntType(64)
            function = get_or_insert_function(builder.module, ir.FunctionType(word, [word, word]), name)
            return builder.call(function, args)

        @intrinsic
        def instruction(typing_context, first, second):  # type: ignore[no-untyped-def]
            return uint64(uint64, uint64), emit

        return instruction


def target() -> tuple[str, str, frozenset[str]]:
    """What numba compiles for: LLVM's triple, the processor's name and its features."""
    from numba.core.registry import cpu_target

    triple, processor, features = cpu_target.target_context.codegen().magic_tuple()
    return triple, processor, frozenset(f[1:] for f in features.split(",") if f.startswith("+"))


@overload
def kernel(py_func: Callable[P, R]) -> Kernel[P, R]: ...


@overload
def kernel(**options: Any) -> Callable[[Callable[P, R]], Kernel[P, R]]: ...


def kernel(py_func: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Mark a function as a numba kernel. Options are numba's (`parallel`, `fastmath`, `inline`)."""
    if py_func is None:
        return lambda f: Kernel(f, options)
    return Kernel(py_func, options)


def on_compile(callback: Callable[[str], None]) -> None:
    """Call `callback(message)` once, before the first compilation into an empty cache."""
    _ON_COMPILE.append(callback)


def _materialise(wanted: Kernel[..., R]) -> Callable[..., R]:
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return wanted.py_func
    import numba

    source = wanted.body()
    # A kernel's callees must be dispatchers when numba types it, so its globals are a copy
    # in which every Kernel has been replaced by its dispatcher.
    namespace = dict(source.__globals__)
    for name in _all_names(source.__code__):
        value = namespace.get(name)
        if isinstance(value, (Kernel, Callee)):
            namespace[name] = value.compiled()
    clone = types.FunctionType(source.__code__, namespace, source.__name__, source.__defaults__, source.__closure__)
    clone.__module__, clone.__qualname__, clone.__doc__ = source.__module__, source.__qualname__, source.__doc__
    directory = _prepare_cache(numba, source)  # after those of the callees
    compiled: Callable[..., R] = numba.njit(cache=directory is not None, **wanted.options)(clone)
    return compiled


def _all_names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            names |= _all_names(const)
    return names


@functools.lru_cache(maxsize=None)
def source_hash(path: Path) -> str:
    """A hash of every source file that can reach the machine code of kernels in the file `path`."""
    import numba

    digest = hashlib.blake2b(digest_size=10)
    digest.update(f"{numba.__version__} {sys.version_info[:3]} {numba.config.CPU_NAME}".encode())
    for file in sorted(_closure([path, Path(__file__).resolve()])):
        digest.update(str(file.relative_to(_PACKAGE)).encode() if file.is_relative_to(_PACKAGE) else b"outside")
        digest.update(_content(file))
    return digest.hexdigest()


def kernel_sources() -> set[Path]:
    """The files that define kernels, and all accelsim files that these import (a constant may hide there)."""
    return _closure([p for p in _PACKAGE.rglob("*.py") if b"@kernel" in p.read_bytes()])


def _closure(queue: list[Path]) -> set[Path]:
    found: set[Path] = set()
    while queue:
        path = queue.pop()
        if path not in found:
            found.add(path)
            queue.extend(_local_imports(path))
    return found


@functools.lru_cache(maxsize=None)
def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # defined without a file
        return b""


_IMPORT = re.compile(
    rb"^\s*from\s+(accelsim[\w.]*)\s+import\s+(\([^)]*\)|[^\n]*)|^\s*import\s+(accelsim[\w.]*)", re.MULTILINE
)


@functools.lru_cache(maxsize=None)
def _local_imports(path: Path) -> list[Path]:
    hits = []
    for module, names, plain in _IMPORT.findall(_content(path)):
        stems = [(module or plain).decode()]
        stems += [f"{stems[0]}.{name.decode()}" for name in re.findall(rb"\w+", names)]
        for stem in stems:
            base = _PACKAGE.parent.joinpath(*stem.split("."))
            hits += [c for c in (base.with_suffix(".py"), base / "__init__.py") if c.is_file()]
    return hits


def cache_root() -> Path:
    """Where kernels are cached: $ACCELSIM_CACHE_DIR, or the user's cache directory."""
    explicit = os.environ.get("ACCELSIM_CACHE_DIR")
    if explicit:
        return Path(explicit)
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "accelsim"


def _prepare_cache(numba: Any, source: Callable[..., Any]) -> Path | None:
    """Point numba at the cache directory of this kernel's file; None if none can be written."""
    try:
        directory = _cache_directory(Path(source.__code__.co_filename).resolve())
    except (OSError, RuntimeError):
        _announce("compiling kernels (no cache directory can be written, so this happens in every process)")
        return None
    numba.config.CACHE_DIR = str(directory)
    return directory


@functools.lru_cache(maxsize=None)
def _cache_directory(path: Path) -> Path:
    root = cache_root() / "kernels"
    inside = path.is_relative_to(_PACKAGE)
    name = ".".join(path.relative_to(_PACKAGE).with_suffix("").parts) if inside else path.stem
    directory = root / f"{name}-{source_hash(path)}"
    fresh = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    probe = directory / f".probe-{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink()
    if fresh:
        _announce(f"compiling kernels, once after an install or an edit (cached in {root})")
        _prune(root, name, keep=directory)
    return directory


@functools.lru_cache(maxsize=None)  # once a process
def _announce(message: str) -> None:
    for callback in _ON_COMPILE:
        callback(message)


def _prune(root: Path, name: str, keep: Path) -> None:
    """Delete all but the newest few old caches of a file, so that upgrades do not fill the disk."""
    import shutil

    others = [d for d in root.glob(f"{name}-*") if d.is_dir() and d != keep]
    others.sort(key=lambda d: d.stat().st_mtime, reverse=True)
    for directory in others[_KEEP_OLD_CACHES:]:
        shutil.rmtree(directory, ignore_errors=True)


def registered() -> list[Kernel[..., Any]]:
    """All kernels of the modules imported so far."""
    return list(_REGISTRY)


def warmup(progress: Callable[[str], None] | None = None) -> int:
    """Compile every kernel of accelsim that has an example; returns how many were called."""
    import importlib
    import pkgutil

    import accelsim

    wanted = {p.resolve() for p in kernel_sources()}
    for module in pkgutil.walk_packages(accelsim.__path__, "accelsim."):
        spec = module.module_finder.find_spec(module.name, None)  # type: ignore[call-arg]
        if spec and spec.origin and Path(spec.origin).resolve() in wanted:
            importlib.import_module(module.name)
    done = 0
    for item in registered():
        if item.example is not None and item.py_func.__module__.startswith("accelsim."):
            if progress is not None:
                progress(f"{item.py_func.__module__}.{item.py_func.__name__}")
            item(*item.example())
            done += 1
    return done
