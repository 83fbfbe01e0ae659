"""The page's arithmetic over what is stored, against the samplers' definition over everything.

A thousand random settings, engine and page and NumPy: every column to 1e-5, and the same winner.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page

from chatsite.generation import token_trace
from inference.contract import SamplingParams
from inference.engine.sampling.sampler import Sampler
from tests.inference.engine.test_token_records import VOCAB, random_case, random_settings
from tests.support import numpy_sampler
from tests.support.chromium import script_page

pytestmark = pytest.mark.browser
CASES = 1000
STAGES = ("raw", "penalties", "temperature", "top_k", "top_p", "min_p", "drawn")


@dataclasses.dataclass(frozen=True)
class Case:
    """A token as an engine chose it, and what the definition says of it."""

    logits: np.ndarray
    sampling: SamplingParams
    prompt: list[int]
    answer: list[int]
    record: np.void

    def expected(self, sampling: SamplingParams | None = None) -> numpy_sampler.Columns:
        return numpy_sampler.columns(
            self.logits, sampling or self.sampling, prompt=self.prompt, answer=self.answer
        )

    def for_the_page(self) -> dict[str, Any]:
        columns = {
            name: self.record[name].tolist()
            if self.record[name].shape
            else self.record[name].item()
            for name in self.record.dtype.names
        }
        below = [d if np.isfinite(d) else 1e30 for d in columns["candidates_below_best"]]
        columns["candidates_below_best"] = below
        columns["floor"] = min(columns["floor"], 1e30)
        return {
            "record": columns,
            "settings": dataclasses.asdict(self.sampling),
            "prompt": self.prompt,
            "answer": self.answer,
        }


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Chosen by the engine's sampler, packed and unpacked as the database keeps them."""
    made, wires = [], []
    sampler = Sampler(vocab_size=VOCAB, eos_token_ids=[2], device=torch.device("cpu"))
    for n in range(CASES):
        logits, active = random_case(n)
        wires += sampler.sample(logits.clone(), [active]).records
        prompt = active.token_ids[: active.num_prompt]
        answer = active.token_ids[active.num_prompt :]
        made.append((logits[0].numpy(), active.sampling, prompt, answer))
    traced = token_trace.unpack(token_trace.pack(wires, [-1] * CASES), first=0)
    return [Case(*case, record) for case, record in zip(made, traced.records, strict=True)]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with script_page() as made:
        yield made


SEEN = """
const seenBy = ({ prompt, answer }) => ({
    isThere: (id) => prompt.includes(id) || answer.includes(id),
    inAnswer: (id) => answer.filter((one) => one === id).length,
    ids: () => new Set([...prompt, ...answer]),
});
"""


def test_every_column_and_the_winner_are_those_of_the_definition(
    page: Page, cases: list[Case]
) -> None:
    replayed = page.evaluate(
        """async (cases) => {
            const { replay } = await import("/js/inspect/samplers.js");"""
        + SEEN
        + """return JSON.parse(cases).map((one) => replay(one.record, one.settings, seenBy(one)));
        }""",
        json.dumps([case.for_the_page() for case in cases]),
    )
    outside = told = untold = 0
    for n, (case, shown) in enumerate(zip(cases, replayed, strict=True)):
        expected = case.expected()
        ids = [row["id"] for row in shown["rows"]]
        assert set(ids) >= set(case.record["candidates"].tolist())
        for stage in STAGES:
            column = getattr(expected, stage)[ids]
            found = np.array([row[stage] for row in shown["rows"]])
            is_told = np.array(
                [
                    row["isPlaceKnown"] or not row["cut"] or stage not in ("top_k", "top_p")
                    for row in shown["rows"]
                ]
            )
            told += is_told.sum()
            untold += (~is_told).sum()
            assert np.allclose(found[is_told], column[is_told], atol=1e-5), (
                n,
                stage,
                case.sampling,
            )
        for row in shown["rows"]:
            assert (row["cut"] is None) == (row["drawn"] > 0) or row["min_p"] < 1e-12
        for stage in ("raw", "penalties", "temperature"):
            rest = 1 - getattr(expected, stage)[ids].sum()
            assert abs(shown["rest"][stage] - rest) < 2e-5
        if shown["winner"] is None:
            outside += 1
            assert int(case.record["token"]) not in ids[: shown["rows"].index(shown["rows"][-1])]
        else:
            assert shown["winner"] == int(case.record["token"]), (n, case.sampling)
    assert outside < CASES / 10
    assert untold < told / 20


def test_what_other_settings_would_do_lies_within_what_the_page_says(
    page: Page, cases: list[Case]
) -> None:
    generator = random.Random(7)
    asked = []
    for case in cases:
        other = random_settings(generator)
        names = ("temperature", "top_k", "top_p", "min_p")
        asked.append(dataclasses.replace(case.sampling, **{name: other[name] for name in names}))
    recomputed = page.evaluate(
        """async ([cases, asked, vocabulary]) => {
            const { recompute } = await import("/js/inspect/samplers.js");"""
        + SEEN
        + """const all = JSON.parse(asked);
            return JSON.parse(cases).map((one, n) => recompute(one.record, one.settings, all[n], seenBy(one), vocabulary));
        }""",
        [
            json.dumps([case.for_the_page() for case in cases]),
            json.dumps([dataclasses.asdict(sampling) for sampling in asked]),
            VOCAB,
        ],
    )
    exact = 0
    for n, (case, sampling, shown) in enumerate(zip(cases, asked, recomputed, strict=True)):
        expected = case.expected(sampling).drawn
        ids = [row["id"] for row in shown["rows"]]
        for row in shown["rows"]:
            assert row["low"] - 1e-5 <= expected[row["id"]] <= row["high"] + 1e-5, (
                n,
                row,
                sampling,
            )
        rest = 1 - expected[ids].sum()
        assert shown["rest"][0] - 2e-5 <= rest <= shown["rest"][1] + 2e-5, (n, sampling)
        exact += all(row["high"] - row["low"] < 1e-4 for row in shown["rows"])
    print(f"{exact} of {CASES} are exact")
    assert exact > CASES / 3
