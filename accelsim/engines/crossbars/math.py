"""What a crossbar computes: integer products bit slice by bit slice, through DACs, cells, ADCs and shift-and-add.

`product(x, w, cells)` gives what the digital side sees. With enough ADC bits and no non-ideality that is `x @ w`
exactly; else the error of the converters and cells is in it. Every row group (wordlines driven at once), bit slice of
the weights and digit of the inputs is one analog sum and one conversion.

Non-idealities of cells act on conductances, in units of one level, so they cost nothing per product; only read noise
and the ADC act on sums. IR drop is of first order in the wire resistance, and then linear in the inputs: see
`wire_loss`. Random numbers are counter-based (Philox), keyed by seed, name and place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError

Array = NDArray[Any]
Encoding = Literal["offset", "differential", "binary"]
_NORMALS = 1 << 18
_BLOCK = 1 << 20  # elements of a block of sums: they stay in the cache between the product and the conversion


@dataclass(frozen=True)
class NonIdeal:
    """How real cells differ; all zero: they do not.

    Attributes
    ----------
    variation : float
        Standard deviation of the logarithm of a cell's conductance (log-normal, median the wanted one).
    stuck_off, stuck_on : float
        Share of cells that read as level 0, and as the highest level.
    read_noise : float
        Standard deviation of a column's sum in one read, in units of one input digit times one level.
    wire : float
        Resistance of the wire between two cells over the resistance of a cell at level 1.
    seed : int
    """

    variation: float = 0.0
    stuck_off: float = 0.0
    stuck_on: float = 0.0
    read_noise: float = 0.0
    wire: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("variation", "stuck_off", "stuck_on", "read_noise", "wire"):
            value = getattr(self, name)
            if not 0 <= value < (1 if name.startswith("stuck") else np.inf):
                raise ConfigError(f"{name} must be >= 0{' and < 1' if name.startswith('stuck') else ''}, got {value}")
        if self.stuck_on + self.stuck_off > 1:
            raise ConfigError(f"stuck_on + stuck_off must be <= 1, got {self.stuck_on + self.stuck_off}")

    @property
    def ideal_cells(self) -> bool:
        """Conductances are what was asked for."""
        return not (self.variation or self.stuck_off or self.stuck_on or self.wire)


@dataclass(frozen=True)
class Cells:
    """The numbers of a crossbar that decide what it computes.

    Attributes
    ----------
    rows : int
        Wordlines that are driven at once: their products are one analog sum.
    cell_bits, weight_bits, input_bits, dac_bits, adc_bits : int
    encoding : str
        "offset": weights are stored plus 2**(weight_bits - 1), which a column of ones takes off again (ISAAC, ISCA
        2016, Section V). "differential": positive and negative magnitudes in two columns, subtracted before the ADC
        (PRIME, ISCA 2016). "binary": inputs and weights of +1 and -1, the sum counts matches (XNOR-RRAM).
    signed_inputs : bool
        Two's complement; the sign is a digit of its own, the last one.
    flip : bool
        A column of levels whose sum is over half of the largest one is stored inverted (ISAAC): saves an ADC bit.
    range : str
        "clip": the ADC's step is one unit and larger sums saturate. "scale": its codes span the largest sum.
    """

    rows: int
    cell_bits: int = 2
    weight_bits: int = 16
    input_bits: int = 16
    dac_bits: int = 1
    adc_bits: int = 8
    encoding: Encoding = "offset"
    signed_inputs: bool = True
    flip: bool = True
    range: Literal["clip", "scale"] = "clip"

    @property
    def slices(self) -> int:
        """Cells of a weight, those of its negative part not counted."""
        bits = self.weight_bits - (self.encoding == "differential")
        return max(1, -(-bits // self.cell_bits))

    @property
    def cells_per_weight(self) -> int:
        """All of them."""
        return self.slices * (2 if self.encoding in ("differential", "binary") else 1)

    @property
    def digits(self) -> int:
        """Steps in which an input is applied."""
        if self.encoding == "binary":
            return 1
        if self.signed_inputs and self.input_bits > 1:
            return -(-(self.input_bits - 1) // self.dac_bits) + 1
        return -(-self.input_bits // self.dac_bits)

    @property
    def largest_sum(self) -> int:
        """The largest column sum that a conversion may meet (its magnitude)."""
        if self.encoding == "binary":
            return self.rows
        largest: int = self.rows * (2**self.dac_bits - 1) * (2**self.cell_bits - 1)
        if self.encoding == "offset" and self.flip:
            largest = (2**self.dac_bits - 1) * (self.rows * (2**self.cell_bits - 1) // 2)
        return largest

    @property
    def bits_needed(self) -> int:
        """ADC bits with which no sum is changed."""
        return self.largest_sum.bit_length() + (self.encoding == "differential")

    @property
    def codes(self) -> tuple[int, int]:
        """Lowest and highest code."""
        if self.encoding == "differential":
            half = 2 ** (self.adc_bits - 1)
            return -half, half - 1
        return 0, 2**self.adc_bits - 1

    @property
    def step(self) -> float:
        """Units of a column sum from one code to the next."""
        if self.range == "clip" or self.adc_bits >= self.bits_needed:
            return 1.0
        return self.largest_sum / self.codes[1] if self.codes[1] > 0 else float(self.largest_sum)

    def check(self) -> None:
        """Refuse converters that would give one code for everything.

        Raises
        ------
        ConfigError
            If the highest code is less than half of a column's mean sum over uniformly random bits.
        """
        mean = self.largest_sum / (2 if self.encoding == "binary" or (self.encoding == "offset" and self.flip) else 4)
        if self.range == "clip" and self.encoding != "differential" and self.codes[1] < mean / 2:
            raise ConfigError(
                f"adc_bits={self.adc_bits} clips every output: a column of {self.rows} rows sums to {mean:g} on "
                f"average and to {self.largest_sum} at most, the ADC's highest code is {self.codes[1]}; "
                f"{self.bits_needed} bits lose nothing (or fewer rows at once, or range: scale)"
            )

    def error_variance(self) -> float:
        """Variance of one row group's output from rounding alone: digits and slices independent, sums spread evenly.

        Zero where the bits suffice; else the mean square of what rounding to the codes changes, over all sums.
        """
        sums = np.arange(self.largest_sum + 1)
        one = float(np.mean((np.rint(sums / self.step) * self.step - sums) ** 2))
        inputs = sum(4.0 ** (shift) for shift in digit_shifts(self))
        slices = sum(4.0 ** (self.cell_bits * s) for s in range(self.slices))
        return one * inputs * slices * (4 if self.encoding == "binary" else 1)


def digit_shifts(cells: Cells) -> list[int]:
    """Power of two of each input digit, in the order in which they are applied; a sign digit comes last."""
    if cells.encoding == "binary":
        return [0]
    count = cells.digits
    if cells.signed_inputs and cells.input_bits > 1:
        return [cells.dac_bits * d for d in range(count - 1)] + [cells.input_bits - 1]
    return [cells.dac_bits * d for d in range(count)]


def input_digits(x: Array, cells: Cells) -> list[tuple[int, Array]]:
    """(factor, digits of every input) of each step; sum of factor x digits is x. Digits are float32."""
    if cells.encoding == "binary":
        return [(1, (x > 0).astype(np.float32))]
    low, high = (-(2 ** (cells.input_bits - 1)), 2 ** (cells.input_bits - 1) - 1)
    if not (cells.signed_inputs and cells.input_bits > 1):
        low, high = 0, 2**cells.input_bits - 1
    if x.size and (int(x.min()) < low or int(x.max()) > high):
        raise ConfigError(
            f"inputs must be {low} to {high} ({cells.input_bits} bits), got {int(x.min())} to {int(x.max())}"
        )
    shifts = digit_shifts(cells)
    bits = x.astype(np.int64) & (2**cells.input_bits - 1)
    found = []
    for index, shift in enumerate(shifts):
        sign = cells.signed_inputs and cells.input_bits > 1 and index == len(shifts) - 1
        width = 1 if sign else min(cells.dac_bits, (shifts[index + 1] if index + 1 < len(shifts) else 99) - shift)
        digit = (bits >> shift) & (2**width - 1)
        found.append((-(1 << shift) if sign else 1 << shift, digit.astype(np.float32)))
    return found


@dataclass(frozen=True)
class Programmed:
    """Weights as they are in the cells.

    Attributes
    ----------
    levels : ndarray of float32, (slices, row groups, rows, n)
        Conductance in levels, net of the negative column.
    flipped : ndarray of bool, (slices, row groups, n) or None
    k : int
        Rows that are used, over all groups.
    """

    levels: Array
    flipped: Array | None
    k: int


def program(w: Array, cells: Cells, faults: NonIdeal | None = None, name: str = "") -> Programmed:
    """Weights (k, n), integers, as conductances.

    Raises
    ------
    ConfigError
        If a weight does not have `weight_bits`.
    """
    k, n = w.shape
    groups = -(-k // cells.rows)
    w = np.asarray(w, np.int64)
    padded = np.zeros((groups * cells.rows, n), np.int64)
    padded[:k] = w
    top = 2**cells.cell_bits - 1
    used = (np.arange(groups * cells.rows) < k).reshape(groups, cells.rows, 1)
    shape = groups, cells.rows, n
    faults = faults or NonIdeal()

    def cell(levels: Array, place: str) -> Array:
        g = levels.astype(np.float32).reshape(shape)
        return g if faults.ideal_cells else _real(g, top, faults, f"{name}/{place}")

    if cells.encoding == "binary":
        # two cells of a pair: one conducts if input and weight are both 1, the other if both are 0
        bits = (padded > 0).astype(np.int64)
        match = cell(bits, "on"), cell(np.where(used.reshape(-1, 1), 1 - bits, 0), "off")
        return Programmed(np.stack(match), None, k)
    half = 2 ** (cells.weight_bits - 1)
    if w.size and (int(w.min()) < -half or int(w.max()) > half - 1 + (cells.encoding == "differential")):
        raise ConfigError(
            f"weights must be {-half} to {half - 1} ({cells.weight_bits} bits), got {int(w.min())} to {int(w.max())}"
        )
    if cells.encoding == "differential":
        parts = [
            cell((np.maximum(padded, 0) >> (cells.cell_bits * s)) & top, f"{s}+")
            - cell((np.maximum(-padded, 0) >> (cells.cell_bits * s)) & top, f"{s}-")
            for s in range(cells.slices)
        ]
        return Programmed(np.stack(parts), None, k)
    stored = np.where(used.reshape(-1, 1), padded + half, 0)
    digits = np.stack([(stored >> (cells.cell_bits * s)) & top for s in range(cells.slices)])
    digits = digits.reshape(cells.slices, *shape)
    flipped = None
    if cells.flip:
        flipped = digits.sum(2) > top * cells.rows // 2
        digits = np.where(flipped[:, :, None, :], np.where(used, top - digits, 0), digits)
    return Programmed(np.stack([cell(d, str(s)) for s, d in enumerate(digits)]), flipped, k)


def _generator(faults: NonIdeal, name: str) -> np.random.Generator:
    key = hashlib.blake2b(f"{faults.seed}/{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def _real(g: Array, top: int, faults: NonIdeal, name: str) -> Array:
    """Conductances that cells really have."""
    random = _generator(faults, name)
    if faults.variation:
        g = g * np.exp(faults.variation * random.standard_normal(g.shape, np.float32))
    if faults.stuck_off or faults.stuck_on:
        u = random.random(g.shape, np.float32)
        g = np.where(u < faults.stuck_off, 0, np.where(u >= 1 - faults.stuck_on, top, g))
    if faults.wire:
        g = g * (1 - faults.wire * wire_loss(g))
    return g.astype(np.float32)


def wire_loss(g: Array) -> Array:
    """First-order loss of each cell's current per unit of wire resistance, shape of g (..., rows, columns).

    Wordlines are driven at column 0, bit lines sensed after the last row. The segment of a wordline before column c
    carries the currents of columns c and up, and lowers the voltage of all of these: a cell in column j loses
    sum over c <= j, c' >= c of g[i, c']. A bit line's voltage rises likewise and acts on every cell of its column,
    driven or not; summed over the column that is again linear in the inputs.
    """
    rows, cols = g.shape[-2:]
    beyond = np.flip(np.cumsum(np.flip(g, -1), -1), -1)  # current through the segment before each column
    along: Array = np.cumsum(beyond, -1)
    i = np.arange(rows)
    distance = (rows - np.maximum(i[:, None], i[None, :])).astype(g.dtype)
    return np.asarray(along + distance @ g)


def product(
    x: Array, w: Array | Programmed, cells: Cells, faults: NonIdeal | None = None, *, name: str = ""
) -> NDArray[np.float64]:
    """What crossbars give for inputs x (m, k) and weights w (k, n), both integers; shape (m, n), float64.

    Exact integers where nothing is lost. `name` tells the random numbers of layers apart.

    Raises
    ------
    ConfigError
        If operands have more bits than the crossbar, or every conversion saturates.
    """
    stored = w if isinstance(w, Programmed) else program(w, cells, faults, name)
    m, k = x.shape
    if k != stored.k:
        raise ConfigError(f"inputs must have {stored.k} columns, one for each row of weights, got {k}")
    slices, groups, rows, n = stored.levels.shape
    lossless = cells.adc_bits >= cells.bits_needed and (faults is None or faults.ideal_cells)
    noise = faults.read_noise if faults is not None else 0.0
    random = _generator(faults, f"{name}/read") if faults is not None and noise else None
    out = np.zeros((m, n))
    digits = input_digits(x, cells)
    block = max(1, _BLOCK // max(1, groups * max(n, rows)))
    meter = _Meter()
    for first in range(0, m, block):
        part = slice(first, min(m, first + block))
        for factor, digit in digits:
            inputs = _grouped(digit[part], groups, rows)
            sums_of_inputs = inputs.sum(2) if cells.encoding == "offset" else None
            total = np.zeros((inputs.shape[1], n), np.float64)
            for s in range(slices):
                if cells.encoding == "binary" and s == 1:
                    inputs = _grouped(1 - digit[part], groups, rows)
                sums = inputs @ stored.levels[s]
                if cells.encoding == "binary":
                    if s == 0:
                        matches = sums
                        continue
                    sums += matches
                if random is not None:
                    _add_noise(sums, noise, random)
                if not lossless or random is not None:
                    _convert(sums, cells, meter)
                if stored.flipped is not None and sums_of_inputs is not None:
                    _unflip(sums, stored.flipped[s], sums_of_inputs, 2**cells.cell_bits - 1)
                scale = 1 if cells.encoding == "binary" else 2 ** (cells.cell_bits * s)
                total += scale * _sum_groups(sums)
            if sums_of_inputs is not None:
                total -= 2.0 ** (cells.weight_bits - 1) * sums_of_inputs.sum(0, dtype=np.float64)[:, None]
            if cells.encoding == "binary":
                total = 2 * total - k
            out[part] += factor * total
    meter.check(cells)
    return out


def _sum_groups(sums: Array) -> Array:
    return np.asarray(sums[0] if len(sums) == 1 else sums.sum(0, dtype=np.float64))


def _grouped(digit: Array, groups: int, rows: int) -> Array:
    """(m, k) as (groups, m, rows), zeros behind k."""
    m, k = digit.shape
    if k < groups * rows:
        digit = np.pad(digit, ((0, 0), (0, groups * rows - k)))
    return np.ascontiguousarray(digit.reshape(m, groups, rows).transpose(1, 0, 2))


def _unflip(sums: Array, flipped: Array, inputs: Array, top: int) -> None:
    """Columns that are stored inverted: top x (sum of inputs) - what was read."""
    for group in np.flatnonzero(flipped.any(1)):
        columns = flipped[group]
        sign = np.where(columns, np.float32(-1), np.float32(1))
        sums[group] *= sign
        sums[group] += np.outer(inputs[group], np.where(columns, np.float32(top), np.float32(0)))


@lru_cache(maxsize=1)
def _normals() -> Array:
    return np.random.Generator(np.random.Philox(key=0)).standard_normal(2 * _NORMALS, np.float32)


def _add_noise(sums: Array, sigma: float, random: np.random.Generator) -> None:
    """Normal noise, in place: runs from random places of a table, for drawing each would take most of the time."""
    flat = sums.reshape(-1)
    for first in range(0, flat.size, _NORMALS):
        part = flat[first : first + _NORMALS]
        at = int(random.integers(_NORMALS))
        part += np.float32(sigma) * _normals()[at : at + part.size]


class _Meter:
    """How many conversions saturate."""

    def __init__(self) -> None:
        self.conversions = self.clipped = 0

    def check(self, cells: Cells) -> None:
        if self.conversions and self.clipped == self.conversions:
            raise ConfigError(
                f"adc_bits={cells.adc_bits} clips every output: all {self.conversions} column sums are beyond the "
                f"ADC's codes; {cells.bits_needed} bits lose nothing"
            )


def _convert(sums: Array, cells: Cells, meter: _Meter) -> None:
    """Sums as the ADC's codes give them back, in place."""
    low, high = cells.codes
    step = cells.step
    if step != 1:
        sums *= np.float32(1 / step)
    np.rint(sums, out=sums)
    if step == 1 and cells.adc_bits < cells.bits_needed:
        over = int(np.count_nonzero(sums > high))
        meter.clipped += over
        meter.conversions += sums.size
    np.clip(sums, np.float32(low), np.float32(high), out=sums)
    if step != 1:
        sums *= np.float32(step)
