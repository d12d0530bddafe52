"""Entry point: reads the command line, runs one command, turns its outcome into an exit code.

Commands import what they need when they run, so that ``--help`` and typing errors answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from airflow_flink_iceberg import __version__
from airflow_flink_iceberg.cli import commits, guard, ledger, restart, rollback, savepoint, staged, verify
from airflow_flink_iceberg.cli.output import COULD_NOT_RUN, EXIT_CODES, USAGE, complain
from airflow_flink_iceberg.model.errors import FlinkIcebergError, InvalidValue

_COMMANDS = {
    "commits": commits,
    "verify": verify,
    "savepoint": savepoint,
    "guard": guard,
    "restart": restart,
    "rollback": rollback,
    "staged": staged,
    "ledger": ledger,
}
_INTERRUPTED = "Interrupted; nothing was changed."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 pass, 1 fail, 2 usage, 3 unknown, 4 could not run.

    Answers go to standard output, everything else to standard error. Commands that change
    something say so in their help.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except InvalidValue as error:
        complain(str(error))
        return USAGE
    except FlinkIcebergError as error:
        complain(str(error))
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        complain(options.interrupted)
    except Exception as error:  # noqa: BLE001 - said below
        # Python's own exit code for an error is 1, which here means "the check failed".
        complain(f"{type(error).__name__}: {error}")
    return COULD_NOT_RUN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flink-iceberg",
        description="Restart Flink jobs that write Iceberg tables, and prove what they have written.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"flink-iceberg {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in _COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run, interrupted=getattr(command, "INTERRUPTED", _INTERRUPTED))
    return parser


if __name__ == "__main__":
    sys.exit(main())
