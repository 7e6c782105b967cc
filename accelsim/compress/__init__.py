"""The compression front end: a recipe (a list of steps) is applied to a network's tensors and writes one trace.

`compress(network, weights, recipe, out)` is the verb; README.md in this folder says how to add a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.compress.recipe import Recipe, load_recipe
    from accelsim.compress.report import CompressionReport
    from accelsim.compress.run import compress

__all__ = ["CompressionReport", "Recipe", "compress", "load_recipe"]

_HOMES = {"compress": "run", "CompressionReport": "report", "Recipe": "recipe", "load_recipe": "recipe"}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"accelsim.compress.{_HOMES[name]}"), name)
