"""Every refusal as an RFC 9457 body (`application/problem+json`), rendered in one place.

`code` is stable and dotted: the page shows the text it knows under `error.<code>`.
"""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from hub.errors import HubError, TooMany

MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong with one field: where (`body.name`, `query.from_at`), pydantic's error type, and words."""

    path: str
    code: str
    message: str


class Problem(BaseModel):
    """An RFC 9457 problem. Some codes add members: `request.invalid` has `fields`, rate limits `retry_after_s`."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str = ""
    request_id: str | None = None
    fields: list[FieldProblem] | None = None
    retry_after_s: int | None = None


# Declared for every route of the API; `default` also keeps FastAPI's own 422 shape out of the OpenAPI document.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem (RFC 9457)",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}

_HTTP_CODES = {
    400: "request.malformed",
    404: "request.not_found",
    405: "request.method_not_allowed",
    413: "request.too_large",
}


def problem(status: int, code: str, detail: str = "", **extra: Any) -> JSONResponse:
    """A problem response. `extra` are further members; None values are left out."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail}
    members = {key: value for key, value in extra.items() if value is not None}
    return JSONResponse({**members, **body}, status_code=status, media_type=MEDIA_TYPE)


def schema() -> dict[str, Any]:
    """`Problem` as JSON Schema, whole in itself, for the OpenAPI document."""
    described = Problem.model_json_schema()
    field = described.pop("$defs")["FieldProblem"]
    described["properties"]["fields"]["anyOf"][0]["items"] = field
    return described


def install(app: FastAPI) -> None:
    """Makes `app` answer every known kind of error with a problem. Unexpected ones: `hub.web.boundary`."""
    app.add_exception_handler(HubError, _hub_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)


def _request_id(request: Request) -> str | None:
    value = request.scope.get("state", {}).get("request_id")
    return value if isinstance(value, str) else None


async def _hub_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HubError)
    extra = {
        key: value if isinstance(value, int | float | bool | list | dict) else str(value)
        for key, value in error.extra.items()
    }
    answer = problem(error.status, error.code, error.detail, request_id=_request_id(request), **extra)
    if isinstance(error, TooMany) and "retry_after_s" in error.extra:
        answer.headers["Retry-After"] = str(error.extra["retry_after_s"])
    return answer


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Only where and why: the value that was sent may be a password, and never comes back.
    fields = [
        {"path": ".".join(str(step) for step in found["loc"]), "code": found["type"], "message": found["msg"]}
        for found in error.errors()[:50]
    ]
    return problem(422, "request.invalid", "see fields", fields=fields, request_id=_request_id(request))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _HTTP_CODES.get(error.status_code, f"request.http_{error.status_code}")
    answer = problem(error.status_code, code, request_id=_request_id(request))
    if error.headers:
        answer.headers.update(error.headers)
    return answer
