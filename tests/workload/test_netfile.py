"""Network files: blocks, repeats, expressions; every fault is placed by file, line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.workload import netfile, ops
from accelsim.workload.expand import MAX_STEPS
from accelsim.workload.netfile import load_network_file, read_header
from accelsim.workload.network import Network

HEAD = """\
name: tiny
source: made up
inputs: {image: [1, 3, 8, 8]}
"""


def write(path: Path, text: str) -> Path:
    file = path / "tiny.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def load(path: Path, body: str, head: str = HEAD) -> Network:
    return load_network_file(write(path, head + body))


def names(net: Network) -> list[str]:
    return [layer.name for layer in net]


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    assert netfile.__doc__ is not None
    text = "\n".join(line[4:] for line in netfile.__doc__.splitlines() if line.startswith("    "))
    file = write(tmp_path, text)
    net = load_network_file(file)
    header = read_header(file)
    assert (net.params, net.macs) == (header.parameters, header.macs)
    assert all(figure.agrees(figure.ours(net)) for figure in header.published)
    assert names(net) == [
        "image",
        "stem.conv",
        "stem.relu",
        "body.0.conv",
        "body.0.relu",
        "body.1.conv",
        "body.1.relu",
        "sum",
    ]
    assert net["sum"].inputs == ("stem.relu", "body.1.relu")


def test_layers_follow_each_other_or_say_from(tmp_path: Path) -> None:
    net = load(
        tmp_path,
        """
layers:
  - {name: a, op: conv, channels: 4}
  - {name: b, op: conv, channels: 4, from: image}
  - {op: activation}
  - {op: activation}
  - {op: activation, mode: tanh}
  - {op: eltwise, from: [a, tanh]}
""",
    )
    assert names(net) == ["image", "a", "b", "relu", "relu_2", "tanh", "eltwise"]
    assert [layer.inputs for layer in net] == [
        (),
        ("image",),
        ("image",),
        ("b",),
        ("relu",),
        ("relu_2",),
        ("a", "tanh"),
    ]


def test_every_field_reaches_its_operator(tmp_path: Path) -> None:
    net = load(
        tmp_path,
        """
layers:
  - name: a
    op: conv
    channels: 6
    kernel: [3, 1]
    stride: [1, 2]
    pad: [1, 0, 1, 2]
    dilation: [1, 2]
    groups: 3
    bias: false
  - {name: p, op: pool, mode: avg, kernel: global, pad: valid, ceil: true}
""",
    )
    assert net["a"].op == ops.Conv(6, (3, 1), (1, 2), (1, 0, 1, 2), (1, 2), 3, False)
    assert net["p"].op == ops.Pool("avg", "global", None, "valid", True)


BLOCKS = """
variables: {width: 4, deep: true}
blocks:
  inner:
    needs: [channels]
    defaults: {kernel: 1, twice: "${2 * channels}"}
    output: first
    layers:
      - {name: "first", op: conv, channels: $channels, kernel: $kernel, pad: same}
      - {name: side, op: conv, channels: $twice}
  outer:
    inputs: [x, y]
    needs: [n]
    layers:
      - {name: both, op: eltwise, from: [x, y]}
      - {name: rest, use: inner, repeat: $n, with: {channels: "${width}", kernel: "${1 + 2 * i}"}}
      - {name: last, op: eltwise, from: [rest, rest.0, x]}
layers:
  - {name: a, op: conv, channels: $width}
  - {name: b, use: inner, with: {channels: $width, twice: 3}}
  - {name: c, use: outer, from: [a, b], with: {n: 3}}
  - {name: d, op: activation, when: "${not deep}"}
  - {name: e, op: eltwise, from: [d, c], when: $deep}
