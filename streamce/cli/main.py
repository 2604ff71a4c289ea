"""The entry of the command line: the arguments of a command in, an exit status out."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

from streamce.cli import arguments, config, console_filter
from streamce.cli.console import discard_output, fail
from streamce.cli.state_lock import InUse
from streamce.errors import DataError, InputError, SelectionError

# Module and function of each command, by the type of its configuration. A module is imported only when its command
# runs, because states can be merged and shown without pyarrow.
COMMANDS = {
    config.EvalConfig: ("streamce.cli.evaluate", "evaluate"),
    config.CompareConfig: ("streamce.cli.compare", "compare"),
    config.WatchConfig: ("streamce.cli.watch", "watch"),
    config.MergeConfig: ("streamce.cli.state_commands", "merge"),
    config.DiffConfig: ("streamce.cli.state_commands", "diff"),
    config.ShowConfig: ("streamce.cli.state_commands", "show"),
    config.ReportConfig: ("streamce.cli.state_commands", "report"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    console_filter.occupy_closed()
    with console_filter.filtered():
        if sys.stdout is None:
            return fail("standard output is closed: redirect it to /dev/null to discard the result", 2)
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    try:
        options = arguments.parse(argv)
        module, function = COMMANDS[type(options)]
        try:
            command = getattr(importlib.import_module(module), function)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != "pyarrow":
                raise
            return fail("reading files needs pyarrow: pip install 'streamce[cli]'", 2)
        status: int = command(options)
        sys.stdout.flush()
        return status
    except SystemExit as exit_:  # raised by argparse
        return int(exit_.code or 0)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # because a second Ctrl-C must not interrupt the end
        return fail("interrupted", 130)
    except BrokenPipeError:
        discard_output()
        return 0
    except (InUse, SelectionError) as error:
        return fail(str(error), 2)
    except (InputError, DataError) as error:
        return fail(str(error), 1)
    except OSError as error:
        return fail(f"{error.filename or 'output'}: {error.strerror or error}", 1)
