"""Action counts times cost tables; never cycles.

`CostModel` prices components at a technology node from the tables in `tables/`; the functions in `rows`
build the costs of one architecture from it; `ComponentCosts.apply` turns action counts into an
`EnergyReport`. `load_user_table` reads a table that takes the place of ours.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.energy.costs import Component, ComponentCosts, CostRow, EnergyReport, EnergyRow
    from accelsim.energy.figures import Explanation, Figure
    from accelsim.energy.model import CostModel
    from accelsim.energy.sram import SramCost
    from accelsim.energy.usertables import UserTable, export_action_counts, load_user_table

_WHERE = {
    "Component": "costs", "ComponentCosts": "costs", "CostRow": "costs", "EnergyReport": "costs", "EnergyRow": "costs",
    "Explanation": "figures", "Figure": "figures", "CostModel": "model", "SramCost": "sram",
    "UserTable": "usertables", "export_action_counts": "usertables", "load_user_table": "usertables",
}

__all__ = [
    "Component", "ComponentCosts", "CostModel", "CostRow", "EnergyReport", "EnergyRow", "Explanation", "Figure",
    "SramCost", "UserTable", "export_action_counts", "load_user_table",
]


def __getattr__(name: str) -> Any:
    # numpy and yaml are only needed once something is priced
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