"""


def test_blocks(tmp_path: Path) -> None:
    net = load(tmp_path, BLOCKS)
    assert names(net) == [
        "image",
        "a",
        "b.first",
        "b.side",
        "c.both",
        "c.rest.0.first",
        "c.rest.0.side",
        "c.rest.1.first",
        "c.rest.1.side",
        "c.rest.2.first",
        "c.rest.2.side",
        "c.last",
        "e",
    ]
    assert net["c.both"].inputs == ("a", "b.first")  # b stands for its output
    assert net["c.rest.1.first"].inputs == ("c.rest.0.first",)
    assert net["c.last"].inputs == ("c.rest.2.first", "c.rest.0.first", "a")
    assert net["e"].inputs == ("c.last", "c.last")  # d is left out and stands for c
    kernels = [layer.op.kernel for layer in net if isinstance(layer.op, ops.Conv) and layer.name.endswith("first")]
    assert kernels == [1, 1, 3, 5]
    assert [net[name].out_shape[1] for name in ("b.side", "c.rest.0.side")] == [3, 8]


def test_variables_can_be_set_from_outside(tmp_path: Path) -> None:
    file = write(tmp_path, HEAD + BLOCKS)
    assert load_network_file(file, {"width": 7})["a"].out_shape == (1, 7, 8, 8)
    with pytest.raises(ConfigError, match="tiny.yaml: unknown variable 'widht'; did you mean width"):
        load_network_file(file, {"widht": 7})


def test_lists_and_text_pass_through_parameters(tmp_path: Path) -> None:
    net = load(
        tmp_path,
        """
variables: {suffix: th}
blocks:
  b:
    needs: [kernel, mode]
    layers:
      - {op: conv, channels: 2, kernel: $kernel, pad: same}
      - {op: activation, mode: "ge${mode}"}
layers:
  - {use: b, with: {kernel: [3, 1], mode: lu}}
""",
    )
    assert net["b.conv"].op == ops.Conv(2, (3, 1), pad="same")
    assert net["b.gelu"].op == ops.Activation("gelu")


def test_a_block_with_its_own_input(tmp_path: Path) -> None:
    net = load(
        tmp_path,
        """
blocks:
  cached:
    layers:
      - {name: past, op: input, shape: [1, 3, 8, 2]}
      - {op: concat, from: [past, input], axis: 3}
layers:
  - {name: x, use: cached}
