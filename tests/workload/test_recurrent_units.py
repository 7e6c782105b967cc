"""Compact recurrent units (Section III-B2 of the survey): parameters and MACs, counted off their equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.workload import ops
from accelsim.workload.cells import CELLS
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.shapes import GemmShape, RecurrentShape
from accelsim.workload.trace_format import role_shapes


class Unit:
    """Runs equations and counts what they use: parameters once, multiplications of matrices every time."""

    def __init__(self, seed: int = 0) -> None:
        self.rng, self.held, self.macs = np.random.default_rng(seed), {}, 0

    def array(self, name: str, *shape: int) -> Any:
        if name not in self.held:
            self.held[name] = self.rng.standard_normal(shape)
        return self.held[name]

    def dot(self, name: str, rows: int, vector: Any) -> Any:
        self.macs += rows * vector.size
        return self.array(name, rows, vector.size) @ vector

    def bias(self, name: str, size: int) -> Any:
        return self.array("b" + name, size)

    @property
    def params(self) -> int:
        return sum(array.size for array in self.held.values())


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def both(u: Unit, gate: str, n: int, x: Any, h: Any) -> Any:
    return u.dot("W" + gate, n, x) + u.dot("U" + gate, n, h) + u.bias(gate, n)


def lstm(u: Unit, n: int, x: Any, past: Any, peep: bool = False, out: int = 0) -> Any:
    h, c = past
    seen = [u.array("p" + g, n) * c if peep else 0 for g in "fio"]
    f, i = (sigmoid(both(u, g, n, x, h) + p) for g, p in zip("fi", seen, strict=False))
    c = f * c + i * np.tanh(both(u, "g", n, x, h))
    o = sigmoid(both(u, "o", n, x, h) + seen[2])
    h = o * np.tanh(c)
    return (u.dot("projection", out, h) if out else h), c


def gru(u: Unit, n: int, x: Any, past: Any) -> Any:
    h, c = past
    z, r = sigmoid(both(u, "z", n, x, h)), sigmoid(both(u, "r", n, x, h))
    g = np.tanh(u.dot("Wg", n, x) + r * u.dot("Ug", n, h) + u.bias("g", n))
    return (1 - z) * h + z * g, c


def mgu(u: Unit, n: int, x: Any, past: Any) -> Any:
    h, c = past
    f = sigmoid(both(u, "f", n, x, h))
    return (1 - f) * h + f * np.tanh(u.dot("Wg", n, x) + f * u.dot("Ug", n, h) + u.bias("g", n)), c


def s_lstm(u: Unit, n: int, x: Any, past: Any) -> Any:
    h, c = past
    f = sigmoid(both(u, "f", n, x, h))
    c = f * c + (1 - f) * np.tanh(both(u, "c", n, x, h))
    return np.tanh(c), c


def janet(u: Unit, n: int, x: Any, past: Any) -> Any:
    h, _ = past
    s = both(u, "f", n, x, h)
    c = sigmoid(s) * h + (1 - sigmoid(s - 1)) * np.tanh(both(u, "c", n, x, h))
    return c, c


def qrnn(u: Unit, n: int, x: Any, past: Any, before: Any) -> Any:
    _, c = past
    z, f, o = (u.dot("W" + g, n, np.concatenate([x, before])) + u.bias(g, n) for g in "zfo")
    c = sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(z)
    return sigmoid(o) * c, c


def sru(u: Unit, n: int, x: Any, past: Any) -> Any:
    _, c = past
    f, r = (sigmoid(u.dot("W" + g, n, x) + u.array("v" + g, n) * c + u.bias(g, n)) for g in "fr")
    c = f * c + (1 - f) * u.dot("W", n, x)
    return r * c + (1 - r) * (x if x.size == n else u.dot("skip", n, x)), c


def indrnn(u: Unit, n: int, x: Any, past: Any) -> Any:
    h, c = past
    return sigmoid(u.dot("W", n, x) + u.array("u", n) * h + u.bias("", n)), c


def rnn(u: Unit, n: int, x: Any, past: Any) -> Any:
    h, c = past
    return np.tanh(both(u, "", n, x, h)), c


EQUATIONS: dict[str, Any] = {
    "lstm": lstm, "gru": gru, "mgu": mgu, "s_lstm": s_lstm, "janet": janet, "qrnn": qrnn, "sru": sru, "indrnn": indrnn,
    "rnn": rnn, "lstm_peephole": lambda u, n, x, past: lstm(u, n, x, past, peep=True),
}  # fmt: skip


def run(equation: Any, hidden: int, features: int, steps: int, out: int = 0) -> tuple[Unit, Any]:
    unit, rng = Unit(), np.random.default_rng(1)
    past, before = (np.zeros(out or hidden), np.zeros(hidden)), np.zeros(features)
    for _ in range(steps):
        x = rng.standard_normal(features)
        past = equation(unit, hidden, x, past, before) if equation is qrnn else equation(unit, hidden, x, past)
        before = x
    return unit, past[0]


def layer(cell: str, features: int = 5, steps: int = 4, batch: int = 1, **fields: Any) -> Any:
    fields = {"hidden": 6, "bias_vectors": 1, **fields}
    nodes = [Node("x", ops.Input((batch, steps, features))), Node("unit", ops.Recurrent(cell, **fields), ("x",))]
    return Network("net", nodes)["unit"]


@pytest.mark.parametrize("features", [5, 6])
@pytest.mark.parametrize("cell", list(CELLS))
def test_units_have_the_parameters_and_macs_of_their_equations(cell: str, features: int) -> None:
    unit, h = run(EQUATIONS[cell], 6, features, 4)
    found = layer(cell, features)
    assert (found.params, found.macs) == (unit.params, unit.macs)
    assert found.out_shape == (1, 4, h.size)


def test_every_cell_has_equations_here() -> None:
    assert set(EQUATIONS) == set(CELLS)


def test_projected_lstm() -> None:
    unit, h = run(lambda u, n, x, past: lstm(u, n, x, past, peep=True, out=3), 8, 5, 4, out=3)
    found = layer("lstm_peephole", hidden=8, projection=3)
    assert (found.params, found.macs, found.out_shape) == (unit.params, unit.macs, (1, 4, h.size))
    # Sak, Senior and Beaufays, INTERSPEECH 2014, Section 2.2, without the output layer and without biases
    assert layer("lstm_peephole", hidden=8, projection=3, bias=False).params == 4 * 8 * 3 + 4 * 5 * 8 + 8 * 3 + 3 * 8


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_group_lstm_has_a_part_of_the_weights(groups: int) -> None:
    # equation 14: each group is an LSTM on its own part of input and state
    whole, part = layer("lstm", features=12, bias=False), layer("lstm", features=12, groups=groups, bias=False)
    alone = layer("lstm", features=12 // groups, hidden=6 // groups, bias=False)
    assert part.params * groups == whole.params and part.params == groups * alone.params
    assert part.macs * groups == whole.macs
    assert part.work.input_gemm.batch == groups and part.work.step_gemms["recurrent"].batch == groups


def test_factorized_lstm() -> None:
    # Kuchaiev and Ginsburg, 2017, Section 2.1: T (2p x 4n) becomes (2p x r) and (r x 4n)
    found = layer("lstm", features=6, rank=2, bias=False)
    assert found.weights == {"filter": (2, 6), "recurrent": (2, 6), "expansion": (24, 2)}
    assert found.params == 12 * 2 + 2 * 24
    assert found.macs == 4 * found.params
    assert list(found.work.step_gemms) == ["recurrent", "expansion"]


def test_a_big_lstm_with_projection_as_published() -> None:
    # BIGLSTM of Kuchaiev and Ginsburg, 2017, Table 1: two layers of 8192 with projections to 1024, 151,060,480
    # "RNN parameters"; BIG F-LSTM with 512 between, 52,494,336; BIG G-LSTM with 4 groups, 50,397,184.
    def total(**fields: Any) -> int:
        return 2 * layer("lstm", 1024, hidden=8192, projection=1024, **fields).params

    assert (total(), total(rank=512), total(groups=4)) == (151_060_480, 52_494_336, 50_397_184)


def test_directions_double_everything() -> None:
    for fields in ({}, {"projection": 4}, {"rank": 2}, {"groups": 2}):
        one, two = (layer("lstm", features=8, hidden=8, directions=d, **fields) for d in (1, 2))
        assert two.params == 2 * one.params and two.macs == 2 * one.macs
        assert two.out_shape[-1] == 2 * one.out_shape[-1]


def test_operands_of_the_new_matrices_have_places_in_a_trace() -> None:
    found = layer("lstm", features=6, rank=2, projection=3)
    assert role_shapes(found, "expansion") == ((24, 2),)
    assert role_shapes(found, "projection") == ((3, 6),)
    assert role_shapes(found, "state") == ((1, 4, 3),)
    assert role_shapes(found, "bias") == ((24,), (1, 24))
    assert role_shapes(layer("sru"), "state") == () and role_shapes(layer("sru"), "bias") == ((12,), (1, 12))


def test_shape_of_a_recurrence_without_a_matrix() -> None:
    work = layer("indrnn", batch=3).work
    assert isinstance(work, RecurrentShape)
    assert work.step_gemms == {} and work.input_gemm == GemmShape(12, 6, 5) and work.macs == 12 * 30


def test_window_of_a_qrnn() -> None:
    assert layer("qrnn").weights["filter"] == (18, 10)
    assert layer("qrnn", window=3).weights["filter"] == (18, 15)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cell": "lstm", "groups": 4}, "groups must divide features, got groups=4, features=5"),
        ({"cell": "lstm", "features": 4, "groups": 4}, "groups must divide hidden, got groups=4, hidden=6"),
        ({"cell": "lstm", "features": 6, "groups": 3, "rank": 4}, "groups must divide rank, got groups=3, rank=4"),
        ({"cell": "sru", "projection": 3}, "rank and projection need a cell whose gates all read the state"),
        ({"cell": "qrnn", "rank": 3}, "rank and projection need a cell whose gates all read the state"),
        ({"cell": "lstm", "rank": -1}, "rank must be an integer >= 0, got -1"),
    ],
)
def test_bad_units(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layer(**fields)


def test_shipped_network_has_every_unit_of_the_survey() -> None:
    network = load_network("recurrent_units")
    cells = {la.op.cell for la in network if isinstance(la.op, ops.Recurrent)}
    assert cells == set(CELLS) - {"rnn", "lstm_peephole"}
    assert network["lstm_groups"].params - 256 == (network["lstm"].params - 256) // 2
