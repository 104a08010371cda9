"""`python -m reverse_etl.sandbox`: run the sandbox."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from reverse_etl.errors import ConfigurationError
from reverse_etl.sandbox.core import Sandbox
from reverse_etl.sandbox.runner import SandboxRunner, is_loopback, open_socket
from reverse_etl.sandbox.settings import Settings, checked


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox until SIGTERM or SIGINT; return the exit code: 0, or 2 when it cannot run."""
    options = _parser().parse_args(arguments)
    try:
        _serve(options)
    except ConfigurationError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 2
    return 0


def _serve(options: argparse.Namespace) -> None:
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if not is_loopback(options.host) and not options.admin_token:
        msg = f"--host {options.host} opens the sandbox to the network; protect its admin interface with --admin-token"
        raise ConfigurationError(msg)
    values: dict[str, object] = {"limits": options.limits, "latency_ms": options.latency_ms}
    if options.api_key:
        values["keys"] = [{"key": key} for key in options.api_key]
    if options.customerio_key:
        values["customerio"] = {"keys": options.customerio_key}
    sandbox = Sandbox(checked(Settings, values), options.state)
    listening = open_socket(options.host, options.port)
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{listening.getsockname()[1]}"
    runner = SandboxRunner(
        sandbox,
        listening,
        on_ready=lambda: print(f"sandbox ready on {url}", flush=True),  # noqa: T201 - the one line callers wait for
        admin_token=options.admin_token,
        log_level=options.log_level,
    )
    runner.serve_until_stopped()
    if sandbox.has_state_file:
        sandbox.save()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reverse_etl.sandbox",
        description="A local server that behaves like the APIs of Iterable and Customer.io, with faults on demand.",
    )
    parser.add_argument("--port", type=int, default=8080, help="0 picks a free port (default: 8080)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="load the state from here, save it here at the end")
    parser.add_argument(
        "--limits", choices=("published", "off"), default="published", help="rate limits (default: published)"
    )
    parser.add_argument(
        "--latency-ms", type=float, default=0, metavar="N", help="delay of each API answer (default: 0)"
    )
    parser.add_argument(
        "--api-key", action="append", metavar="KEY", help="accept this server-side key; may be repeated"
    )
    parser.add_argument(
        "--customerio-key", action="append", metavar="KEY", help="accept this Pipelines API key; may be repeated"
    )
    parser.add_argument("--admin-token", metavar="TOKEN", help="ask for this token below /sandbox; needed with --host")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="warning", help="default: warning"
    )
    return parser


if __name__ == "__main__":
    # A bulk request makes thousands of objects at once; with the usual threshold the collector would look through the
    # state of a million users again and again. Only here is the process the sandbox's own.
    gc.set_threshold(50_000, 20, 50)
    sys.exit(main())
