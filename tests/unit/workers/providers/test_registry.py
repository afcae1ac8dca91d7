from __future__ import annotations

import sys

import pytest

from calls.agent import Agent, StageSpec
from workers.ports import Ask, ProviderError
from workers.providers import registry
from workers.providers.rules import RulesResponder

RULES = {"intents": {"bye": {"phrases": ["goodbye"], "say": "Bye."}}}


def ask(provider: str, options: dict[str, object] | None = None) -> Ask:
    agent = Agent(name="desk", llm=StageSpec(provider=provider), asr=StageSpec(provider=provider))
    return Ask(agent, options or {}, lambda _: None)


@pytest.fixture
def plugin(monkeypatch, tmp_path):
    """Declares an entry point of another package: plugin(name, value)."""

    def declare(name: str, value: str) -> None:
        info = tmp_path / "acme_speech-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-speech\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[trunkline.responders]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return declare


def test_ours_are_found_by_name():
    assert isinstance(registry.load_responder(ask("rules", RULES)), RulesResponder)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(
        ProviderError, match=r"agent 'desk': llm\.provider 'rulse' is unknown; .*rules"
    ):
        registry.load_responder(ask("rulse"))


def test_a_provider_whose_package_is_absent_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "workers.providers.pocketsphinx", raising=False)
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)  # importing it raises ImportError
    with pytest.raises(ProviderError, match=r"pip install 'trunkline\[embedded\]'") as caught:
        registry.load_transcriber(ask("pocketsphinx"))
    assert caught.value.error_type == "refused"


def test_a_plugin_of_another_package_works_alike(plugin, tmp_path):
    (tmp_path / "acme_speech.py").write_text("def responder(ask):\n    return ('acme', ask)\n")
    plugin("acme", "acme_speech:responder")
    asked = ask("acme")
    assert registry.load_responder(asked) == ("acme", asked)


def test_a_plugin_that_cannot_be_imported_names_its_package(plugin):
    plugin("acme", "acme_missing:responder")
    with pytest.raises(ProviderError, match="see how 'acme-speech' is to be installed"):
        registry.load_responder(ask("acme"))


def test_a_plugin_that_declares_what_is_not_there_is_told_so(plugin, tmp_path):
    (tmp_path / "acme_empty.py").write_text("")
    plugin("acme", "acme_empty:responder")
    with pytest.raises(ProviderError, match=r"declared as 'acme_empty:responder'"):
        registry.load_responder(ask("acme"))