""",
    )
    assert net["x.past"].inputs == () and net["x.concat"].out_shape == (1, 3, 8, 10)


# --- faults: the text, then what the message must be; the place is that of the mark @ ---

FAULTS = [
    ("layers:\n  - {op: conv, @chanels: 4}\n", "layers[0].chanels: unknown key; did you mean channels?"),
    (
        "layers:\n  - {op: conv, @colour: 4, channels: 1}\n",
        "layers[0].colour: unknown key; known keys: op, name, from",
    ),
    ("layers:\n  - @{op: conv}\n", "layers[0]: key 'channels' is required but missing"),
    ("layers:\n  - {op: conv, @channels: '4'}\n", "layers[0].channels: must be an integer >= 1, got '4'"),
    ("layers:\n  - {op: conv, @channels: 4.0}\n", "layers[0].channels: must be an integer >= 1, got 4.0"),
    ("layers:\n  - {op: conv, @channels: 0}\n", "layers[0].channels: must be an integer >= 1, got 0"),
    (
        "layers:\n  - {op: conv, channels: 4, @kernel: [3, 3, 3]}\n",
        "layers[0].kernel: must be an integer >= 1 or a list of 2 integers >= 1, got [3, 3, 3]",
    ),
    ("layers:\n  - {op: pool, @mode: avrg}\n", 'layers[0].mode: must be one of "max", "avg", got \'avrg\''),
    (
        "layers:\n  - {@op: convolution}\n",
        "layers[0].op: unknown operator 'convolution'; did you mean activation or conv?",
    ),
    ("layers:\n  - {@op: 3}\n", "layers[0].op: must be the name of an operator, got 3"),
    (
        "layers:\n  - @{opp: conv}\n",
        "layers[0]: a layer needs the key 'op' (an operator) or 'use' (a block); did you mean op?",
    ),
    (
        "layers:\n  - @{zzz: conv}\n",
        "layers[0]: a layer needs the key 'op' (an operator) or 'use' (a block), got 'zzz'",
    ),
    ("layers:\n  - {op: activation, @from: imagee}\n", "layers[0].from: unknown layer 'imagee'; did you mean image?"),
    (
        "layers:\n  - {op: activation, @from: [1]}\n",
        "layers[0].from: must be the name of a layer or a list of names, got 1",
    ),
    (
        "layers:\n  - {op: activation, @from: later}\n  - {name: later, op: activation}\n",
        "layers[0].from: unknown layer",
    ),
    ("layers:\n  - {op: activation, @name: a.b}\n", "layers[0].name: must be a name of at most 100 letters, digits"),
    (
        "layers:\n  - {op: activation, name: a}\n  - {op: activation, @name: a}\n",
        "layers[1].name: the name 'a' is used twice",
    ),
    ("layers:\n  - {op: activation, @when: 1}\n", "layers[0].when: must be true or false, got 1"),
    (
        "layers:\n  - {op: parameter, shape: [1], @when: false}\n",
        "layers[0].when: only a layer that reads another can be left out",
    ),
    ("layers:\n  - {op: conv, @channels: '${widht}'}\n", "layers[0].channels: unknown name 'widht'"),
    ("layers:\n  - {op: conv, @channels: '${1 +}'}\n", "layers[0].channels: '1 +' is not an expression"),
    ("layers:\n  - {op: conv, @channels: $width}\n", "layers[0].channels: unknown name 'width'"),
    ("layers:\n  - {op: conv, @channels: '${9 ** 9 ** 9}'}\n", "layers[0].channels: the result of ** is too large"),
    ("layers:\n  - @{op: conv, channels: 4, kernel: 9}\n", "layers[0] (conv): ConvShape: the filter (9x9"),
    ("layers:\n  - @{op: matmul}\n", "layers[0] (matmul): matmul needs 2 inputs, got 1"),
    ("@layers: []\n", "layers: must have at least one layer"),
    ("layers:\n  - {@use: blok}\n", "layers[0].use: unknown block 'blok'; there are none"),
    ("layers:\n  - {@use: [b]}\n", "layers[0].use: must be the name of a block, got ['b']"),
    ("@layers: 3\n", "layers: must be a list, got 3"),
    ("layers:\n  - @conv\n", "layers[0]: must be a mapping, got 'conv'"),
    ("layers:\n  - {op: softmax}\n@layer: 1\n", "layer: unknown key; did you mean layers?"),
    (
        "layers:\n  - {op: activation}\ncounts: {@parameters: 3, macs: 0}\n",
        "counts.parameters: must be 0, which is what the layers",
    ),
    (
        "layers:\n  - {op: conv, channels: 2}\ncounts: {parameters: 8, @macs: 5}\n",
        "counts.macs: must be 384, which is",
    ),
]
B = "blocks:\n  b:\n    needs: [n]\n    layers:\n      - {op: conv, channels: $n}\n"
BLOCK_FAULTS = [
    (B + "layers:\n  - @{use: b}\n", "layers[0].with: block b needs 'n'"),
    (B + "layers:\n  - {use: b, with: {@m: 3}}\n", "layers[0].with.m: unknown key; known keys: n"),
    (B + "layers:\n  - {use: b, @with: 3}\n", "layers[0].with: must be a mapping, got 3"),
    (B + "layers:\n  - {use: b, with: {n: 2}, @repeat: 0}\n", "layers[0].repeat: must be an integer >= 1, got 0"),
    (B + "layers:\n  - {use: b, with: {n: 2}, @repeat: 2.5}\n", "layers[0].repeat: must be an integer >= 1, got 2.5"),
    (
        B + "layers:\n  - {use: b, with: {n: 2}, @repeats: 2}\n",
        "layers[0].repeats: unknown key; did you mean repeat?",
    ),
    (
        B + "layers:\n  - {use: b, with: {n: 2}, @from: [image, image]}\n",
        "layers[0].from: block b reads 1 layers, got 2",
    ),
    (
        B + "layers:\n  - {name: q, op: conv, channels: 2}\n  - {@use: c}\n",
        "layers[1].use: unknown block 'c'; known: b",
    ),
    (
        "blocks:\n  b:\n    needs: [n]\n    layers:\n      - {op: conv, @channels: $n}\n"
        "layers:\n  - {name: q, use: b, repeat: 2, with: {n: x}}\n",
        "blocks.b.layers[0].channels (in q.0): must be an integer >= 1, got 'x'",
    ),
    (
        "blocks:\n  b:\n    layers:\n      - {name: c, op: activation, @from: image}\nlayers:\n  - {name: q, use: b}\n",
        "blocks.b.layers[0].from (in q): unknown layer 'image'; known: input",
    ),
    (
        "blocks:\n  b:\n    layers:\n      - {op: activation}\n    @output: x\nlayers:\n  - {name: q, use: b}\n",
        "blocks.b.output (in q): unknown layer 'x'",
    ),
    (
        "blocks:\n  b: {layers: [{op: softmax}], @lairs: []}\nlayers:\n  - {use: b}\n",
        "blocks.b.lairs: unknown key; did you mean layers?",
    ),
    (
        "blocks:\n  b:\n    layers:\n      - {@use: c}\n  c:\n    layers:\n      - {use: b}\nlayers:\n  - {use: c}\n",
        "blocks.b.layers[0].use (in c.b): blocks may not use themselves, nor nest more than 12 deep: c > b > c",
    ),
]


@pytest.mark.parametrize(("text", "message"), FAULTS + BLOCK_FAULTS)
def test_faults_are_placed(tmp_path: Path, text: str, message: str) -> None:
    before = (HEAD + text).split("@")[0] if "@" in text else ""
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    file = write(tmp_path, HEAD + text.replace("@", ""))
    with pytest.raises(ConfigError) as caught:
        load_network_file(file)
    assert str(caught.value).startswith(f"{file}:{line}:{column}: {message}")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("source: s\ninputs: {x: [1]}\n", r"tiny.yaml:1:1: key 'name' is required"),
        ("name: n\ninputs: {x: [1]}\n", "key 'source' is required"),
        ("name: n\nsource: s\n", "key 'inputs' is required"),
        (
            "name: n\nsource: s\ninputs: {x: [1, 0]}\n",
            "inputs.x: must be a list of at most 16 integers >= 1, got .1, 0.",
        ),
        ("name: n\nsource: s\ninputs: {x: 3}\n", "inputs.x: must be a list, got 3"),
        ("name: n\nsource: s\ninputs: {x.y: [3]}\n", "must be a name of at most 100 letters"),
        ("name: 3\nsource: s\ninputs: {x: [3]}\n", "tiny.yaml:1:1: name: must be text, got 3"),
        (
            "name: n\nsource: s\ninputs: {x: [1, 2], y: [1, 2]}\n",
            "key 'from' is required but missing: no single input",
        ),
        ("name: n\nsource: s\ninputs: {}\n", "key 'from' is required but missing: no single input"),
    ],
)
def test_faults_of_the_header(tmp_path: Path, head: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, "layers:\n  - {op: activation}\n", head)


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("{value: many, source: s}", 'published.macs.0..value: must be a positive count such as 61100840, "61.1 M"'),
        ("{value: -3, source: s}", "value: must be a positive count, got -3"),
        ("{value: 0.0 M, source: s}", "must be a positive count"),
        ("{value: 3, formula: 1 + 2, source: s}", "must have either a value or a formula, and not both"),
        ("{source: s}", "must have either a value or a formula"),
        ("{formula: 1 / 2, source: s}", "formula: must give a positive whole number, got 0.5"),
        ("{formula: steps * 2, source: s}", "formula: unknown name 'steps'"),
        ("{value: 3}", "key 'source' is required"),
        ("{value: 3, source: s, diffres: x}", "did you mean differs"),
    ],
)
def test_faults_of_published_figures(tmp_path: Path, figure: str, message: str) -> None:
    file = write(tmp_path, HEAD + f"published:\n  macs:\n    - {figure}\nlayers:\n  - {{op: activation}}\n")
    with pytest.raises(ConfigError, match=message):
        read_header(file)


@pytest.mark.parametrize(
    ("value", "inside", "outside"),
    [
        ("61100840", [61100840], [61100839, 61100841]),
        ("4.09 G", [4_085_000_000, 4_094_999_999, 4_095_000_000], [4_084_999_999, 4_095_000_001]),
        ("61M", [60_500_000, 61_499_999], [60_499_999, 61_500_001]),
        ("66.0 M", [65_950_000, 66_049_999], [65_900_000, 66_060_000]),
        ("2293 k", [2_292_500, 2_293_400], [2_292_499, 2_294_000]),
    ],
)
def test_figures_agree_to_their_printed_precision(
    tmp_path: Path, value: str, inside: list[int], outside: list[int]
) -> None:
    file = write(
        tmp_path,
        HEAD + f"published:\n  macs:\n    - {{value: {value}, source: s}}\nlayers:\n  - {{op: activation}}\n",
    )
    (figure,) = read_header(file).published
    assert all(figure.agrees(count) for count in inside)
    assert not any(figure.agrees(count) for count in outside)


def test_error_of_a_figure_and_its_part_of_the_layers(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        HEAD + """
published:
  parameters: [{value: 10, of: "b*", source: s}]
  macs: [{value: 200, of: "a", source: s}, {formula: 64 * 3 * 2 + 64 * 2, source: s}]
