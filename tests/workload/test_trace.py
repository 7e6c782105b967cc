"""Traces: what was written is what is read; nothing half-written is left."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.workload import container, ops
from accelsim.workload.generator import GeneratorSpec, generate
from accelsim.workload.network import Network, Node
from accelsim.workload.tensors import fused_output, signed_outputs
from accelsim.workload.trace import Operand, Trace, TraceWriter
from tests.workload import traces
from tests.workload.traces import RECIPE, SOURCE, network, values, write


def get(trace: Trace, layer: str, role: str) -> Operand:
    found = trace.operand(layer, role)
    assert found is not None
    return found


def test_what_was_written_is_read(tmp_path: Path) -> None:
    trace = Trace.open(write(tmp_path / "a.trace"))
    assert (trace.name, trace.recipe, trace.source) == ("small trace", RECIPE, SOURCE)
    assert trace.network.layers == network().layers
    assert [(o.layer, o.role) for o in trace] == [
        ("block/conv", "filter"),
        ("block/conv", "bias"),
        ("block/conv", "ifmap"),
        ("block/conv", "ofmap"),
        ("block/conv", "gradient"),
        ("fc", "filter"),
        ("fc", "error"),
        ("cell", "recurrent"),
        ("cell", "state"),
    ]
    assert trace.layers_with("filter") == ["block/conv", "fc"]
    assert trace.layers_with("state") == ["cell"]
    assert trace.operand("fc", "ifmap") is None
    filters = get(trace, "block/conv", "filter")
    assert np.array_equal(filters.values(), values("block/conv", "filter"))
    assert filters.values().dtype == np.int8
    assert (filters.bits, filters.signed, filters.shape) == (4, True, (4, 3, 3, 3))
    assert (filters.scale, filters.zero_point) == ([0.5, 0.25, 1.0, 2.0], 0)
    assert filters.nonzeros == np.count_nonzero(values("block/conv", "filter"))
    assert filters.density == filters.nonzeros / 108
    assert (filters.payload_bits, filters.index_bits, filters.stored_bytes) == (432, 0, 54)
    assert (filters.encoding, filters.floating, filters.generator) == ("dense", False, None)
    assert repr(filters) == f"<Operand block/conv/filter: int4[4, 3, 3, 3] dense, density {filters.density:.3f}>"
    ifmap = get(trace, "block/conv", "ifmap")
    assert (ifmap.scale, ifmap.zero_point, ifmap.signed) == (0.1, 3, True)
    assert np.array_equal(ifmap.values(), values("block/conv", "ifmap"))
    ofmap = get(trace, "block/conv", "ofmap")
    assert not ofmap.signed  # a ReLU is fused into the layer
    assert ofmap.values().dtype == np.uint8
    assert get(trace, "block/conv", "bias").values().dtype == np.int16
    assert get(trace, "fc", "error").values().dtype == np.int32
    assert get(trace, "fc", "error").zero_point == [2]
    trace.verify()


def test_floats_stay_floats(tmp_path: Path) -> None:
    trace = Trace.open(write(tmp_path / "a.trace"))
    filters, gradient = get(trace, "fc", "filter"), get(trace, "block/conv", "gradient")
    assert filters.floating and gradient.floating
    assert np.array_equal(filters.values(), (values("fc", "filter") / 7).astype(np.float32))
    exact = values("block/conv", "gradient") / 3
    assert gradient.values().dtype == np.float32
    assert np.abs(gradient.values() - exact).max() <= np.abs(exact).max() * 2**-8
    assert gradient.meta == {"format": "bf16"}


def test_values_are_views_where_they_can_be(tmp_path: Path) -> None:
    trace = Trace.open(write(tmp_path / "a.trace"))
    ifmap = get(trace, "block/conv", "ifmap")
    payload = ifmap.payload()
    assert list(payload) == ["data"]
    assert not payload["data"].flags.writeable and payload["data"].flags.aligned
    assert np.shares_memory(ifmap.values(), payload["data"])
    with pytest.raises(ValueError, match="read-only"):
        ifmap.values()[0] = 1


def test_unknown_names_offer_the_nearest(tmp_path: Path) -> None:
    trace = Trace.open(write(tmp_path / "a.trace"))
    with pytest.raises(ConfigError, match="a.trace: unknown layer 'fd'; did you mean fc"):
        trace.operand("fd", "filter")
    with pytest.raises(ConfigError, match="unknown role 'filters'; did you mean filter"):
        trace.operand("fc", "filters")


def test_content_hash_is_of_the_content(tmp_path: Path) -> None:
    first = Trace.open(write(tmp_path / "a.trace"))
    assert len(first.content_hash) == 64
    # Neither the order of writing nor the container's layout matters ...
    assert Trace.open(write(tmp_path / "b.trace", backwards=True)).content_hash == first.content_hash
    assert (tmp_path / "a.trace").read_bytes() != (tmp_path / "b.trace").read_bytes()
    first.write(tmp_path / "c.trace")
    again = Trace.open(tmp_path / "c.trace")
    again.verify()
    assert again.content_hash == first.content_hash
    # ... and one element does.
    with TraceWriter(tmp_path / "d.trace", network(), name="n") as writer:
        writer.add("cell", "state", values("cell", "state"), bits=7)
    other = values("cell", "state")
    other[0, 0, 0] += 1
    with TraceWriter(tmp_path / "e.trace", network(), name="n") as writer:
        writer.add("cell", "state", other, bits=7)
    assert Trace.open(tmp_path / "d.trace").content_hash != Trace.open(tmp_path / "e.trace").content_hash


def test_other_libraries_read_the_file(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = numpy.load_file(write(tmp_path / "a.trace"))
    payload = get(Trace.open(tmp_path / "a.trace"), "fc", "filter").payload()
    assert np.array_equal(tensors["fc/filter/data"], payload["data"])
    assert np.array_equal(tensors["block/conv/filter/scale"], [0.5, 0.25, 1, 2])


def test_a_file_rewritten_by_another_library_is_read(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    write(tmp_path / "a.trace")
    header, _ = traces.take_apart(tmp_path / "a.trace")
    numpy.save_file(numpy.load_file(tmp_path / "a.trace"), tmp_path / "b.trace", header["__metadata__"])
    other = Trace.open(tmp_path / "b.trace")
    other.verify()
    assert other.content_hash == Trace.open(tmp_path / "a.trace").content_hash


def test_unaligned_tensors_are_copied(tmp_path: Path) -> None:
    header, data = traces.take_apart(write(tmp_path / "a.trace"))
    header["__metadata__"]["pad"] = ""
    for pad in range(8):
        header["__metadata__"]["pad"] = "x" * pad
        trace = Trace.open(traces.put_together(tmp_path / "b.trace", header, data))
        assert all(a.flags.aligned for o in trace for a in o.payload().values())
        trace.verify()


def test_tensors_are_aligned_and_in_order_of_width(tmp_path: Path) -> None:
    found = container.read_container(write(tmp_path / "a.trace"))
    placed = sorted(found.tensors.values(), key=lambda t: t.begin)
    sizes = [np.dtype(t.dtype).itemsize for t in placed]
    assert sizes == sorted(sizes, reverse=True)
    assert placed[0].begin % 64 == 0
    assert all(t.begin % np.dtype(t.dtype).itemsize == 0 for t in placed)


def test_generated_operands_beside_stored_ones(tmp_path: Path) -> None:
    spec = GeneratorSpec(seed=3, stream="w", bits=5, density=0.25)
    with TraceWriter(tmp_path / "a.trace", network(), name="n") as writer:
        writer.add_generated("fc", "filter", (5, 36), spec)
        writer.add("fc", "ifmap", np.ones((1, 36), int), bits=1)
    trace = Trace.open(tmp_path / "a.trace")
    filters = get(trace, "fc", "filter")
    assert filters.generator == spec
    assert np.array_equal(filters.values(), generate(spec, 0, 180).reshape(5, 36))
    assert (filters.density, filters.nonzeros) == (0.25, np.count_nonzero(filters.values()))
    assert (filters.encoding, filters.payload_bits, filters.payload()) == ("dense", 900, {})
    assert (filters.scale, filters.zero_point) == (1.0, 0)
    assert not get(trace, "fc", "ifmap").signed  # it comes from a ReLU, through pooling and reshaping
    trace.verify()


# --- what is refused, and what is left behind ---


def nothing_is_left(folder: Path) -> bool:
    return os.listdir(folder) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fd", "filter", [[1]]), "unknown layer 'fd'"),
        (("fc", "weights", [[1]]), "unknown role 'weights'"),
        (("fc", "filter", np.ones((36, 5), int)), r"fc/filter: shape must be \[5, 36\], as the network says"),
        (("fc", "filter", 3), "fc/filter: shape must be 1 to 8 integers >= 1"),
        (("fc", "recurrent", [[1]]), "fc/recurrent: a layer of kind linear has no operand recurrent"),
        (("pool", "filter", [[1]]), "a layer of kind pool has no operand filter"),
        (("fc", "filter", np.full((5, 36), 8)), r"fc/filter: values must be -8 to 7 \(4 bits, signed\), got 8 to 8"),
        (("fc", "ifmap", np.full((1, 36), -1)), r"fc/ifmap: values must be 0 to 15 \(4 bits, unsigned\), got -1 to -1"),
        (("fc", "filter", np.ones((5, 36))), "fc/filter: values must be integers for encoding dense, got dtype"),
    ],
)
def test_operands_that_do_not_fit_are_refused(tmp_path: Path, arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with TraceWriter(tmp_path / "a.trace", network(), name="n") as writer:
            writer.add(*arguments, bits=4)
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 0}, "bits: must be >= 1, got 0"),
        ({"bits": 33}, "bits: must be <= 32, got 33"),
        ({"bits": 8.0}, "bits: must be an integer, got 8.0"),
        ({"encoding": "densse"}, "unknown encoding 'densse'; did you mean dense"),
        ({"wide": 3}, "wide: unknown key"),
        ({"scale": 0}, "fc/filter: scale: must be > 0.0, got 0"),
        ({"scale": float("inf")}, "fc/filter: scale: must be a finite number, got inf"),
        ({"scale": [1.0] * 4}, r"fc/filter: scale must be one number, or one for each of the 5 first indices"),
        ({"scale": [1.0, 1, 1, 1, -1]}, "fc/filter: scale must be finite and > 0, got -1.0"),
        ({"scale": [1.0, 1, 1, 1, float("nan")]}, "fc/filter: scale must be finite and > 0, got nan"),
        ({"zero_point": 0.5}, "zero_point: must be an integer"),
        ({"zero_point": 2**31}, "zero_point: must be < 2147483648"),
        ({"zero_point": [0.5] * 5}, "fc/filter: zero_point must be one number"),
        ({"zero_point": [2**40] * 5}, "fc/filter: zero_point must fit 32 bits"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with TraceWriter(tmp_path / "a.trace", network(), name="n") as writer:
            writer.add("fc", "filter", np.ones((5, 36), int), **{"bits": 4, **options})
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"name": ""}, "name: "),
        ({"name": "n", "recipe": {"a": 1}}, "recipe: must be a list"),
        ({"name": "n", "recipe": [object()]}, "recipe: must be a list of plain JSON data"),
        ({"name": "n", "recipe": [float("nan")]}, "recipe: must be a list of plain JSON data"),
        ({"name": "n", "source": 5}, "source: must be text"),
    ],
)
def test_bad_titles_are_refused_at_once(tmp_path: Path, about: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TraceWriter(tmp_path / "a.trace", network(), **about)


def test_an_operand_is_added_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a.trace: fc/filter: is added twice"):
        with TraceWriter(tmp_path / "a.trace", network(), name="n") as writer:
            for _ in range(2):
                writer.add("fc", "filter", np.ones((5, 36), int), bits=4)


def test_generators_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fc/filter: shape must be \[5, 36\]"):
        with TraceWriter(tmp_path / "a.trace", network(), name="n") as writer:
            writer.add_generated("fc", "filter", (5, 35), GeneratorSpec())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_block_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = write(tmp_path / "a.trace")
    before = path.read_bytes()
    with pytest.raises(error):
        with TraceWriter(path, network(), name="n") as writer:
            writer.add("fc", "filter", np.ones((5, 36), int), bits=4)
            raise error
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.trace"]


@pytest.mark.parametrize("place", ["replace", "fsync"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_failed_finish_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    path = write(tmp_path / "a.trace")
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(os, place, fail)
    with pytest.raises((KeyboardInterrupt, ConfigError)):
        write(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.trace"]


@pytest.mark.parametrize("limit", [0, 1000, 5000])
def test_a_full_disk_is_reported(tmp_path: Path, limit: int) -> None:
    """A limit on the size of files stands in for the disk: it hits the spool (1152 bytes) or the finished file."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        with pytest.raises(ConfigError, match="a.trace: cannot be written: File too large"):
            with TraceWriter(tmp_path / "a.trace", network(), name="n", source="x" * 6000) as writer:
                writer.add("fc", "filter", np.ones((5, 36)), bits=32, encoding="float")
                writer.add("block/conv", "filter", np.ones((4, 3, 3, 3)), bits=32, encoding="float")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert nothing_is_left(tmp_path)


