"""XNOR and popcount: binary networks (XNE, XNORBIN, BRein Memory, BiNMAC).

One bit stands for -1 or 1. A step takes `inputs` bits of one output position (with `window_row` those at a whole row
of the window's taps), compares them with the weights of `outputs` outputs, counts the agreements and adds the counts to
`accumulators` sums. For each position, set of accumulators, tap and set of inputs:

    load_cycles + ceil(outputs in the set / outputs) * step_cycles

and, when a set is finished, its sums are compared with thresholds, into which batch normalization is folded:
ceil(outputs in the set / threshold_lanes) cycles. `units` units of this kind work in step on different positions and
sets of outputs, whole sets first. `ternary`: operands may be -1, 0 or 1 in two bits, counted as two planes.

- XNE (Conti et al., TCAD 37(11), 2018): 128 inputs, one row of weights a cycle, 128 accumulators.
- XNORBIN (Al Bahou et al., COOL CHIPS 2018): a row of the kernel at a time.
- BRein Memory (Ando et al., VLSI 2017, JSSC 53(4), 2018): one input a cycle into all outputs of a module; ternary, too.
- BiNMAC (Jafari et al., GLSVLSI 2018): cores with instructions for counting and for cutting out patches.
"""

from __future__ import annotations

from typing import Any, ClassVar

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
from accelsim.engines.common.part import Part
from accelsim.engines.common.stepped import ROLES, StepEngine, macs_of
from accelsim.engines.common.tiled import Tiles, TileTimes, WordTables


