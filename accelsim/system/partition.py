"""A layer cut into shares for many cores: by images, output rows, output channels and input channels.

Shares are as even as integers allow, unless the partition says how they compare (`Partition.shares`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from accelsim.base.errors import ConfigError
from accelsim.engines.base import Share
from accelsim.workload.shapes import ConvShape, GemmShape


LOOPS = ("images", "rows", "outputs", "channels")


@dataclass(frozen=True)
class Partition:
    """Into how many parts each loop is cut; their product is the number of cores at work.

    Attributes
    ----------
    images : int
        Images of a convolution, rows m of a matrix product.
    rows : int
        Output rows of a convolution.
    outputs : int
        Output channels: groups first, then channels inside of each group.
    channels : int
        Input channels of a group (k of a matrix product): the cores' sums are added along a chain.
    shares : tuple of (str, tuple of int)
        For loops whose parts differ on purpose, how their sizes compare: one number for each part.
    """

    images: int = 1
    rows: int = 1
    outputs: int = 1
    channels: int = 1
    shares: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Loop -> parts."""
        return {name: getattr(self, name) for name in LOOPS}

    @property
    def cores(self) -> int:
        """Cores that get a share."""
        return prod(self.counts.values())

    def of(self, loop: str) -> tuple[int, ...]:
        """How the parts of a loop compare; () if they are even."""
        return dict(self.shares).get(loop, ())

    def describe(self) -> str:
        """`outputs 4 x channels 2`, for tables; uneven parts in brackets."""
        parts = []
        for name, count in self.counts.items():
            uneven = f" ({':'.join(map(str, self.of(name)))})" if self.of(name) else ""
            if count > 1:
                parts.append(f"{name} {count}{uneven}")
        return " x ".join(parts) or "one core"


@dataclass(frozen=True)
class Piece:
    """One share with its shape, and its place in the partition: (image, row, output, channel) part."""

    place: tuple[int, int, int, int]
    shape: ConvShape | GemmShape
    share: Share


def split(extent: int, parts: int, shares: tuple[int, ...] = ()) -> list[tuple[int, int]]:
    """(first, how many) of `parts` parts: as even as integers allow, larger ones first; or as `shares` compare.

    Uneven parts get the whole part of what is due to them, at least one, and the largest remainders one more.
    """
    if shares:
        sizes = _apportion(extent, shares)
    else:
        base, extra = divmod(extent, parts)
        sizes = [base + (index < extra) for index in range(parts)]
    out, first = [], 0
    for size in sizes:
        out.append((first, size))
        first += size
    return out


