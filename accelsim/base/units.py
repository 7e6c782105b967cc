"""Units and integer arithmetic: cycles, bits and bytes are integers; floats begin at energy and ratios."""

from __future__ import annotations

from accelsim.base.errors import ConfigError

INT63 = 2**63 - 1


def ceil_div(a: int, b: int) -> int:
    """ceil(a / b) for integers, b > 0."""
    return -(-a // b)


def checked(value: int, what: str, where: str | None = None) -> int:
    """`value`, which kernels will hold in 63 bits.

    Raises
    ------
    ConfigError
        If it does not fit.
    """
    if value > INT63:
        raise ConfigError(f"{what} overflows 63 bits (it has {value.bit_length()})", where)
    return value


def bits_to_bytes(bits: int) -> int:
    """Whole bytes that hold `bits`."""
    return ceil_div(bits, 8)


def si(value: float, unit: str, digits: int = 3) -> str:
    """`si(1.2e9, "B/s")` -> `1.2 GB/s`; for people, not for files."""
    if value == 0:
        return f"0 {unit}"
    for scale, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")):
        if abs(value) >= scale:
            return f"{value / scale:.{digits}g} {prefix}{unit}"
    for scale, prefix in ((1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p")):
        if abs(value) >= scale:
            return f"{value / scale:.{digits}g} {prefix}{unit}"
    return f"{value:.{digits}g} {unit}"


def human_bytes(count: int) -> str:
    """`human_bytes(3 * 2**20)` -> `3.0 MiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024 or unit == "GiB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError
