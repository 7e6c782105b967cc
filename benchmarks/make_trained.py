"""Make what lies in workloads/trained/: LeNet and LSTM trained on scikit-learn's digits, and the test split.

    python benchmarks/make_trained.py          (needs accelsim[train]; half a minute)

Every fifth image is for testing (`accelsim.compress.train.data`). Prints the accuracies, which workloads/README.md and
a test have; another version of PyTorch may give weights that differ a little.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from accelsim.base.paths import shipped_dir
from accelsim.compress.train.data import all_digits, is_test
from accelsim.compress.train.run import Plan, train
from accelsim.workload.load import load_network

PLANS = {"lenet_digits": Plan(epochs=40, rate=0.05), "lstm_digits": Plan(epochs=80, rate=0.2)}


def main() -> None:
    """Write all."""
    folder = Path(shipped_dir("workloads")) / "trained"
    folder.mkdir(exist_ok=True)
    images, labels = all_digits()
    test = is_test(len(images))
    save_file({"images": images[test], "labels": labels[test].astype(np.uint8)}, folder / "digits_test.safetensors")
    for name, plan in PLANS.items():
        found = train(load_network(name), plan)
        arrays = {f"{la}/{role}": a for la, roles in found.weights.items() for role, a in roles.items()}
        save_file(arrays, folder / f"{name}.safetensors")
        print(f"{name}: test {found.accuracy:.4f}, training {found.accuracy_train:.4f}, loss {found.losses[-1]:.5f}")


if __name__ == "__main__":
    main()
