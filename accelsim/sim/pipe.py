"""The player's rules (see `player`) for one core and a memory whose completions are known at once, as one kernel.

With a pipe for a memory nothing is to be waited for that is not known already, so SimPy's calendar of events is not
needed: this walks from one cycle in which something happens to the next. The result is the player's, transfer by
transfer and pass by pass (tests compare all of them with it and with a twin that steps every cycle), some thirty times
faster. Memories with banks, and cores that share one, are played by SimPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.base.kernels import kernel
from accelsim.sim.passes import PassArray, PassTable

BYTES = ("filter_bytes", "ifmap_bytes", "psum_in_bytes", "ofmap_bytes", "psum_out_bytes")
ADDRESSES = ("filter_address", "ifmap_address", "psum_address", "ofmap_address", "psum_address")
_TIMES = ("load_cycles", "load_free_cycles", "stream_cycles", "finish_cycles", "barrier", "macs")
_LIMIT = 2**62

# columns of `layers`
_FIRST, _LAST, _STATIONARY, _PREFETCH, _SLOTS = range(5)
# phases of the engine
_BEGIN, _PASS, _OPERANDS, _RESULTS, _STREAM, _FINISH, _WRITTEN, _END = range(8)


@dataclass(frozen=True)
class Pipe:
    """A memory as the kernel sees it.

    Attributes
    ----------
    bytes_numerator, bytes_denominator : int
        Bytes per cycle, as a fraction.
    latency_cycles : int
    burst_bytes : int
    ideal : bool
        Every transfer is complete in the cycle in which it is asked for.
    """

    bytes_numerator: int
    bytes_denominator: int = 1
    latency_cycles: int = 0
    burst_bytes: int = 1
    ideal: bool = False


@dataclass(frozen=True)
class Played:
    """What happened: rows as in `Timeline`, and for each layer begin, end, last result, and waiting cycles.

    `moved` are bytes on the pipe (whole bursts) and `bursts` their number, for reads and writes.
    """

    transfers: NDArray[np.int64]
    passes: NDArray[np.int64]
    layers: NDArray[np.int64]
    moved: tuple[int, int]
    bursts: tuple[int, int]


def play_pipe(tables: Sequence[PassTable], folded: Sequence[PassArray], pipe: Pipe, prefetch: bool) -> Played | None:
    """Play all layers; None if the numbers are too large for the kernel, or nothing can happen any more."""
    rows = np.concatenate(folded)
    sizes = np.stack([rows[name] for name in BYTES], axis=1)
    burst = pipe.burst_bytes
    address = np.stack([rows[name] for name in ADDRESSES], axis=1)
    bursts = np.where(sizes > 0, (address + sizes - 1) // burst - address // burst + 1, 0)
    moved = bursts * burst if burst > 1 else sizes
    if int(moved.max()) * pipe.bytes_denominator >= _LIMIT or pipe.bytes_numerator >= _LIMIT:
        return None
    times = np.stack([rows[name] for name in _TIMES], axis=1)
    layers = np.zeros((len(tables), 8), np.int64)
    ends = np.cumsum([len(part) for part in folded])
    for n, table in enumerate(tables):
        layers[n, _FIRST], layers[n, _LAST] = ends[n] - len(folded[n]), ends[n] - 1
        layers[n, _STATIONARY] = {"filter": 0, "ifmap": 1}.get(table.stationary, -1)
        layers[n, _PREFETCH] = prefetch and table.prefetch
        layers[n, _SLOTS:] = [table.slots.get(operand, 0) for operand in ("filter", "ifmap", "psum", "ofmap")]
    renew = renewals(sizes[:, :3], layers)
    numbers = (pipe.bytes_numerator, pipe.bytes_denominator, pipe.latency_cycles, int(pipe.ideal))
    transfers = np.zeros((int(np.count_nonzero(sizes)), 6), np.int64)
    passes = np.zeros((len(rows), 5), np.int64)
    out = np.zeros((len(tables), 8), np.int64)
    arrays = (sizes, moved, times, renew, layers, np.array(numbers, np.int64))
    if not _play(*arrays, (transfers, passes, out)):
        return None
    transfers[:, 0] = np.searchsorted(ends, transfers[:, 1], side="right")
    transfers[:, 1] -= layers[transfers[:, 0], _FIRST]
    reads, writes = slice(0, 3), slice(3, 5)
    return Played(
        transfers, passes, out,
        (int(moved[:, reads].sum()), int(moved[:, writes].sum())),
        (int(bursts[:, reads].sum()), int(bursts[:, writes].sum())),
    )  # fmt: skip


def renewals(sizes: NDArray[np.int64], layers: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each pass and operand: does its tile end with it (the next pass fetches another, or the layer ends)?"""
    count = len(sizes)
    ends = np.zeros((count, 3), bool)
    ends[:-1] = sizes[1:] > 0
    ends[layers[:, _LAST]] = True
    fetched = np.cumsum(sizes > 0, axis=0)
    first = layers[:, _FIRST]
    before: NDArray[np.int64] = fetched[first] - (sizes[first] > 0)
    layer_of = np.repeat(np.arange(len(layers)), layers[:, _LAST] - layers[:, _FIRST] + 1)
    return (ends & (fetched > before[layer_of])).astype(np.int64)


