"""Small DRAMs and random traffic for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from accelsim.memory.dram_map import parse_map
from accelsim.memory.dram_state import DramParameters, DramTimings

MAPS = (
    "row|rank|bank|bankgroup|col|channel", "row|rank|bank|col|bankgroup|channel", "channel|row|col|rank|bankgroup|bank",
    "row|col|rank|bank^col+0|channel|bankgroup^row+1|col:1",
)


def parameters(timing: DramTimings, mapping: str = MAPS[0], **options: Any) -> DramParameters:
    """A DRAM of 2 channels x 2 ranks x 2 groups x 2 banks x 8 rows x 8 bursts of 32 bytes, or as `options` say."""
    options = dict(options)
    sizes = dict(channels=2, ranks=2, bankgroups=2, banks_per_group=2, rows=8, bursts_per_row=8)
    sizes.update({k: options.pop(k) for k in list(options) if k in sizes})
    bits = {
        "channel": sizes["channels"].bit_length() - 1, "rank": sizes["ranks"].bit_length() - 1,
        "bankgroup": sizes["bankgroups"].bit_length() - 1, "bank": sizes["banks_per_group"].bit_length() - 1,
        "row": sizes["rows"].bit_length() - 1, "col": sizes["bursts_per_row"].bit_length() - 1,
    }
    parts, xors = parse_map(mapping, bits)
    return DramParameters(
        name="small", tCK_ps=1000, burst_bytes=32, timing=timing, map_parts=tuple(parts), map_xors=tuple(xors),
        **sizes, **options,
    )


@st.composite
def timings(draw: st.DrawFn) -> DramTimings:
    """Any timings that do not contradict themselves; refresh comes often."""
    def at_least(low: int, spread: int = 8) -> int:
        return draw(st.integers(low, low + spread))

    burst = draw(st.sampled_from([1, 2, 4]))
    cl, cwl, rcd, rp = at_least(2), at_least(2), at_least(1, 10), at_least(1, 10)
    ras = at_least(rcd, 12)
    rrd_s, ccd_s, wtr_s = at_least(1, 4), at_least(burst, 2), at_least(0, 4)
    rfc = at_least(rp, 30)
    return DramTimings(
        tBL=burst, tCL=cl, tCWL=cwl, tRCDRD=rcd, tRCDWR=draw(st.integers(1, rcd)), tRP=rp, tRPab=at_least(rp, 4),
        tRAS=ras, tRC=at_least(ras + rp, 4), tCCD_S=ccd_s, tCCD_L=at_least(ccd_s, 3), tRRD_S=rrd_s,
        tRRD_L=at_least(rrd_s, 3), tFAW=at_least(rrd_s, 30), tWR=at_least(0, 10), tWTR_S=wtr_s,
        tWTR_L=at_least(wtr_s, 5), tRTP=at_least(1, 6), tRFC=rfc, tREFI=rfc + draw(st.integers(150, 400)),
        tRTW=at_least(max(1, cl + burst - cwl), 3), tCS=draw(st.integers(0, 3)), tPPD=draw(st.integers(1, 4)),
    )


options = st.fixed_dictionaries(
    dict(
        row_hit_first=st.booleans(), closed_rows=st.booleans(), dual_bus=st.booleans(), refresh=st.booleans(),
        posted_writes=st.booleans(), activate_clocks=st.integers(1, 2), read_queue=st.integers(1, 8),
        write_queue=st.integers(2, 8), drain_cap=st.integers(1, 12), mapping=st.sampled_from(MAPS),
    )
)


def watermarks(chosen: dict[str, Any]) -> dict[str, Any]:
    """Marks that suit the write queue."""
    return {**chosen, "drain_above": chosen["write_queue"] * 3 // 4, "drain_below": chosen["write_queue"] // 4 + 1}


def traces(bursts: int, length: int = 60) -> st.SearchStrategy[list[tuple[int, int, bool]]]:
    """(arrival, burst, write), arrivals not falling; few addresses, so that they meet."""
    step = st.tuples(st.sampled_from([0, 0, 0, 1, 7, 60]), st.integers(0, bursts - 1), st.booleans())

    def add_up(steps: list[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
        now, out = 0, []
        for gap, burst, write in steps:
            now += gap
            out.append((now, burst, write))
        return out

    return st.lists(step, min_size=1, max_size=length).map(add_up)
