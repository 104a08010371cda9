"""The entry of the command: Airflow made ready, one line for every error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from reverse_etl.cli.arguments import Command, parsed
from reverse_etl.cli.screen import Screen
from reverse_etl.errors import ReverseEtlError

FAILED = 2
READ_NO_FURTHER = 141
"""As a shell has it for a program that SIGPIPE ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command as a process of its own; return its exit code: 0, 1 where not all went well, 2 for an error."""
    # Outside of a task Airflow looks for connections in its metadata database only when told that it may.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")
    return run(sys.argv[1:] if arguments is None else arguments)


def run(arguments: Sequence[str]) -> int:
    """Run the command in this process, where Airflow is set up already."""
    command = parsed(arguments)
    screen = Screen(sys.stdout, sys.stderr)
    # Only the banned import knows what Airflow raises for a connection that is not there.
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: TID251

    try:
        return _answered(command, screen)
    except ReverseEtlError as error:
        screen.complain(str(error))
        return FAILED
    except AirflowNotFoundException as error:
        screen.complain(f"{error}; add the connection to Airflow or name another, see docs/connections.md")
        return FAILED
    except BrokenPipeError:
        # Whoever reads, such as head, has enough. Python would write what is left when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READ_NO_FURTHER
    except KeyboardInterrupt:
        screen.complain("stopped")
        return 130


def _answered(command: Command, screen: Screen) -> int:
    # Airflow logs to stdout, which belongs to the answer.
    with redirect_stdout(sys.stderr):
        code = command(screen)
    sys.stdout.flush()
    return code
