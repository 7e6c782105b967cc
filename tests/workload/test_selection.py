"""Some layers of a trace as a trace of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accelsim.api import open_workload, run
from accelsim.base.errors import ConfigError
from accelsim.workload.selection import select_layers
from accelsim.workload.trace import Trace


def test_layers_keep_their_operands_and_read_the_others_from_memory() -> None:
    whole = open_workload("lenet5")
    part = select_layers(whole, ["fc*"])
    assert [layer.name for layer in part.network if layer.is_compute] == ["fc1", "fc2"]
    assert part.network.macs == whole.network["fc1"].macs + whole.network["fc2"].macs
    for role in ("filter", "ifmap", "ofmap"):
        ours, theirs = part.operand("fc1", role), whole.operand("fc1", role)
        assert ours is not None and theirs is not None
        assert (ours.values() == theirs.values()).all()
    assert part.content_hash != whole.content_hash
    assert part.operand("conv1", "filter") is None if "conv1" in part.network else True


def test_a_stored_trace_gives_its_values(tmp_path: Path) -> None:
    whole = open_workload("mtcnn_onet")
    name = next(layer.name for layer in whole.network if layer.is_compute)
    part = select_layers(whole, [name])
    operand = part.operand(name, "filter")
    assert operand is not None and operand.generator is None
    assert np.array_equal(operand.values(), whole.operand(name, "filter").values())  # type: ignore[union-attr]
    part.write(tmp_path / "part.trace")
    assert Trace.open(tmp_path / "part.trace").content_hash == part.content_hash


def test_a_run_of_some_layers() -> None:
    result = run("teaching_4x4", "lenet5", only=["fc2"])
    assert [layer.name for layer in result.layers] == ["fc2"]
    assert result.layers[0].dram_bytes["ifmap"] > 0


def test_a_pattern_without_a_match_lists_the_layers() -> None:
    with pytest.raises(ConfigError, match="no layer matches fx.*layers with MACs: conv1, conv2, fc1, fc2"):
        select_layers(open_workload("lenet5"), ["fx*"])
