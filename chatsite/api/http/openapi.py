"""The OpenAPI 3.1 description, made from the endpoints and the types that they take and give."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from chatsite.api.error_responses import not_allowed
from chatsite.api.http.endpoints import Endpoint
from chatsite.api.schemas.replies import Error

PROBLEMS = {
    400: "The request is wrong; `param` names where.",
    401: "No usable key.",
    403: "The key may not do this.",
    404: "No such model.",
    405: "Another method; `Allow` names the right one.",
    408: "The body comes too slowly.",
    413: "The body is too large.",
    415: "The body isn't JSON.",
    429: "Over the key's quota; see Retry-After.",
    500: "The answer could not be made.",
    503: "The model, the queue or the database can't serve just now; see Retry-After.",
}
GENERATES_ONLY = (403, 429)
OF_A_BODY = (408, 413, 415)
View = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]
REF = "#/components/schemas/{model}"


def description(endpoints: list[Endpoint]) -> dict[str, Any]:
    """The whole document."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, schemas)
        paths.setdefault(_template(endpoint.path), {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "chatsite",
            "version": "1",
            "description": "The models of this site in the manner of OpenAI's API, with the "
            "extras of vLLM by the same names.",
        },
        "servers": [{"url": "/v1"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(sorted(schemas.items())),
        },
    }


def _template(path: str) -> str:
    """Django's route as OpenAPI writes it: <path:model> is {model}."""
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": _schema(endpoint.gives, schemas)}}
    if endpoint.streams is not None:
        chunk = {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": _schema(endpoint.streams, schemas),
        }
        data = {"anyOf": [{"const": "[DONE]", "description": "The last event."}, chunk]}
        event = {"type": "object", "properties": {"data": data}, "required": ["data"]}
        content["text/event-stream"] = {"schema": event}  # of each event, as the tools read 3.1
    problem = {"application/json": {"schema": _schema(Error, schemas)}}
    responses = {
        str(status): {"description": words, "content": problem}
        for status, words in PROBLEMS.items()
        if (endpoint.generates or status not in GENERATES_ONLY)
        and (endpoint.takes is not None or status not in OF_A_BODY)
    }
    done = {
        "description": "OK",
        "content": content,
        "headers": {"x-request-id": {"schema": {"type": "string"}}},
    }
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": getattr(endpoint.answer, "__name__", endpoint.path),
        "responses": {"200": done, **responses},
    }
    if names := re.findall(r"<(?:\w+:)?(\w+)>", endpoint.path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    if endpoint.takes is not None:
        _all, found = models_json_schema([(endpoint.takes, "validation")], ref_template=REF)
        schemas |= found["$defs"]
        schema = {"$ref": REF.format(model=endpoint.takes.__name__)}
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the type's schema, which is put under `schemas` with all it needs."""
    schema = TypeAdapter(kind).json_schema(ref_template=REF, mode="serialization")
    schemas |= schema.pop("$defs", {})
    schemas[kind.__name__] = schema
    return {"$ref": REF.format(model=kind.__name__)}


def view_of(endpoints: list[Endpoint]) -> View:
    """GET /v1/openapi.json for these endpoints: no key needed; there is nothing secret in it."""
    document = functools.cache(partial(description, endpoints))  # made when first asked for

    async def view(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return not_allowed(request.method or "", request.path, "GET, HEAD").response()
        return JsonResponse(document())

    return view
