"""Routes as data: what FastAPI routes, what OpenAPI tells, and who answers, in one place for each route.

Rules of this file: an `Operation` says everything that a client can see of its route, and nothing else says
it again; the error answers in OpenAPI are derived from the table of codes, so that neither can drift.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import msgspec

from app.api.calls import Handler
from app.api.problems import CODES, Problem, problem_details

Json = dict[str, Any]

REPLICATED = ("no_quorum", "shutting_down", "overloaded")
"""What any operation that needs the cluster can end in."""
WRITES = (*REPLICATED, "outcome_unknown")
BODY = ("malformed_json", "invalid_body", "body_too_large", "unsupported_media_type")
OF_THE_SERVER = ("request_timeout", "uri_too_long")
"""Refused before a route is known, and so never in the classic form."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operation:
    """One route. `errors`: codes of `problems.CODES`. `classic`: refusals are `{"success": false}`."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    handler: Handler
    answers: dict[int, Json]
    errors: tuple[str, ...] = ()
    parameters: tuple[Json, ...] = ()
    body: Json | None = None
    classic: bool = False
    hot: bool = False
    """Found before FastAPI is asked, because asking costs more than answering."""

    def openapi(self) -> Json:
        """The operation object of OpenAPI 3.1."""
        responses = {str(status): answer for status, answer in self.answers.items()}
        codes = list(self.errors)
        if self.body is not None:
            codes.append("request_timeout")
        if any(parameter["in"] in ("path", "query") for parameter in self.parameters):
            codes.append("uri_too_long")
        for status, answer in _error_answers(codes, classic=self.classic).items():
            responses.setdefault(str(status), answer)
        found: Json = {"operationId": self.name, "responses": dict(sorted(responses.items()))}
        if self.parameters:
            found["parameters"] = list(self.parameters)
        if self.body is not None:
            found["requestBody"] = self.body
        return found


def ref(kind: type) -> Json:
    """A reference to a struct of `schemas`."""
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def content(schema: Json, examples: Json, media_type: str = "application/json") -> Json:
    """A media type object. `examples`: summary -> value."""
    named = {_slug(summary): {"summary": summary, "value": value} for summary, value in examples.items()}
    return {media_type: {"schema": schema, "examples": named}}


def answer(description: str, schema: Json, examples: Json, headers: Json | None = None) -> Json:
    """A response object with a JSON body."""
    found: Json = {"description": description, "content": content(schema, examples)}
    if headers:
        found["headers"] = headers
    return found


def header(description: str, schema: Json | None = None) -> Json:
    """A header object of a response."""
    return {"description": description, "schema": schema or {"type": "string"}}


def body(schema: Json, examples: Json, *, required: bool = True) -> Json:
    """A request body object."""
    return {"required": required, "content": content(schema, examples)}


def parameter(name: str, where: str, description: str, schema: Json, example: Any = None) -> Json:
    """A parameter object; `where` is path, query or header."""
    found: Json = {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema}
    if example is not None:
        found["example"] = example
    return found


FAILED: Json = {"success": False}
FAILED_SCHEMA: Json = {
    "type": "object", "properties": {"success": {"const": False}}, "required": ["success"],
    "additionalProperties": False,
}  # fmt: skip
REASON_HEADERS: Json = {
    "RMQ-Code": header("Why it was refused: a stable code"),
    "RMQ-Detail": header("The same as a sentence"),
    "RMQ-Outcome": header("`not_committed`, or `unknown`: it may still take effect"),
}


def _error_answers(codes: Sequence[str], *, classic: bool) -> dict[int, Json]:
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(CODES[code].status, []).append(code)
    return {
        status: _error_answer(status, names, classic=classic and names[0] not in OF_THE_SERVER)
        for status, names in by_status.items()
    }


def _error_answer(status: int, codes: list[str], *, classic: bool) -> Json:
    description = "; ".join(f"{CODES[code].title} (`{code}`)" for code in codes)
    headers = dict(REASON_HEADERS) if classic else {}
    if status in (429, 503, 507):
        headers["Retry-After"] = header("Seconds after which a retry makes sense, where known", {"type": "integer"})
    if classic:
        found = {"description": description, "content": content(FAILED_SCHEMA, {codes[0]: FAILED})}
    else:
        examples = {code: msgspec.to_builtins(problem_details(Problem(code, CODES[code].example))) for code in codes}
        schema = {"$ref": "#/components/schemas/ProblemDetails"}
        found = {"description": description, "content": content(schema, examples, "application/problem+json")}
    if headers:
        found["headers"] = headers
    return found


def _slug(summary: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in summary.lower()).strip("_")
