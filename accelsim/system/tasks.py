"""One layer of a schedule as an engine meets it: what one core and many cores say alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim.engines.base import Task
from accelsim.system.archspec import ArchSpec
from accelsim.system.buffers import stored_bits
from accelsim.system.schedule import Step
from accelsim.workload.ops import Matmul
from accelsim.workload.trace import Trace


def task_of(spec: ArchSpec, trace: Trace, step: Step, addresses: Mapping[str, int], **own: Any) -> Task:
    """The task of a step; `own` are the fields of `Task` that depend on who runs it, `rooms` and `on_chip` at least.

    `addresses`: first byte of every tensor in DRAM, and of the sums ("psum").
    """
    filters = step.reads[1][0] if isinstance(step.layer.op, Matmul) else f"filter:{step.layer.name}"
    first = step.reads[0][0] if step.reads and step.reads[0] else ""
    fields: dict[str, Any] = {
        "layer": step.layer,
        "trace": trace,
        "bits": stored_bits(spec, trace, step.layer),
        "word_bits": {b.name: b.word_bits for b in spec.buffers},
        "dram_bytes_per_cycle": spec.dram_bytes_per_cycle(),
        "burst_bytes": spec.dram.burst_bytes,
        "addresses": {
            "filter": addresses[filters],
            "ifmap": addresses.get(first, 0),
            "ofmap": addresses[step.writes],
            "psum": addresses["psum"],
        },
        "objective": spec.mapping.objective,
        "pinned": spec.pin_for(step.layer.name),
        "fused_ops": step.fused_ops,
        "neuron": step.neuron,
        "vector_lanes": spec.vector.lanes,
        "layout": spec.dram.layout,
        "factors": spec.mapping.factors,
    }
    return Task(**{**fields, **own})
