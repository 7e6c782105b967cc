"""Compressed sparse columns, as EIE keeps them."""

from __future__ import annotations

from typing import ClassVar

from accelsim.workload.encodings.base import ENCODINGS
from accelsim.workload.encodings.sparse_lines import Lines


@ENCODINGS.register("csc")
class CompressedColumns(Lines):
    """A line is a column: all weights of one input, its rows dealt to the PEs in turn. See `Lines`.

    Han et al., "EIE: efficient inference engine on compressed deep neural network", ISCA 2016: relative indices of
    4 bits, 16-bit pointers, weights as 4-bit codes of a code book (encoding `codebook` around this one).
    """

    kind: ClassVar[str] = "csc"
    by_columns: ClassVar[bool] = True
