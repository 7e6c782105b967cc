"""Floating-point tensors as k-bit integers: symmetric, one scale for a tensor or for each output channel.

Zero is always the integer zero, so that every exact zero of a tensor is a zero of the trace; numbers below
half a step become zeros too, as they do in hardware.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError


@dataclass(frozen=True)
class Integers:
    """`values` stands for scale * (values - zero_point); lists have one entry for each first index."""

    values: NDArray[np.integer]
    bits: int
    signed: bool
    scale: float | list[float]
    zero_point: int | list[int] = 0


def quantize(values: NDArray[np.floating], bits: int, *, per_channel: bool = False, where: str = "") -> Integers:
    """Round to k-bit integers that use the whole range.

    Parameters
    ----------
    values : ndarray of float, any shape
    bits : int
        2 to 16, or 1 for tensors without negative numbers. Tensors with negative numbers use
        -(2**(bits-1) - 1) to 2**(bits-1) - 1, others 0 to 2**bits - 1.
    per_channel : bool
        One scale for each index of the first dimension, signed in any case (weights).
    where : str
        For error messages.

    Raises
    ------
    ConfigError
        If a value is not finite, or the bits are out of range.
    """
    check_bits(bits, "bits", where)
    real = np.asarray(values, np.float64)
    if not np.isfinite(real).all():
        raise ConfigError("values must be finite, got NaN or infinity", where)
    signed = per_channel or bool(real.min() < 0)
    if signed and bits < 2:
        raise ConfigError("bits must be at least 2 for negative numbers, got 1", where)
    top = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    size = np.abs(real)
    largest = size.max(axis=tuple(range(1, real.ndim))) if per_channel else size.max()
    # as a float32, the precision in which scales are stored and used
    scale = np.where(largest > 0, largest / top, 1.0).astype(np.float32).astype(np.float64)
    step = scale.reshape(-1, *[1] * (real.ndim - 1)) if per_channel else scale
    stored = np.clip(np.rint(real / step), -top if signed else 0, top)
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    return Integers(stored.astype(kind), bits, signed, scale.tolist())


def quantize_bias(bias: NDArray[np.floating], filter_scale: float | list[float], ifmap_scale: float) -> Integers:
    """A bias as 32-bit integers in the unit of the accumulator: filter scale x ifmap scale."""
    scale = np.asarray(filter_scale, np.float64) * ifmap_scale
    stored = np.clip(np.rint(np.asarray(bias, np.float64) / scale), -(2**31 - 1), 2**31 - 1)
    return Integers(stored.astype(np.int32), 32, True, scale.tolist())


def check_bits(bits: int, name: str, where: str = "") -> None:
    """Refuse widths that `quantize` does not do."""
    if type(bits) is not int or not 1 <= bits <= 16:
        raise ConfigError(f"{name} must be an integer from 1 to 16, got {bits!r}", where or None)
