"""The step that chooses how operands lie in memory."""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, Step, StepParams
from accelsim.compress.state import Storage, TensorState
from accelsim.compress.store import encode_core, sizes
from accelsim.workload.encodings.base import encoding


@STEPS.register("encode")
class Encode(Step):
    """Store in a given encoding, or in the smallest of several.

    `format`: an encoding, or a list from which the smallest (payload and index) is taken for each tensor; `options`
    are the encoding's parameters (for a list: by encoding).
    """

    kind: ClassVar[str] = "encode"
    objects: ClassVar[tuple[str, ...]] = ("W", "A", "E", "G", "U", "BN")

    class Params(StepParams):
        """`format` is required."""

        format: str | list[str] = pydantic.Field(min_length=1)
        options: dict[str, Any] = {}

    def __init__(self, params: Any, label: str, where: str, context: Any) -> None:
        super().__init__(params, label, where, context)
        several = not isinstance(params.format, str)
        self.choices = []
        for name in params.format if several else [params.format]:
            encoding(name, where)
            options = params.options.get(name, {}) if several else params.options
            self.choices.append(Storage(name, options))

    def apply(self, state: TensorState) -> None:
        if len(self.choices) == 1:
            state.storage = self.choices[0]
            return
        best: tuple[int, Storage] | None = None
        refusals = []
        for storage in self.choices:
            state.storage = storage
            try:
                core = encode_core(state)
            except ConfigError as error:
                refusals.append(f"{storage.encoding}: {error}")
                continue
            size = sum(sizes(encoding(core.encoding), core.encoded, state.shape, core.bits))
            if best is None or size < best[0]:
                best = (size, storage)
        if best is None:
            raise ConfigError("no format can hold it: " + "; ".join(refusals))
        state.storage = best[1]
        state.notes.append(f"stored as {best[1].encoding}, the smallest")

    def apply_described(self, state: TensorState) -> None:
        """A described operand is dense until someone draws it."""
