"""Tensors that are described instead of stored: integers from a counter-based generator.

Element i depends on the description and on i alone, so any chunk can be made without the ones before it,
and every reader on every machine sees the same bits. No floating-point operation decides a value: densities
become integer thresholds, distributions become integer alias tables computed in decimal arithmetic.

The random word of element i in stream s is the (i+1)-th output of SplitMix64 seeded with key(s); the key is
a BLAKE2b hash of the seed and of names. SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014, figure 16 (the constants are theirs). Alias tables: Walker, "An efficient method for
generating discrete random variables with general distributions", ACM TOMS 1977; built as in Vose, "A linear
algorithm for generating random numbers with a given distribution", IEEE TSE 1991.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.kernels import kernel
from accelsim.base.spec import Spec
from accelsim.workload.packing import MAX_BITS, limits, value_dtype

MAX_TABLE_BITS = 16
"""Widest integers with a shaped distribution: a table has an entry for each magnitude."""

_ALWAYS = np.uint64(1 << 53)
_CHUNK = 32768  # elements at a time, so that their random words stay in the second-level cache
_FIXED = 128  # fractional bits of the weights from which tables are made


class GeneratorSpec(Spec):
    """A described tensor; its shape stands beside it.

    Attributes
    ----------
    algorithm : "splitmix64"
        This file's definition; another definition gets another name.
    seed : int
    stream : str
        Tensors with the same stream and seed are the same random words.
    bits : int
        1 to 32.
    signed : bool
    density : float
        Probability that an element is not zero, rounded down to a multiple of 2**-53.
    distribution : "uniform", "laplace" or "gaussian"
        Of the elements that are not zero. Uniform: over all k-bit integers but zero. Laplace and Gaussian:
        the discrete ones, weight of magnitude m = exp(-m / b) or exp(-m**2 / (2 * sigma**2)), m from 1 to
        2**(bits-1) - 1 with either sign, or from 1 to 2**bits - 1 if unsigned; at most 16 bits.
    std : float
        Standard deviation over the largest magnitude: sigma = std * largest, b = sigma / sqrt(2). Ignored
        by `uniform`. Default assumed: 1/8. Weights of trained networks, scaled so that the largest just
        fits, have 4 to 15 times their standard deviation as maximum, by layer.
    block : int
        Zeros come in runs: elements [j * block, (j + 1) * block) share one zero decision.
    clustering : float
        Probability that an element follows its block's decision instead of one of its own, rounded down to
        a multiple of 1/2048; the density stays the same. Of two elements of a block, the decisions have
        correlation clustering**2. No effect where `block` is 1.
    """

    algorithm: Literal["splitmix64"] = "splitmix64"
    seed: int = pydantic.Field(default=0, ge=0, lt=2**63)
    stream: str = pydantic.Field(default="", max_length=2000)
    bits: int = pydantic.Field(default=8, ge=1, le=MAX_BITS)
    signed: bool = True
    density: float = pydantic.Field(default=1.0, ge=0, le=1)
    distribution: Literal["uniform", "laplace", "gaussian"] = "uniform"
    std: float = pydantic.Field(default=0.125, ge=1e-6, le=16)
    block: int = pydantic.Field(default=1, ge=1, le=2**40)
    clustering: float = pydantic.Field(default=1.0, ge=0, le=1)

    @pydantic.model_validator(mode="after")
    def _table_exists(self) -> GeneratorSpec:
        if self.distribution != "uniform":
            if self.bits > MAX_TABLE_BITS:
                raise ValueError(f"bits must be at most {MAX_TABLE_BITS} for distribution {self.distribution}")
            if self.bits == 1 and self.signed:
                raise ValueError(f"bits must be at least 2 for signed values of distribution {self.distribution}")
        return self


def generate(spec: GeneratorSpec, start: int, count: int) -> NDArray[Any]:
    """Elements `start` to `start + count - 1`.

    Returns
    -------
    ndarray of `value_dtype(spec.bits, spec.signed)`, shape (count,)

    Raises
    ------
    ConfigError
        If the range is negative or goes beyond 2**62.
    """
    _check_range(start, count)
    out = np.empty(count, value_dtype(spec.bits, spec.signed))
    for at in range(0, count, _CHUNK):
        _fill(spec, out[at : at + _CHUNK], start + at)
    return out


def count_nonzeros(spec: GeneratorSpec, start: int, count: int) -> int:
    """How many of these elements are not zero; needs no memory for them."""
    _check_range(start, count)
    threshold = _threshold(spec.density)
    if threshold in (0, _ALWAYS):
        return count if threshold else 0
    found = 0
    scratch = np.empty(min(count, _CHUNK), value_dtype(spec.bits, spec.signed))
    for at in range(0, count, _CHUNK):
        part = scratch[: min(_CHUNK, count - at)]
        _fill(spec, part, start + at)
        found += int(np.count_nonzero(part))
    return found


def _check_range(start: int, count: int) -> None:
    if start < 0 or count < 0 or start + count > 2**62:
        raise ConfigError(f"start and count must be >= 0 and within 2**62, got {start} and {count}", "generate")


def _fill(spec: GeneratorSpec, out: NDArray[Any], start: int) -> None:
    """Elements from `start` on, into `out` of at most `_CHUNK` elements."""
    out = out.view(f"u{out.itemsize}")  # half as many variants of kernels to compile
    with np.errstate(over="ignore"):  # without JIT, wrapping multiplication of numpy scalars warns
        words = _words(spec, "value", start, out.size)
        if spec.distribution == "uniform":
            low, high = limits(spec.bits, spec.signed)
            uniform_values(words, out, np.uint64(high - low), -low)
        else:
            magnitude = spec.bits - 1 if spec.signed else spec.bits
            shaped_values(words, out, alias_table(spec.distribution, magnitude, spec.std), np.uint64(spec.signed))
        threshold = np.uint64(_threshold(spec.density))
        if threshold < _ALWAYS:
            if spec.block == 1:
                zero_single(out, _words(spec, "zero", start, out.size), threshold)
            else:
                _zero_blocks(spec, out, start, threshold)


def _zero_blocks(spec: GeneratorSpec, out: NDArray[Any], start: int, threshold: np.uint64) -> None:
    first, last = start // spec.block, (start + out.size - 1) // spec.block
    shared = _words(spec, "zero", first, last - first + 1)
    follow = int(spec.clustering * 2048)
    own = _words(spec, "own zero", start, out.size) if follow < 2048 else shared[:0]
    zero_blocks(out, start - first * spec.block, spec.block, shared, own, threshold, np.uint64(follow))


def _words(spec: GeneratorSpec, purpose: str, start: int, count: int) -> NDArray[np.uint64]:
    words = np.empty(count, np.uint64)
    random_words(words, _key(spec.seed, spec.stream, purpose), np.uint64(start))
    return words


def _threshold(probability: float) -> int:
    return int(probability * 2.0**53)  # exact: a product with a power of two


@lru_cache(maxsize=4096)
def _key(seed: int, stream: str, purpose: str) -> np.uint64:
    text = f"{seed}/{purpose}/{stream}".encode()
    digest = hashlib.blake2b(text, digest_size=8, person=b"accelsim.draw").digest()
    return np.uint64(int.from_bytes(digest, "little"))


@lru_cache(maxsize=64)
def alias_table(distribution: str, magnitude_bits: int, std: float) -> NDArray[np.uint64]:
    """Walker's table of the magnitudes 1 to 2**magnitude_bits - 1.

    Returns
    -------
    ndarray of uint64, shape (2, 2**magnitude_bits)
        Bucket j gives magnitude j + 1 if a 32-bit word is below row 0, else the magnitude of row 1.
    """
    size = 1 << magnitude_bits
    weights = [*_weights(distribution, size - 1, std), 0]
    share = 1 << 32
    total = sum(weights)
    # Shares of size * 2**32 units, rounded down; what is left over goes to the most frequent magnitude, 1.
    units = [weight * size * share // total for weight in weights]
    units[0] += size * share - sum(units)
    table = np.zeros((2, size), np.uint64)
    small = [j for j in range(size) if units[j] < share]
    large = [j for j in range(size) if units[j] >= share]
    while small:
        low, high = small.pop(), large[-1]
        table[0, low], table[1, low] = units[low], high + 1
        units[high] -= share - units[low]
        if units[high] < share:
            small.append(large.pop())
    for j in large:
        table[0, j], table[1, j] = share, j + 1
    return table


def _weights(distribution: str, largest: int, std: float) -> list[int]:
    """Weight of each magnitude relative to that of 1, times 2**128: a recurrence in integers."""
    one = 1 << _FIXED
    with localcontext() as context:
        context.prec = 60  # decimal's exp and sqrt are correctly rounded, hence the same everywhere
        sigma = Decimal(std) * largest
        if distribution == "laplace":
            ratio, bend = int((-Decimal(2).sqrt() / sigma).exp() * one), one
        else:
            ratio = int((Decimal(-3) / (2 * sigma * sigma)).exp() * one)
            bend = int((Decimal(-1) / (sigma * sigma)).exp() * one)
    weights, weight = [], one
    for _ in range(largest):
        weights.append(weight)
        weight = weight * ratio >> _FIXED
        ratio = ratio * bend >> _FIXED
    return weights


@kernel
def random_words(words, key, start):  # type: ignore[no-untyped-def]
    """words[i] = SplitMix64 output number start + i of the stream `key`; all uint64."""
    for i in range(words.size):
        z = key + (start + np.uint64(i) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        words[i] = z ^ (z >> np.uint64(31))


@kernel
def uniform_values(words, out, count, negative):  # type: ignore[no-untyped-def]
    """One of `count` (uint64, < 2**32) integers other than zero for each word, the least being -negative.

    `out` is unsigned; negative numbers are in two's complement.
    """
    low32, mask = np.uint64(0xFFFFFFFF), (np.int64(1) << np.int64(8 * out.itemsize)) - 1
    for i in range(out.size):
        # the upper 64 bits of word * count
        high = (words[i] >> np.uint64(32)) * count + (((words[i] & low32) * count) >> np.uint64(32))
        value = np.int64(high >> np.uint64(32)) - negative
        out[i] = (value + np.int64(value >= 0)) & mask


@kernel
def shaped_values(words, out, table, signed):  # type: ignore[no-untyped-def]
    """A magnitude from an alias table for each word; negative for every other word if `signed` (uint64 0 or 1).

    `out` as in `uniform_values`.
    """
    buckets, mask = np.uint64(table.shape[1] - 1), (np.int64(1) << np.int64(8 * out.itemsize)) - 1
    for i in range(out.size):
        bucket = np.int64((words[i] >> np.uint64(1)) & buckets)
        other = np.int64((words[i] >> np.uint64(32)) >= table[0, bucket])
        size = bucket + 1 + other * (np.int64(table[1, bucket]) - bucket - 1)
        minus = np.int64(words[i] & signed)
        out[i] = ((size ^ -minus) + minus) & mask


@kernel
def zero_single(out, words, threshold):  # type: ignore[no-untyped-def]
    """out[i] = 0 where the upper 53 bits of words[i] are not below `threshold`."""
    for i in range(out.size):
        out[i] = out[i] * np.int64((words[i] >> np.uint64(11)) < threshold)  # no branch: it would be a coin toss


@kernel
def zero_blocks(out, skip, block, shared, own, threshold, follow):  # type: ignore[no-untyped-def]
    """As `zero_single`, by the word of the element's block, or by its own if its low 11 bits are >= `follow`.

    `skip`: elements of the first block before out[0]; `own` is empty if all follow.
    """
    group, left = 0, block - skip
    for i in range(out.size):
        if left == 0:
            group += 1
            left = block
        left -= 1
        word = shared[group]
        if own.size:
            apart = np.uint64((own[i] & np.uint64(2047)) >= follow)
            word ^= (word ^ own[i]) * apart
        out[i] = out[i] * np.int64((word >> np.uint64(11)) < threshold)


@random_words.warms_up_with
def _words_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint64), np.uint64(1), np.uint64(0)


@uniform_values.warms_up_with
def _uniform_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint64), np.zeros(4, np.uint8), np.uint64(255), 128


@shaped_values.warms_up_with
def _shaped_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint64), np.zeros(4, np.uint8), alias_table("laplace", 2, 0.5), np.uint64(1)


@zero_single.warms_up_with
def _single_example() -> tuple[Any, ...]:
    return np.zeros(4, np.uint8), np.zeros(4, np.uint64), np.uint64(1)


@zero_blocks.warms_up_with
def _blocks_example() -> tuple[Any, ...]:
    words = np.zeros(4, np.uint64)
    return np.zeros(4, np.uint8), 0, 2, words, words, np.uint64(1), np.uint64(2048)
