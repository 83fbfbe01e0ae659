"""Models and presets as an administrator meets them: ranges, refusals, versions, history."""

from __future__ import annotations

import re

import pytest
from django.core.exceptions import ValidationError

from chatsite.catalog import model_folders
from chatsite.catalog.models import LanguageModel, SamplingPreset

PRESETS = "/admin/catalog/samplingpreset/"
MODELS = "/admin/catalog/languagemodel/"


def form_of(row: SamplingPreset, **changes: object) -> dict[str, object]:
    names = ("name", "slug", "description", *SamplingPreset.SAMPLING_FIELDS)
    data = {name: getattr(row, name) for name in names} | {
        "stop": "[]", "initial-stop": "[]", "is_enabled": "on",
    }  # fmt: skip
    if row.is_default:
        data["is_default"] = "on"
    data |= changes
    return {name: "" if value is None else value for name, value in data.items()}


def model_form(**changes: object) -> dict[str, object]:
    data = {"name": "New", "slug": "good-one", "dtype": "auto", "is_enabled": "on",
            "description": "", "system_prompt": "", "default_preset": ""}  # fmt: skip
    return data | changes


def errors_in(page: str) -> str:
    return " ".join(re.findall(r'<ul class="errorlist[^>]*>(.*?)</ul>', page, re.S))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", "1e9"), ("temperature", "-0.1"), ("temperature", "nan"),
        ("temperature", "inf"), ("temperature", ""), ("top_p", "0"), ("top_p", "1.01"),
        ("top_k", "-1"), ("top_k", "1000001"), ("min_p", "2"), ("repetition_penalty", "0"),
        ("repetition_penalty", "11"), ("presence_penalty", "2.5"), ("frequency_penalty", "-3"),
        ("max_tokens", "0"), ("max_tokens", str(2**31)), ("seed", str(2**70)), ("seed", "x"),
        ("stop", '"a"'), ("stop", '[""]'), ("stop", "[1]"), ("stop", "["),
        ("stop", '{"a": 1}'), ("stop", "[" + ",".join(['"a"'] * 17) + "]"),
        ("slug", "Not A Slug"), ("slug", "balanced"), ("name", ""),
    ],
)  # fmt: skip
def test_a_value_out_of_its_range_is_told_at_its_field(danas_client, field, value):
    row = SamplingPreset.objects.get(slug="creative")
    page = danas_client.post(f"{PRESETS}{row.pk}/change/", form_of(row, **{field: value}))
    assert page.status_code == 200
    assert field in page.context["adminform"].form.errors
    assert SamplingPreset.objects.get(pk=row.pk).version == 1


def test_every_field_of_both_forms_has_help(danas_client):
    for url in (f"{PRESETS}add/", f"{MODELS}add/"):
        form = danas_client.get(url).context["adminform"].form
        assert [name for name, field in form.fields.items() if not field.help_text] == []


def test_a_change_raises_the_version_and_is_in_the_history(danas_client):
    row = SamplingPreset.objects.get(slug="precise")
    danas_client.post(f"{PRESETS}{row.pk}/change/", form_of(row, temperature="0.35"))
    row.refresh_from_db()
    assert (row.temperature, row.version) == (0.35, 2)
    assert "Temperature" in danas_client.get(f"{PRESETS}{row.pk}/history/").content.decode()


def test_saving_without_a_change_keeps_the_version(danas_client):
    row = SamplingPreset.objects.get(slug="precise")
    danas_client.post(f"{PRESETS}{row.pk}/change/", form_of(row))
    assert SamplingPreset.objects.get(pk=row.pk).version == 1


def test_the_default_moves_by_ticking_it_elsewhere(danas_client):
    row = SamplingPreset.objects.get(slug="creative")
    danas_client.post(f"{PRESETS}{row.pk}/change/", form_of(row, is_default="on"))
    assert list(SamplingPreset.objects.filter(is_default=True)) == [row]


def test_the_default_moves_by_the_lists_action(danas_client):
    row = SamplingPreset.objects.get(slug="greedy")
    danas_client.post(PRESETS, {"action": "make_default", "_selected_action": [row.pk]})
    assert list(SamplingPreset.objects.filter(is_default=True)) == [row]


