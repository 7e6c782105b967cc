"""The trace: one file for a compressed network, in which the front end and the simulator meet.

A safetensors container (see `container`) with a checked header (see `trace_format`): the network as a graph,
and for each operand of a layer its shape, width, scale and encoding with payload, or the description of a
generator (see `generator`). Opening maps the file and reads its header; payloads are read, and their hashes
compared, when they are first needed.

    trace = Trace.open("lenet5.trace")
    trace.operand("conv1", "filter").values()      # int8[6, 1, 5, 5]

    synthetic_trace(network, activation_density=0.4).write("small.trace")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.units import bits_to_bytes
from accelsim.workload.container import Container, read_container, reading
from accelsim.workload.encodings.base import Payload
from accelsim.workload.generator import GeneratorSpec, count_nonzeros, generate
from accelsim.workload.network import Network
from accelsim.workload.shapes import Dims
from accelsim.workload.synthetic import describe
from accelsim.workload.trace_format import (
    QUANTISATION,
    OperandSpec,
    TraceHeader,
    check_quantisation,
    check_role,
    codec_of,
    from_container,
    hash_of,
    hash_of_text,
    header_text,
    make_header,
    tensor_name,
)
from accelsim.workload.trace_writer import TraceWriter

__all__ = ["Operand", "Trace", "TraceWriter", "synthetic_trace"]


class Operand:
    """One operand of one layer.

    Attributes
    ----------
    layer, role : str
    shape : tuple of int
    bits : int
        Width of a stored element.
    signed : bool
    scale : float or list of float
    zero_point : int or list of int
        An integer q stands for scale * (q - zero_point); a list has one for each index of the first dimension.
    encoding : str
        "dense" for a generated operand.
    meta : dict
        Parameters of the encoding.
    generator : GeneratorSpec or None
        The description, if there is no payload.
    """

    def __init__(self, spec: OperandSpec, where: str, source: _Payloads | None) -> None:
        self._spec = spec
        self._where = f"{where}: {spec.layer}/{spec.role}"
        self._source = source
        self._codec = codec_of(spec)
        self._meta = self._codec.read_meta(spec.meta)
        self.layer = spec.layer
        self.role = spec.role
        self.shape: Dims = tuple(spec.shape)
        self.bits = spec.bits
        self.signed = spec.signed
        self.encoding = self._codec.kind
        self.meta = spec.meta
        self.generator: GeneratorSpec | None = spec.generator

    def __repr__(self) -> str:
        kind = "generated" if self.generator else self.encoding
        sign = "float" if self.floating else "int" if self.signed else "uint"
        what = f"{sign}{self.bits}{list(self.shape)} {kind}, density {self.density:.3f}"
        return f"<Operand {self.layer}/{self.role}: {what}>"

    @property
    def elements(self) -> int:
        """Number of elements, zeros included."""
        return prod(self.shape)

    @property
    def floating(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self._codec.floating

    @property
    def density(self) -> float:
        """Elements other than 0 over elements: exact if stored, as described if generated.

        What counts is the stored integer, as the hardware sees it, whatever the zero point.
        """
        if self.generator is not None:
            return self.generator.density
        return self.nonzeros / self.elements

    @cached_property
    def nonzeros(self) -> int:
        """Elements other than 0, exactly; a generated operand is counted on the first demand."""
        if self.generator is not None:
            return count_nonzeros(self.generator, 0, self.elements)
        assert self._spec.nonzeros is not None
        return self._spec.nonzeros

    @cached_property
    def scale(self) -> float | list[float]:
        """An integer q stands for scale * (q - zero_point); a list has one for each index of the first dimension."""
        return self._quantisation("scale")  # type: ignore[no-any-return]

    @cached_property
    def zero_point(self) -> int | list[int]:
        """The integer that stands for 0; a list as in `scale`."""
        return self._quantisation("zero_point")  # type: ignore[no-any-return]

    def _quantisation(self, name: str) -> Any:
        single = getattr(self._spec, name)
        if single is not None or self._source is None:
            return single
        array = self._source.of(self._spec, (name,))[name]
        try:
            check_quantisation(name, array)
        except ConfigError as error:
            raise ConfigError(str(error), self._where) from None
        return array.tolist()

    def values(self) -> NDArray[Any]:
        """All elements, decoded.

        Returns
        -------
        ndarray of shape `shape`
            The narrowest of int8, int16, int32 (uint8, uint16, uint32 if unsigned), or float32; read-only
            and without a copy where the encoding allows it. Decoded anew by every call.

        Raises
        ------
        ConfigError
            If the payload does not have its hash, or is damaged.
        """
        if self.generator is not None:
            return generate(self.generator, 0, self.elements).reshape(self.shape)
        payload = self.payload()
        try:
            return self._codec.decode(payload, self._meta, self.shape, self.bits, self.signed)
        except ConfigError as error:
            raise ConfigError(str(error), self._where) from None

    def payload(self) -> Payload:
        """The stored arrays by part, read-only views of the file; empty if generated.

        Raises
        ------
        ConfigError
            On the first call, if an array does not have its hash: names the tensor.
        """
        if self._source is None:
            return {}
        return self._source.of(self._spec, [part for part in self._spec.parts if part not in QUANTISATION])

    @property
    def payload_bits(self) -> int:
        """Bits that hold values in this encoding (dense, if generated)."""
        return self._codec.payload_bits(self._meta, self.shape, self.bits)

    @property
    def index_bits(self) -> int:
        """Bits that locate the values in this encoding."""
        return self._codec.index_bits(self._meta, self.shape, self.bits)

    @property
    def stored_bytes(self) -> int:
        """Bytes of both in a memory; the file pads each array to whole words beyond that."""
        return bits_to_bytes(self.payload_bits + self.index_bits)


class _Payloads:
    """The tensors of a mapped file, checked once each."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._checked: set[str] = set()

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        container = self._container
        with reading(container.path):
            mapped = np.memmap(container.path, np.uint8, mode="r")
        if mapped.size != container.size:
            raise ConfigError("has changed since it was opened", str(container.path))
        return np.asarray(mapped)

    def of(self, spec: OperandSpec, parts: Iterable[str]) -> Payload:
        """These parts of an operand, read-only."""
        found = {}
        for part in parts:
            promise = spec.parts[part]
            name = tensor_name(spec.layer, spec.role, part)
            tensor = self._container.tensors[name]
            raw = self._bytes[tensor.begin : tensor.end]
            if raw.ctypes.data % np.dtype(tensor.dtype).itemsize:
                raw = raw.copy()  # another tool wrote the file; kernels want aligned arrays
            array = raw.view(tensor.dtype).reshape(tensor.shape)
            if name not in self._checked:
                if hash_of(array) != promise.hash:
                    what = "does not have the hash that the header states: the file is damaged or was tampered with"
                    raise ConfigError(f"tensor {name!r} {what}", str(self._container.path))
                self._checked.add(name)
            found[part] = array
        return found


