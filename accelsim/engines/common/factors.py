"""Decomposed weights on an engine for dense products: one product for each factor, reshapes by the vector unit.

Without this (`mapping.factors: multiply`) an engine computes with the matrix that the cores multiply out to. With
`mapping.factors: contract` a layer becomes a chain of products:

| encoding | fully connected | convolution |
|---|---|---|
| low_rank, svd | right, left | R x S filters to the rank, then 1 x 1 |
| cur | rows, middle, columns | likewise, with two of 1 x 1 |
| tucker (M, C, R S) | | 1 x 1 to r_c, R x S to r_m, 1 x 1 (Kim et al., ICLR 2016) |
| cp (M, C, R S) | | 1 x 1 to r, depthwise R x S, 1 x 1 (Lebedev et al., ICLR 2015, with R x S as one mode) |
| tt, ring | one product for each core, the last core first | the same for all positions; a last mode (1, R S) is a \
convolution of each channel |

Groups share the factors of their channels and taps, which each of them fetches. What is constant is folded
beforehand: sigma of an SVD into the left factor, CP's weights and Tucker's R S factor into their neighbours. Between
the products of a train every element changes its place: the vector unit moves one in a lane and cycle, reading whole
words and writing element by element. Products wait for the move, and the move for the product before. What goes from
one product to the next stays on the chip if it leaves a quarter of the ifmap's and of the ofmap's buffer to tiles
(twice in one buffer for both, as it is moved there), and if it is moved or both are one buffer; else it goes to DRAM
and comes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.engines.common.part import Part
from accelsim.engines.common.tiling import passes_from_tiles
from accelsim.engines.kernels.train_stages import train_of
from accelsim.sim.passes import PassArray, PassTable, empty_passes
from accelsim.workload.decomposed import Decomposed, decomposed
from accelsim.workload.encodings.base import encoding
from accelsim.workload.encodings.factored import Factored
from accelsim.workload.shapes import ConvShape, GemmShape, RecurrentShape

if TYPE_CHECKING:
    from accelsim.engines.base import Task
    from accelsim.engines.common.tiled import TiledEngine

Work = ConvShape | GemmShape


@dataclass(frozen=True)
class Product:
    """One factor's product. `moved`: elements of its result that must change places before anyone reads them."""

    name: str
    shape: Work
    moved: int = 0

    @property
    def results(self) -> int:
        """Elements that it puts out."""
        shape = self.shape
        if isinstance(shape, GemmShape):
            return shape.batch * shape.m * shape.n
        return shape.n * shape.m * shape.p * shape.q

    @property
    def weights(self) -> int:
        """Elements of its matrix."""
        shape = self.shape
        if isinstance(shape, GemmShape):
            return shape.batch * shape.n * shape.k
        return shape.m * (shape.c // shape.g) * shape.r * shape.s


def products(weights: Decomposed, work: Work, name: str = "") -> list[Product]:
    """The chain of products that a decomposed operand stands for.

    Raises
    ------
    ConfigError
        If there is none for this decomposition and this layer.
    """
    groups, kind = work.g if isinstance(work, ConvShape) else work.batch, weights.kind
    if groups > 1 and (kind in ("tt", "ring") or isinstance(work, GemmShape)):
        raise ConfigError(f"a {kind} of a layer of {groups} groups cannot be run core by core", name)
    if kind in ("low_rank", "svd", "cur"):
        return _low_rank(weights, work)
    if kind in ("tt", "ring"):
        return _train(weights, work)
    if kind in ("tucker", "cp") and isinstance(work, ConvShape):
        modes = (work.m, 1, 1), (1, work.c // work.g, work.r * work.s)
        if (weights.row_modes, weights.column_modes) == modes:
            return _conv_factors(weights, work)
    raise ConfigError(
        f"factors of {kind} with modes {weights.row_modes} x {weights.column_modes} cannot be run as products of this "
        "layer; there are rules for low_rank, svd, cur, tt and ring, and for tucker and cp of convolutions with modes "
        "M, C, R*S (mapping.factors=multiply runs the matrix)", name,
    )  # fmt: skip


def _pixelwise(work: Work, outputs: int, inputs: int) -> Work:
    """A 1 x 1 convolution of the layer's output pixels, or a product of its rows; sizes of all groups together."""
    if isinstance(work, GemmShape):
        return GemmShape(work.m, outputs, inputs)
    return ConvShape(work.n, inputs, work.p, work.q, outputs, 1, 1, g=work.g)


def _low_rank(weights: Decomposed, work: Work) -> list[Product]:
    rank = weights.ranks[0] * (work.g if isinstance(work, ConvShape) else 1)
    outputs = work.n if isinstance(work, GemmShape) else work.m
    first: Work = replace(work, n=rank) if isinstance(work, GemmShape) else replace(work, m=rank)
    names = {"low_rank": ("right", "left"), "svd": ("right", "left"), "cur": ("rows", "middle", "columns")}
    widths = [rank] * (len(names[weights.kind]) - 1) + [outputs]
    later = zip(names[weights.kind][1:], widths[1:], strict=True)
    return [Product(names[weights.kind][0], first), *(Product(n, _pixelwise(work, w, rank)) for n, w in later)]


def _conv_factors(weights: Decomposed, work: ConvShape) -> list[Product]:
    cp = weights.kind == "cp"
    back, to = (work.g * weights.ranks[0], work.g * weights.ranks[0 if cp else 1])
    return [
        Product("factor1", ConvShape(work.n, work.c, work.h, work.w, to, 1, 1, g=work.g)),
        Product("factor2" if cp else "kernel", replace(work, c=to, m=back, g=to if cp else work.g)),
        Product("factor0", _pixelwise(work, work.m, back)),
    ]


def _train(weights: Decomposed, work: Work) -> list[Product]:
    train = train_of(weights)
    samples = work.m if isinstance(work, GemmShape) else work.n * work.p * work.q
    found = []
    for stage in train.stages:
        shape: Work = GemmShape(samples * stage.columns, stage.rows, stage.inner)
        found.append(Product(f"core{stage.core}", shape, samples * stage.rows * stage.columns))
    if len(found) == 1:
        return [replace(found[0], moved=0)]
    if isinstance(work, ConvShape):
        taps = work.r * work.s
        if (train.rows[-1], train.columns[-1]) == (1, taps):
            planes = ConvShape(
                work.n * work.c, 1, work.h, work.w, train.stages[0].rows, work.r, work.s, work.stride, work.pad,
                work.dilation,
            )  # fmt: skip
            found[0] = replace(found[0], shape=planes)
    return found


def lower_factors(engine: TiledEngine, task: Task) -> PassTable | None:
    """The pass table of a layer with decomposed weights, factor by factor; None if they are not decomposed.

    Raises
    ------
    ConfigError
        If there is no such chain, or a product does not fit.
    """
    work, where = task.layer.work, f"layer {task.layer.name}"
    for role in task.layer.weights:
        operand = task.trace.operand(task.layer.name, role)
        if operand is None or not isinstance(encoding(operand.encoding), Factored):
            continue
        if isinstance(work, RecurrentShape):
            from accelsim.engines.common.factors_recurrent import lower_recurrent_factors

            return lower_recurrent_factors(engine, task, work)
        assert isinstance(work, ConvShape | GemmShape)
        if task.share is not None and _one_image(work) != _one_image(task.share.whole):
            raise ConfigError("mapping.factors=contract divides a layer among cores by images alone", where)
        return chain_table(engine, task, products(decomposed(operand), work, where), resident=task.on_chip[2])
    return None


def factored(task: Task) -> bool:
    """Whether a layer's weights are decomposed, and contracted one after another."""
    if task.factors != "contract":
        return False
    operands = (task.trace.operand(task.layer.name, role) for role in task.layer.weights)
    return any(o is not None and isinstance(encoding(o.encoding), Factored) for o in operands)


def factor_elements(task: Task) -> int:
    """Elements of the factors of a convolution's or matrix product's weights."""
    work, operand = task.layer.work, task.trace.operand(task.layer.name, "filter")
    assert operand is not None and isinstance(work, ConvShape | GemmShape)
    return sum(product.weights for product in products(decomposed(operand), work, f"layer {task.layer.name}"))


def _one_image(work: Work) -> Work:
    return replace(work, m=1) if isinstance(work, GemmShape) else replace(work, n=1)


def chain_table(engine: TiledEngine, task: Task, chain: list[Product], *, resident: bool = False) -> PassTable:
    """The pass table of products one after another; `resident`: their matrices are on the chip already."""
    rows: list[PassArray] = []
    tables: list[PassTable] = []
    counts, texts, moved = ActionCounts(), [], 0
    stays = [_stays(task, product) for product in chain[:-1]]
    filters = task.addresses.get("filter", 0)
    for index, product in enumerate(chain):
        first, last = index == 0, index == len(chain) - 1
        came, goes = not first and stays[index - 1], not last and stays[index]
        here = replace(
            task,
            layer=replace(task.layer, work=product.shape),
            on_chip=(task.on_chip[0] if first else came, task.on_chip[1] if last else goes, resident),
            rooms=_less(task, chain[index - 1] if came else None, product if goes else None),
            addresses={**task.addresses, "filter": filters, **_places(task, first, last)},
            fused_ops=task.fused_ops if last else 0,
            pinned=None,
        )
        filters += ceil_div(product.weights * task.bits["filter"], 8)
        table = _one(engine, here, product.shape)
        table.rows["barrier"][0] = int(not first)
        tables.append(table)
        rows.append(table.rows)
        counts.merge(table.counts)
        texts.append(f"{product.name}: {table.info['mapping']}")
        if product.moved:
            rows.append(_move(task, product.moved, counts))
            moved += product.moved
    return joined(task, rows, tables, counts, {"mapping": "; ".join(texts), "moved_elements": moved})


def _one(engine: TiledEngine, task: Task, shape: Work) -> PassTable:
    """One product, its data in no trace."""
    from accelsim.engines.common.tiled import fill_times, one_run

    part = Part(task, shape, ())
    mapping, tiles, packed = engine.tile(part)
    times = engine.times(part, tiles)
    rows = passes_from_tiles(tiles, task)
    fill_times(rows, times)
    one_run(rows, packed)
    return engine.table(part, rows, tiles, times, mapping)


def _bytes(task: Task, product: Product) -> int:
    return ceil_div(product.results * max(task.bits["ofmap"], task.bits["ifmap"]), 8)


def _stays(task: Task, product: Product) -> bool:
    source, target = task.room_of("ofmap"), task.room_of("ifmap")
    if source.name == target.name:
        return 4 * 2 * _bytes(task, product) <= 3 * source.free_bytes
    fits = 4 * _bytes(task, product) <= 3 * min(source.free_bytes, target.free_bytes)
    return bool(product.moved) and fits


def _less(task: Task, came: Product | None, goes: Product | None) -> tuple:  # type: ignore[type-arg]
    """The buffers without what stays in them."""
    taken: dict[str, int] = {}
    for product, operand in ((came, "ifmap"), (goes, "ofmap")):
        if product is not None:
            name = task.room_of(operand).name
            taken[name] = taken.get(name, 0) + _bytes(task, product)
    return tuple(replace(room, free_bytes=room.free_bytes - taken.get(room.name, 0)) for room in task.rooms)


def _places(task: Task, first: bool, last: bool) -> dict[str, int]:
    """What goes to DRAM between two products lies where sums would."""
    between = task.addresses.get("psum", 0)
    return {**({} if first else {"ifmap": between}), **({} if last else {"ofmap": between})}


def _move(task: Task, elements: int, counts: ActionCounts) -> PassArray:
    """A pass in which the vector unit gives every element its new place."""
    rows = empty_passes(1)
    for name in ("busy_cycles", "stream_cycles", "finish_cycles", "load_free_cycles"):
        rows[name] = ceil_div(elements, task.vector_lanes)
    rows["barrier"] = 1
    source, target = task.room_of("ofmap").name, task.room_of("ifmap").name
    counts.add("vector_unit", "op", elements)
    counts.add(source, "read", ceil_div(elements * task.bits["ofmap"], task.word_bits[source]))
    counts.add(target, "write", elements)
    return rows


def joined(
    task: Task, rows: list[PassArray], tables: list[PassTable], counts: ActionCounts, info: dict[str, object]
) -> PassTable:
    """Passes of all products, in order; buffers' words of the passes that move are none."""
    found = np.concatenate(rows)
    table = PassTable(
        task.layer.name, found, tables[0].stationary, task.slots(), counts=counts,
        macs=sum(t.macs for t in tables), effectual_macs=sum(t.effectual_macs for t in tables),
        peak_macs_per_cycle=tables[0].peak_macs_per_cycle,
    )  # fmt: skip
    busy = sum(int(t.rows["busy_cycles"].sum()) for t in tables)
    peak = busy * table.peak_macs_per_cycle
    table.info = {**info, "spatial_utilization": min(1.0, table.macs / peak) if peak else 0.0}
    table.info["product_cycles"] = [int(t.rows["busy_cycles"].sum()) for t in tables]
    accesses = {id(t.rows): t.accesses for t in tables}
    table.accesses = np.concatenate([accesses.get(id(part), np.full(len(part), None, object)) for part in rows])
    for side in ("array_reads", "array_writes"):
        joined = {}
        for operand in dict.fromkeys(name for t in tables for name in getattr(t, side)):
            words, at = np.zeros(len(found), np.int64), 0
            by_rows = {id(t.rows): getattr(t, side).get(operand) for t in tables}
            for part in rows:
                if by_rows.get(id(part)) is not None:
                    words[at : at + len(part)] = by_rows[id(part)]
                at += len(part)
            joined[operand] = words
        setattr(table, side, joined)
    return table
