"""`accelsim warmup`, `accelsim version`."""

from __future__ import annotations

import argparse
import platform
import time

from accelsim import __version__
from accelsim.cli.terminal import announce_compilation, progress_bar


def command_warmup(options: argparse.Namespace) -> int:
    """Compile every kernel."""
    from accelsim.base import kernels

    announce_compilation(options.quiet)
    begun = time.monotonic()
    with progress_bar("compiling", options.quiet) as bar:
        names: list[str] = []

        def step(name: str) -> None:
            names.append(name)
            bar.update(len(names), max(len(names), sum(k.example is not None for k in kernels.registered())), name)

        count = kernels.warmup(step)
    if not options.quiet:
        print(f"{count} kernels are ready in {kernels.cache_root()} ({time.monotonic() - begun:.1f} s)")
    return 0


def command_version(options: argparse.Namespace) -> int:
    """Our version and those of what we stand on, without importing any of it."""
    from importlib import metadata

    print(f"accelsim {__version__}")
    print(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("numpy", "numba", "simpy", "pydantic", "matplotlib", "onnx", "onnxruntime", "pandas", "pyarrow"):
        try:
            print(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            print(f"{package} is not installed")
    return 0
