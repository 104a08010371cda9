"""The user's variables and the random secrets of this machine."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from devstack import processes
from devstack.layout import Layout

MYSQL_VARIABLE = "AIRFLOW_CONN_MYSQL_DEFAULT"
ITERABLE_VARIABLE = "AIRFLOW_CONN_ITERABLE_DEFAULT"
CUSTOMERIO_VARIABLE = "AIRFLOW_CONN_CUSTOMERIO_DEFAULT"

# A shell that is set up for another Airflow must not leak into this one.
_KEPT_AIRFLOW_VARIABLES = (
    "AIRFLOW_CONN_",
    "AIRFLOW_VAR_",
    "AIRFLOW__REVERSE_ETL__",
    "AIRFLOW__LOGGING__LOGGING_LEVEL",
)
_DROPPED_PYTHON_VARIABLES = {"PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "PYTHONSTARTUP", "VIRTUAL_ENV"}


def user_environment(layout: Layout, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment children start from: the shell's, then what only `.env` sets.

    Of the shell's AIRFLOW variables only connections, variables, the log level and REVERSE_ETL options count.
    """
    kept = {name: value for name, value in environ.items() if _is_kept(name)}
    file = layout.root / ".env"
    if file.is_file():
        for name, value in dotenv_values(file, interpolate=False).items():
            if value and not kept.get(name):
                kept[name] = value
    # The embedded servers are on this machine: no proxy in between.
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, [kept.get(name, ""), "127.0.0.1,localhost"]))
    return {name: value for name, value in kept.items() if value or not name.startswith("AIRFLOW_")}


def _is_kept(name: str) -> bool:
    if name.startswith("AIRFLOW_"):
        return name.startswith(_KEPT_AIRFLOW_VARIABLES)
    return name not in _DROPPED_PYTHON_VARIABLES


def machine_secrets(path: Path) -> dict[str, str]:
    """Return the secrets made once for this folder and kept in a file only this user can read."""
    makers: dict[str, Callable[[], str]] = {
        "fernet_key": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "jwt_secret": lambda: secrets.token_urlsafe(48),
        "api_secret_key": lambda: secrets.token_urlsafe(48),
        "hash_key": lambda: secrets.token_hex(32),
        "admin_password": lambda: secrets.token_urlsafe(12),
    }
    try:
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    missing = {name: make() for name, make in makers.items() if name not in known}
    if missing:
        known |= missing
        processes.write_private(path, json.dumps(known, indent=1))
    return known
