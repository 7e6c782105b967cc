"""Reading YAML that strangers wrote: YAML 1.2 rules, no code, bounded size, and every key's line.

The only file that imports a YAML parser. PyYAML alone reads `1e1` as text, `off` as false and
lets a duplicate key win silently; yamlcore's loader follows YAML 1.2 and refuses duplicates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError

MAX_BYTES = 8 * 2**20
MAX_DEPTH = 40

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Mark:
    """Where a value stands: file, line and column, counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass
class Document:
    """Plain data (dict, list, str, int, float, bool, None), and the place of every key in it."""

    data: Any
    file: str
    marks: dict[KeyPath, Mark] = field(default_factory=dict)

    def mark(self, path: KeyPath) -> Mark:
        """The place of `path`, or of its nearest ancestor that has one."""
        while path:
            if path in self.marks:
                return self.marks[path]
            path = path[:-1]
        return self.marks.get((), Mark(self.file, 0, 0))

    def where(self, path: KeyPath) -> str:
        """`file:line:column: a.b[2]`, the prefix of an error message."""
        place = str(self.mark(path))
        return f"{place}: {dotted(path)}" if path else place


def dotted(path: KeyPath) -> str:
    """`("memories", 0, "size")` -> `memories[0].size`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def read_yaml(path: Path, shown_as: str | None = None) -> Document:
    """Read one YAML file.

    Raises
    ------
    ConfigError
        If the file is missing, too large, nested too deeply, uses aliases, has a duplicate key or
        is not YAML. Nothing is built in memory before these are known.
    """
    name = shown_as or str(path)
    return parse_yaml(read_text(path, name), name)


def read_text(path: Path, shown_as: str | None = None, what: str = "a YAML file") -> str:
    """The text of a file of bounded size.

    Raises
    ------
    ConfigError
        If the file is missing, too large or not UTF-8; a large one is refused unread.
    """
    name = shown_as or str(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(f"{what} must be at most {MAX_BYTES} bytes, got {size}", name)
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", name) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"must be UTF-8 text, but byte {error.start} is not", name) from None


def parse_yaml(text: str, name: str = "<text>") -> Document:
    """As `read_yaml`, from a string."""
    import yaml
    from yamlcore import CCoreLoader

    try:
        _check_events(text, name)
        loader = CCoreLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise ConfigError("the file is empty", name)
            marks: dict[KeyPath, Mark] = {}
            _collect_marks(node, (), name, marks)
            data = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(f"not valid YAML: {error.problem or error}", where) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}", name) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"not valid YAML: {error}", name) from None
    return Document(data, name, marks)


def _check_events(text: str, name: str) -> None:
    import yaml
    from yamlcore import CCoreLoader

    depth = 0
    for event in yaml.parse(text, Loader=CCoreLoader):
        if isinstance(event, yaml.AliasEvent):
            what = f"YAML aliases (*{event.anchor}) are not allowed here; write the value out"
            raise ConfigError(what, _place(name, event))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ConfigError(f"nested more than {MAX_DEPTH} levels deep", _place(name, event))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _place(name: str, event: Any) -> str:
    return f"{name}:{event.start_mark.line + 1}:{event.start_mark.column + 1}"


def _collect_marks(node: Any, path: KeyPath, name: str, marks: dict[KeyPath, Mark]) -> None:
    import yaml

    marks.setdefault(path, Mark(name, node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            child = (*path, key.value)
            marks[child] = Mark(name, key.start_mark.line + 1, key.start_mark.column + 1)
            _collect_marks(value, child, name, marks)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_marks(value, (*path, index), name, marks)


def dump_yaml(data: Any) -> str:
    """Plain data as YAML 1.2 text, keys in their own order; `parse_yaml` gives it back."""
    import yaml
    from yamlcore import CoreDumper

    text: str = yaml.dump(data, Dumper=CoreDumper, sort_keys=False, allow_unicode=True, width=110)
    return text
