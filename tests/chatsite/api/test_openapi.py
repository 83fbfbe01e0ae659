"""The served description is made of the code, whole, and a valid OpenAPI document."""

from __future__ import annotations

import json
import re

from django.test import Client

from chatsite.api.http.openapi import description
from chatsite.api.urls import ENDPOINTS


def test_every_endpoint_is_described():
    found = description(ENDPOINTS)
    assert set(found["paths"]) == {
        "/models",
        "/models/{model}",
        "/chat/completions",
        "/completions",
        "/tokenize",
        "/detokenize",
    }


def test_every_reference_leads_somewhere():
    found = description(ENDPOINTS)
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(found)):
        assert name in found["components"]["schemas"]


def test_every_field_of_the_chat_body_is_in_it():
    body = description(ENDPOINTS)["components"]["schemas"]["ChatBody"]
    some = {"messages", "top_k", "preset", "response_format", "ignore_eos"}
    assert some <= set(body["properties"])
    assert body["additionalProperties"] is False


def test_every_status_is_listed_where_it_may_come():
    paths = description(ENDPOINTS)["paths"]
    statuses = {
        path: set(one["responses"]) for path, item in paths.items() for one in item.values()
    }
    of_all = {"200", "400", "401", "404", "405", "500", "503"}
    of_a_body = {"408", "413", "415"}
    assert statuses["/models"] == statuses["/models/{model}"] == of_all
    assert statuses["/tokenize"] == statuses["/detokenize"] == of_all | of_a_body
    for path in ("/completions", "/chat/completions"):
        assert statuses[path] == of_all | of_a_body | {"403", "429"}


def test_it_is_served_without_a_key():
    reply = Client().get("/v1/openapi.json")
    assert reply.status_code == 200
    assert reply.json()["openapi"] == "3.1.0"
