"""What an architecture file may say of a buffer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from accelsim.memory.buffer import BankedMemory


def whole(value: Any) -> Any:
    """`700e6` is an integer to a reader, so it is one here."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, pydantic.BeforeValidator(whole)]
Operand = Literal["ifmap", "filter", "psum", "ofmap"]
Layout = Literal["nhwc", "nchw", "rscm", "mrsc"]
PORTS = ("read_ports", "write_ports", "read_write_ports")


class Buffer(BankedMemory):
    """An on-chip memory between DRAM and the array; unlimited ports unless some are given."""

    name: str = pydantic.Field(pattern=r"^[a-z][a-z0-9_]*$", description="as in reports and action counts")
    holds: list[Operand] = pydantic.Field(min_length=1, description="operands that live here")
    capacity_bytes: Whole = pydantic.Field(ge=1, le=2**40, description="bytes, all banks")
    word_bits: Whole = pydantic.Field(default=64, ge=1, le=65536, description="bits that one access moves")
    slots: Whole = pydantic.Field(default=2, ge=1, le=64, description="tiles of an operand at a time; 2: double")
    parts: Whole = pydantic.Field(
        default=1, ge=1, le=65536, description="equal memories, each beside its part of the array; an access is of one"
    )
    whole_words: bool = pydantic.Field(
        default=False, description="sums take whole words of word_bits, one or more for each GEMM row of a tile"
    )
    keep_activations: bool = pydantic.Field(
        default=False, description="whole feature maps stay here between layers while they fit"
    )
    fidelity: Literal["ideal", "bandwidth", "detailed"] = pydantic.Field(
        default="ideal",
        description="ports are not looked at; bound the words of a whole pass; or serve the array in every cycle, bank "
        "by bank (default: detailed where ports are given)",
    )
    layout: dict[Operand, Layout] = pydantic.Field(
        default={},
        description="how a tile lies here, for detailed: maps nhwc or nchw, filters rscm or mrsc, named from the "
        "outermost dimension to that whose elements lie side by side (default: maps as in DRAM, filters and sums as "
        "the array takes them)",
    )
    pad_words: dict[Operand, Whole] = pydantic.Field(
        default={}, description="words left empty after each line of a tile, for detailed; 0: lines begin with a word"
    )
    line_buffer: bool = pydantic.Field(
        default=False,
        description="rows of an ifmap that the next tile reads again may stay, and the others give way: tiles go down "
        "the feature map, which is then fetched once",
    )
    kind: Literal["sram", "edram", "crossbar"] = pydantic.Field(
        default="sram", description="what it costs; a crossbar is the array itself, which the engine prices"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_exact_as_it_is_given(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("fidelity") is None:
            return {**data, "fidelity": "detailed" if any(data.get(key) for key in PORTS) else "ideal"}
        return data

    @pydantic.model_validator(mode="after")
    def _places(self) -> Any:
        if self.arbitration != "fixed":
            raise ValueError(
                "arbitration must be left out: an array in lockstep waits for all words of a cycle, in whatever order "
                "they come; dma says whether array or DMA comes first"
            )
        if self.line_buffer and "ifmap" not in self.holds:
            raise ValueError("line_buffer needs a buffer that holds the ifmap")
        if self.fidelity != "ideal" and not self.limited:
            raise ValueError(f"fidelity: {self.fidelity} needs read_ports and write_ports, or read_write_ports")
        for operand, layout in self.layout.items():
            allowed = ("rscm", "mrsc") if operand == "filter" else ("nhwc", "nchw")
            if layout not in allowed:
                raise ValueError(f"layout.{operand} must be {' or '.join(allowed)}, got {layout}")
        for operand, words in self.pad_words.items():
            if not 0 <= words <= 2**20:
                raise ValueError(f"pad_words.{operand} must be 0 to {2**20}, got {words}")
        return self
