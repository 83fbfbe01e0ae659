"""Made-up conversations of one person, each answer with its own request and every token's time."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from typing import Any

from django.db.models import F

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message
from chatsite.generation.models import Attempt, Generation

SUBJECTS = (
    "tidal rivers", "bread with rye", "the history of zero", "a garden in shade", "sorting lists",
    "night trains", "maps of the sea", "old violins", "planning a week", "writing a letter",
    "the colour blue", "learning to swim", "a small greenhouse", "reading faster", "bicycle gears",
)  # fmt: skip
QUESTIONS = (
    "What should I know about {}?", "Explain {} as to a beginner.", "List three facts about {}.",
    "Why do people care about {}?", "Give me a plan for {}.", "Compare two views of {}.",
)  # fmt: skip
SENTENCES = (
    "It begins with something simple and grows from there.",
    "Most people meet **{}** by chance, and only later learn its rules.",
    "There are three parts:\n\n1. what it is,\n2. how it came about,\n3. what to do with it.",
    "A short example:\n\n```python\nfor step in plan:\n    print(step)\n```",
    "| part | share |\n| --- | ---: |\n| first | 40 % |\n| second | 60 % |",
    "So the answer depends on how much time you have.",
    "> Whoever tries it once tries it again.",
    "With {} patience matters more than talent.",
)


def write_conversations(
    count: int, *, owner: User, model: str, preset: str, days: int, until: dt.datetime, seed: int
) -> None:
    """Store `count` conversations of one to six questions, the last one changed before `until`."""
    rng = random.Random(seed)
    batch = 100
    for first in range(0, count, batch):
        made = [
            _Talk(rng, owner, model, preset, until - dt.timedelta(days=rng.random() * days))
            for _ in range(min(batch, count - first))
        ]
        Conversation.objects.bulk_create([talk.conversation for talk in made])
        Message.objects.bulk_create([m for talk in made for m in talk.messages])
        Generation.objects.bulk_create([g for talk in made for g in talk.generations])
        Attempt.objects.bulk_create([a for talk in made for a in talk.attempts])
        for talk in made:
            talk.conversation.active_leaf = talk.messages[-1]
        Conversation.objects.bulk_update([talk.conversation for talk in made], ["active_leaf"])
        ids = [g.pk for talk in made for g in talk.generations]  # as if it had been then
        Generation.objects.filter(pk__in=ids).update(changed_at=F("stored_at"))


class _Talk:
    """One conversation, not saved."""

    def __init__(
        self, rng: random.Random, owner: User, model: str, preset: str, began: dt.datetime
    ) -> None:
        self.messages: list[Message] = []
        self.generations: list[Generation] = []
        self.attempts: list[Attempt] = []
        subject = rng.choice(SUBJECTS)
        common = {"model_slug": model, "preset_slug": preset}
        title = rng.choice(QUESTIONS).format(subject).rstrip(".?")
        self.conversation = Conversation(
            owner=owner, title=title, created_at=began, updated_at=began, **common
        )
        at, parent = began, None
        for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 6])):
            question = self._message(
                role=Message.Role.USER, author=owner, parent=parent, created_at=at,
                text=rng.choice(QUESTIONS).format(subject),
            )  # fmt: skip
            text = "\n\n".join(
                sentence.format(subject) for sentence in rng.sample(SENTENCES, rng.randint(2, 6))
            )
            parent = self._message(
                role=Message.Role.ASSISTANT, author=owner, parent=question, text=text,
                created_at=at + dt.timedelta(milliseconds=1), finish_reason="stop",
                request_id=uuid.UUID(int=rng.getrandbits(128), version=4),
                num_tokens=len(text) // 4, **common,
            )  # fmt: skip
            request = _request(rng, parent, owner, at)
            self.generations.append(request)
            self.attempts.append(_attempt(request))
            at += dt.timedelta(minutes=rng.randint(1, 9))
        self.conversation.updated_at = at

    def _message(self, **fields: Any) -> Message:
        self.messages.append(Message(conversation=self.conversation, **fields))
        return self.messages[-1]


def _request(rng: random.Random, answer: Message, owner: User, at: dt.datetime) -> Generation:
    submitted = rng.randint(1_500, 6_000)
    started = submitted + rng.randint(2_000, 9_000)
    queue = started + int(rng.lognormvariate(9.2, 1.1))
    offsets = [queue + int(rng.lognormvariate(11.3, 0.5))]
    gaps = [int(rng.lognormvariate(9.9, 0.18)) for _ in range(max(1, answer.num_tokens))]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    ttft, latency, ordered = offsets[0], offsets[-1], sorted(gaps)
    return Generation(
        request_id=answer.request_id, subject=answer.pk, user=owner, state=Generation.State.STOP,
        model_slug=answer.model_slug, preset_slug=answer.preset_slug, preset_version=1,
        model_revision="3f1c0a9d", dtype="bfloat16",
        sampling={"temperature": 0.6, "top_p": 0.92, "seed": 4711, "max_tokens": 1024},
        received_at=at, stored_at=at + dt.timedelta(microseconds=latency + 12_000),
        submitted_us=submitted, started_us=started, queue_us=queue, prefill_us=ttft - queue,
        ttft_us=ttft, decode_us=latency - ttft, recovery_us=0, latency_us=latency,
        tpot_us=(latency - ttft) / len(gaps), itl_p50_us=ordered[len(gaps) // 2],
        itl_p95_us=ordered[-(len(gaps) // 20) - 1], itl_max_us=ordered[-1],
        user_ttft_us=ttft + 21_000, user_latency_us=latency + 34_000,
        prompt_tokens=rng.randint(30, 600), cached_tokens=rng.choice([0, 16, 28]),
        completion_tokens=len(offsets), token_offsets_us=offsets,
        batch_mean=round(1 + rng.random(), 2), tpot_floor_us=6_100.0, prefill_floor_us=31_000.0,
        worker="slot1@quartz", device="CPU, 2 threads",
    )  # fmt: skip


def _attempt(request: Generation) -> Attempt:
    return Attempt(
        generation=request, number=1, worker=request.worker, device=request.device,
        state=request.state, started_us=request.started_us, admitted_us=request.queue_us,
        first_token_us=request.ttft_us, last_token_us=request.latency_us,
        tokens=request.completion_tokens or 0,
    )  # fmt: skip
