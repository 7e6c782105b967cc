"""Which feature maps stay on chip between layers: all that fit, the largest and longest-lived leave first."""

from __future__ import annotations

from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.system.schedule import Schedule, Tensor


class Residency:
    """The set of tensors that live in the activation buffer.

    Network inputs come from DRAM and results go there; between, a tensor stays on chip unless the
    tensors alive at some step do not fit, or leave too little room for the tiles of that step.

    Parameters
    ----------
    schedule : Schedule
    capacity_bytes : int
        Of the buffer that keeps activations; 0 if there is none.
    bits : int
        Stored bits of an element.
    """

    def __init__(self, schedule: Schedule, capacity_bytes: int, bits: int) -> None:
        self.schedule = schedule
        self.capacity_bytes = capacity_bytes
        self.bits = bits
        self.resident: set[str] = set()
        if capacity_bytes:
            self.resident = {t.name for t in schedule.tensors.values() if t.produced >= 0 and not t.is_output}
        for tensor in schedule.tensors.values():
            if tensor.name not in self.resident:
                self._leave(tensor)
        for index in range(len(schedule.steps)):
            while self.held_bytes(index) > capacity_bytes and self.spill(index):
                pass

    def size(self, tensor: Tensor) -> int:
        """Bytes of a tensor."""
        return ceil_div(tensor.elements * self.bits, 8)

    def held_bytes(self, index: int) -> int:
        """Bytes that resident tensors take during step `index`."""
        return sum(self.size(t) for t in self.schedule.live(index) if t.name in self.resident)

    def spill(self, index: int) -> bool:
        """Send one more tensor to DRAM so that step `index` has more room; False if none is left."""
        live = [t for t in self.schedule.live(index) if t.name in self.resident]
        if not live:
            return False
        self._leave(max(live, key=lambda t: (self.size(t) * (t.last_read - t.produced), t.elements, -t.produced)))
        return True

    def _leave(self, tensor: Tensor) -> None:
        self.resident.discard(tensor.name)
        if tensor.together >= 0:
            for other in self.schedule.tensors.values():
                if other.together == tensor.together:
                    self.resident.discard(other.name)

    def explain(self, index: int, error: ConfigError) -> ConfigError:
        """The tiler's complaint, with the layer's name."""
        return ConfigError(str(error), f"layer {self.schedule.steps[index].layer.name}")
