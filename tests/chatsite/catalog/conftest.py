"""A models folder of one's own, with folders good and bad, and Dana who keeps the catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.test import Client

from chatsite.accounts.models import User


@pytest.fixture
def models_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "models"
    for name, config, weights in (
        ("good-one", {"architectures": ["LlamaForCausalLM"]}, "model.safetensors"),
        ("pickled", {}, "pytorch_model.bin"),
        ("own-code", {"auto_map": {"AutoModel": "modeling.Own"}}, "model.safetensors"),
        ("no-weights", {}, "README.md"),
        ("no-json", None, "model.safetensors"),
    ):
        folder = root / name
        folder.mkdir(parents=True)
        (folder / weights).write_bytes(b"")
        text = "{" if config is None else json.dumps(config)
        (folder / "config.json").write_text(text)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.safetensors").write_bytes(b"")
    (root / "linked-out").symlink_to(outside)
    monkeypatch.setenv("CHATSITE_MODELS", str(root))
    return root


@pytest.fixture
def danas_client(db) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("dana"))
    return client
