"""Register-transfer model of a core of spiking neurons: axons, gated weights, dendrite accumulators, somas.

`width` axons of `lanes` neurons a cycle. Stage 1 registers the weights of axons that hold a spike, zeros for others;
stage 2 adds them to the lane's accumulator; with a neuron's last axons its soma takes the sum, leaks, fires and resets
in the same edge. Membrane potentials stay in registers from one time step to the next.
"""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

WEIGHT_BITS, SUM_BITS = 8, 24


class SpikingCore(wiring.Component):
    """`weights[neuron][axon]`; `start` for one cycle begins a time step with the spikes on `axons`."""

    def __init__(
        self, weights: list[list[int]], lanes: int, width: int, threshold: int, leak: int, to_zero: bool
    ) -> None:
        self.weights, self.lanes, self.width = weights, lanes, width
        self.threshold, self.leak, self.to_zero = threshold, leak, to_zero
        self.neurons, self.inputs = len(weights), len(weights[0])
        super().__init__({
            "start": In(1), "axons": In(self.inputs),
            "busy": Out(1), "written": Out(1), "fired": Out(self.neurons),
        })
        self.potential = [Signal(signed(SUM_BITS), name=f"potential_{n}") for n in range(self.neurons)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        groups, turns = -(-self.inputs // self.width), -(-self.neurons // self.lanes)
        spikes = Signal(self.inputs)
        group, turn, issuing = Signal(range(groups + 1)), Signal(range(turns + 1)), Signal()
        now = Mux(self.start, self.axons, spikes)
        at_group, at_turn = Mux(self.start, 0, group), Mux(self.start, 0, turn)
        work = Signal()
        m.d.comb += [work.eq(self.start | issuing), self.busy.eq(work)]
        with m.If(self.start):
            m.d.sync += [spikes.eq(self.axons), issuing.eq(1)]
        with m.If(work):
            with m.If(at_group == groups - 1):
                m.d.sync += [group.eq(0), turn.eq(at_turn + 1)]
                with m.If(at_turn == turns - 1):
                    m.d.sync += issuing.eq(0)
            with m.Else():
                m.d.sync += [group.eq(at_group + 1), turn.eq(at_turn)]
        # what stage 2 is to do with what stage 1 holds
        valid, first, last, whose = Signal(), Signal(), Signal(), Signal(range(turns + 1))
        m.d.sync += [
            valid.eq(work), first.eq(at_group == 0), last.eq(at_group == groups - 1), whose.eq(at_turn),
            self.written.eq(valid & last),
        ]
        fired = [Signal(name=f"fired_{n}") for n in range(self.neurons)]
        m.d.comb += [self.fired[n].eq(fired[n]) for n in range(self.neurons)]
        for lane in range(self.lanes):
            gated = [Signal(signed(WEIGHT_BITS), name=f"gated_{lane}_{u}") for u in range(self.width)]
            for unit in range(self.width):
                rows = []
                for t in range(turns):
                    for g in range(groups):
                        n, a = t * self.lanes + lane, g * self.width + unit
                        there = n < self.neurons and a < self.inputs
                        rows.append(Mux(now[a], self.weights[n][a], 0) if there else Const(0))
                m.d.sync += gated[unit].eq(Array(rows)[at_turn * groups + at_group])
            accumulator = Signal(signed(SUM_BITS), name=f"accumulator_{lane}")
            total = Signal(signed(SUM_BITS), name=f"total_{lane}")
            m.d.comb += total.eq(Mux(first, 0, accumulator) + sum(gated, start=Const(0)))
            with m.If(valid):
                m.d.sync += accumulator.eq(total)
            for t in range(turns):
                n = t * self.lanes + lane
                if n >= self.neurons:
                    continue
                old = self.potential[n]
                kept = old - (old >> self.leak) if self.leak else old
                new = Signal(signed(SUM_BITS), name=f"new_{n}")
                m.d.comb += new.eq(kept + total)
                with m.If(valid & last & (whose == t)):
                    fires = new >= self.threshold
                    m.d.sync += fired[n].eq(fires)
                    m.d.sync += old.eq(Mux(fires, 0 if self.to_zero else new - self.threshold, new))
        return m
