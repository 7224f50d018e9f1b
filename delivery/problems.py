"""Errors over HTTP: problem+json (RFC 9457) that names the value, the limit, and what to do."""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """One field that is wrong."""

    field: str = Field(examples=["lines[0].quantity"])
    problem: str = Field(examples=["must be greater than 0"])
    value: str | None = Field(default=None, examples=["-3"])


class Problem(BaseModel):
    """What went wrong with a call. `code` is stable and meant for programs; `detail` is meant for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not as asked",
                    "status": 422,
                    "code": "invalid_request",
                    "detail": "quantity: must be greater than 0, got -3",
                    "fields": [{"field": "quantity", "problem": "must be greater than 0", "value": "-3"}],
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    fields: list[FieldProblem] = []


class ProblemRaised(Exception):
    """Leaves an endpoint as a problem+json answer."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = dict(headers or {})


def problem(status: int, code: str, detail: str, *, field: str | None = None) -> ProblemRaised:
    """A problem ready to raise. `field` names what it is about: a field of the body, a parameter, or a header."""
    fields = [] if field is None else [FieldProblem(field=_readable(field), problem=_readable(detail))]
    title = _TITLES.get(status, "Problem")
    return ProblemRaised(Problem(title=title, status=status, code=code, detail=_readable(detail), fields=fields))


