"""Compressed sparse rows."""

from __future__ import annotations

from typing import ClassVar

from accelsim.workload.encodings.base import ENCODINGS
from accelsim.workload.encodings.sparse_lines import Lines


@ENCODINGS.register("csr")
class CompressedRows(Lines):
    """A line is a row: all weights of one output. See `Lines`."""

    kind: ClassVar[str] = "csr"
