"""The general step: groups of a grain, ranked by a criterion, until a density or a threshold is met."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import STEPS, Context, Key, Source, Step, StepParams
from accelsim.compress.selectors import PerLayer
from accelsim.compress.sparsify.criteria import WITHIN_ONE_TENSOR, Criterion, element_scores, group_scores
from accelsim.compress.sparsify.grains import Grain, GrainName, grain
from accelsim.compress.sparsify.select import Cut, kept_count, smallest, smallest_of
from accelsim.compress.state import TensorState


def checked_density(density: Any, where: str, name: str = "density") -> None:
    """Refuse what is not a number from 0 to 1, or a mapping to such.

    Raises
    ------
    ConfigError
    """
    for key, value in density.items() if isinstance(density, dict) else [(None, density)]:
        if not 0 <= value <= 1:
            place = f" for {key}" if key is not None else ""
            raise ConfigError(f"{name} must be 0 to 1{place}, got {value}", where)


@STEPS.register("prune")
class Prune(Step):
    """Remove the groups that matter least. Survey, Section III-E, Fig. 18, Tables 11 and 12.

    Deep Compression is `{step: prune, density: {conv1: 0.84, ...}}`; filter pruning (Li et al.) is `grain: filter`;
    meProp and DGC are `object: E` and `object: G`; Cambricon-S is `grain: block, block: [16, 1, 1, 1]` (a block of
    weights shared by 16 outputs) with criterion max or mean; a crossbar's block is `block: [columns, rows]`.
    """

    kind: ClassVar[str] = "prune"
    objects: ClassVar[tuple[str, ...]] = ("W", "A", "E", "G")

    class Params(StepParams):
        """What, by what, and how much.

        Attributes
        ----------
        grain
            What stays or goes as one: an element; row or filter (all weights of one output); column or fiber (the
            weights of all outputs at one place of their inputs); kernel (one filter's weights of one channel);
            channel (all filters' weights of one channel); feature_map (one channel of one sample); a layer; a block;
            ou_row (one input of `block[0]` outputs, the row of an operation unit of a crossbar).
        block
            Of grain block: elements along each dimension of the tensor, or, if two, of the matrix.
        edges
            Blocks at the far edges are cut off, or refused.
        criterion
            magnitude (of a group the sum); l1, l2, max or mean of a group; random; taylor (needs captured gradients);
            geometric (distance to all other groups); similarity (of the two most alike the smaller goes).
        density : 0 to 1, may be given per layer
            Part of the groups that stay: the nearest whole number of them, exactly; zeros that are there already
            go first. With `scope: global` part of all elements: groups go until at most so many are left.
        threshold : number, may be given per layer
            Instead: groups whose score is below it go.
        scope : layer or global
            Whether each tensor meets the density by itself, or all chosen ones together, under one threshold.
        """

        grain: GrainName = "element"
        block: list[int] | None = None
        edges: Literal["cut", "refuse"] = "cut"
        criterion: Criterion = "magnitude"
        density: PerLayer[float] | None = None
        threshold: PerLayer[float] | None = None
        scope: Literal["layer", "global"] = "layer"

        @pydantic.field_validator("block")
        @classmethod
        def _block(cls, block: list[int] | None) -> list[int] | None:
            if block is not None and not (block and all(b >= 1 for b in block)):
                raise ValueError(f"must be numbers >= 1, got {block}")
            return block

    def __init__(self, params: Any, label: str, where: str, context: Context) -> None:
        super().__init__(params, label, where, context)
        if (params.density is None) == (params.threshold is None):
            raise ConfigError("must have either density or threshold", where)
        if params.density is not None:
            checked_density(params.density, where)
        if params.grain == "layer" and params.density is not None and params.scope == "layer":
            raise ConfigError("scope must be global for grain layer: in a layer there is one group", where)
        if params.scope == "global":
            if not isinstance(params.density, (int, float)):
                raise ConfigError("density must be one number for scope global", where)
            if params.criterion in WITHIN_ONE_TENSOR:
                raise ConfigError(f"scope must be layer for criterion {params.criterion}", where)
        self._cuts: dict[tuple[str, str, str], Cut] = {}
        self._gone: dict[tuple[str, str, str], int] = {}

    def prepare(self, before: Source, chosen: list[Key]) -> None:
        """Global scope: one threshold over all tensors, found in two passes with one in memory at a time."""
        if self.params.scope != "global":
            return
        if self.params.grain == "element":
            self._cut_elements(before, chosen)
        else:
            self._cut_groups(before, chosen)

    def apply(self, state: TensorState) -> None:
        params = self.params
        if params.grain == "element":
            scores = element_scores(self, state, params.criterion)
            if params.threshold is not None:
                removed = np.abs(scores) < np.float32(self.at(state, params.threshold))
            else:
                cut = self._cuts.get(_key(state)) if params.scope == "global" else None
                if cut is None:
                    count = state.elements - kept_count(self._density(state), state.elements)
                    cut = smallest(scores, count)
                removed = cut.mask(scores)
        else:
            removed = self._removed_groups(state)
        state.zero_out(removed.reshape(state.shape))

    def apply_described(self, state: TensorState) -> None:
        """An operand without values gets the density as its description's, never a higher one than it has."""
        described = state.described
        if described is None or self.params.grain != "element" or self.params.density is None:
            raise ConfigError("is only described: it can be pruned to a density by elements only", state.name)
        density = min(described.density, self._density(state))
        state.describe(described.model_copy(update={"density": density}))

    def _density(self, state: TensorState) -> float:
        return float(self.at(state, self.params.density))

    def _grain(self, state: TensorState) -> Grain:
        return grain(self.params.grain, state.shape, self.params.block, edges=self.params.edges)

    def _removed_groups(self, state: TensorState) -> NDArray[np.bool_]:
        cut, params = self._grain(state), self.params
        scores = group_scores(self, state, params.criterion, cut, comparable=params.scope == "global").reshape(-1)
        if params.threshold is not None:
            return cut.spread(scores < self.at(state, params.threshold))
        order = np.argsort(scores, kind="stable")
        gone = cut.groups - kept_count(self._density(state), cut.groups)
        gone = self._gone.get(_key(state), gone)
        removed: NDArray[np.bool_] = np.zeros(cut.groups, np.bool_)
        removed[order[:gone]] = True
        return cut.spread(removed)

    def _leaf(self, before: Source, key: Key, name: str) -> TensorState:
        return next(leaf for leaf in before.load(key).leaves() if leaf.part == name)

    def _leaves(self, before: Source, chosen: list[Key]) -> list[tuple[Key, str]]:
        found = []
        for key in chosen:
            state = before.load(key)
            if state.described is None:
                found += [(key, leaf.part) for leaf in state.leaves()]
        return found

    def _cut_elements(self, before: Source, chosen: list[Key]) -> None:
        leaves = self._leaves(before, chosen)
        total = sum(self._leaf(before, key, part).elements for key, part in leaves)

        def scores(key: Key, part: str) -> NDArray[Any]:
            return element_scores(self, self._leaf(before, key, part), self.params.criterion)

        loads = [lambda key=key, part=part: scores(key, part) for key, part in leaves]  # type: ignore[misc]
        cuts = smallest_of(loads, total - kept_count(float(self.params.density), total)) if leaves else []
        self._cuts = {(*key, part): cut for (key, part), cut in zip(leaves, cuts, strict=True)}

    def _cut_groups(self, before: Source, chosen: list[Key]) -> None:
        scores, sizes, owners = [], [], []
        leaves = self._leaves(before, chosen)
        if not leaves:
            return
        for at, (key, part) in enumerate(leaves):
            state = self._leaf(before, key, part)
            cut = self._grain(state)
            found = group_scores(self, state, self.params.criterion, cut, comparable=True)
            scores.append(found.reshape(-1))
            sizes.append(cut.sizes().reshape(-1))
            owners.append(np.full(cut.groups, at))
        size, owner = np.concatenate(sizes), np.concatenate(owners)
        order = np.argsort(np.concatenate(scores), kind="stable")
        target = int(size.sum()) - kept_count(float(self.params.density), int(size.sum()))
        gone = int(np.searchsorted(np.cumsum(size[order]), target)) + 1 if target else 0
        counts = np.bincount(owner[order[:gone]], minlength=len(leaves))
        self._gone = {(*key, part): int(n) for (key, part), n in zip(leaves, counts, strict=True)}


def _key(state: TensorState) -> tuple[str, str, str]:
    return state.layer.name, state.role, state.part
