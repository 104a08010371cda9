"""The sandbox's settings: project, keys, limits, and a switch for every behaviour the sources disagree on."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reverse_etl.errors import ConfigurationError
from reverse_etl.sandbox.customerio.settings import CustomerIoSettings
from reverse_etl.sandbox.iterable.limits import PUBLISHED_LIMITS
from reverse_etl.sandbox.limits import Limit

KeyType = Literal["server", "readonly", "javascript", "mobile", "web"]
Region = Literal["us", "eu"]
BulkLists = Literal["all", "sparse", "old"]


class ApiKey(BaseModel):
    """One key of the project; `jwt_secret` makes it a JWT-enabled key (client-side types only)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(min_length=1)
    type: KeyType = "server"
    region: Region = "us"
    disabled: bool = False
    jwt_secret: str | None = Field(default=None, min_length=32)

    @model_validator(mode="after")
    def _jwt_is_for_client_side_keys(self) -> Self:
        if self.jwt_secret is not None and self.type in ("server", "readonly"):
            msg = "jwt_secret is only for client-side keys: type javascript, mobile or web"
            raise ValueError(msg)
        return self


DEFAULT_KEYS = (
    ApiKey(key="sandbox-server-key"),
    ApiKey(key="sandbox-readonly-key", type="readonly"),
    ApiKey(key="sandbox-disabled-key", disabled=True),
    ApiKey(key="sandbox-eu-key", region="eu"),
    ApiKey(key="sandbox-jwt-key", type="web", jwt_secret="sandbox-jwt-secret-0123456789abcdef"),  # noqa: S106
)
"""The keys of a sandbox that was given none; they open nothing but a sandbox."""


class Settings(BaseModel):
    """Everything that can be set over `PUT /sandbox/settings`; docs/sandbox.md has the table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project_type: Literal["email", "userid", "hybrid"] = "hybrid"
    project_id: int = 1
    region: Region = "us"
    keys: tuple[ApiKey, ...] = DEFAULT_KEYS
    limits: Literal["published", "off"] | dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)] | None] = (
        "published"
    )
    retry_after: bool = False
    latency_ms: float = Field(default=0, ge=0, le=600_000)
    max_body_bytes: int = Field(default=4_000_000, ge=1)
    store: Literal["full", "counts"] = "full"
    visibility_delay_seconds: float = Field(default=0, ge=0)
    create_new_fields: bool = True
    user_fields_limit: int = Field(default=1000, ge=0)
    event_fields_limit: int = Field(default=8000, ge=0)
    max_bulk_items: int | None = Field(default=None, ge=1)
    bulk_type_mismatch: Literal["request", "row"] = "request"
    bulk_conflict: Literal["row", "request"] = "row"
    bulk_lists: BulkLists = "all"
    bulk_unknown_user_id: Literal["invalid", "not_found"] = "invalid"
    double_in_long_field: Literal["reject", "accept"] = "reject"
    reserved_fields: Literal["ignore", "reject"] = "ignore"
    disallowed_event_names: frozenset[str] = frozenset()
    disallowed_events_fail: bool = True
    track_unknown_user: Literal["reject", "drop"] = "reject"
    trim_emails: bool = False
    check_top_level_domain: bool = True
    forgotten_status: Literal[409, 400] = 409
    unknown_user_id_status: Literal[400, 500] = 400
    jwt_error_status: Literal[401, 400] = 401
    customerio: CustomerIoSettings = CustomerIoSettings()

    @model_validator(mode="after")
    def _limits_name_endpoints(self) -> Self:
        if isinstance(self.limits, dict):
            unknown = sorted(set(self.limits) - set(PUBLISHED_LIMITS))
            if unknown:
                msg = f"limits: unknown {', '.join(unknown)}; allowed: {', '.join(PUBLISHED_LIMITS)}"
                raise ValueError(msg)
        return self

    def limit_table(self) -> dict[str, tuple[Limit, ...]]:
        """Return the limits in force by endpoint; a number replaces an endpoint's published ones, None lifts them."""
        if self.limits == "off":
            return {}
        table = dict(PUBLISHED_LIMITS)
        if isinstance(self.limits, dict):
            for endpoint, requests in self.limits.items():
                table[endpoint] = () if requests is None else (Limit(requests),)
        return table


_INNER: dict[str, type[BaseModel]] = {"keys": ApiKey, "customerio": CustomerIoSettings}

Model = TypeVar("Model", bound=BaseModel)


def checked(model: type[Model], values: object) -> Model:
    """Build a settings, key or fault object from JSON values.

    Raises ConfigurationError that names each wrong field, and the allowed ones where a name is unknown; it does
    not repeat the values given.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_problem(model, list(item["loc"]), item["type"], item["msg"]) for item in error.errors()]
    raise ConfigurationError("; ".join(problems))


def _problem(model: type[BaseModel], where: list[int | str], kind: str, text: str) -> str:
    name = ".".join(str(part) for part in where) or "value"
    if kind == "extra_forbidden":
        owner = _INNER.get(str(where[0]), model) if where[1:] else model
        return f"{name} is unknown; allowed: {', '.join(owner.model_fields)}"
    return f"{name}: {text.removeprefix('Value error, ')}"