layers:
  - {name: a, op: conv, channels: 2}
  - {name: b1, op: conv, channels: 1}
  - {name: b2, op: conv, channels: 4}
""",
    )
    net, figures = load_network_file(file), read_header(file).published
    assert [figure.ours(net) for figure in figures] == [3 + 8, 64 * 3 * 2, 64 * 6 + 64 * 2 + 64 * 4]
    assert figures[0].error(11) == pytest.approx(0.1) and figures[1].error(100) == -0.5


def test_the_header_is_read_without_the_layers(tmp_path: Path) -> None:
    header = read_header(
        write(tmp_path, HEAD + "notes: n\nvariables: {a: 1}\ncounts: {parameters: 1, macs: 2}\nlayers: {{{")
    )
    assert (header.name, header.notes, header.parameters, header.macs) == ("tiny", "n", 1, 2)
    assert header.variables == {"a": 1}
    # nor does it have to stand first
    low = read_header(write(tmp_path, "layers:\n  - {op: activation}\n" + HEAD))
    assert low.name == "tiny" and low.parameters is None


# --- bounded ---


def test_expansion_is_bounded(tmp_path: Path) -> None:
    body = """
blocks:
  ten: {needs: [], layers: [{op: activation}]}
  more:
    layers:
      - {name: t, use: ten, repeat: 1000000000}
