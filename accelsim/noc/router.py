"""What a user may say about flits, packets and routers."""

from __future__ import annotations

from math import prod
from typing import Literal

from pydantic import Field, model_validator

from accelsim.base.spec import Spec
from accelsim.base.units import ceil_div

MAX_ROUTERS, MAX_NODES = 2**12, 2**14
"""Of a network of routers, whose routes are all looked at before the first cycle (a minute for 64 x 64), and of
wires alone."""

SIZES = ("nodes", "routers", "ports", "leaves", "pes", "columns", "rows", "chip_columns", "chip_rows")
"""Keys of topologies whose product is the size of the network."""

MAX_VC_INPUTS = 62
"""Ports x virtual channels of a router: one bit each in a 63-bit word."""


class PacketSpec(Spec):
    """How messages become packets and flits."""

    flit_bytes: int = Field(ge=1)
    """Payload of a flit, which is what a link moves at a time."""
    max_packet_flits: int = Field(default=8, ge=1)
    """Longest packet, header included; longer messages are cut."""
    header_flits: int = Field(default=0, ge=0)
    """Flits of each packet without payload."""

    @model_validator(mode="after")
    def _not_too_large(self) -> PacketSpec:
        sizes = {name: getattr(self, name) for name in SIZES if name in type(self).model_fields}
        most = MAX_ROUTERS if isinstance(self, RouterSpec) else MAX_NODES
        if prod(sizes.values()) > most:
            raise ValueError(f"{' * '.join(sizes)} must be <= {most}, got {prod(sizes.values())}")
        return self

    @model_validator(mode="after")
    def _header_leaves_room(self) -> PacketSpec:
        if self.header_flits >= self.max_packet_flits:
            raise ValueError(
                f"header_flits must be < max_packet_flits ({self.max_packet_flits}), got {self.header_flits}"
            )
        return self

    def packets(self, n_bytes: int, limit_flits: int | None = None) -> tuple[int, int, int]:
        """(packets, flits of all but the last, flits of the last) of a message of `n_bytes`.

        `limit_flits` may shorten packets below `max_packet_flits`.
        """
        payload = ceil_div(n_bytes, self.flit_bytes)
        full = min(self.max_packet_flits, limit_flits or self.max_packet_flits)
        room = full - self.header_flits
        count = ceil_div(payload, room)
        return count, full, payload - (count - 1) * room + self.header_flits


class RouterSpec(PacketSpec):
    """An input-queued virtual-channel router with credits (Dally and Towles 2004, ch. 16), as BookSim 2 times it.

    A head flit that arrives in cycle A is routed in A, bids for a virtual channel of its output in
    A + routing_cycles and for the switch vc_allocation_cycles later; it crosses the switch in
    crossbar_cycles and the link in its latency. Allocators that take more than one cycle are
    pipelined: they decide in the first and act in the last.
    """

    virtual_channels: int = Field(default=4, ge=1)
    """Per input port."""
    buffer_flits: int = Field(default=32, ge=1)
    """Per input port, shared out evenly among its virtual channels."""
    routing_cycles: int = Field(default=1, ge=0)
    """0: lookahead, the route comes with the flit."""
    vc_allocation_cycles: int = Field(default=1, ge=1)
    switch_allocation_cycles: int = Field(default=1, ge=1)
    crossbar_cycles: int = Field(default=1, ge=1)
    credit_cycles: int = Field(default=0, ge=0)
    """Processing of a credit, beyond the link's latency."""
    speculative: bool = False
    """Heads bid for the switch while they bid for a virtual channel."""
    ordered: bool = False
    """Keep each message on the virtual channel (of each class) of its id, modulo their number: in order then."""
    multicast: Literal["tree", "unicast"] = "tree"
    """tree: routers copy flits where ways part; unicast: the source sends one copy per destination."""
    reduction: Literal["tree", "unicast"] = "tree"
    """tree: terminals on the way add what passes; unicast: every source sends to the destination."""
    adder_cycles: int = Field(default=1, ge=0)
    """From the last operand's arrival to when the sum may leave, in a reduction tree."""

    @model_validator(mode="after")
    def _buffers_suffice(self) -> RouterSpec:
        if self.virtual_channels > self.buffer_flits:
            raise ValueError(
                f"virtual_channels must be <= buffer_flits ({self.buffer_flits}), so that each has a buffer, "
                f"got {self.virtual_channels}"
            )
        if self.buffer_flits % self.virtual_channels:
            raise ValueError(
                f"buffer_flits must be a multiple of virtual_channels ({self.virtual_channels}), "
                f"got {self.buffer_flits}"
            )
        if self.multicast == "tree" and self.vc_buffer_flits <= self.header_flits:
            raise ValueError(
                f"buffer_flits / virtual_channels must be > header_flits ({self.header_flits}) with multicast trees, "
                f"whose packets must fit into a buffer, got {self.vc_buffer_flits}"
            )
        return self

    @property
    def vc_buffer_flits(self) -> int:
        """Buffer of one virtual channel."""
        return self.buffer_flits // self.virtual_channels

    @property
    def pipeline_cycles(self) -> int:
        """From a head's arrival in a router to its departure into the link, when nothing is in its way."""
        allocation = self.vc_allocation_cycles + self.switch_allocation_cycles
        return self.routing_cycles + allocation - int(self.speculative) + self.crossbar_cycles