class Trace:
    """A network with its operands; `Trace.open` reads one, `synthetic_trace` describes one.

    Attributes
    ----------
    path : Path or None
    network : Network
    name : str
    recipe : list or None
        The compression steps, as plain data.
    source : str
        Where the data come from, with attribution.
    """

    def __init__(
        self,
        header: TraceHeader,
        network: Network,
        *,
        content_hash: str | None = None,
        container: Container | None = None,
    ) -> None:
        self.network = network
        self.name = header.name
        self.recipe = header.recipe
        self.source = header.source
        self.path = container.path if container else None
        self._header = header
        self._content_hash = content_hash
        self._payloads = _Payloads(container) if container else None
        self._specs = {(spec.layer, spec.role): spec for spec in header.operands}
        self._operands: dict[tuple[str, str], Operand] = {}

    @classmethod
    def open(cls, path: str | Path) -> Trace:
        """Open a trace file: its header is read and checked in full, its tensors are mapped.

        Raises
        ------
        ConfigError
            If the file is missing, truncated, damaged, of a newer version or inconsistent; nothing large
            is allocated before that is known.
        """
        container = read_container(Path(path))
        contents = from_container(container)
        return cls(contents.header, contents.network, content_hash=contents.content_hash, container=container)

    def __repr__(self) -> str:
        return f"<Trace {self.name}: {len(self._specs)} operands of {self.network!r}>"

    def __iter__(self) -> Iterator[Operand]:
        """All operands, in the order of layers and roles."""
        return (self._operand(key) for key in self._specs)

    @property
    def _where(self) -> str:
        return str(self.path) if self.path else f"trace {self.name}"

    @property
    def content_hash(self) -> str:
        """BLAKE2b-256 of everything in the trace, 64 hexadecimal digits; the same for any layout of the file."""
        if self._content_hash is None:
            self._content_hash = hash_of_text(header_text(self._header))
        return self._content_hash

    def layers_with(self, role: str) -> list[str]:
        """Names of the layers that have an operand of this role, in the network's order."""
        return [layer for layer, found in self._specs if found == role]

    def operand(self, layer: str, role: str) -> Operand | None:
        """An operand, or None if the trace has none for this layer and role.

        Raises
        ------
        ConfigError
            If there is no such layer in the network, or no such role at all.
        """
        key = (layer, role)
        if key not in self._specs:
            check_role(self.network, layer, role, self._where)
            return None
        return self._operand(key)

    def _operand(self, key: tuple[str, str]) -> Operand:
        found = self._operands.get(key)
        if found is None:
            found = self._operands[key] = Operand(self._specs[key], self._where, self._payloads)
        return found

    @property
    def specs(self) -> list[OperandSpec]:
        """What the header says of every operand."""
        return self._header.operands

    def of_header(self, header: TraceHeader, network: Network) -> Trace:
        """A trace that has a part of this one's operands, from the same file."""
        part = Trace(header, network)
        part._payloads = self._payloads
        return part

    def verify(self) -> None:
        """Read everything: every payload has its hash, decodes, and has as many nonzeros as the header says.

        Raises
        ------
        ConfigError
            Naming the first tensor or operand that does not.
        """
        for operand in self:
            if operand.generator is not None:
                continue
            _ = operand.scale, operand.zero_point
            count = int(np.count_nonzero(operand.values()))
            if count != operand.nonzeros:
                what = f"nonzeros must be {count}, which is what the payload holds, got {operand.nonzeros}"
                raise ConfigError(what, f"{self._where}: {operand.layer}/{operand.role}")

    def write(self, path: str | Path) -> None:
        """Write the trace to a file, operands encoded as they are.

        Raises
        ------
        ConfigError
            If it cannot be written; whatever stood at `path` is then still there.
        """
        with TraceWriter(path, self.network, name=self.name, recipe=self.recipe, source=self.source) as writer:
            for spec in self._header.operands:
                writer.add_spec(spec, self._payloads.of(spec, spec.parts) if self._payloads else None)


