"""Ternary streams: neurons that add or subtract their inputs, some at a time (Prost-Boucle et al., FPL 2017).

Weights and activations are -1, 0 or 1 (a first layer may have activations of more bits). `par_out` neurons share the
window that streams by, `par_in` inputs a cycle; a tree adds what each neuron's weights select, and two thresholds, into
which batch normalization is folded, make the sum ternary again.

Zeros are `gate`d (no addition, the same time), or those of the window are left out by a look ahead (`skip`): then a
window takes ceil(nonzeros / par_in) cycles, at least one. The FPGA design lays all layers side by side; an array of
this kind runs them in turn, or each on its own part (`benchmarks/validate_quantized_other.py`).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.energy.costs import Component
from accelsim.energy.figures import composed
from accelsim.energy.model import CostModel
from accelsim.energy.rows import component, register_rows
from accelsim.engines.base import ENGINES, Task
from accelsim.engines.common.live_inputs import live_counts
from accelsim.engines.common.part import Part
from accelsim.engines.common.skip_tiles import places
from accelsim.engines.common.stepped import ROLES, StepEngine, macs_of
from accelsim.engines.common.tiled import Tiles, TileTimes, WordTables


@ENGINES.register("ternary_stream")
class TernaryStream(StepEngine):
    """Neurons with ternary weights along a stream of windows."""

    kind: ClassVar[str] = "ternary_stream"
    coded: ClassVar[tuple[str, ...]] = ("filter",)
    remedies: ClassVar[dict[str, str]] = {
        "filter": "the recipe step `ternary` makes it so", "ifmap": "quantize it with `uniform` or `ternary`",
    }

    class Spec(Spec):
        """Parameters of the neurons."""

        par_in: int = pydantic.Field(ge=1, le=65536, description="inputs of a neuron in a cycle")
        par_out: int = pydantic.Field(ge=1, le=65536, description="neurons side by side")
        zeros: Literal["gate", "skip"] = pydantic.Field(
            default="gate", description="skip: zero inputs of a window take no time"
        )
        activation_bits: int = pydantic.Field(default=8, ge=1, le=16, description="widest input, that of a first layer")

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """Two bits hold -1, 0 and 1."""
        return {"ifmap": tuple(range(1, self.spec.activation_bits + 1)), "filter": (1, 2)}

    def check_bits(self, task: Task) -> None:
        """Refuse wide operands, and weights beyond -1 to 1."""
        super().check_bits(task)
        for role, name in ROLES.items():
            operand = task.trace.operand(task.layer.name, role)
            if name != "filter" or operand is None or operand.generator is not None or operand.floating:
                continue
            values = operand.values()
            if int(values.min()) < -1 or int(values.max()) > 1:
                raise ConfigError(
                    f"{role} must be -1, 0 or 1 for engine {self.kind!r}, got {values.min()} to {values.max()}; "
                    "the recipe step `ternary` makes it so", f"layer {task.layer.name}",
                )

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """All neurons' inputs."""
        return int(self.spec.par_in * self.spec.par_out)

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """A selection and addition of one input, or its gating; two comparisons for an output."""
        spec, width = self.spec, 2
        tree = spec.par_in > 1
        add = composed(
            "select, negate and add one input of 2 bits", (1, model.op_pj("mux", width)),
            (1 / spec.par_in, model.adder_tree_pj(spec.par_in, width) if tree else model.add_pj(width)),
        )  # fmt: skip
        area = composed(
            "selection and adder of one input", (1, model.op_area_mm2("mux", width)),
            (1, model.op_area_mm2("add", width + 2)),
        )  # fmt: skip
        count = spec.par_in * spec.par_out
        compare = composed("two thresholds", (2, model.op_pj("compare", bits["psum"])))
        return [
            component("neuron", {"add": add, "gated": model.gated_pj(width), "threshold": compare}, area=area,
                      leakage=model.logic_leak_mw(float(area)), count=count),
            register_rows(model, "accumulator", bits["psum"], count=spec.par_out),
        ]  # fmt: skip

    def unit(self, part: Part) -> tuple[int, int, int]:
        """A window, the neurons, some inputs."""
        return 1, int(self.spec.par_out), int(self.spec.par_in)

    def tile_cycles(self, part: Part, m: Any, n: Any, channels: Any, taps: Any) -> Any:
        """Windows x sets of neurons x steps; with `skip`, about."""
        k = channels * taps
        if self.spec.zeros == "skip":
            k = np.maximum(1, k * round(part.density("ifmap") * 1024) // 1024)
        return m * -(-n // self.spec.par_out) * -(-k // self.spec.par_in)

    def tail(self, part: Part) -> int:
        """Levels of the adder tree, and the threshold."""
        return max(1, int(self.spec.par_in - 1).bit_length()) + 1

    def times(self, part: Part, tiles: Tiles) -> TileTimes:
        """Exact with zeros left out, too."""
        if self.spec.zeros == "gate":
            return super().times(part, tiles)
        steps = np.zeros(len(tiles), np.int64)
        first, which = places(tiles)
        for kind, at in enumerate(first):
            tile = tiles[at]
            for group in range(int(tile["groups"])):
                live = live_counts(part, tile, lambda values: values != 0, group).sum(1)
                steps[which == kind] += int(np.maximum(1, -(-live // self.spec.par_in)).sum())
        return TileTimes.steps(steps * -(-tiles["n"] // self.spec.par_out), latency=self.tail(part))

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Inputs once for each set of neurons; weights are beside their neurons, once a tile."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        reads = {"ifmap": groups * m * k * -(-n // self.spec.par_out), "filter": groups * n * k}
        return reads, {"psum": groups * m * n}

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """Additions where both operands are not zero; other products are gated."""
        adds, counts = self.effectual(part), ActionCounts()
        counts.add("neuron", "add", adds)
        counts.add("neuron", "gated", macs_of(tiles) - adds)
        sums = tiles["groups"] * tiles["m"] * tiles["n"]
        counts.add("neuron", "threshold", int((sums * tiles["last_k"]).sum()))
        counts.add("accumulator", "write", int(times.busy.sum()) * int(self.spec.par_out))
        return counts
