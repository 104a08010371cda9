"""What may be written after `reverse-etl`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from reverse_etl.cli.screen import Screen

Command = Callable[[Screen], int]


class _Parser(argparse.ArgumentParser):
    """Errors of use as one line, like every other error of the command, and no abbreviations of options.

    `--key`, which one command has, would be `--key-values` to another.
    """

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - as the base class has them
        super().__init__(**kwargs, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"reverse-etl: {message}; see {self.prog} --help\n")


def parsed(arguments: Sequence[str]) -> Command:
    """Return the command with its options; exits with 2 when they are wrong, with 0 after --help."""
    options = _parser().parse_args(arguments)
    return partial(_carry_out, options)


def _carry_out(options: argparse.Namespace, screen: Screen) -> int:
    # Imported only now: Airflow takes two seconds, and --help needs none of it.
    from reverse_etl.cli import check, forget, preview, purge, quarantine, watermark

    commands: dict[str, Callable[[argparse.Namespace, Screen], int]] = {
        "list": quarantine.list_counts,
        "show": quarantine.show,
        "replay": quarantine.replay,
        "discard": quarantine.discard,
        "preview": preview.show,
        "purge": purge.purge,
        "forget": forget.forget,
        "check": check.check,
        "watermark show": watermark.show,
        "watermark set": watermark.put,
        "watermark reset": watermark.reset,
    }
    return commands[options.command](options, screen)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="reverse-etl", description="Look ahead, and look after the ledger.")
    groups = parser.add_subparsers(required=True, metavar="{check,preview,quarantine,purge,forget,watermark}")
    _add_check(groups.add_parser("check", help="what would make a run of a sync useless, before a row is read"))
    _add_preview(groups.add_parser("preview", help="say what a run of a sync would do, without sending anything"))
    _add_quarantine(groups.add_parser("quarantine", help="rows that were refused: look at them, send them again"))
    _add_purge(groups.add_parser("purge", help="forget what is old, or everything about a person"))
    _add_forget(groups.add_parser("forget", help="have people forgotten, deleted or suppressed at every platform"))
    _add_watermark(groups.add_parser("watermark", help="how far an incremental sync has come: show it, set it"))
    return parser


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command="check")
    parser.add_argument("sync", metavar="SYNC", help="the name of the sync, as Sync(name=...) has it")
    parser.add_argument("--date", metavar="DAY", help="the UTC day of the query's parameters (default: yesterday)")
    parser.add_argument("--window-days", type=_count, default=7, metavar="DAYS", help="their window (default: 7)")
    parser.add_argument("--offline", action="store_true", help="do not ask the platform")
    parser.add_argument("--json", action="store_true", help="as JSON")
    _add_dags_folder(parser)


def _add_preview(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command="preview")
    parser.add_argument("sync", metavar="SYNC", help="the name of the sync, as Sync(name=...) has it")
    parser.add_argument(
        "--date", metavar="DAY", help="the UTC day (default: the day that just ended, or on from the watermark)"
    )
    parser.add_argument("--window-days", type=_count, metavar="DAYS", help="days of rows (default: as the DAG has it)")
    parser.add_argument("--send", choices=("all", "changed"), help="what to send (default: as the sync says)")
    parser.add_argument("--batch-rows", type=_count, default=50_000, help="rows of one batch (default: 50000)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    _add_dags_folder(parser)


def _add_quarantine(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", required=True, metavar="{list,show,replay,discard}")

    listing = commands.add_parser("list", help="count the calls in quarantine by sync, outcome and reason")
    listing.add_argument("--sync", help="only those of this sync")
    _add_filters(listing)
    listing.add_argument("--json", action="store_true", help="as JSON")
    _add_dags_folder(listing)

    show = commands.add_parser("show", help="list the calls of a sync")
    show.add_argument("sync", metavar="SYNC")
    show.add_argument(
        "key", metavar="KEY", nargs="?", type=_hashed, help="the hashed key of one row, as results show it"
    )
    show.add_argument("--key-values", nargs="+", metavar="VALUE", help="the values of the row's key instead")
    _add_filters(show)
    show.add_argument("--limit", type=_count, default=50, help="calls to list at most (default: 50)")
    show.add_argument("--wide", action="store_true", help="all columns, uncut")
    show.add_argument("--json", action="store_true", help="as JSON")
    _add_dags_folder(show)

    replay = commands.add_parser("replay", help="read the rows again and send them")
    replay.add_argument("sync", metavar="SYNC")
    _add_filters(replay)
    replay.add_argument("--dry-run", action="store_true", help="count only, read and send nothing")
    replay.add_argument("--batch-rows", type=_count, default=50_000, help="rows of one batch (default: 50000)")
    _add_dags_folder(replay)

    discard = commands.add_parser("discard", help="forget calls without sending them")
    discard.add_argument("sync", metavar="SYNC")
    _add_filters(discard)
    discard.add_argument("--key", nargs="+", type=_hashed, metavar="HASH", help="only rows with these hashed keys")
    discard.add_argument("--yes", action="store_true", help="do not ask")
    _add_dags_folder(discard)


def _add_purge(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command="purge")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--older-than", type=_count, metavar="DAYS", help="outcomes, quarantined calls, staged rows")
    what.add_argument("--person", action="store_true", help="everything about one person")
    parser.add_argument("--states-older-than", type=_count, metavar="DAYS", help="also what was last delivered")
    parser.add_argument("--email", action="append", default=[], help="an e-mail of the person; - reads them from stdin")
    parser.add_argument("--user-id", action="append", default=[], help="a user id of the person; - reads from stdin")
    parser.add_argument("--sync", action="append", default=[], help="the sync of the next --key-values")
    parser.add_argument("--key-values", action="append", nargs="+", default=[], metavar="VALUE", help="a row's key")
    parser.add_argument("--dry-run", action="store_true", help="count what there is about the person, remove nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _add_dags_folder(parser)


def _add_forget(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command="forget")
    parser.add_argument("--action", choices=("suppress", "unsuppress", "delete", "forget"), default="forget")
    parser.add_argument("--query", metavar="FILE", help="a SQL file whose columns are email, user_id or both")
    parser.add_argument("--source-conn", default="mysql_default", metavar="CONN", help="where the query runs")
    parser.add_argument("--email", action="append", default=[], help="an e-mail; - reads them from stdin, one a line")
    parser.add_argument("--user-id", action="append", default=[], help="a user id; - reads them from stdin")
    parser.add_argument("--conn", action="append", default=[], help="a connection (default: those of all syncs)")
    parser.add_argument("--job", help="go on with this job: what it has confirmed is not sent again")
    parser.add_argument("--asked-by", metavar="NAME", help="who asks, for the audit record (default: you)")
    parser.add_argument("--dry-run", action="store_true", help="count the people and send nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _add_dags_folder(parser)


def _add_watermark(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="{show,set,reset}")
    for name, text in (
        ("show", "print up to which row everything was delivered"),
        ("set", "read on from another row"),
        ("reset", "begin anew, as the first run did"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(command=f"watermark {name}")
        command.add_argument("sync", metavar="SYNC")
        if name == "set":
            command.add_argument("--time", required=True, help="such as 2026-01-13T08:00:00; UTC unless it says more")
            command.add_argument("--key", type=int, required=True, metavar="NUMBER", help="the row's integer key")
        if name == "show":
            command.add_argument("--json", action="store_true", help="as JSON")
        else:
            command.add_argument("--yes", action="store_true", help="do not ask")
        _add_dags_folder(command)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", metavar="CODE", help="only calls with this reason code")
    parser.add_argument("--since", metavar="DAY", help="only calls seen in quarantine on this UTC day or later")


def _add_dags_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dags-folder", metavar="PATH", help="where the DAG files are, if not in Airflow's folder")


def _hashed(text: str) -> str:
    # It is not repeated: a row's own key, which may be an e-mail, is what is given by mistake.
    if not re.fullmatch("[0-9a-f]{32}", text):
        raise argparse.ArgumentTypeError("not a hashed key; expected 32 hexadecimal characters, as show lists them")
    return text


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number