def synthetic_trace(
    network: Network,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    weight_density: float = 1.0,
    activation_density: float = 1.0,
    per_layer: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    activation_seed: int | None = None,
    name: str | None = None,
    **settings: Any,
) -> Trace:
    """A trace in memory that only describes its operands: widths, densities and distributions.

    Every compute layer gets `filter`, `ifmap` and `ofmap`, a cell also `recurrent` and `state`. Operands that
    are the same tensor of the network (an ofmap and the ifmap of the layer that reads it) have the same values.

    Parameters
    ----------
    network : Network
    weight_bits, activation_bits : int
    weight_density, activation_density : float
        Of operands; a tensor has the settings of the first compute layer that reads it.
    per_layer : mapping, optional
        Layer name -> other values of any setting for this layer's filter and ifmap.
    seed : int
    activation_seed : int, optional
        Of all operands but weights: another input of the same network (default: `seed`).
    name : str, optional
        The network's name, if not given.
    **settings
        More settings, for all layers: see `synthetic.Settings`.

    Raises
    ------
    ConfigError
        Unknown layer or setting, or a value out of range.
    """
    common = {
        "weight_bits": weight_bits,
        "activation_bits": activation_bits,
        "weight_density": weight_density,
        "activation_density": activation_density,
        **settings,
    }
    title = network.name if name is None else name
    operands = describe(network, common, per_layer or {}, seed, activation_seed)
    header = make_header(network, operands, name=title, recipe=None, source=network.source, where="synthetic trace")
    return Trace(header, network)
