"""The command line: ``streamce eval``, ``compare``, ``watch``, ``merge``, ``show`` and ``report``."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence

import streamce as ce
from streamce.cli import arguments, console_filter
from streamce.cli.console import fail
from streamce.cli.state_lock import InUse

# Where the function of a command is; imported when it is asked for: states can be merged and shown without pyarrow.
COMMANDS = {
    "eval": ("streamce.cli.evaluate", "evaluate"),
    "compare": ("streamce.cli.compare", "compare"),
    "merge": ("streamce.cli.state_commands", "merge"),
    "show": ("streamce.cli.state_commands", "show"),
    "report": ("streamce.cli.state_commands", "report"),
    "watch": ("streamce.cli.watch", "watch"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    console_filter.occupy_closed()
    with console_filter.filtered():
        if sys.stdout is None:
            return fail("standard output is closed: redirect it to /dev/null to discard the result", 2)
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    try:
        top = arguments.parser()
        options, unknown = top.parse_known_args(argv)
        if unknown:
            top.prog += f" {options.command}"  # whose --help has the options that there are
            top.error(f"unrecognized arguments: {' '.join(unknown)}")
        module, function = COMMANDS[options.command]
        try:
            command = getattr(importlib.import_module(module), function)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != "pyarrow":
                raise
            return fail("reading files needs pyarrow: pip install 'streamce[cli]'", 2)
        status: int = command(options)
        sys.stdout.flush()
        return status
    except SystemExit as leave:  # argparse's
        return int(leave.code or 0)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
        return fail("interrupted", 130)
    except BrokenPipeError:
        # Whoever read the result left; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InUse as error:
        return fail(str(error), 2)
    except ce.InputError as error:
        return fail(str(error), 1)
    except OSError as error:
        return fail(f"{error.filename or 'output'}: {error.strerror or error}", 1)
