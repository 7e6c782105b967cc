"""The base of encodings of factors, with a plain product of two matrices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.compress.base import run_step
from accelsim.compress.report import row_of
from accelsim.compress.state import Factors, TensorState
from accelsim.compress.store import stored
from accelsim.workload.encodings.base import ENCODINGS, Dims, encoding
from accelsim.workload.encodings.factored import Factored
from accelsim.workload.trace import Trace, TraceWriter
from tests.compress.helpers import make_step, network, state_of


class Product(Factored):
    """left @ right."""

    kind = "test_product"

    class Params(Factored.Params):
        """Nothing."""

    class Meta(Factored.Meta):
        """`rank`."""

        rank: int = pydantic.Field(ge=1)

    def core_shapes(self, meta: Any, shape: Dims) -> dict[str, Dims]:
        return {"left": (shape[0], meta.rank), "right": (meta.rank, shape[1])}

    def rebuild(self, cores: list[NDArray[np.float32]], meta: Any, shape: Dims) -> NDArray[np.float32]:
        return cores[0] @ cores[1]

    def fit(self, values: NDArray[np.float32], params: Any) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        return {"left": np.eye(values.shape[0], dtype=np.float32), "right": values}, {"rank": values.shape[0]}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    ENCODINGS.names()
    ENCODINGS._items[Product.kind] = Product
    yield
    del ENCODINGS._items[Product.kind]


def decomposed(rank: int = 3) -> TensorState:
    """fc2 of the tiny network as a product of two."""
    state = state_of(np.random.default_rng(0).standard_normal((5, 10)))
    state.layer = network()["fc2"]
    u, s, vt = np.linalg.svd(np.asarray(state.original), full_matrices=False)
    arrays = {"left": (u[:, :rank] * s[:rank]).astype(np.float32), "right": vt[:rank].astype(np.float32)}
    cores = [TensorState(state.layer, state.role, a.shape, a, part=n) for n, a in arrays.items()]
    state.decompose(Factors("test_product", cores, {"rank": rank}, lambda found: found[0] @ found[1]))
    return state


def test_factors_survive_a_trace_with_their_own_quantization(tmp_path: Path) -> None:
    state = decomposed()
    cores = state.factors.cores  # type: ignore[union-attr]
    run_step(make_step("uniform", bits=4, granularity="channel"), cores[0])
    run_step(make_step("kmeans", bits=3), cores[1])
    run_step(make_step("encode", format="huffman"), state)
    kept = stored(state)
    with TraceWriter(tmp_path / "a.trace", network(), name="a") as writer:
        writer.add_spec(kept.spec, kept.payload)
    trace = Trace.open(tmp_path / "a.trace")
    trace.verify()
    operand = trace.operand("fc2", "filter")
    assert operand is not None and operand.encoding == "test_product" and operand.bits == 4
    assert np.array_equal(operand.values(), state.values)
    codec = encoding("test_product")
    assert isinstance(codec, Factored)
    back = codec.cores(operand.payload(), operand.meta, operand.shape)
    assert all(np.array_equal(a, core.values) for a, core in zip(back, cores, strict=True))
    assert set(codec.core_payload(operand.payload(), "left")) == {"lengths", "data", "scale"}
    assert (operand.payload_bits, operand.index_bits) == (kept.payload_bits, kept.index_bits)


def test_bits_of_factors_add_up() -> None:
    state = decomposed()
    for core in state.factors.cores:  # type: ignore[union-attr]
        run_step(make_step("uniform", bits=6), core)
    kept = stored(state)
    assert (kept.payload_bits, kept.index_bits) == (6 * (5 * 3 + 3 * 10), 64)
    row = row_of(state, kept)
    assert (row.parameters, row.bits, row.encoding) == (50, 6, "test_product")
    error = np.linalg.norm(state.values - np.asarray(state.original)) / np.linalg.norm(np.asarray(state.original))
    assert row.relative_error == pytest.approx(float(error), rel=1e-5)


def test_encode_keeps_values_exactly() -> None:
    codec, x = Product(), np.random.default_rng(1).standard_normal((4, 7)).astype(np.float32)
    x[0] = 0
    found = codec.encode(x, 32)
    assert np.array_equal(codec.decode(found.payload, found.meta, x.shape, 32, True), x)
    assert found.nonzeros == 21


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 2}, "cores must be"),
        ({"rank": 0}, "rank: must be >= 1"),
        ({"cores": []}, "cores"),
        ({"cores": "renamed"}, "cores must be"),
        ({"cores": "nested"}, "core right must not be factored itself"),
        ({"cores": "narrow"}, "bits must be 16|format"),
    ],
)
def test_cores_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    codec, x = Product(), np.ones((3, 4), np.float32)
    found = codec.encode(x, 32)
    cores = [dict(core) for core in found.meta["cores"]]
    if change.get("cores") == "renamed":
        cores[0]["name"] = "other"
        change = {"cores": cores}
    elif change.get("cores") == "nested":
        cores[1]["encoding"] = "test_product"
        change = {"cores": cores}
    elif change.get("cores") == "narrow":
        change = {"cores": [{**core, "bits": 16} for core in cores]}
    with pytest.raises(ConfigError, match=message):
        codec.decode(found.payload, {**found.meta, **change}, x.shape, 32, True)
