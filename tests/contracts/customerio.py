"""Customer.io's schemas, without what is wrong in them."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from tests.contracts.specs import spec

MISTAKES = {
    "oneOf": "variants overlap: a user deletion is a custom event too, so exactly one never matches; anyOf",
    "activityType": "required by report_content_event, which defines only actionType",
    "alias": "one of the six types, but missing among those of a batch",
    "group": "wants a person in a batch but not alone; the vendor's SDKs dropped that in 2023",
}


def mended(schema: Any) -> Any:
    match schema:
        case dict():
            return {"anyOf" if name == "oneOf" else name: mended(part) for name, part in schema.items()}
        case list():
            return [mended(part) for part in schema if part != "activityType"]
    return schema


def validator(component: str) -> Draft202012Validator:
    components = mended(spec("customerio_pipelines_openapi.json")["components"])
    types = components["schemas"]["batch"]["properties"]["batch"]["items"]["anyOf"]
    types += [{"$ref": f"#/components/schemas/{type_}"} for type_ in ("alias", "group")]
    return Draft202012Validator({"components": components, "$ref": f"#/components/schemas/{component}"})


def without_nulls(value: Any) -> Any:
    """None is no value, for which the schemas have no word."""
    match value:
        case dict():
            return {name: without_nulls(part) for name, part in value.items() if part is not None}
        case list():
            return [without_nulls(part) for part in value if part is not None]
    return value
