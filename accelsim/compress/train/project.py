"""A recipe as a projection of weights: the nearest weights, in the sense of its steps, that are compressed so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.compress.base import Context, Key
from accelsim.compress.recipe import Recipe, load_recipe
from accelsim.compress.sources import GivenWeights
from accelsim.workload.network import Network

Array = NDArray[Any]


class Projection:
    """Weights -> the numbers that they stand for after the recipe; biases too, which few recipes change."""

    def __init__(self, network: Network, recipe: Any, seed: int = 0) -> None:
        self.network, self.seed = network, seed
        self.recipe: Recipe = load_recipe(recipe)

    def __call__(self, weights: Mapping[Key, Array]) -> dict[Key, Array]:
        """The projected weights, as fresh arrays.

        Raises
        ------
        ConfigError
            What the recipe says of these weights; a recipe that changes the network.
        """
        start = GivenWeights(self.network, nested(weights))
        chain = self.recipe.chain(start, Context(self.seed, start=start))
        return {key: np.array(chain.load(key).values, np.float32) for key in weights}


def nested(weights: Mapping[Key, Array]) -> dict[str, dict[str, Array]]:
    """(layer, role) -> array as layer -> role -> array."""
    found: dict[str, dict[str, Array]] = {}
    for (layer, role), array in weights.items():
        found.setdefault(layer, {})[role] = array
    return found