@ENGINES.register("xnor")
class Xnor(StepEngine):
    """XNOR gates, popcount trees, sums and thresholds."""

    kind: ClassVar[str] = "xnor"
    data_dependent: ClassVar[bool] = False
    coded: ClassVar[tuple[str, ...]] = ("ifmap", "filter")
    remedies: ClassVar[dict[str, str]] = {
        "filter": "the recipe step `binary` makes it so",
        "ifmap": "the recipe step `binary` on activations makes it so; run such a layer (often the first) elsewhere",
    }

    class Spec(Spec):
        """Parameters of the units."""

        inputs: int = pydantic.Field(ge=1, le=4096, description="bits that are compared in a step")
        outputs: int = pydantic.Field(default=1, ge=1, le=4096, description="outputs of a step: popcount trees")
        accumulators: int = pydantic.Field(ge=1, le=65536, description="sums that a unit holds")
        units: int = pydantic.Field(default=1, ge=1, le=4096, description="units that work side by side")
        window_row: bool = pydantic.Field(default=False, description="a step takes a whole row of the window's taps")
        load_cycles: int = pydantic.Field(default=0, ge=0, le=256, description="to load the inputs of a step")
        step_cycles: int = pydantic.Field(default=1, ge=1, le=256, description="of a step's outputs")
        threshold_lanes: int = pydantic.Field(
            default=0, ge=0, le=4096, description="sums compared with thresholds in a cycle; 0: while others add"
        )
        ternary: bool = pydantic.Field(default=False, description="operands of -1, 0 and 1, too")

        @pydantic.model_validator(mode="after")
        def _fits(self) -> Any:
            if self.outputs > self.accumulators:
                what = f"outputs must be at most accumulators ({self.accumulators}), got {self.outputs}"
                raise ValueError(what)
            return self

    # --- widths ---

    def supported_bits(self) -> dict[str, tuple[int, ...]]:
        """One bit, or two if `ternary`."""
        return dict.fromkeys(("ifmap", "filter"), (1, 2) if self.spec.ternary else (1,))

    def check_bits(self, task: Task) -> None:
        """Refuse wide operands, and two bits that are not -1, 0 or 1."""
        super().check_bits(task)
        for role in ROLES:
            operand = task.trace.operand(task.layer.name, role)
            if operand is None or operand.bits != 2 or operand.generator is not None or operand.floating:
                continue
            values = operand.values()
            if not operand.signed or int(values.min()) < -1:
                raise ConfigError(
                    f"{role} must be -1, 0 or 1 for engine {self.kind!r}, got {values.min()} to {values.max()}; "
                    "the recipe step `ternary` makes it so", f"layer {task.layer.name}",
                )

    def planes(self, part: Part) -> int:
        """Counts of one product: two if an operand is ternary."""
        return 2 if max(part.bits("ifmap"), part.bits("filter")) > 1 else 1

    def peak_macs_per_cycle(self, bits: dict[str, int]) -> int:
        """With neither loads nor thresholds; `window_row`: at most 7 taps."""
        spec = self.spec
        taps = 7 if spec.window_row else 1
        return int(-(-spec.units * spec.inputs * spec.outputs * taps // spec.step_cycles))

    # --- energy ---

    def costs(self, model: CostModel, bits: dict[str, int]) -> list[Component]:
        """A step of one output: gates and tree for all inputs, sum and register; a comparison for a threshold."""
        spec = self.spec
        wide = spec.inputs
        count = model.popcount_pj(wide)
        step = composed(
            f"{wide} XNOR gates + popcount + sum", (1, model.xnor_pj(wide)), (1, count),
            (1, model.add_pj(bits["psum"])), (1, model.register_pj(bits["psum"])),
        )  # fmt: skip
        tree = composed(
            "popcount tree and adder", (1, model.popcount_area_mm2(wide)), (1, model.op_area_mm2("add", bits["psum"]))
        )
        compare = model.op_pj("compare", bits["psum"])
        trees = spec.units * spec.outputs
        return [
            component("popcount", {"step": step}, area=tree, leakage=model.logic_leak_mw(float(tree)), count=trees),
            component("threshold", {"compare": compare}, area=model.op_area_mm2("compare", bits["psum"])),
            register_rows(model, "accumulator", bits["psum"], count=spec.units * spec.accumulators),
            register_rows(model, "input_register", wide, count=spec.units),
        ]

    # --- tiles ---

    def unit(self, part: Part) -> tuple[int, int, int]:
        """One position of each unit, a set of outputs and of inputs."""
        return int(self.spec.units), int(self.spec.accumulators), int(self.spec.inputs)

    def steps(self, part: Part, channels: Any, taps: Any) -> Any:
        """Sets of inputs of one output."""
        sets = -(-channels // self.spec.inputs)
        if not self.spec.window_row:
            return sets * taps
        width = np.where(taps % part.loops.s == 0, part.loops.s, 1)
        # wider rows than the seven taps of the popcount unit are cut
        return sets * (taps // width) * -(-width // 7)

    def tile_cycles(self, part: Part, m: Any, n: Any, channels: Any, taps: Any) -> Any:
        """Whole sets of outputs, and the last one with the outputs that it has."""
        spec = self.spec
        whole, rest = n // spec.accumulators, n % spec.accumulators
        steps = self.steps(part, channels, taps) * self.planes(part)

        def cost(outputs: Any) -> Any:
            one = steps * (spec.load_cycles + -(-outputs // spec.outputs) * spec.step_cycles)
            return one + (-(-outputs // spec.threshold_lanes) if spec.threshold_lanes else 0)

        # whole sets are dealt to the units first, then the last ones; units work in step
        rounds = -(-(m * whole) // spec.units)
        left = np.maximum(0, m * (rest > 0) - (rounds * spec.units - m * whole))
        return rounds * cost(spec.accumulators) + -(-left // spec.units) * cost(rest)

    def words(self, part: Part, tiles: Tiles) -> WordTables:
        """Inputs once for each set of outputs; weights for every position (they are not held); sums once."""
        groups, m, n, k = (tiles[x] for x in ("groups", "m", "n", "k"))
        sets = -(-n // self.spec.accumulators)
        return {"ifmap": groups * m * k * sets, "filter": groups * n * k * -(-m // self.spec.units)}, {
            "psum": groups * m * n
        }

    def actions(self, part: Part, tiles: Tiles, times: TileTimes) -> ActionCounts:
        """A count for each step and output, a comparison for each finished sum."""
        groups, m, n, channels = (tiles[x] for x in ("groups", "m", "n", "channels"))
        taps = tiles["k"] // channels
        planes = self.planes(part)
        sets = -(-channels // self.spec.inputs) * taps
        counts = ActionCounts()
        counts.add("popcount", "step", int((groups * m * n * sets).sum()) * planes)
        counts.add("threshold", "compare", int((groups * m * n * tiles["last_k"]).sum()))
        loads = groups * m * tiles["k"] * -(-n // self.spec.accumulators)
        counts.add("input_register", "write_bit", int(loads.sum()) * planes)
        return counts

    def info(self, part: Part, tiles: Tiles, times: TileTimes) -> dict[str, Any]:
        """Bit planes of a product beside the utilization."""
        return {"planes": self.planes(part), "binary_products": macs_of(tiles), **super().info(part, tiles, times)}