@kernel
def _play(sizes, moved, times, renew, layers, numbers, out):  # type: ignore[no-untyped-def]
    """Fill `out` (transfers, passes, layers); False if nothing can happen any more before the last layer ends.

    sizes, moved: bytes of filter, ifmap, psum_in, ofmap, psum_out of each pass, asked for and on the pipe.
    times: load, load_free, stream, finish, barrier, macs. renew: 1 where a tile's slot is free after the pass.
    """
    transfers, passes, results = out
    numerator, denominator, latency, ideal = numbers[0], numbers[1], numbers[2], numbers[3]
    count, n_layers = sizes.shape[0], layers.shape[0]
    arrived = np.full((count, 3), -1, np.int64)  # cycle of arrival; -1: not asked for, or not yet handed over
    drain_at = np.zeros(count, np.int64)  # passes with results, in order: when they leave, when they are written
    drain_row = np.zeros(count, np.int64)
    written_at = np.zeros(count, np.int64)
    drains, drained, freed, results_held = 0, 0, 0, 0
    asked = np.zeros((3 * count, 2), np.int64)  # reads of this cycle
    held = np.zeros(3, np.int64)
    free_whole, free_part = 0, 0  # when the pipe is free: cycles, and numerators of a cycle
    n_transfers = 0
    loading, load_row, load_operand = 0, 0, 0  # what the loader asks for next
    layer, row, phase, operand = 0, 0, _BEGIN, 0
    begun, begin, waited, cause = 0, 0, 0, -1
    ideal_start, start, load_free, stream_free, last_done, done = 0, 0, 0, 0, 0, 0
    now = 0
    while True:
        n_asked = 0
        first_drain = drained
        moving = True
        while moving:
            moving = False
            # results that have been written
            while freed < drained and written_at[freed] >= 0 and written_at[freed] <= now:
                freed += 1
                results_held -= 1
                moving = True
            # loader
            while loading < n_layers:
                if load_row == layers[loading, _FIRST] and load_operand == 0 and begun < loading:
                    if not layers[loading, _PREFETCH]:
                        break
                size = sizes[load_row, load_operand]
                if size:
                    if load_operand and begun < loading:
                        break
                    slots = layers[loading, _SLOTS + load_operand]
                    if slots and held[load_operand] >= slots:
                        break
                    held[load_operand] += 1
                    asked[n_asked, 0], asked[n_asked, 1] = load_row, load_operand
                    n_asked += 1
                load_operand += 1
                if load_operand == 3:
                    load_operand = 0
                    load_row += 1
                    if load_row > layers[loading, _LAST]:
                        loading += 1
                moving = True
            # engine
            while phase != _END:
                if phase == _BEGIN:
                    begin, begun, row = now, layer, layers[layer, _FIRST]
                    load_free, stream_free, last_done = now, now, now
                    results[layer, 0] = begin
                    phase = _PASS
                elif phase == _PASS:
                    loadable, streamable = load_free, stream_free
                    if times[row, 4]:
                        streamable = max(streamable, last_done)
                        if layers[layer, _STATIONARY] == 1:
                            loadable = max(loadable, last_done)
                    ideal_start = max(loadable + times[row, 0], streamable)
                    start, cause, operand, waited = ideal_start, -1, 0, 0
                    phase = _OPERANDS
                elif phase == _OPERANDS:
                    if sizes[row, operand]:
                        if arrived[row, operand] < 0 or arrived[row, operand] > now:
                            break
                        ready = arrived[row, operand]
                        if operand == layers[layer, _STATIONARY]:
                            ready += times[row, 0]
                        if ready > start:
                            start, cause = ready, operand
                    operand += 1
                    if operand == 3:
                        phase = _RESULTS
                elif phase == _RESULTS:
                    has_results = sizes[row, 3] > 0 or sizes[row, 4] > 0
                    if has_results:
                        slots = layers[layer, _SLOTS + 3]
                        if slots and results_held >= slots:
                            waited = 1
                            break
                        if waited and now > start:
                            start, cause = now, 3
                        results_held += 1
                    if cause >= 0:
                        results[layer, 3 + cause] += start - ideal_start
                    load_free = start + times[row, 1]
                    stream_free = start + times[row, 2]
                    last_done = max(last_done, start + times[row, 3])
                    done = last_done
                    passes[row, 0], passes[row, 1], passes[row, 2] = layer, start, stream_free
                    passes[row, 3], passes[row, 4] = done, times[row, 5]
                    if has_results:
                        drain_at[drains], drain_row[drains] = done, row
                        written_at[drains] = -1
                        drains += 1
                    phase = _STREAM
                elif phase == _STREAM:
                    if stream_free > now:
                        break
                    for o in range(3):
                        held[o] -= renew[row, o]
                    row += 1
                    phase = _PASS if row <= layers[layer, _LAST] else _FINISH
                elif phase == _FINISH:
                    if last_done > now:
                        break
                    phase = _WRITTEN
                else:
                    if results_held:
                        break
                    results[layer, 1], results[layer, 2] = now, last_done
                    layer += 1
                    phase = _BEGIN if layer < n_layers else _END
                moving = True
            # results that leave
            while drained < drains and drain_at[drained] <= now:
                drained += 1
                moving = True
            if moving or (n_asked == 0 and first_drain == drained):
                continue
            # end of the cycle: what was asked for goes to the memory, reads first
            for n in range(n_asked + 2 * (drained - first_drain)):
                if n < n_asked:
                    r, o = asked[n, 0], asked[n, 1]
                else:
                    r, o = drain_row[first_drain + (n - n_asked) // 2], 3 + (n - n_asked) % 2
                    if sizes[r, o] == 0:
                        continue
                complete = now
                if not ideal:
                    occupied = moved[r, o] * denominator
                    if free_whole < now:
                        free_whole, free_part = now, 0
                    free_whole += occupied // numerator
                    free_part += occupied % numerator
                    if free_part >= numerator:
                        free_whole += 1
                        free_part -= numerator
                    complete = free_whole + (1 if free_part else 0) + latency
                at = transfers[n_transfers]
                at[1], at[2], at[3], at[4], at[5] = r, o, sizes[r, o], now, complete
                n_transfers += 1
                if o < 3:
                    arrived[r, o] = complete
                else:
                    written_at[first_drain + (n - n_asked) // 2] = complete
            n_asked, first_drain, moving = 0, drained, True
        if phase == _END:
            return True
        # the next cycle in which something is known to happen
        then = -1
        if phase == _OPERANDS and arrived[row, operand] > now:
            then = arrived[row, operand]
        elif phase == _STREAM:
            then = stream_free
        elif phase == _FINISH:
            then = last_done
        if drained < drains and (then < 0 or drain_at[drained] < then):
            then = drain_at[drained]
        if freed < drained and (then < 0 or written_at[freed] < then):
            then = written_at[freed]
        if then <= now:
            return False
        now = then


@_play.warms_up_with
def _example():  # type: ignore[no-untyped-def]
    sizes = np.array([[4, 4, 0, 0, 0], [4, 0, 0, 8, 0]], np.int64)
    times = np.array([[1, 2, 3, 4, 0, 1]] * 2, np.int64)
    layers = np.array([[0, 1, 0, 0, 2, 2, 0, 2]], np.int64)
    arrays = (sizes, sizes, times, np.array([[1, 0, 0], [1, 1, 0]]), layers, np.array([4, 1, 2, 0], np.int64))
    return *arrays, (np.zeros((4, 6), np.int64), np.zeros((2, 5), np.int64), np.zeros((1, 8), np.int64))