def test_an_operand_cut_short_is_not_built_upon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="cannot be written: an earlier operand was interrupted"):
        with TraceWriter(tmp_path / "a.trace", network(), name="n") as writer:
            with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
                patched.setattr(container.Spool, "_open", lambda *_: 1 // 0)
                writer.add("fc", "filter", np.ones((5, 36), int), bits=4)
            writer.add_generated("fc", "ifmap", (1, 36), GeneratorSpec())
    assert nothing_is_left(tmp_path)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        write(tmp_path / "missing" / "a.trace")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written: Is a directory"):
        write(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


# --- what the graph says ---


def test_signs_follow_the_graph() -> None:
    nodes = [
        Node("x", ops.Input((1, 4, 6, 6))),
        Node("conv", ops.Conv(4), ("x",)),
        Node("relu", ops.Activation("relu"), ("conv",)),
        Node("pool", ops.Pool(), ("relu",)),
        Node("leaky", ops.Activation("leaky_relu"), ("conv",)),
        Node("still", ops.Activation("leaky_relu"), ("relu",)),
        Node("sum", ops.Eltwise("add"), ("relu", "still")),
        Node("mixed", ops.Eltwise("add"), ("relu", "conv")),
        Node("difference", ops.Eltwise("sub"), ("relu", "still")),
        Node("join", ops.Concat(), ("relu", "conv")),
        Node("joined", ops.Concat(), ("relu", "sum")),
        Node("norm", ops.Norm(), ("relu",)),
        Node("soft", ops.Softmax(), ("conv",)),
        Node("lrn", ops.Norm("local"), ("relu",)),
    ]
    signed = signed_outputs(Network("signs", nodes))
    assert {name for name, value in signed.items() if not value} == {
        "relu", "pool", "still", "sum", "joined", "soft", "lrn",
    }  # fmt: skip


def test_fused_output_stops_where_the_data_fork() -> None:
    net = network()
    assert fused_output(net, net["block/conv"]).name == "relu"
    assert fused_output(net, net["fc"]).name == "fc"
    fork = Network("fork", [*net.nodes, Node("more", ops.Pool(), ("norm",))])
    assert fused_output(fork, fork["block/conv"]).name == "norm"
