"""Dense blocks of a matrix, and a bit for each block that says whether it is stored."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div
from accelsim.workload.encodings.base import ENCODINGS, Dims, Encoding, Part, Payload
from accelsim.workload.encodings.bitmap import check_count, unpacked
from accelsim.workload.encodings.sparse_kernels import CHUNK, mask_count, nonzero_mask
from accelsim.workload.encodings.sparse_lines import matrix_shape
from accelsim.workload.packing import pack, unused_bits_are_zero, value_dtype, words_for


class BlockShape(Spec):
    """Rows and columns of a block, in the tensor as a matrix (first dimension by all others)."""

    rows: int = pydantic.Field(default=4, ge=1, le=2**20)
    columns: int = pydantic.Field(default=4, ge=1, le=2**20)


@ENCODINGS.register("block")
class Blocks(Encoding):
    """Arrays: `mask`, a bit for each block, row of blocks by row of blocks; `values`, all elements of those with one.

    Blocks that reach beyond the matrix are filled with zeros, which are stored with the block.
    """

    kind: ClassVar[str] = "block"

    class Params(BlockShape):
        """`rows`, `columns`."""

    class Meta(BlockShape):
        """`blocks`: how many are stored."""

        blocks: int = pydantic.Field(ge=0)

    def pack(self, values: NDArray[Any], bits: int, signed: bool, params: Any) -> tuple[Payload, Spec]:
        matrix = values.reshape(matrix_shape(values.shape))
        across = ceil_div(matrix.shape[1], params.columns)
        kept: list[NDArray[Any]] = []
        flags = np.zeros((ceil_div(matrix.shape[0], params.rows), across), np.bool_)
        for part in _bands(flags.shape[0], params, across):
            band = np.zeros(((part.stop - part.start) * params.rows, across * params.columns), values.dtype)
            rows = matrix[part.start * params.rows : part.stop * params.rows]
            band[: rows.shape[0], : rows.shape[1]] = rows
            blocks = band.reshape(-1, params.rows, across, params.columns).transpose(0, 2, 1, 3)
            flags[part] = _any(blocks)
            kept.append(blocks[flags[part]].reshape(-1))
        payload = {"mask": nonzero_mask(flags.reshape(-1)), "values": pack(np.concatenate(kept), bits)}
        return payload, self.Meta(rows=params.rows, columns=params.columns, blocks=int(np.count_nonzero(flags)))

    def layout(self, meta: Any, shape: Dims, bits: int, signed: bool) -> dict[str, Part]:
        down, across = self.grid(meta, shape)
        check_count(meta.blocks, down * across, "blocks")
        return {
            "mask": Part("u8", (words_for(down * across, 1),)),
            "values": Part("u8", (words_for(meta.blocks * meta.rows * meta.columns, bits),)),
        }

    def unpack(self, payload: Payload, meta: Any, shape: Dims, bits: int, signed: bool) -> NDArray[Any]:
        (down, across), mask = self.grid(meta, shape), payload["mask"]
        if not unused_bits_are_zero(mask, down * across, 1) or mask_count(mask) != meta.blocks:
            raise ConfigError(f"payload 'mask' must have {meta.blocks} bits set, all within {down * across}")
        flags = np.unpackbits(mask.view(np.uint8), count=down * across, bitorder="little").astype(bool)
        stored = unpacked(payload, "values", meta.blocks * meta.rows * meta.columns, bits, signed)
        blocks = stored.reshape(-1, meta.rows, meta.columns)
        if not _any(blocks).all():
            raise ConfigError("payload 'values' must hold no block of zeros")
        out, done = np.zeros(matrix_shape(shape), value_dtype(bits, signed)), 0
        table = flags.reshape(down, across)
        for part in _bands(down, meta, across):
            chosen = table[part]
            band = np.zeros((*chosen.shape, meta.rows, meta.columns), out.dtype)
            count = int(np.count_nonzero(chosen))
            band[chosen] = blocks[done : done + count]
            done += count
            rows = out[part.start * meta.rows : part.stop * meta.rows]
            full = band.transpose(0, 2, 1, 3).reshape(len(chosen) * meta.rows, -1)
            if full[rows.shape[0] :].any() or full[:, rows.shape[1] :].any():
                raise ConfigError("payload 'values' must be zero where blocks reach beyond the matrix")
            rows[:] = full[: rows.shape[0], : rows.shape[1]]
        return out.reshape(shape)

    def payload_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return int(meta.blocks * meta.rows * meta.columns) * bits

    def index_bits(self, meta: Any, shape: Dims, bits: int) -> int:
        return prod(self.grid(meta, shape))

    def examples(self, bits: int) -> list[dict[str, Any]]:
        return [{}, {"rows": 1, "columns": 3}, {"rows": 5, "columns": 1}]

    def grid(self, meta: Any, shape: Dims) -> tuple[int, int]:
        """Blocks down and across.

        Raises
        ------
        ConfigError
            If a block is larger than the matrix.
        """
        rows, columns = matrix_shape(shape)
        return ceil_div(rows, meta.rows), ceil_div(columns, meta.columns)


def _bands(down: int, shape: Any, across: int) -> list[slice]:
    """Rows of blocks, so many at a time that they stay in the cache."""
    step = max(1, CHUNK // (shape.rows * shape.columns * across))
    return [slice(at, min(down, at + step)) for at in range(0, down, step)]


def _any(blocks: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the last two dimensions hold a nonzero; place by place where there are few, which is quicker."""
    if blocks.shape[-1] * blocks.shape[-2] > 64:
        return np.asarray((blocks != 0).any(axis=(-2, -1)))
    found = np.zeros(blocks.shape[:-2], blocks.dtype)
    for i in range(blocks.shape[-2]):
        for j in range(blocks.shape[-1]):
            found |= blocks[..., i, j]
    return np.asarray(found != 0)
