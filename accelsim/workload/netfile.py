"""Networks written in YAML: a header, reusable blocks and a list of layers.

    name: tiny
    source: where the network is described
    inputs: {image: [1, 3, 32, 32]}          # the first dimension is the batch
    variables: {width: 16}                   # for ${...} everywhere below
    counts: {parameters: 9712, macs: 9879552}   # checked whenever the file is loaded
    published:                               # checked by the tests
      parameters: [{value: "9.7 k", source: a paper}]
    blocks:
      conv_relu:
        needs: [channels]                    # must be given
        defaults: {kernel: 3}                # may be given
        layers:
          - {name: conv, op: conv, channels: $channels, kernel: $kernel, pad: same}
          - {op: activation}
    layers:
      - {name: stem, use: conv_relu, with: {channels: $width}}
      - {name: body, use: conv_relu, repeat: 2, with: {channels: "${width * (2 - i)}"}}
      - {name: sum, op: eltwise, from: [stem, body]}

A layer reads the layer before it, or those in `from`. `when: "${...}"` leaves a layer out if false; its
name then stands for its (first) input. `repeat` chains instances, with `i` counting from 0; names of layers
inside a block are prefixed (`body.1.conv`), and the instance's own name stands for its result: the
block's last layer, or its `output`. A block sees its inputs (`input`, or the names in `inputs`), its
own layers and parameters and the file's variables, nothing else. A layer without a name is called
after its operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError, unknown_name
from accelsim.base.spec import Spec, build
from accelsim.base.yamlio import Document, parse_yaml, read_text, read_yaml
from accelsim.workload.expand import BlockSpec, Expander, Scalar
from accelsim.workload.network import Network
from accelsim.workload.published import Figure, formula_count, parse_count


class FigureSpec(Spec):
    """A published count: `value` as printed, or the `formula` that a paper gives.

    `of` is a pattern of the names of the layers that it counts, `differs` the reason why ours is not the same.
    """

    value: int | str | None = None
    formula: str | None = None
    source: str
    of: str = "*"
    differs: str = ""


class PublishedSpec(Spec):
    """Published counts of parameters and of MACs."""

    parameters: list[FigureSpec] = []
    macs: list[FigureSpec] = []


class CountsSpec(Spec):
    """What the layers add up to."""

    parameters: int
    macs: int


class HeaderSpec(Spec):
    """All of a network file but its layers."""

    name: str
    source: str
    license: str = ""
    notes: str = ""
    inputs: dict[str, list[int | str]]
    variables: dict[str, Scalar] = {}
    counts: CountsSpec | None = None
    published: PublishedSpec = PublishedSpec()


class NetworkSpec(HeaderSpec):
    """A network file."""

    blocks: dict[str, BlockSpec] = {}
    layers: list[dict[str, Any]]


_BODY = re.compile(r"^(?:blocks|layers):", re.MULTILINE)


@dataclass(frozen=True)
class Header:
    """What a network file says about itself; `parameters` and `macs` are None if it does not."""

    name: str
    source: str
    license: str
    notes: str
    parameters: int | None
    macs: int | None
    published: tuple[Figure, ...]
    variables: Mapping[str, Scalar]


def read_header(path: Path) -> Header:
    """Name, source, counts and published figures of a network file, without expanding its layers.

    Raises
    ------
    ConfigError
        If the header is not as it must be.
    """
    # Reading stops where the layers begin: a listing of all networks is then a matter of milliseconds.
    head = _BODY.split(read_text(path), maxsplit=1)[0]
    try:
        document = parse_yaml(head, str(path))
        spec = build(HeaderSpec, document)
    except ConfigError:
        document = read_yaml(path)  # the header may stand below the layers
        spec = build(NetworkSpec, document)
    return Header(
        spec.name,
        spec.source,
        spec.license,
        spec.notes,
        spec.counts.parameters if spec.counts else None,
        spec.counts.macs if spec.counts else None,
        tuple(_figures(spec, document)),
        spec.variables,
    )


def _figures(spec: HeaderSpec, document: Document) -> Iterator[Figure]:
    for what in ("parameters", "macs"):
        figures: list[FigureSpec] = getattr(spec.published, what)
        for index, figure in enumerate(figures):
            path = ("published", what, index)
            key = "value" if figure.formula is None else "formula"
            try:
                if figure.formula is not None and figure.value is None:
                    low = high = formula_count(figure.formula, spec.variables)
                elif figure.value is not None and figure.formula is None:
                    low, high = parse_count(figure.value)
                else:
                    raise ConfigError("must have either a value or a formula, and not both")
            except ConfigError as error:
                raise ConfigError(str(error), document.where((*path, key))) from None
            text = str(figure.formula or figure.value)
            yield Figure(what, text, low, high, figure.source, figure.of, figure.differs)


def load_network_file(path: Path, variables: Mapping[str, Scalar] | None = None) -> Network:
    """The network that a YAML file describes.

    Parameters
    ----------
    path : Path
    variables : mapping, optional
        Other values for variables of the file (`{"past": 511}`); its `counts` are not checked then.

    Raises
    ------
    ConfigError
        With file, line, column and key of what is wrong; nothing is returned half built.
    """
    document = read_yaml(path)
    spec = build(NetworkSpec, document)
    values = dict(spec.variables)
    for name, value in (variables or {}).items():
        if name not in values:
            raise unknown_name("variable", name, values, str(path))
        values[name] = value
    network = Network(spec.name, Expander(document, spec.blocks, values).expand(spec.inputs, spec.layers), spec.source)
    if spec.counts and not variables:
        for what, is_now in (("parameters", network.params), ("macs", network.macs)):
            stated = getattr(spec.counts, what)
            if stated != is_now:
                where = document.where(("counts", what))
                raise ConfigError(f"must be {is_now}, which is what the layers add up to, got {stated}", where)
    return network
