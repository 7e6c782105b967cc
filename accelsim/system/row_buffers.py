"""Room for the rows that wait between layers which run side by side, and who pays for the network between them.

Every core has one buffer for feature maps. Each layer that works there keeps the rows of each of its inputs, as far as
they come to that core, from the start of their making until it needs them no more. All get the fewest rows with which
the flow completes; what is left is handed out a row at a time, in the order of the layers, until nothing fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.noc.model import FOREVER, NocModel
from accelsim.sim.rowflow import Edge, Send, Source, Stage, fewest_slots


@dataclass
class Rows:
    """What one row of an input takes.

    Attributes
    ----------
    stage : int
    name : str
        Of the tensor.
    edge : Edge
    there : dict of terminal to bytes
    most : int
        Rows in all.
    fewest : int
    """

    stage: int
    name: str
    edge: Edge
    there: dict[int, int]
    most: int
    fewest: int = 1


def share_out(
    rows: Sequence[Rows], stages: Sequence[Stage], sources: Sequence[Source], buffer: str, capacity_bytes: int
) -> None:
    """Set the slots of all edges.

    Raises
    ------
    ConfigError
        If the fewest rows do not fit the buffer of a core: whose, how much they take, and what is missing.
    """
    fewest = fewest_slots(stages, sources)
    used: dict[int, int] = {}
    for entry in rows:
        entry.fewest = fewest[entry.stage][stages[entry.stage].edges.index(entry.edge)]
        entry.edge.slots = entry.fewest
        for terminal, n_bytes in entry.there.items():
            used[terminal] = used.get(terminal, 0) + n_bytes * entry.fewest
    worst = max(used, key=lambda t: (used[t], -t), default=None)
    if worst is not None and used[worst] > capacity_bytes:
        raise ConfigError(_too_small(rows, stages, worst, used[worst], buffer, capacity_bytes))
    growing = list(rows)
    while growing:
        left = []
        for entry in growing:
            fits = all(used[t] + n_bytes <= capacity_bytes for t, n_bytes in entry.there.items())
            if fits and entry.edge.slots < entry.most:
                entry.edge.slots += 1
                for terminal, n_bytes in entry.there.items():
                    used[terminal] += n_bytes
                left.append(entry)
        growing = left


def _too_small(
    rows: Sequence[Rows], stages: Sequence[Stage], terminal: int, used: int, buffer: str, capacity_bytes: int
) -> str:
    here = sorted((r for r in rows if terminal in r.there), key=lambda r: -r.there[terminal] * r.fewest)
    listed = [f"{stages[r.stage].name} {r.fewest} rows of {r.there[terminal]} bytes" for r in here[:3]]
    more = f" and {len(here) - 3} more layers" if len(here) > 3 else ""
    return (
        f"the rows that must wait between layers take {used} bytes of the buffer {buffer} of core {terminal}, "
        f"which has {capacity_bytes}: {used - capacity_bytes} too many ({', '.join(listed)}{more})"
    )


def network_counts(network: NocModel, sent: dict[tuple[int, Send], int], now: int) -> dict[int, ActionCounts]:
    """What the messages of every maker (stage, or -1 - input) did in a network that is quiet since `now`.

    What messages do is counted by sending each once more, those of a maker together: routes do not depend on traffic.

    Raises
    ------
    SimulationBug
        If the parts do not make up the whole.
    """
    total = before = ActionCounts(network.counts())
    alike: dict[tuple[int, int], list[Send]] = {}
    for (maker, send), times in sent.items():
        alike.setdefault((maker, times), []).append(send)
    found: dict[int, ActionCounts] = {}
    for (maker, times), sends in alike.items():
        for number, (source, targets, n_bytes) in enumerate(sends):
            network.submit(now, number, source, targets[0] if len(targets) == 1 else targets, n_bytes)
        for _ in sends:
            done = network.advance(FOREVER)
            if done is None:
                raise SimulationBug(f"messages of {len(sends)} ways never arrive alone")
            now = done[0]
        after = ActionCounts(network.counts())
        own = ActionCounts({key: count - before.get(key, 0) for key, count in after.items()})
        found.setdefault(maker, ActionCounts()).merge(own, times)
        before = after
    if (whole := ActionCounts.total(found.values())) != total:
        raise SimulationBug(f"messages alone count {whole} in the network, together {total}")
    return found
