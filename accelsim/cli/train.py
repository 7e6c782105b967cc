"""`accelsim train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError
from accelsim.cli.terminal import announce_compilation, progress_bar, say


def command_train(options: argparse.Namespace) -> int:
    """Train, say what came out, write the weights as a trace."""
    from accelsim.report.places import check_writable

    out = Path(options.out)
    if out.suffix != ".trace":
        raise ConfigError("the name of a trace must end in .trace", f"--out {options.out}")
    check_writable(out)
    from accelsim.compress.recipe import load_recipe
    from accelsim.compress.train.run import Plan, train, write_weights
    from accelsim.compress.train.torch_net import require_torch

    recipe = None if options.recipe is None else load_recipe(options.recipe)
    rate = {} if options.rate is None else {"rate": options.rate}
    plan = Plan(
        method=options.method, epochs=options.epochs, seed=options.seed, recipe=recipe, penalty=options.penalty,
        grain=options.grain, rho=options.rho, rounds=options.rounds, **rate,
    )  # fmt: skip
    plan.check()
    require_torch()
    network, start = _start(options)
    announce_compilation(options.quiet)
    with progress_bar("training", options.quiet) as bar:
        found = train(network, plan, start, bar.update)
    write_weights(found, out, plan)
    if not options.quiet:
        kind = "with the recipe applied" if recipe is not None else "as trained"
        print(f"{network.name}, {options.method}, {options.epochs} epochs; {kind}:")
        print(f"  accuracy {found.accuracy:.4f} on the test split ({found.accuracy_train:.4f} in training)")
        print(f"  density {found.density:.4f}, loss {found.losses[-1]:.5f}")
        then = options.recipe or "RECIPE"
        say(f"wrote {options.out}; go on: accelsim compress {options.out} {then} --evaluate digits")
    return 0


def _start(options: argparse.Namespace) -> tuple[Any, Any]:
    """The network, and the weights to start from (None: drawn)."""
    from accelsim.compress.run import open_source
    from accelsim.compress.sources import DrawnWeights
    from accelsim.compress.train.run import STARTS_FRESH, weights_of_source

    given = options.start
    if given is None and options.method in STARTS_FRESH and not options.network.endswith((".onnx", ".trace")):
        given = "drawn"
    source = open_source(options.network, None if given == "drawn" else given)
    if given == "drawn":
        return source.network, None
    if isinstance(source, DrawnWeights):
        raise ConfigError(f"method {options.method} must start from trained weights: --from FILE", "train")
    return source.network, weights_of_source(source)
