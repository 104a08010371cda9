"""What Airflow asks an installed provider: its connection types and configuration options."""

from __future__ import annotations


def get_provider_info() -> dict[str, object]:
    """Return the provider's description. Source: Airflow's provider_info.schema.json."""
    return {
        "package-name": "airflow-provider-reverse-etl",
        "name": "Reverse ETL",
        "description": "Rows of a SQL query become user profiles and events in Iterable and Customer.io.",
        "connection-types": [_ITERABLE, _CUSTOMERIO],
        "config": {"reverse_etl": {"description": "Reverse ETL.", "options": _OPTIONS}},
    }


def _option(description: str, default: str | None, example: str, *, sensitive: bool = False) -> dict[str, object]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": "string",
        "default": default,
        "example": example,
        "sensitive": sensitive,
    }


def _number(label: str, description: str, **schema: object) -> dict[str, object]:
    return {"label": label, "description": description, "schema": {"type": ["number", "null"], **schema}}


def _behaviour(key: str) -> dict[str, object]:
    """Return how the form shows Airflow's own fields; `key` says what to put into that of the password."""
    return {
        "hidden-fields": ["schema", "login"],
        "relabeling": {"password": "API key", "host": "Host (only for the sandbox)"},
        "placeholders": {
            "password": key,
            "host": "empty, or http://127.0.0.1:8081 for the sandbox",
            "port": "0 (without a port the Test button of Airflow 3.3.2 refuses to test)",
        },
    }


_OPTIONS = {
    "staging_path": _option(
        "Folder for batches and outcomes, as a URL Airflow's object storage understands. Workers share it.",
        None,
        "s3://aws_default@my-bucket/reverse_etl/staging",
    ),
    "output_path": _option(
        "Folder for query_results_*.csv and integration_results_*.json, as a URL.",
        None,
        "file:///data/reverse_etl/output",
    ),
    "ledger_path": _option(
        "SQLite file of the ledger, used unless there is a connection reverse_etl_ledger. All workers must be on the "
        "machine it is on; empty: reverse_etl_ledger.db in AIRFLOW_HOME.",
        None,
        "/data/reverse_etl/ledger.db",
    ),
    "hash_key": _option(
        "Secret for the keyed hash that stands for a row's key in results. Keep it: another one gives other hashes.",
        None,
        "a random text of 32 characters",
        sensitive=True,
    ),
}

_PACE = {
    "timeout": _number("Timeout", "Seconds for one request; 10 when empty.", minimum=0.1, maximum=600),
    "requests_in_flight": _number(
        "Requests in flight",
        "How many one task keeps under way; 100 when empty.",
        minimum=1,
        maximum=1000,
    ),
    "rate_share": _number(
        "Share of the rate limit",
        "0.8 leaves a fifth of the published limits to other integrations; 1 when empty.",
        exclusiveMinimum=0,
        maximum=1,
    ),
    "tries": _number("Tries", "Requests for one call before it counts as failed; 3 when empty.", minimum=1, maximum=10),
}

_ITERABLE = {
    "connection-type": "iterable",
    "hook-class-name": "reverse_etl.iterable.hook.IterableHook",
    "hook-name": "Iterable",
    "ui-field-behaviour": _behaviour("a server-side API key"),
    "conn-fields": {
        "region": {
            "label": "Data centre",
            "description": "Where the project lives; a key belongs to one of the two.",
            "schema": {"type": "string", "enum": ["us", "eu"], "default": "us"},
        },
        "jwt_secret": {
            "label": "JWT secret",
            "description": "Only for JWT-enabled API keys.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "jwt_lifetime": _number("Token lifetime", "Seconds; 3600 when empty.", minimum=60, maximum=31536000),
        **_PACE,
        "rate_limits": {
            "label": "Rate limits",
            "description": (
                'Requests per second by path, where they differ from the published ones: {"/api/users/bulkUpdate": 10}.'
            ),
            "schema": {"type": ["string", "null"]},
        },
    },
}

_CUSTOMERIO = {
    "connection-type": "customerio",
    "hook-class-name": "reverse_etl.customerio.hook.CustomerIOHook",
    "hook-name": "Customer.io",
    "ui-field-behaviour": _behaviour("the API key of a Data Pipelines source, or a private key (sk_)"),
    "conn-fields": {
        "region": {
            "label": "Data centre",
            "description": "us or eu. Empty: what the key names, us for a classic key, which names none.",
            "schema": {"type": ["string", "null"], "enum": ["us", "eu", None]},
        },
        **_PACE,
    },
}
