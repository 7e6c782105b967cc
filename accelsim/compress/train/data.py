"""The digits of scikit-learn, split for good: every fifth image is for testing, and never trained on."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.workload.network import Network

Array = NDArray[Any]

TEST_EVERY = 5


def all_digits() -> tuple[Array, Array]:
    """1797 images of 8 x 8 (uint8, 0 to 16) and their classes.

    Raises
    ------
    ConfigError
        scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ConfigError("training needs the digits of scikit-learn: pip install 'accelsim[train]'") from None
    images, labels = load_digits(return_X_y=True)
    return images.astype(np.uint8).reshape(-1, 8, 8), labels.astype(np.int64)


def is_test(count: int) -> NDArray[np.bool_]:
    """Which of so many images are for testing. Writers are not kept apart: scikit-learn does not say who wrote what."""
    return np.asarray(np.arange(count) % TEST_EVERY == 0)


def training_digits(network: Network) -> tuple[Array, Array]:
    """Images (0 to 1) in the shape of the network's input, and classes, without those for testing.

    Raises
    ------
    ConfigError
        The network's input has not 64 elements, or its output not 10.
    """
    entries = [layer for layer in network if layer.kind == "input"]
    dims = entries[0].out_shape[1:]
    classes = prod(network.layers[-1].out_shape[1:])
    if len(entries) != 1 or prod(dims) != 64 or classes != 10:
        raise ConfigError(f"must have one input of 64 elements and 10 outputs, got {list(dims)} and {classes}",
                          network.name)  # fmt: skip
    images, labels = all_digits()
    kept = ~is_test(len(images))
    return (images[kept].astype(np.float32) / 16).reshape(-1, *dims), labels[kept]
