"""A small network with every kind of operand, its values, and hands to take trace files apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.workload import ops
from accelsim.workload.container import canonical_json
from accelsim.workload.network import Network, Node
from accelsim.workload.trace import TraceWriter
from accelsim.workload.trace_format import hash_of_text

RECIPE = [{"step": "prune", "density": 0.5}, {"step": "quantise", "bits": [4, 8], "note": None}]
SOURCE = "made by hand, for tests \u00b5"


def network() -> Network:
    """Convolution, ReLU, pooling, linear, matmul of two activations, and a cell."""
    nodes = [
        Node("image", ops.Input((1, 3, 6, 6))),
        Node("block/conv", ops.Conv(4, 3, pad=1), ("image",)),
        Node("norm", ops.Norm(), ("block/conv",)),
        Node("relu", ops.Activation(), ("norm",)),
        Node("pool", ops.Pool(), ("relu",)),
        Node("flat", ops.Reshape((0, -1)), ("pool",)),
        Node("fc", ops.Linear(5), ("flat",)),
        Node("text", ops.Input((1, 2, 3))),
        Node("scores", ops.Matmul(transpose_b=True), ("text", "text")),
        Node("cell", ops.Recurrent("lstm", 4), ("text",)),
    ]
    return Network("small", nodes, "by hand")


def values(layer: str, role: str) -> NDArray[Any]:
    """What the trace holds for an operand."""
    rng = np.random.default_rng([len(layer), len(role)])
    shapes = {
        ("block/conv", "filter"): (4, 3, 3, 3),
        ("block/conv", "ifmap"): (1, 3, 6, 6),
        ("block/conv", "ofmap"): (1, 4, 6, 6),
        ("block/conv", "bias"): (4,),
        ("block/conv", "gradient"): (4, 3, 3, 3),
        ("fc", "filter"): (5, 36),
        ("fc", "ifmap"): (1, 36),
        ("fc", "error"): (1, 5),
        ("scores", "filter"): (1, 2, 3),
        ("cell", "recurrent"): (16, 4),
        ("cell", "state"): (1, 2, 4),
    }
    return np.asarray(rng.integers(-7, 8, shapes[layer, role]) * (rng.random(shapes[layer, role]) < 0.7))


def write(path: Path, backwards: bool = False) -> Path:
    """A trace with integers of several widths, floats, per-channel scales and a cell."""
    steps: list[Callable[[TraceWriter], None]] = [
        lambda w: w.add("block/conv", "filter", values("block/conv", "filter"), bits=4, scale=[0.5, 0.25, 1, 2]),
        lambda w: w.add("block/conv", "ifmap", values("block/conv", "ifmap"), bits=8, scale=0.1, zero_point=3),
        lambda w: w.add("block/conv", "ofmap", abs(values("block/conv", "ofmap")), bits=3),
        lambda w: w.add("block/conv", "bias", values("block/conv", "bias") * 1000, bits=16),
        lambda w: w.add(
            "block/conv", "gradient", values("block/conv", "gradient") / 3, bits=16, encoding="float", format="bf16"
        ),
        lambda w: w.add("fc", "filter", values("fc", "filter") / 7, bits=32, encoding="float"),
        lambda w: w.add("fc", "error", values("fc", "error"), bits=32, zero_point=[2]),
        lambda w: w.add("cell", "recurrent", values("cell", "recurrent"), bits=5),
        lambda w: w.add("cell", "state", values("cell", "state"), bits=7),
    ]
    with TraceWriter(path, network(), name="small trace", recipe=RECIPE, source=SOURCE) as writer:
        for step in reversed(steps) if backwards else steps:
            step(writer)
    return path


def take_apart(path: Path) -> tuple[dict[str, Any], bytes]:
    """The container's header, and the bytes after it."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def put_together(path: Path, header: Any, data: bytes) -> Path:
    """A file with this header, its length right."""
    raw = json.dumps(header, ensure_ascii=False).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change the trace's own header as an able stranger would: with a content hash that fits."""
    header, data = take_apart(path)
    inner = json.loads(header["__metadata__"]["trace"])
    change(inner)
    text = canonical_json(inner)
    header["__metadata__"].update(trace=text, content_hash=hash_of_text(text))
    return put_together(path, header, data)
