"""The command line. Importing it imports argparse and nothing that takes time."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from accelsim.base.errors import ConfigError, DeadlockError, unknown_name
from accelsim.cli.parser import COMMANDS, build_parser

OK, BAD_INPUT, BUG, INTERRUPTED, BROKEN_PIPE = 0, 2, 70, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0; 2 for input that the user can mend (one message on stderr, nothing written); 70 for a fault of
        accelsim itself; 130 after Ctrl-C; 141 if the reader of our output has gone.
    """
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse: --help, --version, or a wrong option
        return end.code if isinstance(end.code, int) else BAD_INPUT
    except ConfigError as error:
        return _fail(str(error), BAD_INPUT)
    except BrokenPipeError:
        # whatever is still buffered must not be written to the closed pipe when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except DeadlockError as error:
        return _fail(f"the simulated machine is in a deadlock: {error}\n{_PLEASE_REPORT}", BUG)
    except Exception:
        import traceback

        traceback.print_exc()
        return _fail(_PLEASE_REPORT, BUG)


_PLEASE_REPORT = (
    "this is a fault of accelsim, not of your input; please report it, with the command and the lines above "
    "(`accelsim version` says what is installed)"
)


def _fail(message: str, code: int) -> int:
    print(f"accelsim: {message}", file=sys.stderr)
    return code


def _run(argv: list[str]) -> int:
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        raise unknown_name("command", argv[0], COMMANDS)
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help(sys.stderr)
        return BAD_INPUT
    from importlib import import_module

    command = import_module(f"accelsim.cli.{COMMANDS[options.command]}")
    code: int = getattr(command, f"command_{options.command}")(options)
    return code
