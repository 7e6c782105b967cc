"""Several inputs of one network: mean and spread; published densities by name; what is refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from statistics import mean, stdev

import pytest

import accelsim
from accelsim.base.errors import ConfigError
from accelsim.system.spread import Summary
from accelsim.workload.densities import list_density_tables, load_density_table, published_densities
from accelsim.workload.load import load_network
from tests.cli.command import call


def test_inputs_are_whole_runs_with_the_same_weights() -> None:
    spread = accelsim.run_inputs("nullhop", "lenet5", 3, activation_density=0.4, seed=7)
    alone = [accelsim.run("nullhop", "lenet5", activation_density=0.4, seed=7, activation_seed=s) for s in (7, 8, 9)]
    assert [r.cycles for r in spread.results] == [r.cycles for r in alone]
    assert len({r.cycles for r in alone}) == 3
    assert alone[0].trace_hash == accelsim.run("nullhop", "lenet5", activation_density=0.4, seed=7).trace_hash
    cycles, energy = spread.total()["cycles"], spread.total()["energy_pj"]
    assert cycles.mean == pytest.approx(mean(r.cycles for r in alone))
    assert cycles.std == pytest.approx(stdev(r.cycles for r in alone))
    assert (energy.low, energy.high) == (min(r.energy_pj for r in alone), max(r.energy_pj for r in alone))
    layers = [spread.layer(i)["cycles"].mean for i in range(len(spread.layers))]
    assert sum(layers) == pytest.approx(cycles.mean)


def test_weights_stay_and_activations_change() -> None:
    first, other = (accelsim.open_workload("lenet5", weight_density=0.5, activation_seed=s) for s in (None, 1))
    same = {role: [trace.operand("conv2", role) for trace in (first, other)] for role in ("filter", "ifmap")}
    values = {role: [of.values() for of in pair if of is not None] for role, pair in same.items()}
    assert (values["filter"][0] == values["filter"][1]).all()
    assert (values["ifmap"][0] != values["ifmap"][1]).any()


def test_one_value_has_no_spread() -> None:
    assert Summary.of([3]) == Summary(3.0, 0.0, 3, 3)


def test_the_command_prints_and_writes_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = ("run", "eie", "alexnet", "--only", "fc8", "--densities", "eie", "--inputs", 3)
    shown = call(capsys, *run, "--json", tmp_path / "s.json")
    assert shown.code == 0 and "Over 3 inputs" in shown.out and "3: seed 0, seed 1, seed 2" in shown.out
    found = json.loads((tmp_path / "s.json").read_text())
    assert len(found["inputs"]) == 3 and found["layers"][0]["layer"] == "fc8"
    rows = list(csv.DictReader(io.StringIO(call(capsys, *run, "--csv", "-").out)))
    assert [row["layer"] for row in rows] == ["fc8", "total"]
    assert float(rows[0]["cycles_mean"]) == pytest.approx(found["layers"][0]["cycles"]["mean"])


def test_several_traces_are_several_inputs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for seed in (1, 2):
        accelsim.open_workload("lenet5", activation_density=0.3, activation_seed=seed).write(tmp_path / f"{seed}.trace")
    shown = call(capsys, "run", "cnvlutin", tmp_path / "1.trace", tmp_path / "2.trace", "--layers", "none")
    assert shown.code == 0 and "2: 1, 2" in shown.out
    accelsim.open_workload("lenet_300_100").write(tmp_path / "other.trace")
    wrong = call(capsys, "run", "cnvlutin", tmp_path / "1.trace", tmp_path / "other.trace")
    assert wrong.code == 2 and "input other: must have the layers of the first input, 1" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("scnn", "mtcnn_onet", "--inputs", 2), "holds one input; name several traces of the network"),
        (("scnn", "lenet5", "--inputs", 0), "inputs: must be at least 1, got 0"),
        (("scnn", "lenet5", "--inputs", 2, "--timeline", "t.json"), "--timeline: shows one input"),
        (("scnn", "mtcnn_onet", "mtcnn_pnet", "--inputs", 2), "several traces are several inputs"),
        (("scnn", "lenet5", "--densities", "eyeriss"), "unknown network in the density table 'eyeriss' 'lenet5'"),
        (("scnn", "alexnet", "--densities", "eyeris"), "unknown density table 'eyeris'; did you mean eyeriss?"),
        (("scnn", "mtcnn_onet", "--densities", "han2015"), "a trace holds its own shapes and operands; densities"),
    ],
)
def test_what_is_refused(arguments: tuple[object, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = call(capsys, "run", *arguments)
    assert shown.code == 2 and message in shown.err


@pytest.mark.parametrize("name", list_density_tables())
def test_shipped_tables_fit_their_networks(name: str) -> None:
    table = load_density_table(name)
    assert table.name == name and table.source
    for network in table.networks:
        found = published_densities(name, load_network(network))
        assert found and all(0 < value <= 1 for of in found.values() for value in of.values())


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nsource: me\nnetworks:\n  lenet5:\n    c9: {weights: 0.5}\n")
    with pytest.raises(ConfigError, match="density table 'mine', lenet5: unknown layer 'c9'"):
        published_densities(path, load_network("lenet5"))
    path.write_text("name: mine\nsource: me\nnetworks:\n  lenet5:\n    conv2: {weights: 1.5}\n")
    with pytest.raises(ConfigError, match="mine.yaml:5:.*conv2.weights: must be <= 1.0, got 1.5"):
        published_densities(path, load_network("lenet5"))
    path.write_text("name: mine\nsource: me\nnetworks:\n  lenet5:\n    conv2: {weights: 0.5}\n")
    trace = accelsim.open_workload("lenet5", densities=path, weight_density=0.9)
    conv, last = (trace.operand(layer, "filter") for layer in ("conv2", "fc2"))
    assert conv is not None and last is not None and 0.4 < conv.density < 0.6 < 0.85 < last.density


def test_digits_are_captured_by_number(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for sample in (0, 1):
        out = tmp_path / f"{sample}.trace"
        assert call(capsys, "capture", "lenet_digits", "--image", sample, "--out", out).code == 0
    first, other = (accelsim.open_workload(tmp_path / f"{sample}.trace") for sample in (0, 1))
    kept = [trace.operand("conv2", "filter") for trace in (first, other)]
    assert kept[0] is not None and kept[1] is not None and (kept[0].values() == kept[1].values()).all()
    spread = accelsim.run_inputs("nullhop", [first, other], overrides=["engine.dense=allow"])
    assert spread.total()["effectual_macs"].std > 0
    bad = call(capsys, "capture", "lenet_digits", "--image", 360, "--out", tmp_path / "x.trace")
    assert bad.code == 2 and "sample must be 0 to 359, got 360" in bad.err
    bad = call(capsys, "capture", "lenet_digits", "--image", "cat", "--out", tmp_path / "x.trace")
    assert bad.code == 2 and "--image: must be the number of a sample of the test data, got 'cat'" in bad.err
    bad = call(capsys, "capture", "lstm_digits", "--out", tmp_path / "x.trace")
    assert bad.code == 2 and "must be a network without recurrent layers" in bad.err
