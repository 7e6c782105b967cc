"""Compact models: convolutions rewritten as smaller ones (survey, Section III-B1).

`compact(network, "depthwise_separable", layers="kind:conv")` gives the rewritten network; in a recipe the same is a
step, which fits the new weights to the old ones where there is a closed form, and draws them elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.compress.compact.rewrite import compact

__all__ = ["compact"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("accelsim.compress.compact.rewrite"), name)
