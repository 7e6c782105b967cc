"""The recipe step `decompose`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import pydantic

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, Key, PerLayer, Source, Step, StepParams, operand_shape
from accelsim.compress.decompose.methods import Decomposition, Plan, decompose, rebuild, resolve
from accelsim.compress.state import Factors, TensorState

Count = Annotated[int, pydantic.Field(ge=1, le=2**33)]
Counts = Annotated[list[Count], pydantic.Field(min_length=1, max_length=64)]
MethodName = Literal[
    "full_rank", "svd", "qr", "cur", "tucker", "hosvd", "cp", "btd", "ht", "tt", "qtt", "ring"
]  # fmt: skip


@STEPS.register("decompose")
class Decompose(Step):
    """Replace a weight tensor by cores that multiply out to about it. Survey, Section III-C.

    `method`: full_rank, svd, qr, cur (a matrix M x C*R*S); tucker, hosvd, cp, btd (a convolution as the tensor M x C x
    R*S, a matrix tensorized); ht, tt, qtt, ring (tensorized; R*S of a convolution is the last mode).

    How large the cores may be, one of: `rank` (the most that any rank is), `ranks` (as the method counts them: of a
    train 1, r_1, ..., 1), `error` (relative, Frobenius), `ratio` (elements before over elements of cores, at least).

    `row_modes`, `column_modes`: of the tensorized matrix; both, or neither (then `order` balanced modes; primes for
    qtt). These five and `order` may be given per layer. `blocks` of btd; `iterations` of tucker, btd and cp;
    `exact`: by full singular value decompositions. Later steps apply to the cores.
    """

    kind: ClassVar[str] = "decompose"
    whole: ClassVar[bool] = True

    class Params(StepParams):
        """See the step."""

        method: MethodName
        rank: PerLayer[Count] | None = None
        ranks: PerLayer[Counts] | None = None
        error: PerLayer[float] | None = None
        ratio: PerLayer[float] | None = None
        row_modes: PerLayer[Counts] | None = None
        column_modes: PerLayer[Counts] | None = None
        order: PerLayer[Annotated[int, pydantic.Field(ge=1, le=16)]] = 4
        blocks: int = pydantic.Field(default=2, ge=1, le=64)
        iterations: int | None = pydantic.Field(default=None, ge=1, le=10000)
        exact: bool = False

        @pydantic.model_validator(mode="after")
        def _one_target(self) -> Decompose.Params:
            given = [n for n in ("rank", "ranks", "error", "ratio") if getattr(self, n) is not None]
            if len(given) != 1:
                raise ValueError(f"needs one of rank, ranks, error and ratio, got {' and '.join(given) or 'none'}")
            return self

    def prepare(self, before: Source, chosen: list[Key]) -> None:
        """Find everything that does not fit before the first tensor is read."""
        for layer, role in chosen:
            shape = operand_shape(before.network[layer], role)
            if shape is not None:
                try:
                    resolve(self.plan(layer, 0), shape)
                except ConfigError as error:
                    raise ConfigError(str(error), f"{self.where}: {self.kind}: {layer}/{role}") from None

    def plan(self, layer: str, seed: int) -> Plan:
        """What is wanted of a layer."""
        params = self.params
        varying = ("rank", "ranks", "error", "ratio", "row_modes", "column_modes", "order")
        chosen = {name: self.at(layer, getattr(params, name)) for name in varying}
        fixed = {name: getattr(params, name) for name in ("method", "blocks", "iterations", "exact")}
        return Plan(**fixed, **chosen, seed=seed)

    def apply(self, state: TensorState) -> None:
        if state.factors is not None:
            raise ConfigError("is decomposed already; decompose it once")
        if state.quantized is not None:
            raise ConfigError("is quantized, but cores are numbers: decompose first, then quantize the cores")
        if state.pruned:
            raise ConfigError("is pruned, but cores would fill its zeros: decompose first, then prune the cores")
        found = decompose(state.values, self.plan(state.layer.name, int(self.key(state, "start"))), measure=False)
        cores = [
            TensorState(state.layer, state.role, core.shape, core, part=name) for name, core in found.cores.items()
        ]
        kind, meta, shape = found.encoding, found.meta, state.shape
        state.decompose(Factors(kind, cores, meta, lambda arrays: rebuild(kind, arrays, meta, shape)))
        state.notes.append(self._told(found))

    def _told(self, found: Decomposition) -> str:
        ranks = found.meta.get("ranks", [found.meta.get("rank")])
        text = f"{self.params.method}, ranks {'-'.join(map(str, ranks))}"
        if "row_modes" in found.meta:
            pairs = zip(found.meta["row_modes"], found.meta["column_modes"], strict=True)
            text += f", modes {' '.join(f'{m}x{n}' for m, n in pairs)}"
        return f"{text}, {found.parameters:,} elements"
