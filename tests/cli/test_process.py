"""What only a process of its own shows: imports, start-up, signals, pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import REPOSITORY

HEAVY = {"numpy", "numba", "pydantic", "yaml", "simpy", "matplotlib", "rich", "pandas"}


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


SHOW_IMPORTS = """
import sys
from accelsim.cli import main
code = main(sys.argv[1:])
print("HEAVY", *sorted({m.split(".")[0] for m in sys.modules}), file=sys.stderr)
sys.exit(code)
"""


def imported(*arguments: str) -> set[str]:
    done = python(SHOW_IMPORTS, *arguments)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split("HEAVY")[1].split()) & HEAVY


def test_help_imports_nothing_heavy_and_starts_at_once() -> None:
    assert imported("--help") == set()
    assert imported("run", "--help") == set()
    assert imported("version") == set()
    code = "import resource, sys\nfrom accelsim.cli import main\nmain(['--help'])\n"
    code += "used = resource.getrusage(resource.RUSAGE_SELF)\nprint(used.ru_utime + used.ru_stime, file=sys.stderr)"
    # the least of three: others use the machine too
    assert min(float(python(code).stderr) for _ in range(3)) < 0.3


def test_import_accelsim_costs_nothing() -> None:
    done = python("import sys, accelsim\nprint(accelsim.__version__, *sys.modules)")
    assert done.returncode == 0 and not set(done.stdout.split()) & HEAVY


def test_a_plain_run_imports_no_plotting_and_no_dataframes(tmp_path: Path) -> None:
    found = imported("run", "teaching_4x4", "lenet5", "--json", str(tmp_path / "r.json"))
    assert found.isdisjoint({"matplotlib", "pandas", "rich"})


def test_everything_that_import_accelsim_offers_is_there() -> None:
    code = "import accelsim\nprint(*[n for n in dir(accelsim) if not hasattr(accelsim, n)], accelsim.run.__name__)"
    assert python(code).stdout.strip() == "run"
    wrong = python("import accelsim\naccelsim.rum")
    assert "module 'accelsim' has no attribute 'rum'" in wrong.stderr


INTERRUPTED = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from accelsim.cli import main
from accelsim.report import files

def slowly(result, path):
    with files.atomic(Path(path)) as stream:
        stream.write(b"half")
        stream.flush()
        print("ready", flush=True)
        time.sleep(60)

files.write_json = slowly
sys.exit(main(["run", "teaching_4x4", "lenet5", "--quiet", "--json", sys.argv[1]]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGINT"), reason="needs signals")
def test_ctrl_c_leaves_no_half_written_file(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("what stood here before")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "r.json")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment,
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    assert len(list(tmp_path.iterdir())) == 2  # the draft is there
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130 and err == "accelsim: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    assert (tmp_path / "r.json").read_text() == "what stood here before"


def test_a_closed_pipe_ends_quietly() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    child = subprocess.Popen(
        [sys.executable, "-m", "accelsim", "show", "resnet152"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment,
    )  # fmt: skip
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()  # the reader has gone before the first line
    err = child.stderr.read()
    child.stderr.close()
    assert child.wait(timeout=60) == 141 and err == ""
