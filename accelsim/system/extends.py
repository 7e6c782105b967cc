"""One architecture file laid over another: `extends`, with the place of every key kept."""

from __future__ import annotations

import copy
from typing import Any

from accelsim.base.yamlio import Document, KeyPath


def overlay(base: Document, over: Document) -> Document:
    """`over` laid on `base`: mappings are merged, lists of named mappings by name, everything else is replaced.

    Messages about a value name the file and the line that it comes from.
    """
    moved: list[tuple[KeyPath, KeyPath, bool]] = []
    data = _merge(base.data, over.data, (), (), moved)
    marks = dict(base.marks)
    for there, here, replaced in moved:
        if replaced:
            marks = {path: mark for path, mark in marks.items() if path[: len(here)] != here}
            own = {path: mark for path, mark in over.marks.items() if path[: len(there)] == there}
            marks.update({(*here, *path[len(there) :]): mark for path, mark in own.items()})
        elif there in over.marks:
            marks[here] = over.marks[there]
    return Document(data, over.file, marks)


def _merge(base: Any, over: Any, there: KeyPath, here: KeyPath, moved: list[tuple[KeyPath, KeyPath, bool]]) -> Any:
    """The merged value; `moved` gets (path in the upper file, path in the whole, all of it is from the upper file)."""
    if isinstance(base, dict) and isinstance(over, dict):
        moved.append((there, here, False))
        merged = copy.deepcopy(base)
        for key, value in over.items():
            if key in base:
                merged[key] = _merge(base[key], value, (*there, key), (*here, key), moved)
            else:
                moved.append(((*there, key), (*here, key), True))
                merged[key] = copy.deepcopy(value)
        return merged
    if _named(base) and _named(over):
        moved.append((there, here, False))
        merged_list = copy.deepcopy(base)
        for number, item in enumerate(over):
            names = [old["name"] for old in merged_list]
            if item["name"] in names:
                index = names.index(item["name"])
                place = (*here, index)
                merged_list[index] = _merge(merged_list[index], item, (*there, number), place, moved)
            else:
                moved.append(((*there, number), (*here, len(merged_list)), True))
                merged_list.append(copy.deepcopy(item))
        return merged_list
    moved.append((there, here, True))
    return copy.deepcopy(over)


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) and "name" in v for v in value)
