"""The verb: a network, its weights and a recipe in, one trace out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.paths import find
from accelsim.base.units import human_bytes
from accelsim.compress.base import Context, Key, Source, operand_shape
from accelsim.compress.evaluate import evaluation
from accelsim.compress.recipe import Recipe, load_recipe
from accelsim.compress.report import CompressionReport, row_of
from accelsim.compress.sources import WithOperands, check_same_filters, trained_weights, weight_source
from accelsim.compress.state import TensorState
from accelsim.compress.store import stored
from accelsim.workload.load import FOLDER, SUFFIXES, load_network
from accelsim.workload.network import Network
from accelsim.workload.trace import Trace, TraceWriter
from accelsim.workload.trained import trained_names


def compress(
    network: Network | str | Path,
    weights: Any,
    recipe: Any,
    out: str | Path | None,
    *,
    activations: Mapping[Key, NDArray[Any]] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    seed: int | None = None,
    evaluate: str | None = None,
) -> CompressionReport:
    """Apply a recipe and write the trace.

    Parameters
    ----------
    network : Network, name or path
        A path to an .onnx file brings its weights.
    weights
        Arrays (layer -> role -> array); a `Source`; a `Trace` or the path of one; the path of an .onnx model; the
        name of a distribution (laplace, gaussian, uniform); `trained`: those that are shipped or come with a
        package (see `workload.trained`). None: the model's own if `network` is an .onnx file or a trace, those that
        are shipped with it, else drawn from `laplace` (see `sources.DrawnWeights`).
    recipe
        Name, path, mapping, list of steps, or a `Recipe`.
    out : str or Path, or None
        The trace; None only reports.
    activations : mapping, optional
        (layer, role) -> captured activations, errors or gradients, float32, batch first. Those of the network's own
        batch become operands of the trace; all can be used by criteria.
    progress : callable, optional
        `progress(done, total, what)`: operands done, operands in all, and what comes next.
    seed : int, optional
        Instead of the recipe's.
    evaluate : str, optional
        As if the recipe ended in `{step: evaluate, data: ...}`: the network's own data ("own"), `digits`, or a .npz
        file. Without `weights`, a network known by name gets its trained ones.

    Returns
    -------
    CompressionReport

    Raises
    ------
    ConfigError
        Whatever cannot be done; nothing is left behind, and a file that stood at `out` is still there.
    """
    plan = load_recipe(recipe)
    seed = plan.seed if seed is None else seed
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ConfigError(f"seed must be an integer from 0 to 2**63 - 1, got {seed!r}", "compress")
    if evaluate is not None and weights is None and str(network) in trained_names():
        weights = "trained"
    source = open_source(network, weights, seed)
    counter = _Progress(progress)
    context = Context(seed, dict(activations or {}), counter.say, start=source)
    report = CompressionReport(source.network.name, plan.name, getattr(source, "label", "given"))
    if context.captured:
        source = WithOperands(source, context)
    counter.total = len(source.keys())
    chain = plan.chain(source, context)
    if evaluate is not None:
        counter.say("evaluating")
        context.measures.append(evaluation(chain, context, evaluate))
    counter.total = len(chain.keys())
    if out is None:
        for key in counter.over(chain):
            _one(chain, key, report, None)
    else:
        _write(chain, source, plan, Path(out), report, counter)
    report.measures = context.measures
    return report


def measure(
    network: Network | str | Path, weights: Any, recipe: Any, data: str, *, seed: int | None = None
) -> dict[str, Any]:
    """What `compress` with `evaluate` measures, without a trace or a report of operands.

    Returns
    -------
    dict
        See `evaluate.evaluation`.

    Raises
    ------
    ConfigError
        Whatever cannot be done.
    """
    plan = load_recipe(recipe)
    seed = plan.seed if seed is None else seed
    if weights is None and str(network) in trained_names():
        weights = "trained"
    source = open_source(network, weights, seed)
    context = Context(seed, {}, lambda _: None, start=source)
    return evaluation(plan.chain(source, context), context, data)


def open_source(network: Network | str | Path, weights: Any, seed: int = 0) -> Source:
    """The tensors before any step."""
    if not isinstance(network, Network):
        if isinstance(weights, str) and weights == "trained":
            return trained_weights(str(network))
        if weights is None and str(network).endswith((".onnx", ".trace")):
            weights = network
        if weights is None or not str(weights).endswith((".onnx", ".trace")):
            network = load_network(network)
        else:
            source = weight_source(None, weights, seed)  # type: ignore[arg-type]
            if str(network) != str(weights):
                check_same_filters(_named_network(str(network)), source, str(weights))
            return source
    return weight_source(network, weights, seed)


def _write(
    chain: Source, start: Source, plan: Recipe, out: Path, report: CompressionReport, counter: _Progress
) -> None:
    _check_space(chain, out)
    title = f"{start.network.name}, {plan.name}"
    about = f"{start.network.source}; weights: {report.weights}"
    with TraceWriter(out, chain.network, name=title, recipe=plan.data(start.network.name), source=about) as writer:
        for key in counter.over(chain):
            _one(chain, key, report, writer)
    report.path, report.content_hash = str(out), Trace.open(out).content_hash


def _one(chain: Source, key: Key, report: CompressionReport, writer: TraceWriter | None) -> None:
    state: TensorState = chain.load(key)
    kept = stored(state)
    if writer is not None:
        writer.add_spec(kept.spec, kept.payload)
    report.rows.append(row_of(state, kept))


def _check_space(chain: Source, out: Path) -> None:
    """Refuse at once what the disk cannot hold; the writer, which needs both its spool and the file, meets the rest.

    The least that a recipe may leave is taken to be one bit for each hundred elements.
    """
    elements = sum(prod(operand_shape(chain.network[layer], role) or ()) for layer, role in chain.keys())
    try:
        free = shutil.disk_usage(out.resolve().parent).free
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", str(out)) from None
    if free < 2 * elements // 800:
        what = f"the disk has {human_bytes(free)}, too little for a trace of {elements:,} elements"
        raise ConfigError(f"cannot be written: {what}", str(out))


class _Progress:
    """How far we are, for whoever wants to know."""

    def __init__(self, callback: Callable[[int, int, str], None] | None) -> None:
        self._callback, self._done, self.total = callback, 0, 1

    def say(self, what: str) -> None:
        """The next thing."""
        if self._callback is not None:
            self._callback(self._done, self.total, what)

    def over(self, chain: Source) -> Iterator[Key]:
        """All operands, one after the other."""
        for key in chain.keys():
            self.say("/".join(key))
            yield key
            self._done += 1


def _named_network(name: str) -> Network:
    path = find(name, FOLDER, "workload", (*SUFFIXES, ".trace"))
    return Trace.open(path).network if path.suffix == ".trace" else load_network(path)
