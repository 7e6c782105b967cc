"""For every kernel of the front end arguments, and what it must make of them by plain numpy or whole numbers.

A case is (arguments, {place of an argument: the array that must be in it}, value returned).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from accelsim.workload import huffman, packing
from accelsim.workload.encodings import group_tables
from accelsim.workload.encodings.sparse_kernels import nonzero_mask

Case = tuple[tuple[Any, ...], dict[int, Any], Any]
TWINS: dict[str, Callable[[Generator], Case]] = {}

U64 = 2**64 - 1


def twin(name: str) -> Callable[[Callable[[Generator], Case]], Callable[[Generator], Case]]:
    """Put a case into the table under the name of its kernel: path of the module below accelsim, and function."""

    def keep(case: Callable[[Generator], Case]) -> Callable[[Generator], Case]:
        assert name not in TWINS
        TWINS[name] = case
        return case

    return keep


def floats(rng: Generator, rows: int = 4, length: int = 37) -> Any:
    return (3 * rng.standard_normal((rows, length))).astype(np.float32)


def lanes(rng: Generator, count: int, density: float = 0.4, kind: Any = np.uint8) -> Any:
    values = rng.integers(1, np.iinfo(kind).max, count, endpoint=True)
    return np.where(rng.random(count) < density, values, 0).astype(kind)


def splitmix(key: int, index: int) -> int:
    z = (key + (index + 1) * 0x9E3779B97F4A7C15) & U64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & U64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & U64
    return z ^ (z >> 31)


def stream(fields: list[int], bits: int, words: int) -> Any:
    whole = sum((int(f) & ((1 << bits) - 1)) << (i * bits) for i, f in enumerate(fields))
    return np.array([whole >> (64 * w) & U64 for w in range(words)], np.uint64)


def entries(values: Any, top: int) -> tuple[list[int], list[int]]:
    """Runs and values, with padding zeros."""
    runs, taken, run = [], [], 0
    for value in np.trim_zeros(values, "b").tolist():
        if value or run == top:
            runs.append(run)
            taken.append(value)
            run = 0
        else:
            run += 1
    return runs, taken


# --- compress ---


@twin("compress.quantize.kernels.round_groups")
def _round_groups(rng: Generator) -> Case:
    x, scales = floats(rng), (rng.random((4, 3)) + 0.1).astype(np.float32)
    offsets = rng.integers(0, 9, (4, 3)).astype(np.float32)
    s, z = (np.repeat(t, 15, axis=1)[:, :37] for t in (scales, offsets))
    made = np.clip(np.rint(x / s) + z, -7, 20).astype(np.int8)
    return (x, scales, offsets, 15, np.float32(-7), np.float32(20), np.zeros(x.shape, np.int8)), {6: made}, None


@twin("compress.quantize.kernels.round_randomly")
def _round_randomly(rng: Generator) -> Case:
    x, one = floats(rng), np.ones((1, 1), np.float32)
    words = np.array([splitmix(7, 5 + i) for i in range(x.size)], np.uint64).reshape(x.shape)
    chance = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    q = np.clip(x, -4, 3).astype(np.float32)
    made = (np.floor(q) + (chance < q - np.floor(q))).astype(np.int8)
    ends = np.float32(-4), np.float32(3), np.uint64(7), np.uint64(5)
    return (x, one, 0 * one, 37, *ends, np.zeros(x.shape, np.int8)), {8: made}, None


@twin("compress.quantize.kernels.nearest_level")
def _nearest_level(rng: Generator) -> Case:
    x, thresholds = floats(rng), np.sort(rng.random((4, 6)), axis=1).astype(np.float32)
    names = rng.integers(0, 99, (1, 7))
    made = [names[0, np.searchsorted(t, np.abs(row))] * np.where(row < 0, -1, 1) for t, row in zip(thresholds, x)]
    return (x, thresholds, names, True, np.zeros(x.shape, np.int8)), {4: np.array(made, np.int8)}, None


@twin("compress.quantize.kernels.cluster_sums")
def _cluster_sums(rng: Generator) -> Case:
    x, codes = np.rint(floats(rng)), rng.integers(0, 5, (4, 37)).astype(np.uint8)
    counts = np.array([np.bincount(row, minlength=5) for row in codes])
    sums = np.array([np.bincount(row, weights=w, minlength=5) for row, w in zip(codes, x)])
    return (x, codes, np.zeros((4, 5), np.int64), np.zeros((4, 5))), {2: counts, 3: sums}, None


@twin("compress.quantize.kernels.histogram")
def _histogram(rng: Generator) -> Case:
    x = np.rint(floats(rng))
    places = np.clip(((x + np.float32(4)) * np.float32(1.5)).astype(int), 0, 9)[x != 0]
    counts, sums = np.bincount(places, minlength=10), np.bincount(places, weights=x[x != 0], minlength=10)
    ends = np.float32(-4), np.float32(1.5)
    return (x, *ends, True, np.zeros(10, np.int64), np.zeros(10)), {4: counts, 5: sums}, None


@twin("compress.quantize.kernels.assign_bins")
def _assign_bins(rng: Generator) -> Case:
    x, names = np.rint(floats(rng)), rng.integers(0, 99, 10).astype(np.uint8)
    places = np.clip(((x + np.float32(4)) * np.float32(1.5)).astype(int), 0, 9)
    made = np.where(x == 0, 77, names[places]).astype(np.uint8)
    return (x, np.float32(-4), np.float32(1.5), names, 77, np.zeros(x.shape, np.uint8)), {5: made}, None


@twin("compress.report.squares")
def _squares(rng: Generator) -> Case:
    x, y = (rng.integers(-99, 99, 39).astype(np.float32) for _ in range(2))  # whole numbers: any order is exact
    return (x, y), {}, (float((x.astype(float) ** 2).sum()), float(((x.astype(float) - y) ** 2).sum()))


@twin("compress.sources.smooth")
def _smooth(rng: Generator) -> Case:
    sizes = rng.integers(1, 2000, 50) * rng.choice([-1, 1], 50)
    words = rng.integers(0, 2**63, 50).astype(np.uint64)
    fraction = ((words & np.uint64(4095)).astype(float) + 0.5) / 4096
    made = (np.sign(sizes) * (np.abs(sizes) - 1 + fraction) * 4096).astype(np.float32)  # the unit: a 4096th
    return (sizes.astype(np.int16), words, np.float32(1), np.zeros(50, np.float32)), {3: made}, None


@twin("compress.sparsify.nm.mark_beyond")
def _mark_beyond(rng: Generator) -> Case:
    groups = np.rint(floats(rng, 30, 7))
    order = np.argsort(-np.abs(groups), axis=1, kind="stable")
    made = np.ones(groups.shape, bool)
    np.put_along_axis(made, order[:, :3], False, axis=1)
    return (groups, 3, np.zeros(groups.shape, bool)), {2: made}, None


def _bits(rng: Generator) -> Any:
    return np.rint(floats(rng, 1, 200)[0]).view(np.uint32)


@twin("compress.sparsify.select.count_upper")
def _count_upper(rng: Generator) -> Case:
    bits = _bits(rng)
    made = np.bincount(np.abs(bits.view(np.float32)).view(np.uint32) >> 15, minlength=2**16)
    return (bits, np.zeros(2**16, np.int64)), {1: made}, None


@twin("compress.sparsify.select.take_bin")
def _take_bin(rng: Generator) -> Case:
    bits = _bits(rng)
    sizes = np.abs(bits.view(np.float32)).view(np.uint32)
    kept = sizes[sizes >> 15 == sizes[3] >> 15]
    out = np.zeros(bits.size + 1, np.uint32)
    return (bits, np.uint32(sizes[3] >> 15), out), {2: (kept.size, kept)}, kept.size


@twin("compress.sparsify.select.mark_below")
def _mark_below(rng: Generator) -> Case:
    bits = _bits(rng)
    sizes = np.abs(bits.view(np.float32))
    made = sizes < 2
    made[np.flatnonzero(sizes == 2)[:5]] = True
    return (bits, int(np.float32(2).view(np.uint32)), 5, np.zeros(bits.size, bool)), {3: made}, None


# --- packed integers ---


@twin("workload.packing.pack_words")
def _pack_words(rng: Generator) -> Case:
    bits = int(rng.choice([1, 3, 5, 7, 11, 13, 17, 31]))
    values = rng.integers(0, 2**bits, 128).astype(packing.value_dtype(bits, False))
    words = 128 * bits // 64
    return (
        (values.view(np.uint64), np.zeros(words, np.uint64), packing._plan(bits)),
        {1: stream(values.tolist(), bits, words)}, None,
    )  # fmt: skip


def _signed(rng: Generator, bits: int) -> tuple[Any, Any]:
    values = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 64).astype(packing.value_dtype(bits, True))
    return values.view(np.uint64), stream(values.tolist(), bits, bits)


def _lanes_of_a_word(rng: Generator) -> tuple[int, Any, int]:
    bits = int(rng.choice([1, 3, 5, 7, 11, 13, 17, 31]))
    kind = packing.value_dtype(bits, False)
    values = rng.integers(0, 2**bits, 8 // kind.itemsize).astype(kind)
    joined = sum(int(v) << (i * bits) for i, v in enumerate(values))
    return bits, values.view(np.uint64)[0], joined


@twin("workload.packing.steps_of")
def _steps_of(rng: Generator) -> Case:
    plan = packing._plan(int(rng.choice([3, 5, 11, 17])))
    return (plan,), {}, (*plan[:9].tolist(), plan[10])


@twin("workload.packing.join_lanes")
def _join_lanes(rng: Generator) -> Case:
    bits, word, joined = _lanes_of_a_word(rng)
    return (word, packing.steps_of.py_func(packing._plan(bits))), {}, joined


def _part(rng: Generator) -> Case:
    bits, word, joined = _lanes_of_a_word(rng)
    return (np.uint64(joined), packing.steps_of.py_func(packing._plan(bits))), {}, word


twin("workload.packing.part_lanes")(_part)
twin("workload.packing.part_in_steps")(_part)


@twin("workload.packing.unpack_words")
def _unpack_words(rng: Generator) -> Case:
    bits = int(rng.choice([3, 5, 7, 11, 13, 17, 31]))
    values, words = _signed(rng, bits)
    plans = packing._plan(bits), packing._sign_plan(bits, True)
    return (words, np.zeros(values.size, np.uint64), *plans), {1: values}, None


@twin("workload.packing.spread_fields")
def _spread_fields(rng: Generator) -> Case:
    bits = int(rng.choice([1, 2, 4]))
    values, words = _signed(rng, bits)
    plans = packing._plan(bits), packing._sign_plan(bits, True)
    return (words.view(f"u{bits}"), np.zeros(values.size, np.uint64), *plans), {1: values}, None


# --- drawn tensors ---


def _words(rng: Generator, count: int = 60) -> Any:
    return rng.integers(0, 2**64, count, dtype=np.uint64)


@twin("workload.generator.random_words")
def _random_words(rng: Generator) -> Case:
    made = np.array([splitmix(99, 1000 + i) for i in range(20)], np.uint64)
    return (np.zeros(20, np.uint64), np.uint64(99), np.uint64(1000)), {0: made}, None


@twin("workload.generator.uniform_values")
def _uniform_values(rng: Generator) -> Case:
    words = _words(rng)
    values = [(int(word) * 200 >> 64) - 100 for word in words]
    made = np.array([v + (v >= 0) for v in values], np.int16).view(np.uint16)
    return (words, np.zeros(60, np.uint16), np.uint64(200), 100), {1: made}, None


@twin("workload.generator.shaped_values")
def _shaped_values(rng: Generator) -> Case:
    words, table = _words(rng), np.array([rng.integers(0, 2**32, 8), rng.integers(1, 9, 8)], np.uint64)
    bucket = (words >> np.uint64(1)).astype(np.int64) % 8
    size = np.where((words >> np.uint64(32)) < table[0, bucket], bucket + 1, table[1, bucket].astype(np.int64))
    made = np.where(words % 2 == 1, -size, size).astype(np.int8).view(np.uint8)
    return (words, np.zeros(60, np.uint8), table, np.uint64(1)), {1: made}, None


@twin("workload.generator.zero_single")
def _zero_single(rng: Generator) -> Case:
    out, words = lanes(rng, 60, 1.0), _words(rng)
    made = np.where(words >> np.uint64(11) < np.uint64(2**52), out, 0)
    return (out, words, np.uint64(2**52)), {0: made}, None


@twin("workload.generator.zero_blocks")
def _zero_blocks(rng: Generator) -> Case:
    out, shared, own = lanes(rng, 60, 1.0), _words(rng, 9), _words(rng)
    block = shared[(np.arange(60) + 3) // 8]
    chosen = np.where(own % 2048 >= 1024, own, block)
    made = np.where(chosen >> np.uint64(11) < np.uint64(2**52), out, 0)
    return (out, 3, 8, shared, own, np.uint64(2**52), np.uint64(1024)), {0: made}, None


# --- Huffman ---


def _code(rng: Generator) -> tuple[Any, Any, str]:
    symbols = (rng.geometric(0.3, 90) % 20).astype(np.uint8)
    lengths = huffman.code_lengths(np.bincount(symbols, minlength=20))
    codes, code, before = {}, 0, 0
    for length, symbol in sorted((int(n), s) for s, n in enumerate(lengths) if n):  # canonical: shorter first
        code <<= length - before
        codes[symbol] = format(code, f"0{length}b")
        code, before = code + 1, length
    return symbols, lengths, "".join(codes[s] for s in symbols.tolist())


@twin("workload.huffman.write_codes")
def _write_codes(rng: Generator) -> Case:
    symbols, lengths, text = _code(rng)
    words = -(-len(text) // 64) + 1
    made = stream([int(bit) for bit in text], 1, words)
    codes = huffman._reversed_codes(lengths), lengths.astype(np.int64)
    return (symbols, *codes, np.zeros(words, np.uint64)), {3: made}, None


@twin("workload.huffman.read_codes")
def _read_codes(rng: Generator) -> Case:
    symbols, lengths, text = _code(rng)
    words = stream([int(bit) for bit in text], 1, -(-len(text) // 64) + 2)
    tables = huffman._look_up_table(lengths), *huffman._decoding_tables(lengths)
    return (words, len(text), *tables, np.zeros(90, np.uint8)), {5: symbols}, len(text)


# --- encodings ---


@twin("workload.encodings.coded.take_levels")
def _take_levels(rng: Generator) -> Case:
    codes, table = rng.integers(-8, 8, (3, 9)).astype(np.int8), floats(rng, 3, 16)
    made = np.take_along_axis(table, codes.astype(np.int64) + 8, axis=1)
    return (codes, table, 8, np.zeros((3, 9), np.float32)), {3: made}, None


@twin("workload.encodings.coded.scale_groups")
def _scale_groups(rng: Generator) -> Case:
    values, scales = floats(rng), floats(rng, 4, 3)
    return (values, scales, 15), {0: values * np.repeat(scales, 15, axis=1)[:, :37]}, None


@twin("workload.encodings.minifloat.round_floats")
def _round_floats(rng: Generator) -> Case:
    """float16, which numpy rounds to."""
    x = (rng.standard_normal(80) * 10.0 ** rng.integers(-7, 4, 80)).astype(np.float32)
    made = x.astype(np.float16).view(np.uint16)
    made[made == 0x8000] = 0  # there is one zero
    none = np.zeros(0, np.uint64)
    return (x.view(np.int32), none, 10, 15, 0x7BFF, 15, np.zeros(80, np.uint16)), {6: made}, None


def _groups(rng: Generator) -> tuple[Any, Any, Any]:
    values = lanes(rng, 5 * 20, 0.5).reshape(20, 5)
    values[:, 3:] = 0
    places = np.sort(np.argsort(values == 0, axis=1, kind="stable")[:, :3], axis=1)
    return values.reshape(-1), np.take_along_axis(values, places, axis=1).reshape(-1), places.reshape(-1)


@twin("workload.encodings.nm.take_groups")
def _take_groups(rng: Generator) -> Case:
    values, taken, places = _groups(rng)
    room = np.zeros(61, np.uint8), np.zeros(61, np.uint8)
    return (values, 3, 5, *room), {3: (60, taken), 4: (60, places)}, -1


@twin("workload.encodings.nm.place_groups")
def _place_groups(rng: Generator) -> Case:
    values, taken, places = _groups(rng)
    return (places.astype(np.uint8), taken, 3, 5, np.zeros(100, np.uint8)), {4: values}, True


@twin("workload.encodings.sparse_kernels.lowest")
def _lowest(rng: Generator) -> Case:
    word = int(rng.integers(1, 2**63)) << int(rng.integers(0, 60)) & U64 | 1 << 63
    return (np.uint64(word),), {}, (word & -word).bit_length() - 1


@twin("workload.encodings.sparse_kernels.gather_set")
def _gather_set(rng: Generator) -> Case:
    values = lanes(rng, 150)
    kept = values[values != 0]
    return (values, nonzero_mask(values), np.zeros(kept.size, np.uint8)), {2: kept}, kept.size


@twin("workload.encodings.sparse_kernels.gather_nonzero")
def _gather_nonzero(rng: Generator) -> Case:
    values = lanes(rng, 150)
    kept = values[values != 0]
    return (values, np.zeros(kept.size + 1, np.uint8)), {1: (kept.size, kept)}, kept.size


@twin("workload.encodings.sparse_kernels.scatter_set")
def _scatter_set(rng: Generator) -> Case:
    values = lanes(rng, 150)
    kept = values[values != 0]
    return (nonzero_mask(values), kept, np.zeros(150, np.uint8)), {2: values}, kept.size


def _lines(rng: Generator) -> tuple[Any, Any, Any, Any]:
    values = lanes(rng, 90, 0.2)
    found = [entries(line, 3) for line in values.reshape(3, 30)]
    pointers = np.cumsum([0, *(len(runs) for runs, _ in found)])
    return values, *(np.array(sum((pair[i] for pair in found), []), np.uint8) for i in (0, 1)), pointers


@twin("workload.encodings.sparse_kernels.take_runs")
def _take_runs(rng: Generator) -> Case:
    values, runs, taken, pointers = _lines(rng)
    room = np.zeros(runs.size, np.uint8), np.zeros(runs.size, np.uint8), np.zeros(4, np.int64)
    return (values, nonzero_mask(values), 30, 3, *room), {4: runs, 5: taken, 6: pointers}, runs.size


@twin("workload.encodings.sparse_kernels.place_runs")
def _place_runs(rng: Generator) -> Case:
    values, runs, taken, pointers = _lines(rng)
    return (runs, taken, pointers, 30, 3, np.zeros(90, np.uint8)), {5: values}, -1


def _group(rng: Generator) -> tuple[Any, Any, int, Any]:
    """A word of bytes, those that are not zero, their set, and a plan."""
    values = lanes(rng, 8)
    kept = values[values != 0]
    chosen = int(np.packbits(values != 0, bitorder="little")[0])
    together = np.append(kept, np.zeros(8 - kept.size, np.uint8)).view(np.uint64)[0]
    return values.view(np.uint64)[0], together, chosen, group_tables.plan_for(8, 31)


@twin("workload.encodings.group_kernels.nonzero_lanes")
def _nonzero_lanes(rng: Generator) -> Case:
    word, _, chosen, plan = _group(rng)
    return (word, plan.params[0], plan.params[1], np.uint64(56)), {}, chosen


@twin("workload.encodings.group_kernels.bring_together")
def _bring_together(rng: Generator) -> Case:
    word, together, chosen, plan = _group(rng)
    return (word, plan.sets, np.uint64(chosen), np.uint64(8)), {}, together


@twin("workload.encodings.group_kernels.bring_apart")
def _bring_apart(rng: Generator) -> Case:
    word, together, chosen, plan = _group(rng)
    more = 0 if word == together else int(rng.integers(256)) << 56  # what follows in the stream
    return (together | np.uint64(more), plan.sets, np.uint64(chosen)), {}, word


@twin("workload.encodings.group_kernels.put_entries")
def _put_entries(rng: Generator) -> Case:
    word, run, more = _words(rng, 1)[0], _words(rng, 1)[0], _words(rng, 256)
    wide, chosen = bool(rng.integers(2)), np.uint64(rng.integers(256))
    runs, values = np.zeros(20, np.uint16 if wide else np.uint8), np.zeros(20, np.uint8)
    expected, octets = runs.copy(), values.copy()
    made = np.array([run, more[chosen]]).view(np.uint16) if wide else np.array([run]).view(np.uint8)
    expected[3:11], octets[5:13] = made, np.array([word]).view(np.uint8)
    args = word, run, more if wide else None, chosen, np.uint64(3), np.uint64(5), runs, values
    return args, {6: expected, 7: octets}, None


def _compact(rng: Generator, top: int, *more: Any) -> Case:
    """Whole groups that end with a nonzero; what is beyond the streams may be anything."""
    values = lanes(rng, 1200, float(rng.choice([0.02, 0.3, 0.7])))
    values[-1] = 1
    runs, taken = entries(values, top)
    plan = group_tables.plan_for(8, top)
    room = np.zeros(1300, np.uint8 if top < 256 else np.uint16), np.zeros(1300, np.uint8)
    args = values.view(np.uint64), 0, plan.kept, plan.counts, plan.sets, plan.params, *more, *room
    n = len(args)
    return args, {n - 2: (len(runs), np.array(runs)), n - 1: (len(taken), np.array(taken))}, (len(runs), 0)


@twin("workload.encodings.group_kernels.compact_short_runs")
def _compact_short_runs(rng: Generator) -> Case:
    return _compact(rng, int(rng.choice([1, 3, 7, 15])))


@twin("workload.encodings.group_kernels.compact_long_runs")
def _compact_long_runs(rng: Generator) -> Case:
    top = int(rng.choice([31, 63, 255, 511, 4095]))
    return _compact(rng, top, group_tables.plan_for(8, top).more)


@twin("workload.encodings.group_kernels.compact_bytes")
def _compact_bytes(rng: Generator) -> Case:
    values, plan = lanes(rng, 128, 0.7), group_tables.plan_for(8, 1)
    kept, octets = values[values != 0], np.packbits(values != 0, bitorder="little")
    args = values.view(np.uint64), octets, plan.counts, plan.sets, np.zeros(136, np.uint8)
    return args, {4: (kept.size, kept)}, None


@twin("workload.encodings.group_kernels.spread_short_runs")
def _spread_short_runs(rng: Generator) -> Case:
    """As far as it goes: the rest is as it was."""
    field = int(rng.choice([1, 2]))
    values = lanes(rng, 200, float(rng.choice([0.2, 0.6, 1.0])))
    values[-1] = 1
    runs, taken = entries(values, (1 << field) - 1)
    octets = stream(runs, field, -(-len(runs) * field // 64) + 1).view(np.uint8)
    reach, per = np.cumsum([0, *(run + 1 for run in runs)]), 8 // field
    done = next(e for e in range(0, 400, per) if e + 8 >= len(runs) or reach[e] + 16 > 200)
    plan = group_tables.plan_for(8, 1)
    tables = group_tables.places_of(field), plan.counts, plan.sets, plan.params, field
    place = int(reach[done])
    return (octets, np.array(taken, np.uint8), *tables, np.zeros(200, np.uint8)), {7: (place, values)}, (done, place)


@twin("workload.encodings.group_kernels.expand_bytes")
def _expand_bytes(rng: Generator) -> Case:
    values = lanes(rng, 128, 0.7)
    kept = np.append(values[values != 0], np.full(8, 255, np.uint8))
    octets = np.packbits(values != 0, bitorder="little")
    plan = group_tables.plan_for(8, 1)
    return (octets, kept, plan.counts, plan.sets, np.zeros(16, np.uint64)), {4: values.view("u8")}, None


@twin("workload.encodings.group_kernels.fields_at")
def _fields_at(rng: Generator) -> Case:
    words, bit = _words(rng, 3), int(rng.integers(0, 128))
    whole = sum(int(word) << (64 * i) for i, word in enumerate(words))
    return (words, np.uint64(bit)), {}, (whole >> bit) & U64


@twin("workload.encodings.group_kernels.spread_runs")
def _spread_runs(rng: Generator) -> Case:
    values, bits = lanes(rng, 200, float(rng.choice([0.2, 0.6, 1.0]))), int(rng.integers(1, 13))
    runs, taken = entries(values, (1 << bits) - 1)
    words = stream(runs, bits, -(-len(runs) * bits // 64))
    return (words, np.array(taken, np.uint8), 0 in taken, True, bits, 0, 0, np.zeros(200, np.uint8)), {7: values}, -1


def _pairs(rng: Generator) -> tuple[Any, Any, Any, Any]:
    values = lanes(rng, 300, 0.05, np.uint16)
    runs, taken = entries(values, 31)
    more = -len(runs) % 3
    fields = [run | value << 5 for run, value in zip(runs, taken)] + [0] * more
    data = [sum(field << (21 * j) for j, field in enumerate(fields[i : i + 3])) for i in range(0, len(fields), 3)]
    return values, np.array(runs + [0] * more, np.uint8), np.array(taken + [0] * more, np.uint16), np.array(data, "u8")


@twin("workload.encodings.pair_kernels.three_pairs")
def _three_pairs(rng: Generator) -> Case:
    runs, values = rng.integers(0, 32, 4).tolist(), rng.integers(0, 1 << 16, 4).tolist()
    word = sum((run | value << 5) << (21 * j) for j, (run, value) in enumerate(zip(runs[:3], values[:3])))
    words = [np.uint64(stream(fields, bits, 1)[0]) for fields, bits in ((runs, 8), (values, 16))]
    return tuple(words), {}, word


@twin("workload.encodings.pair_kernels.pair_words")
def _pair_words(rng: Generator) -> Case:
    _, runs, taken, data = _pairs(rng)
    return (np.append(runs, runs[:1]), np.append(taken, taken[:1]), np.zeros(data.size, np.uint64)), {2: data}, None


@twin("workload.encodings.pair_kernels.spread_pairs")
def _spread_pairs(rng: Generator) -> Case:
    values, *_, data = _pairs(rng)
    count = len(entries(values, 31)[0])
    return (data, count, True, 0, np.uint64(0), np.zeros(values.shape, np.uint16)), {5: values}, -1