layers:
  - {name: m, use: more, repeat: 1000000000}
"""
    with pytest.raises(ConfigError, match=f"must expand to at most {MAX_STEPS} layers"):
        load(tmp_path, body)


def test_expansion_of_layers_that_are_left_out_is_bounded(tmp_path: Path) -> None:
    body = """
blocks:
  none: {layers: [{op: activation, when: false}]}
layers:
  - {name: m, use: none, repeat: 1000000000}
"""
    with pytest.raises(ConfigError, match=f"must expand to at most {MAX_STEPS} layers"):
        load(tmp_path, body)


def test_nesting_is_bounded(tmp_path: Path) -> None:
    blocks = "".join(f"  b{i}: {{layers: [{{use: b{i + 1}}}]}}\n" for i in range(14))
    with pytest.raises(ConfigError, match="nor nest more than 12 deep"):
        load(tmp_path, f"blocks:\n{blocks}  b14: {{layers: [{{op: activation}}]}}\nlayers:\n  - {{use: b0}}\n")


def test_text_does_not_grow_without_bound(tmp_path: Path) -> None:
    blocks = "".join(
        f"  b{i}: {{needs: [t], layers: [{{use: b{i + 1}, with: {{t: '${{t}}${{t}}'}}}}]}}\n" for i in range(11)
    )
    last = "  b11: {needs: [t], layers: [{op: activation, mode: $t}]}\n"
    with pytest.raises(ConfigError, match="text must be at most 300 characters"):
        load(tmp_path, f"blocks:\n{blocks}{last}layers:\n  - {{use: b0, with: {{t: abc}}}}\n")


def test_overflow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiny.yaml:5:5: layers.0. \(conv\): .*overflows 63 bits"):
        load(tmp_path, "layers:\n  - {op: conv, channels: 9223372036854775807}\n")


text = st.text(st.sampled_from("{}[]$:,- \nabop1'\"#&*!|>%@`conv"), max_size=60)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(noise=text)
def test_any_text_gives_a_network_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, noise: str) -> None:
    file = tmp_path_factory.getbasetemp() / "noise.yaml"
    file.write_text(HEAD + "layers:\n  - {op: activation}\n" + noise, encoding="utf-8")
    try:
        assert load_network_file(file).name == "tiny"
    except ConfigError as error:
        assert "noise.yaml" in str(error)
