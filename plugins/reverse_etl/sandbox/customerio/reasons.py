"""Why a message is not processed: one table of codes, shown in the dropped log and counted by code.

The first group is found on arrival: strict mode answers it with a 4xx, permissive mode with 200. The second is found
when an accepted message takes effect, which the API never tells: 200 in both modes.
"""

from __future__ import annotations

from typing import Final

REFUSED: Final = {
    "bad_key": "the key is absent, unknown, of the other region, or sent by the wrong scheme",
    "bad_json": "the body is not JSON",
    "not_an_object": "the message is not a JSON object",
    "no_batch": "batch is required and must be an array",
    "unknown_type": "type must be one of identify, track, page, screen, group, alias",
    "other_type": "type is not that of the path",
    "wrong_type": "a field has the wrong JSON type",
    "bad_timestamp": "a time is not an ISO-8601 date-time with a zone",
    "no_person": "userId or anonymousId is required",
    "no_event": "event is required",
    "no_group": "groupId is required",
    "no_previous": "userId and previousId are required",
    "message_too_large": "the message is larger than the limit for one call",
    "batch_too_large": "the body is larger than the limit for a batch",
}

LOST: Final = {
    "suppressed": "the person's identifier is suppressed",
    "email_taken": "the e-mail belongs to another person",
    "unknown_cio_id": "no person has this cio_id",
    "unknown_person": "no person has this identifier, and the settings do not let events create people",
    "needs_user_id": "this semantic event is about a person named by userId",
    "needs_device_token": "context.device.token is required",
    "needs_object_id": "properties.objectId is required",
    "bad_object_type": "objectTypeId must be a whole number, as a number or a string",
    "injected": "a fault rule refused it",
}

REASONS: Final = {**REFUSED, **LOST}


class Problem:
    """What is wrong with a message: the code of the table, and the text that a 400 shows."""

    __slots__ = ("code", "text")

    def __init__(self, code: str, text: str = "") -> None:
        self.code = code
        self.text = text or REASONS[code]
