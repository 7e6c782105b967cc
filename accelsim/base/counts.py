"""Action counts: what the hardware did, as integers keyed by (component, action)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class ActionCounts(dict[tuple[str, str], int]):
    """How often each (component, action) happened, for example `("mac", "mac_int8")`.

    Energy is these counts times a table; an Accelergy user can export them. Counts are Python
    integers, so sums never wrap.
    """

    def add(self, component: str, action: str, count: int) -> None:
        """Add `count` (>= 0); zero leaves no row."""
        if count < 0:
            raise ValueError(f"count of {component}.{action} must be >= 0, got {count}")
        if count:
            key = (component, action)
            self[key] = self.get(key, 0) + int(count)

    def merge(self, other: Mapping[tuple[str, str], int], times: int = 1) -> None:
        """Add all counts of `other`, `times` over."""
        for (component, action), count in other.items():
            self.add(component, action, count * times)

    @classmethod
    def total(cls, parts: Iterable[Mapping[tuple[str, str], int]]) -> ActionCounts:
        """The sum of several."""
        result = cls()
        for part in parts:
            result.merge(part)
        return result
