"""The settings of the Customer.io side: keys, limits, and a switch for what public sources leave open."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from reverse_etl.sandbox.limits import Limit

ErrorShape = Literal["meta_errors", "meta_error", "errors", "code", "text"]

# One call and one batch, in bytes of JSON as they arrive. The vendor says 32 KB and 500 KB without saying which KB:
# the sandbox enforces the larger reading, a client should keep to the smaller one.
MAX_MESSAGE_BYTES: Final = 32_768
MAX_BATCH_BYTES: Final = 512_000

# From the introduction of the vendor's API reference; not strictly enforced there.
PUBLISHED_RATE: Final = Limit(3000, 3)

CLASSIC_KEY: Final = "sandbox-customerio-key"
PRIVATE_KEY: Final = "sk_us_sandbox"
PUBLIC_KEY: Final = "pk_us_sandbox"
EU_PRIVATE_KEY: Final = "sk_eu_sandbox"


class CustomerIoSettings(BaseModel):
    """What `PUT /sandbox/settings` can set below `customerio`; docs/sandbox-customerio.md has the table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[str, ...] = Field(default=(CLASSIC_KEY, PRIVATE_KEY, PUBLIC_KEY, EU_PRIVATE_KEY), min_length=1)
    region: Literal["us", "eu"] = "us"
    new_keys_over_basic: bool = True
    permissive_bad_key_status: Literal[200, 401] = 200
    permissive_bad_json_status: Literal[400, 200] = 400
    success_body: Literal["success", "empty"] = "success"
    error_shape: ErrorShape = "meta_errors"
    strict_bad_item: Literal["batch", "item"] = "batch"
    max_message_bytes: int = Field(default=MAX_MESSAGE_BYTES, ge=1)
    max_batch_bytes: int = Field(default=MAX_BATCH_BYTES, ge=1)
    zoneless_timestamps: Literal["reject", "accept"] = "reject"
    dedupe_window_seconds: float = Field(default=86_400, ge=0)
    enforce_rate: bool = False
    rate_per_3_seconds: int = Field(default=int(PUBLISHED_RATE.requests), ge=1)
    identify_by_email_trait: bool = True
    events_create_people: bool = True
    alias: Literal["merge", "ignore"] = "merge"
    keep_dropped: int = Field(default=10_000, ge=0)