def _apportion(extent: int, shares: tuple[int, ...]) -> list[int]:
    total = sum(shares)
    sizes = [max(1, extent * share // total) for share in shares]
    left = extent - sum(sizes)
    by_remainder = sorted(range(len(shares)), key=lambda i: (-(extent * shares[i] % total), i))
    for index in by_remainder[: max(0, left)]:
        sizes[index] += 1
    for _ in range(-left):  # the least shares were raised to one: the largest give
        sizes[sizes.index(max(sizes))] -= 1
    return sizes


def extents(shape: ConvShape | GemmShape) -> Partition:
    """The largest possible number of parts of each loop."""
    if isinstance(shape, ConvShape):
        return Partition(shape.n, shape.p, shape.m, shape.c // shape.g)
    return Partition(shape.m, 1, shape.n * shape.batch, shape.k)


def possible(shape: ConvShape | GemmShape, partition: Partition) -> bool:
    """Whether the shape can be cut like this."""
    most = extents(shape)
    groups = shape.g if isinstance(shape, ConvShape) else shape.batch
    if any(count > most.counts[name] for name, count in partition.counts.items()):
        return False
    if partition.channels > 1 and isinstance(shape, ConvShape) and partition.outputs % groups:
        return False  # a share of several groups would have a part of the channels of each
    return partition.outputs <= groups or partition.outputs % groups == 0


def pieces(shape: ConvShape | GemmShape, partition: Partition) -> list[Piece]:
    """All shares, channel parts next to each other, then output, row and image parts.

    Raises
    ------
    ConfigError
        If the shape cannot be cut like this.
    """
    return list(_pieces(shape, partition))


def largest(shape: ConvShape | GemmShape, partition: Partition) -> Piece:
    """The first of the shares than which none is larger."""
    if partition.shares:
        return max(_pieces(shape, partition), key=lambda piece: piece.shape.macs)
    return next(_pieces(shape, partition))


def _pieces(shape: ConvShape | GemmShape, partition: Partition) -> Iterator[Piece]:
    if not possible(shape, partition):
        most = extents(shape)
        raise ConfigError(
            f"cannot cut the layer into {partition.describe()}; at most {most.describe()} parts, "
            "and as many output parts as groups, or a multiple of them (needed where channels are cut)"
        )
    for loop, shares in partition.shares:
        if len(shares) != partition.counts[loop]:
            raise ConfigError(f"shares of {loop} must be {partition.counts[loop]} numbers, got {len(shares)}")
    conv = isinstance(shape, ConvShape)
    groups = shape.g if isinstance(shape, ConvShape) else shape.batch
    images = shape.n if isinstance(shape, ConvShape) else shape.m
    p = shape.p if isinstance(shape, ConvShape) else 1
    n = shape.m // shape.g if isinstance(shape, ConvShape) else shape.n
    k = shape.c // shape.g if isinstance(shape, ConvShape) else shape.k
    for a, (image0, count_i) in enumerate(split(images, partition.images, partition.of("images"))):
        for b, (row0, count_p) in enumerate(split(p, partition.rows, partition.of("rows"))):
            parts = _output_parts(groups, n, partition.outputs, partition.of("outputs"))
            for c, (group0, count_g, output0, count_n) in enumerate(parts):
                for d, (channel0, count_k) in enumerate(split(k, partition.channels, partition.of("channels"))):
                    share = Share(shape, group0, image0, row0, output0, channel0)
                    if conv and isinstance(shape, ConvShape):
                        sizes = count_i, count_p, count_g, count_n, count_k
                        own: ConvShape | GemmShape = _conv_part(shape, share, *sizes)
                    else:
                        own = GemmShape(count_i, count_n, count_k, count_g)
                    yield Piece((a, b, c, d), own, share)


def _output_parts(
    groups: int, n: int, parts: int, shares: tuple[int, ...] = ()
) -> Iterator[tuple[int, int, int, int]]:
    """(first group, groups, first output, outputs of each group) of every part."""
    if parts <= groups:
        yield from ((first, count, 0, n) for first, count in split(groups, parts, shares if groups > 1 else ()))
        return
    each = parts // groups
    for group in range(groups):
        for first, count in split(n, each, shares[group * each : (group + 1) * each]):
            yield group, 1, first, count


def _conv_part(
    shape: ConvShape, share: Share, images: int, rows: int, groups: int, outputs: int, channels: int
) -> ConvShape:
    top, left, bottom, right = shape.pad
    begin = share.row0 * shape.stride[0] - top
    end = begin + (rows - 1) * shape.stride[0] + (shape.r - 1) * shape.dilation[0] + 1
    high = min(end, shape.h) - max(begin, 0)
    return replace(
        shape,
        n=images,
        c=groups * channels,
        h=max(high, 1),
        m=groups * outputs,
        pad=(max(0, -begin) if high > 0 else max(0, end - begin - 1), left, max(0, end - shape.h), right),
        g=groups,
    )


def candidates(shape: ConvShape | GemmShape, cores: int) -> list[Partition]:
    """Sensible partitions: products of divisors of `cores` and powers of two, no more than there are cores.

    Those that leave more than half of the cores idle are left out, unless nothing else is possible.
    """
    sizes = sorted({d for d in range(1, cores + 1) if cores % d == 0} | {2**e for e in range(cores.bit_length())})
    most = extents(shape)
    per_loop = [[s for s in sizes if s <= limit] for limit in most.counts.values()]
    options = (Partition(i, r, o, c) for i, r, o, c in product(*per_loop) if i * r * o * c <= cores)
    found = [option for option in options if possible(shape, option)]
    busy = [p for p in found if 2 * p.cores > cores]
    if busy:
        return busy
    best = max(p.cores for p in found)
    return [p for p in found if 2 * p.cores > best]
