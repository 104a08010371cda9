"""The admin interface below `/sandbox`: settings, faults, counts, and all state for equality checks."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import Request

from reverse_etl import __version__
from reverse_etl.errors import ConfigurationError
from reverse_etl.sandbox.core import Sandbox
from reverse_etl.sandbox.customerio.listing import matching

_LINES_PER_CHUNK = 1000


def create_admin(sandbox: Sandbox, admin_token: str | None) -> FastAPI:
    """Build the admin application; with a token, every request needs it in the header `Sandbox-Admin-Token`."""

    async def check_token(sandbox_admin_token: Annotated[str | None, Header()] = None) -> None:
        if admin_token is None:
            return
        if not hmac.compare_digest((sandbox_admin_token or "").encode(), admin_token.encode()):
            raise HTTPException(401, "the header Sandbox-Admin-Token is missing or wrong")

    app = FastAPI(
        title="Sandbox admin",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/sandbox/openapi.json",
        dependencies=[Depends(check_token)],
    )

    @app.exception_handler(ConfigurationError)
    async def refuse(_request: Request, error: ConfigurationError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=422)

    _add_state_routes(app, sandbox)
    _add_customerio_routes(app, sandbox)
    _add_control_routes(app, sandbox)
    return app


def _add_state_routes(app: FastAPI, sandbox: Sandbox) -> None:
    @app.get("/sandbox/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    @app.get("/sandbox/stats")
    async def stats() -> dict[str, object]:
        return sandbox.as_stats()

    @app.get("/sandbox/users")
    async def users() -> StreamingResponse:
        return _lines(sandbox.iterable.user_lines())

    @app.get("/sandbox/events")
    async def events() -> StreamingResponse:
        return _lines(sandbox.iterable.event_lines())

    @app.post("/sandbox/save")
    async def save() -> dict[str, str]:
        return {"saved": str(sandbox.save())}

    @app.post("/sandbox/reset")
    async def reset() -> dict[str, str]:
        sandbox.reset()
        return {"status": "reset"}


def _add_customerio_routes(app: FastAPI, sandbox: Sandbox) -> None:
    def chosen(kind: str, request: Request) -> Iterator[bytes]:
        lines = sandbox.customerio.lines(kind)
        if lines is None:
            raise HTTPException(404, "no such kind of state")
        return matching(lines, dict(request.query_params))

    @app.get("/sandbox/customerio/stats")
    async def customerio_stats() -> dict[str, object]:
        return sandbox.customerio.counts()

    @app.get("/sandbox/customerio/{kind}")
    async def customerio_state(kind: str, request: Request) -> StreamingResponse:
        return _lines(chosen(kind, request))

    @app.get("/sandbox/customerio/{kind}/count")
    async def customerio_count(kind: str, request: Request) -> dict[str, int]:
        return {"count": sum(1 for _ in chosen(kind, request))}


def _add_control_routes(app: FastAPI, sandbox: Sandbox) -> None:
    @app.get("/sandbox/settings")
    async def settings() -> dict[str, Any]:
        return sandbox.settings.model_dump(mode="json")

    @app.put("/sandbox/settings")
    async def change_settings(request: Request) -> dict[str, Any]:
        patch = await _json(request)
        if not isinstance(patch, dict):
            raise ConfigurationError("the body must be a JSON object of settings")
        sandbox.change_settings(patch)
        return sandbox.settings.model_dump(mode="json")

    @app.get("/sandbox/faults")
    async def faults() -> list[dict[str, object]]:
        return sandbox.faults.as_list()

    @app.put("/sandbox/faults")
    async def replace_faults(request: Request) -> list[dict[str, object]]:
        rules = await _json(request)
        if not isinstance(rules, list):
            raise ConfigurationError("the body must be a JSON list of fault rules")
        sandbox.replace_faults(rules)
        return sandbox.faults.as_list()

    @app.delete("/sandbox/faults")
    async def clear_faults() -> list[dict[str, object]]:
        sandbox.replace_faults([])
        return sandbox.faults.as_list()


async def _json(request: Request) -> object:
    """Return the body as JSON whatever its content type, so that a plain `curl -d` works."""
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise ConfigurationError("the body is not JSON") from None


def _lines(lines: Iterator[bytes]) -> StreamingResponse:
    async def chunks() -> Any:  # noqa: ANN401 - an async generator
        while chunk := list(islice(lines, _LINES_PER_CHUNK)):
            yield b"\n".join(chunk) + b"\n"

    return StreamingResponse(chunks(), media_type="application/x-ndjson")
