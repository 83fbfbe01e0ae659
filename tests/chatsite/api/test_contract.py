"""schemathesis against the served description: what it allows is answered, what it forbids refused.

Bounded: some hundred generated requests per URL. Valid bodies get the real model and a short
answer, for they would end at 404 or write for minutes; wrong ones are sent as they come.
"""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from chatsite.api.http.openapi import description
from chatsite.api.urls import ENDPOINTS
from tests.support.stack import SLUG

pytestmark = pytest.mark.timeout(400)

schema = schemathesis.openapi.from_dict(description(ENDPOINTS))  # what openapi.json serves


@schema.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_its_description(case, stack, secret):
    is_valid = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if is_valid and isinstance(case.body, dict):
        case.body["model"] = SLUG
        if case.path.endswith("completions"):
            case.body |= {"max_tokens": 4, "min_tokens": None, "n": 1}
            if isinstance(case.body.get("prompt"), list):
                case.body["prompt"] = case.body["prompt"][:4]
    case.call_and_validate(
        base_url=stack.url + "/v1",
        headers={"Authorization": f"Bearer {secret}"},
        timeout=60,
        # Rules between fields (either prompt or messages) are no part of a JSON schema.
        excluded_checks=[positive_data_acceptance],
    )
