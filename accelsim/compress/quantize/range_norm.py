"""Range batch normalisation: what a quantized training divides by in place of the standard deviation.

After Banner, Hubara, Hoffer, Soudry, Scalable methods for 8-bit training of neural networks, NIPS 2018. The largest
of n normally distributed values lies about sqrt(2 ln n) standard deviations above their mean, so that the range over
2 sqrt(2 ln n) stands for the deviation (a constant factor is absorbed by the normalisation's trainable scale).

The ranges are the object BN of recipes (role `norm_range`, one for each output channel): give those of a real batch as
`activations={(layer, "norm_range"): batch_ranges(outputs)}`, or describe them, then quantize them like any tensor.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError


def range_scale(count: int) -> float:
    """By what the range of n values is multiplied; n is at least 2.

    Raises
    ------
    ConfigError
        For fewer.
    """
    if count < 2:
        raise ConfigError(f"a range needs at least 2 values for each channel, got {count}")
    return 0.5 / math.sqrt(2.0 * math.log(count))


def batch_ranges(outputs: NDArray[Any]) -> NDArray[np.float32]:
    """Scaled range of each channel over a batch.

    Parameters
    ----------
    outputs : array, shape (N, C) or (N, C, H, W)
        What a layer puts out before its normalisation.

    Returns
    -------
    float32 array, shape (C,)
    """
    flat = np.moveaxis(np.asarray(outputs, np.float32), 1, 0).reshape(outputs.shape[1], -1)
    return np.asarray((flat.max(1) - flat.min(1)) * range_scale(flat.shape[1]), np.float32)


def range_normalise(outputs: NDArray[Any], ranges: NDArray[Any]) -> NDArray[np.float32]:
    """(outputs - mean of the channel) / its scaled range; a channel without a range stays at 0.

    `ranges` are those of `batch_ranges`, quantized or not.
    """
    shape = (1, -1, *(1 for _ in range(outputs.ndim - 2)))
    axes = tuple(a for a in range(outputs.ndim) if a != 1)
    centred = np.asarray(outputs, np.float32) - outputs.mean(axes, keepdims=True, dtype=np.float32)
    divisors = np.asarray(ranges, np.float32).reshape(shape)
    safe = np.where(divisors > 0, divisors, 1.0)
    return np.asarray(np.where(divisors > 0, centred / safe, 0.0), np.float32)
