"""SCALE-Sim topologies: the same GEMM as SCALE-Sim's, and faults placed by file, line and column."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base import yamlio
from accelsim.base.errors import ConfigError
from accelsim.workload import ops, scalesim_csv
from accelsim.workload.load import load_network
from accelsim.workload.network import Layer, Network
from accelsim.workload.scalesim_csv import load_scalesim_csv
from accelsim.workload.shapes import ConvShape, GemmShape
from tests.references import reference

CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
GEMM = "Layer, M, N, K,\n"


def load(path: Path, text: str) -> Network:
    file = path / "top.csv"
    file.write_text(text, encoding="utf-8")
    return load_scalesim_csv(file)


def gemm(layer: Layer) -> GemmShape:
    assert layer.work is not None
    return layer.work.to_gemm() if isinstance(layer.work, ConvShape) else layer.work  # type: ignore[return-value]


def test_convolution_form(tmp_path: Path) -> None:
    net = load(tmp_path, CONV + "Conv1, 224, 224, 11, 11, 3, 96, 4,\n\nConv2, 31, 31, 5, 5, 96, 256, 1,\n")
    assert [layer.name for layer in net] == ["Conv1.input", "Conv1", "Conv2.input", "Conv2"]
    assert net["Conv2"].inputs == ("Conv2.input",)  # no layer feeds another
    # (224 - 11) / 4 is no whole number: 54 outputs by the floor, 55 in SCALE-Sim
    assert net["Conv1"].out_shape == (1, 96, 55, 55)
    assert gemm(net["Conv1"]) == GemmShape(55 * 55, 96, 363)
    assert gemm(net["Conv2"]) == GemmShape(27 * 27, 256, 2400)
    assert net["Conv1"].params == 96 * 363
    assert isinstance(net["Conv1"].op, ops.Conv) and net["Conv1"].op.pad == (0, 0, 3, 3)
    assert isinstance(net["Conv2"].op, ops.Conv) and net["Conv2"].op.pad == (0, 0, 0, 0)
    assert net.name == "top" and "top.csv" in net.source


@pytest.mark.parametrize(
    "header", [CONV, CONV.replace("Strides,", "Stride H, Stride W"), CONV.replace("Strides", "Strides,")]
)
def test_two_strides(tmp_path: Path, header: str) -> None:
    net = load(tmp_path, header + "a, 9, 10, 3, 2, 4, 5, 2, 3,\n")
    assert net["a"].out_shape == (1, 5, 4, 4)


def test_gemm_form(tmp_path: Path) -> None:
    net = load(tmp_path, GEMM + "qk, 196, 192, 384,\nav, 196, 64, 1176\n")
    assert gemm(net["qk"]) == GemmShape(196, 192, 384) and net["qk"].params == 192 * 384
    assert gemm(net["av"]) == GemmShape(196, 64, 1176)


def test_names_may_repeat_or_be_absent(tmp_path: Path) -> None:
    net = load(tmp_path, GEMM + "a, 1, 2, 3\na, 1, 2, 3\n, 4, 5, 6\n")
    assert [layer.name for layer in net if layer.is_compute] == ["a", "a_2", "layer2"]


def test_dense_sparsity_column_is_accepted(tmp_path: Path) -> None:
    assert load(tmp_path, "Layer, M, N, K, Sparsity\na, 4, 5, 6, 1:1\n").macs == 120


def test_batch_multiplies_the_rows(tmp_path: Path) -> None:
    file = tmp_path / "top.csv"
    file.write_text(GEMM + "a, 4, 5, 6\n")
    assert gemm(load_network(file, batch=3)["a"]) == GemmShape(12, 5, 6)


sizes = st.integers(1, 40)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    h=sizes,
    w=sizes,
    r=st.integers(1, 9),
    s=st.integers(1, 9),
    c=sizes,
    m=sizes,
    th=st.integers(1, 9),
    tw=st.integers(1, 9),
)
def test_same_gemm_as_scalesim(
    tmp_path_factory: pytest.TempPathFactory, h: int, w: int, r: int, s: int, c: int, m: int, th: int, tw: int
) -> None:
    r, s = min(r, h), min(s, w)
    net = load(tmp_path_factory.getbasetemp(), CONV + f"x, {h}, {w}, {r}, {s}, {c}, {m}, {th}, {tw}\n")
    rows, cols = -(-(h - r + th) // th), -(-(w - s + tw) // tw)  # ceil((H - R + S) / S)
    assert gemm(net["x"]) == GemmShape(rows * cols, m, r * s * c)
    pad = net["x"].op.pad  # type: ignore[attr-defined]
    assert pad[:2] == (0, 0) and pad[2] < th and pad[3] < tw


def test_every_layer_that_scalesim_was_run_on(tmp_path: Path) -> None:
    with reference("scalesim/scalesim_layers.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 400
    columns = ["ifmap_h", "ifmap_w", "filt_h", "filt_w", "channels", "num_filt", "stride_h", "stride_w"]
    lines = [f"l{i}," + ",".join(row[c] for c in columns) for i, row in enumerate(rows)]
    net = load(tmp_path, CONV + "\n".join(lines))
    for i, row in enumerate(rows):
        assert gemm(net[f"l{i}"]) == GemmShape(int(row["M"]), int(row["N"]), int(row["K"])), row


def test_macs_of_the_reference_topologies(tmp_path: Path) -> None:
    # ViT-S as five GEMM rows: 275,165,184 MACs in the reference totals
    with reference("scalesim/scalesim_layers.csv").open(encoding="utf-8") as file:
        rows = {
            (row["layer_idx"], row["M"], row["N"], row["K"])
            for row in csv.DictReader(file)
            if "vit_s" in row["topology_file"]
        }
    net = load(tmp_path, GEMM + "".join(f"l{i}, {m}, {n}, {k}\n" for i, m, n, k in sorted(rows)))
    with reference("scalesim/network_totals_formula.csv").open(encoding="utf-8") as file:
        (macs,) = {int(row["macs"]) for row in csv.DictReader(file) if "vit_s" in row["topology_file"]}
    assert net.macs == macs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "top.csv: must have a header and at least one layer"),
        ("\n ,\n", "must have a header and at least one layer"),
        (CONV, "must have a header and at least one layer"),
        (
            CONV.replace("Channels, ", "") + "a, 1, 1, 1, 1, 1, 1\n",
            "top.csv:1: column 'Channels' is missing; there are Layer",
        ),
        ("Layer, M, K\na, 1, 2\n", "top.csv:1: column 'N' is missing; there are Layer name, M, K"),
        ("M, N, K\n1, 2, 3\n", "top.csv:1: column 'Layer name' is missing"),
        (
            CONV.replace("Filter Width", "Filter Wdth"),
            "top.csv:1: unknown column 'Filter Wdth'; did you mean Filter Width",
        ),
        ("Conv1, 224, 224, 11, 11, 3, 96, 4,\n", "top.csv:1: unknown column 'Conv1'"),
        ("Layer, M, N, K, M\na, 1, 2, 3, 4\n", "column 'M' stands twice"),
        ("Layer, M, N, K, Channels\na, 1, 2, 3, 4\n", "column 'Channels' does not belong beside Layer name, M, N, K"),
        (
            CONV + "a, 9, 9, 3, 3, 4, 5, 1\nb, 9, 9, -3, 3, 4, 5, 1\n",
            "top.csv:3: column 'Filter Height' must be an integer >= 1, got '-3'",
        ),
        (CONV + "a, 9, 9, 3, 3, 4.5, 5, 1\n", "top.csv:2: column 'Channels' must be an integer >= 1, got '4.5'"),
        (CONV + "a, 9, 9, 3, 3, 4, many, 1\n", "column 'Num Filter' must be an integer >= 1, got 'many'"),
        (CONV + "a, 9, 9, 3, 3, 4, 5, 0\n", "column 'Strides' must be an integer >= 1, got '0'"),
        (CONV + "a, 9, 9, 3, 3, 4, 5, 1, x\n", "column 'Stride Width' must be an integer >= 1, got 'x'"),
        (CONV + "a, 9, 9, 3\n", "column 'Filter Width' must be an integer >= 1, got ''"),
        (CONV + "a, 9, 9, 3, 3, 4, 5, 1, 1, 1\n", "must have 8 columns .Layer name, .*, got 10"),
        (CONV + "a, 9, 9, 3, 10, 4, 5, 1\n", "column 'Filter Width' must be at most the IFMAP Width 9, got 10"),
        (CONV + f"a, {2**31}, {2**31}, 1, 1, {2**31}, 5, 1\n", "top.csv:2: .*overflows 63 bits"),
        (GEMM + f"a, {10**18}, {10**18}, 5\n", "top.csv:2: .*overflows 63 bits"),
        (GEMM + f"a, {'9' * 40}, 4, 5\n", "column 'M' must be an integer >= 1, got '9999"),
        (
            "Layer, M, N, K, Sparsity\na, 4, 5, 6, 2:4\n",
            "column 'Sparsity' must be empty or 1:1: a density belongs into a trace",
        ),
        (GEMM + 'a, 1, 2, "3\n', "column 'K' must be an integer|not a valid CSV line"),
    ],
)
def test_faults(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_the_number_of_rows_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scalesim_csv, "MAX_ROWS", 10)
    assert len(load(tmp_path, GEMM + "a, 1, 1, 1\n" * 10)) == 20
    with pytest.raises(ConfigError, match="top.csv:12: a topology must have at most 10 layers"):
        load(tmp_path, GEMM + "a, 1, 1, 1\n" * 11)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    with file.open("wb") as handle:
        handle.truncate(yamlio.MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="a topology file must be at most 8388608 bytes, got 8388609"):
        load_scalesim_csv(file)


def test_other_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere.csv: cannot be read: No such file"):
        load_scalesim_csv(tmp_path / "nowhere.csv")
    (tmp_path / "binary.csv").write_bytes(b"Layer, M\xff")
    with pytest.raises(ConfigError, match="must be UTF-8 text, but byte 8 is not"):
        load_scalesim_csv(tmp_path / "binary.csv")
