"""The group LASSO without training: the tensor nearest to the given one under its penalty."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, Context, Step, StepParams
from accelsim.compress.selectors import PerLayer
from accelsim.compress.sparsify.grains import GrainName, grain
from accelsim.compress.state import TensorState


@STEPS.register("group_lasso")
class GroupLasso(Step):
    """Minimise |W - W0|**2 / 2 + penalty * sum over groups of |W(g)|: equation (39) of the survey around given weights.

    SSL (Wen et al., NIPS 2016) adds the same penalty to a network's loss; here the loss is the distance from the
    trained weights, for which the answer is known: every group is shortened by `penalty`, and those shorter than that
    vanish (Yuan and Lin, "Model selection and estimation in regression with grouped variables", JRSS B 2006).
    """

    kind: ClassVar[str] = "group_lasso"
    objects: ClassVar[tuple[str, ...]] = ("W", "A", "E", "G")

    class Params(StepParams):
        """`grain`, `block`: see `grains`; `penalty` >= 0, in the tensor's own unit."""

        grain: GrainName = "filter"
        block: list[int] | None = None
        penalty: PerLayer[float]

    def __init__(self, params: Any, label: str, where: str, context: Context) -> None:
        super().__init__(params, label, where, context)
        for value in params.penalty.values() if isinstance(params.penalty, dict) else [params.penalty]:
            if value < 0:
                raise ConfigError(f"penalty must be >= 0, got {value}", where)

    def apply(self, state: TensorState) -> None:
        cut = grain(self.params.grain, state.shape, self.params.block)
        penalty: Any = self.at(state, self.params.penalty)
        norms = np.sqrt(cut.reduce(np.square(state.values, dtype=np.float64)))
        removed = norms <= penalty
        factor = np.where(removed, 1.0, 1 - penalty / np.where(norms > 0, norms, 1.0))
        state.replace((state.values * cut.spread(factor)).astype(np.float32))
        state.zero_out(cut.spread(removed))