def test_the_default_cannot_be_unticked_or_disabled(danas_client):
    row = SamplingPreset.objects.get(is_default=True)
    form = form_of(row)
    del form["is_default"]
    page = danas_client.post(f"{PRESETS}{row.pk}/change/", form).content.decode()
    assert "Make another one the default first" in errors_in(page)
    form = form_of(row)
    del form["is_enabled"]
    page = danas_client.post(f"{PRESETS}{row.pk}/change/", form).content.decode()
    assert "The default must be enabled" in errors_in(page)


def test_the_default_cannot_be_deleted_alone_or_among_others(danas_client):
    row = SamplingPreset.objects.get(is_default=True)
    assert danas_client.post(f"{PRESETS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    everything = list(SamplingPreset.objects.values_list("pk", flat=True))
    danas_client.post(
        PRESETS, {"action": "delete_selected", "_selected_action": everything, "post": "yes"}
    )
    assert SamplingPreset.objects.filter(pk=row.pk, is_default=True).exists()


def test_another_can_be_deleted(danas_client):
    row = SamplingPreset.objects.get(slug="greedy")
    danas_client.post(f"{PRESETS}{row.pk}/delete/", {"post": "yes"})
    assert not SamplingPreset.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    ("slug", "sentence"),
    [
        ("missing", "There is no folder"),
        ("pickled", "pickled weights"),
        ("own-code", "code of its own"),
        ("no-weights", "holds no weights"),
        ("no-json", "cannot be read as JSON"),
        ("linked-out", "leads out of the models folder"),
        ("../good-one", "Lower-case letters"),
        ("/etc", "Lower-case letters"),
        ("..", "Lower-case letters"),
        ("good-one\x00", "ull character"),
    ],
)
def test_what_is_no_model_is_refused_in_a_sentence(models_dir, danas_client, slug, sentence):
    page = danas_client.post(f"{MODELS}add/", model_form(slug=slug))
    assert page.status_code == 200
    assert sentence in " ".join(page.context["adminform"].form.errors["slug"])
    with pytest.raises(ValidationError):
        model_folders.model_dir(slug)


def test_a_missing_folder_is_told_with_those_that_are_there(models_dir, danas_client):
    page = danas_client.post(f"{MODELS}add/", model_form(slug="missing"))
    assert "There are: good-one." in page.context["adminform"].form.errors["slug"]


def test_a_good_folder_becomes_a_model(models_dir, danas_client):
    danas_client.post(f"{MODELS}add/", model_form())
    row = LanguageModel.objects.get(slug="good-one")
    assert (row.is_default, row.version) == (False, 1)


def test_a_model_whose_folder_is_gone_can_still_be_disabled(models_dir, danas_client):
    row = LanguageModel.objects.create(slug="gone", name="Gone")
    form = model_form(slug="gone", name="Gone")
    del form["is_enabled"]
    danas_client.post(f"{MODELS}{row.pk}/change/", form)
    row.refresh_from_db()
    assert row.is_enabled is False
    page = danas_client.get(f"{MODELS}{row.pk}/change/").content.decode()
    assert "There is no folder" in page


def test_lists_search_and_filter(danas_client, django_assert_max_num_queries):
    page = danas_client.get(f"{PRESETS}?q=surprising").content.decode()
    assert "1 sampling preset" in page
    assert danas_client.get(f"{PRESETS}?seeded=no&is_enabled__exact=1").status_code == 200
    with django_assert_max_num_queries(10):
        assert danas_client.get(MODELS).status_code == 200


def test_a_preset_changed_in_the_admin_is_what_the_next_answer_uses(danas_client):
    from chatsite.catalog.selection import choose_model, choose_preset

    row = SamplingPreset.objects.get(is_default=True)
    danas_client.post(f"{PRESETS}{row.pk}/change/", form_of(row, temperature="0.9"))
    chosen = choose_preset("", choose_model(""))
    assert (chosen.sampling().temperature, chosen.version) == (0.9, 2)
