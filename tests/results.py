"""Results for tests of tables, figures and files: real runs of small networks, made once."""

from __future__ import annotations

from functools import lru_cache

from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Conv, Input, Linear, Pool
from accelsim.workload.trace import synthetic_trace


@lru_cache
def lenet() -> RunResult:
    """A shipped network with pooling, on four buffers' worth of waiting."""
    return simulate(load_arch("teaching_4x4"), synthetic_trace(load_network("lenet5"), activation_density=0.5))


@lru_cache
def kept() -> RunResult:
    """Feature maps stay on chip, results too: layers without DRAM traffic for them."""
    return simulate(load_arch("tpu_v1"), synthetic_trace(chain(12)))


@lru_cache
def long() -> RunResult:
    """150 layers with long names."""
    return simulate(load_arch("systolic_os_32"), synthetic_trace(chain(150)))


@lru_cache
def grouped() -> RunResult:
    """Depthwise convolutions, whose operands are kept group by group."""
    nodes = [Node("image", Input((1, 64, 28, 28)))]
    for i in range(3):
        nodes.append(Node(f"depthwise{i}", Conv(64, (3, 3), (1, 1), 1, groups=64, bias=False), (nodes[-1].name,)))
    return simulate(load_arch("systolic_ws_32"), synthetic_trace(Network("depthwise", nodes)))


def chain(count: int) -> Network:
    """`count` layers that take time, one behind the other, in stages of ten."""
    nodes = [Node("model/image", Input((1, 8, 8, 8)))]
    for i in range(count - 2):
        name = f"model/stage{i // 10}.residual_block_with_a_long_name{i % 10}.conv"
        nodes.append(Node(name, Conv(8, (3, 3), (1, 1), 1, bias=False), (nodes[-1].name,)))
        nodes.append(Node(name + ".relu", Activation("relu"), (name,)))
    nodes.append(Node("model/pool", Pool("avg", "global"), (nodes[-1].name,)))
    nodes.append(Node("model/head", Linear(10, bias=False), (nodes[-1].name,)))
    return Network(f"chain{count}", nodes, "made for tests")