_TITLES = {
    400: "Bad request",
    401: "Who are you?",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Refused",
    413: "Too large",
    422: "Not as asked",
    500: "A fault of ours",
    503: "Not now",
    504: "Took too long",
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for an endpoint's problems."""
    return {
        status: {"model": Problem, "description": _TITLES.get(status, "Problem"), "content": {MEDIA_TYPE: {}}}
        for status in statuses
    }


def problem_response(found: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The HTTP answer of a problem."""
    return Response(
        orjson.dumps(found.model_dump(exclude_defaults=False)),
        status_code=found.status,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def away() -> Response:
    """The answer while the database or the brokers are away."""
    detail = "the database is away; nothing was changed, or the same call gives its answer"
    return problem_response(
        Problem(title=_TITLES[503], status=503, code="try_again", detail=detail), {"Retry-After": "1"}
    )


def too_slow(seconds: float) -> Response:
    """The answer when a call has lasted longer than a call may."""
    detail = (
        f"no answer within {seconds:g} s, the most that a call may last: ask for less; "
        "a write may have been done, and the same call with its Idempotency-Key then gives its answer"
    )
    return problem_response(Problem(title=_TITLES[504], status=504, code="too_slow", detail=detail))


def fault() -> Response:
    """The answer when something went wrong that nobody expected."""
    return problem_response(
        Problem(title=_TITLES[500], status=500, code="fault", detail="the fault was logged; nothing was changed")
    )


def field_name(location: tuple[int | str, ...]) -> str:
    """`("body", "lines", 0, "quantity")` → `lines[0].quantity`."""
    parts = location[1:] if location and location[0] in {"body", "query", "path", "header"} else location
    name = ""
    for part in parts:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name or "body"


def install(app: FastAPI) -> None:
    """Answer every error of an app as a problem."""

    @app.exception_handler(ProblemRaised)
    async def _raised(_request: Request, error: ProblemRaised) -> Response:
        return problem_response(error.problem, error.headers)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        found = _of_the_framework(request, error)
        return problem_response(
            Problem(
                title=_TITLES.get(error.status_code, "Problem"),
                status=error.status_code,
                code=_TITLES.get(error.status_code, "problem").lower().replace(" ", "_").strip("?"),
                detail=found.problem,
                fields=[found],
            ),
            error.headers,
        )

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> Response:
        fields = field_problems(error.errors())
        detail = "; ".join(
            f"{found.field}: {found.problem}" + (f", got {found.value}" if found.value else "") for found in fields[:5]
        )
        return problem_response(
            Problem(title=_TITLES[422], status=422, code="invalid_request", detail=detail, fields=fields)
        )


def _of_the_framework(request: Request, error: HTTPException) -> FieldProblem:
    """What a refusal by FastAPI or Starlette is about, in words that name the value and the limit."""
    match error.status_code:
        case 404:
            return FieldProblem(field="path", problem=f"there is nothing at {_readable(request.url.path[:200])!r}")
        case 405:
            return FieldProblem(field="method", problem=f"{request.method[:20]} is not what can be done here")
        case 400:
            return FieldProblem(field="body", problem=_why_unreadable(error))
    return FieldProblem(field="body", problem=_readable(str(error.detail)))


def _why_unreadable(error: HTTPException) -> str:
    """Why a body could not be read at all."""
    match error.__cause__ or error.__context__:
        case RecursionError():
            return "body: its lists and objects are nested too deeply to be read"
        case UnicodeDecodeError() as found:
            return f"body: byte {found.start} is {found.object[found.start]:#04x}: JSON must be UTF-8"
        case ValueError() as found if "integer string conversion" in str(found):
            return f"body: it has a whole number of more than {sys.get_int_max_str_digits()} digits"
    return f"body: {_readable(str(error.detail))}"


def _readable(text: str) -> str:
    """Without half characters (lone surrogates), which no JSON can carry: those are shown as `\\ud800`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def field_problems(errors: Sequence[Any]) -> list[FieldProblem]:
    """Pydantic's errors in words for people, each once.

    A list with a wrong entry is also called too short by pydantic, which counts the good ones: that is left out.
    """
    places = [tuple(found["loc"]) for found in errors]
    return [
        _field_problem(found)
        for found, place in zip(errors, places, strict=True)
        if found["type"] != "too_short"
        or not any(len(other) > len(place) and other[: len(place)] == place for other in places)
    ]


def _field_problem(found: Any) -> FieldProblem:
    location, value = tuple(found["loc"]), found.get("input")
    text = str(found["msg"]).removeprefix("Value error, ")
    match found["type"]:
        case "json_invalid":
            return FieldProblem(field="body", problem=f"not JSON at character {location[-1]}: {found['ctx']['error']}")
        case "enum" | "literal_error":
            # Pydantic shows our lists as Python does.
            allowed = re.findall(r": '([^']*)'>|'([^']*)'", str(found["ctx"]["expected"]))
            words = [word for pair in allowed for word in pair if word and word != "unknown"]
            text = f"one of {', '.join(words)} is needed"
        case "model_attributes_type" | "dict_type" | "model_type":
            # Bytes are what the framework leaves unread: the header does not say that they are JSON.
            text = "a JSON object is needed" + (", as application/json" if isinstance(value, bytes) else "")
        case "missing":
            return FieldProblem(field=field_name(location), problem="is missing")
    return FieldProblem(field=field_name(location), problem=text, value=_shown(value))


def _shown(value: Any) -> str:
    """A value as the caller wrote it, cut."""
    if isinstance(value, str):
        return repr(value[:200])
    try:
        return orjson.dumps(value).decode()[:200]
    except TypeError:
        return repr(value)[:200]


def describe(app: FastAPI, *, body_bytes: int, query_bytes: int, seconds: float) -> None:
    """Say in the OpenAPI document what every call does about errors, who may make it, and how large and long it may be.

    Args:
        body_bytes: the most that a body may have.
        query_bytes: the most that a query may have.
        seconds: the most that a call may last.
    """
    plain = app.openapi
    app.description = (
        f"{app.description}\n\n**Limits.** A body has {body_bytes:,} bytes at most (413), a query {query_bytes:,} "
        f"(422), a call lasts {seconds:g} s at most (504); while database or broker are away it is told to come again "
        "(503). A query parameter that a call does not have is refused (422), never ignored. Numbers, texts, lists and "
        "pages have the limits that stand with them. Every error is a problem (RFC 9457) whose `fields` name what it "
        "is about."
    )

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = plain()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schemas["Problem"].pop("$defs", {}))
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                roles = sorted(getattr(app.state, "doors", {}).get((method.upper(), path), ()))
                if roles:
                    operation["description"] = (
                        f"{operation.get('description', '')}\n\nRoles: {', '.join(roles)}.".strip()
                    )
                    responses = operation.setdefault("responses", {})
                    for status in ("401", "403", "422", "503", "504"):
                        responses.setdefault(status, {})
                    operation["x-seconds-at-most"] = seconds
                    if "requestBody" in operation:
                        responses |= {"400": {}, "413": {}}
                        operation["x-body-bytes-at-most"] = body_bytes
                    operation["responses"] = dict(sorted(responses.items()))
                for status, response in operation.get("responses", {}).items():
                    if status >= "400":
                        response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
                        response["description"] = _TITLES.get(int(status), "Problem")
        app.openapi_schema = document
        return document

    app.openapi = openapi  # type: ignore[method-assign]
