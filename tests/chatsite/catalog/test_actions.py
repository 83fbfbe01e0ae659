"""One default of each kind, and a version for each change."""

from __future__ import annotations

import threading

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsite.catalog import writer as actions
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.errors import ChatError
from inference.contract import SamplingParams

pytestmark = pytest.mark.django_db


def default_slugs() -> list[str]:
    return list(SamplingPreset.objects.filter(is_default=True).values_list("slug", flat=True))


def preset(slug: str) -> SamplingPreset:
    return SamplingPreset.objects.get(slug=slug)


def test_a_new_site_has_the_default_model_and_four_presets():
    model = LanguageModel.objects.get()
    assert (model.slug, model.is_default) == ("smollm2-135m-instruct", True)
    assert set(SamplingPreset.objects.values_list("slug", flat=True)) == {
        "precise", "balanced", "creative", "greedy",
    }  # fmt: skip
    assert default_slugs() == ["balanced"]
    assert preset("greedy").sampling().temperature == 0


def test_every_seeded_preset_is_valid():
    for row in SamplingPreset.objects.all():
        row.full_clean(validate_constraints=False)
        assert isinstance(row.sampling(), SamplingParams)


def test_saving_raises_the_version():
    row = preset("precise")
    row.temperature = 0.3
    actions.save_entry(row)
    actions.save_entry(row)
    assert (row.version, preset("precise").version) == (3, 3)


def test_two_stale_savers_raise_the_version_by_two():
    first, second = preset("precise"), preset("precise")
    actions.save_entry(first)
    actions.save_entry(second)
    assert preset("precise").version == 3


def test_making_one_the_default_takes_it_from_the_other():
    row = preset("creative")
    row.is_default = True
    actions.save_entry(row)
    assert default_slugs() == ["creative"]
    actions.make_default(preset("precise"))
    assert default_slugs() == ["precise"]


def test_the_default_cannot_be_unmade_disabled_or_deleted():
    row = preset("balanced")
    row.is_default = False
    with pytest.raises(ChatError, match="another one"):
        actions.save_entry(row)
    row = preset("balanced")
    row.is_enabled = False
    with pytest.raises(ChatError, match="enabled"):
        actions.save_entry(row)
    with pytest.raises(ChatError, match="another one"):
        actions.delete_entry(preset("balanced"))
    assert default_slugs() == ["balanced"]


def test_a_disabled_one_cannot_become_the_default():
    row = preset("creative")
    row.is_enabled = False
    actions.save_entry(row)
    with pytest.raises(ChatError):
        actions.make_default(row)
    assert default_slugs() == ["balanced"]


def test_the_first_of_its_kind_becomes_the_default():
    SamplingPreset.objects.all().delete()
    actions.save_entry(SamplingPreset(slug="only", name="Only"))
    assert default_slugs() == ["only"]


def test_the_database_holds_two_defaults_apart():
    with pytest.raises(IntegrityError), transaction.atomic():
        SamplingPreset.objects.filter(slug="greedy").update(is_default=True)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("mds"), st.integers(0, 3)), max_size=12))
def test_after_any_actions_exactly_one_is_the_default(steps):
    with transaction.atomic():
        for what, which in steps:
            rows = list(SamplingPreset.objects.order_by("slug"))
            row = rows[which % len(rows)]
            try:
                if what == "m":
                    actions.make_default(row)
                elif what == "d":
                    actions.delete_entry(row)
                else:
                    row.is_default = not row.is_default
                    actions.save_entry(row)
            except ChatError:
                pass
            assert len(default_slugs()) == 1
        transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
def test_eight_threads_that_move_the_default_leave_exactly_one():
    slugs = [f"threads-{i}" for i in range(4)]
    for slug in slugs:
        actions.save_entry(SamplingPreset(slug=slug, name=slug))
    failures: list[Exception] = []

    def move(turn: int) -> None:
        try:
            for i in range(6):
                actions.make_default(preset(slugs[(turn + i) % len(slugs)]))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=move, args=(turn,)) for turn in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert len(default_slugs()) == 1
