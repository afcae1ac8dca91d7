"""What is generated is up to date: the same as `make check`, for whoever runs only the tests."""

from __future__ import annotations

from pathlib import Path

import yaml

from trunkline import version
from trunkline.contract import contract
from trunkline.settings import Settings
from trunkline.settings_docs import settings_markdown

DOCS = Path(__file__).parents[3] / "docs"


def test_the_contract_is_up_to_date_and_complete() -> None:
    text = contract(version)
    assert (DOCS / "asyncapi.yaml").read_text("utf-8") == text
    document = yaml.safe_load(text)
    assert document["asyncapi"] == "3.0.0"
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {
        "calls", "jobs:asr", "jobs:llm", "jobs:tts", "jobs:recorder", "jobs:dial",
        "jobs:dial_twilio", "dial:cancel", "{call}:events",
    }  # fmt: skip
    kinds = document["components"]["schemas"]["CallEvent"]["anyOf"]
    assert len(kinds) >= 20


def test_the_contract_is_the_same_each_time() -> None:
    assert contract("1") == contract("1")


def test_the_settings_page_is_up_to_date_and_tells_of_all() -> None:
    text = settings_markdown()
    assert (DOCS / "settings.md").read_text("utf-8") == text
    for name, field in Settings.model_fields.items():
        assert f"## TRUNKLINE_{name.upper()}\n" in text
        assert field.description
    assert "From 200 to 60000." in text
    assert "One of `auto`, `json`, `console`." in text
    assert str(Path.cwd()) not in text
