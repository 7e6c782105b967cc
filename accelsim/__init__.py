"""accelsim: what a compressed network really costs, in cycles, joules and mm2, on a given accelerator."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Everything in `accelsim.api`, imported when it is first asked for: `import accelsim` alone costs nothing."""
    if name.startswith("_"):
        raise AttributeError(f"module 'accelsim' has no attribute {name!r}")
    from importlib import import_module

    api = import_module("accelsim.api")
    if name not in api.__all__:
        raise AttributeError(f"module 'accelsim' has no attribute {name!r}")
    return getattr(api, name)


def __dir__() -> list[str]:
    from importlib import import_module

    return sorted({*globals(), *import_module("accelsim.api").__all__})
