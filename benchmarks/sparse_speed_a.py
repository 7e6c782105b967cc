"""Speed of EIE and SCNN: CPU seconds of a whole layer or network's lowering, warm.

    python benchmarks/sparse_speed_a.py

From operands in memory to the exact cycles of the array: masks, entries of compressed columns, recurrences.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from timing import table
from validate_bitserial import BITS, ROOM, WHOLE, engine

from accelsim.engines.base import Task
from accelsim.engines.common.part import operand_values
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear
from accelsim.workload.shapes import ConvShape
from accelsim.workload.trace import Trace, synthetic_trace

#: VGG-16 as SCNN had it pruned: (inputs, weights), layer by layer (KAIST VIA-lab configurations of SCNN)
VGG16 = {
    "conv1_1": (1.0, 0.57), "conv1_2": (0.5, 0.21), "conv2_1": (0.89, 0.33), "conv2_2": (0.79, 0.35),
    "conv3_1": (0.81, 0.53), "conv3_2": (0.63, 0.22), "conv3_3": (0.69, 0.41), "conv4_1": (0.71, 0.32),
    "conv4_2": (0.5, 0.26), "conv4_3": (0.45, 0.34), "conv5_1": (0.39, 0.35), "conv5_2": (0.33, 0.29),
    "conv5_3": (0.32, 0.36),
}  # fmt: skip


def cpu_s(work: Callable[[], Any], runs: int) -> float:
    """The best of several, after one that is not counted: others use the machine, too."""
    work()
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def task(network: Network, trace: Trace, layer: str) -> Task:
    """A layer as one tile on a machine with room for all."""
    return Task(network[layer], trace, BITS, (ROOM,), {"all": 64}, pinned=WHOLE)


def vgg16() -> tuple[Network, Trace, list[str]]:
    """VGG-16 with real masks of those densities; its convolutions."""
    network = load_network("vgg16")
    layers = [layer.name for layer in network.layers if isinstance(layer.work, ConvShape)]
    settings = {
        name: {"activation_density": a, "weight_density": w}
        for name, (a, w) in zip(layers, VGG16.values(), strict=True)
    }
    return network, synthetic_trace(network, per_layer=settings), layers


def eie_seconds() -> float:
    """AlexNet FC6 at its density."""
    network = Network("fc6", [Node("x", Input((1, 9216))), Node("fc6", Linear(4096), ("x",))])
    trace = synthetic_trace(network, weight_density=0.09, activation_density=0.351)
    one = task(network, trace, "fc6")
    operand_values(trace, "fc6", "filter")
    return cpu_s(lambda: engine("eie", {}).lower(one), 5)


def scnn_seconds() -> float:
    """VGG-16's convolutions, their values generated before."""
    network, trace, layers = vgg16()
    built, total = engine("scnn", {}), 0.0
    for layer in layers:
        one = task(network, trace, layer)
        total += cpu_s(lambda one=one: built.lower(one), 2)  # type: ignore[misc]
    return total


def main() -> None:
    """Print the table; fail where an aim is missed."""
    found = [
        ("EIE", "AlexNet FC6, 9216 x 4096", 0.1, eie_seconds()),
        ("SCNN", "VGG-16, 13 convolutions", 5.0, scnn_seconds()),
    ]
    rows = [
        [name, what, f"{aim:g} s", f"{took:.3f} s", f"{took / aim:.2f}", "kept" if took < aim else "MISSED"]
        for name, what, aim, took in found
    ]
    print(table(["engine", "workload", "aim", "CPU, warm", "ours / aim", ""], rows))
    if any(took >= aim for _, _, aim, took in found):
        raise SystemExit("an aim is missed")


if __name__ == "__main__":
    main()
