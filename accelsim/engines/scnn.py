"""SCNN: every nonzero input of a channel meets every nonzero weight of it; products are scattered to accumulator banks.

Parashar et al., SCNN: An Accelerator for Compressed-sparse Convolutional Neural Networks, ISCA 2017. The input plane
is dealt to the PEs in blocks. For a group of output channels, as many as a PE has accumulators for, and each input
channel a PE takes `inputs` nonzero inputs at a time past `weights` nonzero weights at a time. Products go to banks,
chosen by output channel and position as in DNNsim (isakedo/DNNsim), one a cycle each; those that fall outside of the
output are thrown away. With a stride, inputs and weights of equal phase meet. PEs wait for each other at a `barrier`;
after each group of outputs, sums on the seams of the blocks move to the neighbours.

Public simulators of SCNN differ in two respects, both parameters here: `accumulator_queue` and `barrier`. Matrix
products become planes of 16 x 16 inputs, as in DNNsim, since a PE works on a plane.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.energy.costs import Component
from accelsim.energy.model import CostModel
from accelsim.energy.rows import mac_rows, noc_rows, register_rows, scratchpad_rows
from accelsim.engines.base import ENGINES
from accelsim.engines.common.compressed import filter_nonzeros, ifmap_nonzeros, packed_bytes
from accelsim.engines.common.part import Part
from accelsim.engines.common.sequences import inputs_of
from accelsim.engines.common.skip_tiles import SparseSpec
from accelsim.engines.common.sparse_products import Ints, ProductEngine, splits, tile_inputs
from accelsim.engines.common.tiled import Tiles, TileTimes
from accelsim.engines.kernels.cartesian import cartesian, one_output, queued
from accelsim.mapping.problem import Problem
from accelsim.workload.shapes import ConvShape

SIDE = 16  # of the plane that a vector is folded to
Plane = NDArray[np.uint8]


@ENGINES.register("scnn")
class Scnn(ProductEngine):
    """PEs on blocks of a plane, with Cartesian products."""

    kind: ClassVar[str] = "scnn"

    class Spec(SparseSpec):
        """Parameters of the PEs."""

        pe_rows: int = pydantic.Field(default=8, ge=1, le=256, description="PE rows: blocks of the plane")
        pe_cols: int = pydantic.Field(default=8, ge=1, le=256, description="PE columns: blocks of the plane")
        inputs: int = pydantic.Field(default=4, ge=1, le=64, description="inputs that a PE takes at a time")
        weights: int = pydantic.Field(default=4, ge=1, le=64, description="weights that a PE takes at a time")
        banks: int = pydantic.Field(default=32, ge=1, le=32, description="accumulator banks of a PE")
        accumulators: int = pydantic.Field(default=1024, ge=1, description="sums of a PE")
        accumulator_queue: int = pydantic.Field(
            default=0, ge=0, le=1024, description="products left in a bank's queue with which the next step may begin"
        )
        barrier: Literal["channel", "group", "layer"] = pydantic.Field(
            default="group", description="where PEs wait: after each input channel, group of outputs, or tile"
        )
        split: Literal["plane", "padded"] = pydantic.Field(
            default="plane", description="blocks of PEs cut the plane, or, as in DNNsim, the plane with its padding"
        )
        halo: bool = pydantic.Field(default=True, description="sums on the seams take time, one a cycle")
        index_bits: int = pydantic.Field(default=4, ge=0, le=16, description="zero count of a stored nonzero")
        hop_mm: float = pydantic.Field(default=0.35, gt=0, description="wire between PEs, mm")

    @property
    def pes(self) -> int:
        """PEs in all."""
        return int(self.spec.pe_rows * self.spec.pe_cols)

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """All multipliers."""
        return self.pes * int(self.spec.inputs * self.spec.weights)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """Multipliers, crossbar and accumulators of the PEs; links for halos."""
        spec, lanes = self.spec, int(self.spec.inputs * self.spec.weights)
        width, acc = spec.operand_bits, bits["psum"]
        bank = ceil_div(spec.accumulators * acc, 8 * spec.banks)
        return [
            mac_rows(model, [(width, width)], acc_bits=acc, count=self.pes * lanes),
            register_rows(model, "operand_register", width, count=self.pes * (spec.inputs + spec.weights)),
            scratchpad_rows(model, "accumulator", max(1, bank), acc, count=self.pes * spec.banks),
            noc_rows(model, acc, spec.hop_mm, routers=self.pes, depth_flits=1),
        ]

    # --- tiles ---

    def _problem(self, part: Part, bits: dict[str, int]) -> Problem:
        return replace(super()._problem(part, bits), whole_taps=True)

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A plane, a group of outputs, a channel; a vector has channels of 16 x 16 inputs."""
        if not isinstance(part.shape, ConvShape):
            return 1, int(self.spec.accumulators), SIDE * SIDE
        return part.loops.p * part.loops.q, self._span(part.loops.p, part.loops.q), part.loops.window

    def _span(self, rows: int, cols: int) -> int:
        """Output channels of a group, for which a PE has accumulators."""
        spec = self.spec
        return max(1, int(spec.accumulators) // (ceil_div(rows, spec.pe_rows) * ceil_div(cols, spec.pe_cols)))

    def interval(self, part: Part, m: Any, n: Any, k: Any) -> Any:
        """Mean steps of a PE in each group of outputs and channel, whole ones, and a quarter of them for conflicts."""
        spec, window = self.spec, part.loops.window
        live, held = (max(1, round(1024 * part.density(o))) for o in ("ifmap", "filter"))
        if not isinstance(part.shape, ConvShape):  # planes of 16 x 16, and a sum of each output from each PE
            inputs = ceil_div(ceil_div(SIDE * SIDE, self.pes) * live, 1024 * spec.inputs)
            weights = -(-n * np.minimum(k, SIDE * SIDE) * held // (1024 * spec.weights))
            return 1 + m * (-(-k // (SIDE * SIDE)) * inputs * weights + n)
        block = -(-m // self.pes)
        span = np.minimum(n, np.maximum(1, spec.accumulators // block))
        inputs = -(-block * part.loops.stride[0] * part.loops.stride[1] * live // (1024 * spec.inputs))
        weights = -(-span * window * held // (1024 * spec.weights))
        return 1 + -(-n // span) * -(-k // window) * inputs * weights * 5 // 4

    def stored_bits(self, part: Part) -> dict[str, int]:
        """Nonzeros with the zeros before them."""
        bits = dict(part.task.bits)
        for operand in self._packed(part):
            each = bits[operand] + self.spec.index_bits
            bits[operand] = max(1, ceil_div(round(1000 * part.density(operand)) * each, 1000))
        return bits

    def _packed(self, part: Part) -> tuple[str, ...]:
        bits = part.task.bits
        return tuple(
            o for o in ("filter", "ifmap")
            if part.operand(o) is not None and part.density(o) * (bits[o] + self.spec.index_bits) < bits[o]
        )  # fmt: skip

    def compress(self, part: Part, tiles: Tiles) -> tuple[str, ...]:
        """Nonzeros of each tile with their counts; runs beyond the count's range are not padded here."""
        packed = self._packed(part)
        for operand, count in (("filter", filter_nonzeros), ("ifmap", ifmap_nonzeros)):
            column = f"{operand}_bytes"
            if operand in packed and tiles[column].any():
                bits = part.task.bits[operand]
                nonzeros = count(part, tiles) if isinstance(part.shape, ConvShape) or operand == "filter" else (
                    _vector_nonzeros(part, tiles)
                )
                sizes = packed_bytes(nonzeros, tiles[column], value_bits=bits, index_bits=self.spec.index_bits)
                tiles[column] = np.where(tiles[column] > 0, np.maximum(1, sizes), 0)
        return packed

    # --- data ---

    def planes(self, part: Part, tile: Any) -> tuple[Plane, Plane]:
        """Nonzero inputs (groups, images, channels, x, y) with their padding, and weights.

        Weights are (groups, channels, x, y, n).
        """
        groups, channels = int(tile["groups"]), int(tile["channels"])
        g0, n0, c0 = int(tile["group0"]), int(tile["output0"]), int(tile["channel0"])
        images = slice(int(tile["image0"]), int(tile["image0"]) + int(tile["images"]))
        shape, n = part.shape, int(tile["n"])
        filters = part.filters()[g0 : g0 + groups, n0 : n0 + n, c0 : c0 + channels] != 0
        if not isinstance(shape, ConvShape):
            short = -channels % (SIDE * SIDE)
            a = inputs_of(part)[g0 : g0 + groups, images, c0 : c0 + channels] != 0
            a = np.pad(a, ((0, 0), (0, 0), (0, short))).reshape(groups, a.shape[1], -1, SIDE, SIDE)
            w = np.pad(filters, ((0, 0), (0, 0), (0, short))).reshape(groups, n, -1, SIDE, SIDE)
            return _bytes(a), _bytes(w.transpose(0, 2, 3, 4, 1))
        top, left, bottom, right = shape.pad
        y0, x0 = int(tile["row0"]) * shape.stride[0], int(tile["col0"]) * shape.stride[1]
        tall = (int(tile["rows"]) - 1) * shape.stride[0] + (shape.r - 1) * shape.dilation[0] + 1
        wide = (int(tile["cols"]) - 1) * shape.stride[1] + (shape.s - 1) * shape.dilation[1] + 1
        a = np.pad(tile_inputs(part, tile) != 0, ((0, 0), (0, 0), (0, 0), (top, bottom), (left, right)))
        a = a[..., y0 : y0 + tall, x0 : x0 + wide].swapaxes(3, 4)
        spread = np.zeros(
            (groups, filters.shape[2], (shape.s - 1) * shape.dilation[1] + 1, (shape.r - 1) * shape.dilation[0] + 1, n),
            np.uint8,
        )  # fmt: skip
        spread[:, :, :: shape.dilation[1], :: shape.dilation[0]] = filters.transpose(0, 2, 4, 3, 1)
        return _bytes(a), spread

    def pe_counts(self, part: Part, tile: Any) -> list[tuple[Ints, int]]:
        """For each image, group and strip of rows: ((groups of outputs, channels, PEs, 3), cycles for halos).

        The last axis: cycles, steps and products, see `cartesian`. A strip has as many rows as a PE can sum.
        """
        inputs, filters = self.planes(part, tile)
        spec, loops = self.spec, part.loops
        rows, cols = int(tile["rows"]), int(tile["cols"])
        plane = (loops.h, loops.w) if isinstance(part.shape, ConvShape) else (SIDE, SIDE)
        across = ceil_div(cols, spec.pe_cols)
        if across > spec.accumulators:
            what = f"{spec.accumulators} accumulators cannot hold a row of {across} sums, a PE's part of {cols} columns"
            raise ConfigError(f"engine.accumulators must be larger: {what}", part.where)
        strip = min(rows, spec.accumulators // across * spec.pe_rows)
        found = []
        for first in range(0, rows, strip):
            high = min(strip, rows - first)
            begin = first * loops.stride[0]
            end = begin + (high - 1) * loops.stride[0] + filters.shape[3]
            seen_x = self._blocked(int(tile["col0"]) * loops.stride[1] - loops.pad_left, inputs.shape[3], plane[1])
            row = int(tile["row0"]) * loops.stride[0] + begin - loops.pad_top
            seen_y = self._blocked(row, end - begin, plane[0])
            for group in range(len(inputs)):
                for image in inputs[group]:
                    acts = np.ascontiguousarray(image[:, :, begin:end])
                    found.append(self._count(part, acts, filters[group], (cols, high), (seen_x, seen_y)))
        return found

    def _blocked(self, start: int, count: int, size: int) -> tuple[int, int]:
        """What the PEs' blocks cut of `count` inputs of an axis from `start` on, with padding: (first, how many)."""
        if self.spec.split == "padded":
            return 0, count
        first = min(max(0, -start), count)
        return first, max(1, min(count, size - start) - first)

    def _count(
        self, part: Part, acts: Plane, weights: Plane, outputs: tuple[int, int], seen: tuple[tuple[int, int], ...]
    ) -> tuple[Ints, int]:
        spec, stride, pads = self.spec, part.loops.stride, (part.loops.pad_top, part.loops.pad_left)
        wide, high = outputs
        block_x, block_y = ceil_div(seen[0][1], spec.pe_cols), ceil_div(seen[1][1], spec.pe_rows)
        n = weights.shape[3]
        span = min(n, self._span(high, wide))
        out = np.zeros((ceil_div(n, span), len(acts), self.pes, 3), np.int64)
        shape = (wide, high, stride[1], stride[0], block_x, block_y, spec.pe_cols, spec.pe_rows)
        taps = ceil_div(weights.shape[1], stride[1]), ceil_div(weights.shape[2], stride[0])
        lanes = (spec.inputs, spec.weights, spec.banks)
        numbers = np.array([*shape, *lanes, span, *taps, seen[0][0], seen[1][0]], np.int64)
        if spec.accumulator_queue or spec.inputs * spec.weights > 16:
            queued(acts, weights, numbers, spec.accumulator_queue, spec.barrier == "channel", out)
        elif outputs == (1, 1) and stride == (1, 1) and acts.shape[1:] == weights.shape[1:3]:
            one_output(acts, weights, numbers, out)
        else:
            cartesian(acts, weights, numbers, out)
        if not spec.halo:
            return out, 0
        sides = (weights.shape[1], block_x, wide, spec.pe_cols), (weights.shape[2], block_y, high, spec.pe_rows)
        x, y = (_reach(*side, step, pad) for side, step, pad in zip(sides, stride[::-1], pads[::-1], strict=True))
        return out, n * _seam(x, y)

    def measure(self, part: Part, tile: Any) -> dict[str, int]:
        """From the real masks; see `pe_counts`."""
        total = dict.fromkeys(("cycles", "steps", "conflicts", "products", "halo", "inputs", "stepped"), 0)
        axes = {"channel": (), "group": (1,), "layer": (0, 1)}[self.spec.barrier]
        for counts, halo in self.pe_counts(part, tile):
            cycles, steps = counts[..., 0], counts[..., 1]
            total["cycles"] += int(cycles.sum(axis=axes).max(axis=-1).sum()) + halo
            total["steps"] += int(steps.sum()) // self.pes
            total["conflicts"] += int((cycles - steps).sum()) // self.pes
            total["products"] += int(counts[..., 2].sum())
            total["stepped"] += int(steps.sum())
            total["halo"] += halo
        own = total["cycles"] - total["halo"]
        lost = splits(own - total["steps"], {"bank_conflict": total["conflicts"], "imbalance": own})
        nonzeros = round(int(tile["groups"] * tile["m"] * tile["k"]) * part.density("ifmap"))
        return {
            "cycles": total["cycles"], **lost, "drain": total["halo"], "products": total["products"],
            "ifmap_words": nonzeros, "filter_words": total["stepped"] * int(self.spec.weights),
            "psum_words": int(tile["groups"] * tile["m"] * tile["n"]), "entries": total["stepped"],
        }  # fmt: skip

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Every product is added to a bank; seams travel a hop."""
        spec, products = self.spec, int(tiles["products"].sum())
        steps = int(tiles["entries"].sum())
        counts = ActionCounts()
        counts.add("mac", f"mac_{spec.operand_bits}x{spec.operand_bits}", products)
        counts.add("operand_register", "write", steps * spec.weights)
        counts.add("accumulator", "read", products)
        counts.add("accumulator", "write", products)
        counts.add("noc", "hop", int(tiles["drain"].sum()) * self.pes)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Products, of which some fall outside of the output, and steps of all PEs."""
        found = super().info(part, tiles, times)
        found.pop("padding", None)
        return {**found, "steps": int(tiles["entries"].sum()), "entries": int(tiles["products"].sum())}


def _reach(taps: int, block: int, outputs: int, pes: int, step: int, pad: int) -> tuple[int, int]:
    """Along one axis: (sums on the larger seam, sums of a block), of the output."""
    seam = max(ceil_div(taps - 1 - pad, step), ceil_div(pad, step)) if pes > 1 else 0
    return max(0, min(seam, outputs)), min(ceil_div(block, step), outputs)


def _seam(x: tuple[int, int], y: tuple[int, int]) -> int:
    """Sums that one neighbour is sent: beside, above or across, the most."""
    return max(x[0] * y[1], x[1] * y[0], x[0] * y[0])


def _bytes(mask: NDArray[Any]) -> Plane:
    return np.ascontiguousarray(mask).view(np.uint8)


def _vector_nonzeros(part: Part, tiles: Tiles) -> Ints:
    return np.asarray(ifmap_nonzeros(part, tiles, inputs_of(part) != 0), np.int64)
