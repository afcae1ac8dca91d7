"""agents.example.yaml works as it is, and so does what it shows in comments."""

from __future__ import annotations

import re

import yaml

from calls.agent import Agents
from workers.ports import Ask
from workers.providers.registry import load_responder, load_synthesizer, load_transcriber

from .conftest import ROOT

EXAMPLE = (ROOT / "agents.example.yaml").read_text(encoding="utf-8")


async def start(agents: Agents) -> None:
    secrets = {"OPENAI_API_KEY": "sk-test"}
    for agent in agents.agents:
        for stage in (
            load_transcriber(Ask(agent, agent.asr.options, secrets.get)),
            load_responder(Ask(agent, agent.llm.options, secrets.get)),
            load_synthesizer(Ask(agent, agent.tts.options, secrets.get)),
        ):
            await stage.close()


async def test_every_agent_starts():
    await start(Agents.model_validate(yaml.safe_load(EXAMPLE)))


async def test_the_variant_in_the_comments_starts():
    head, mark, variant = EXAMPLE.partition("  # - name: clinic-llm\n")
    text = head + re.sub(r"(?m)^  # ", "  ", mark + variant)
    agents = Agents.model_validate(yaml.safe_load(text))
    assert [agent.name for agent in agents.agents] == ["clinic", "clinic-llm"]
    await start(agents)


async def test_the_local_variant_in_the_comments_starts():
    local = re.search(r"#   # (llm: \{provider: openai,\n.*?\}\})", EXAMPLE, re.DOTALL)
    assert local is not None
    llm = yaml.safe_load(re.sub(r"\n  #   # ", "\n ", local[1]))["llm"]
    agents = yaml.safe_load(EXAMPLE)
    agents["agents"][0]["llm"] = llm
    agents["agents"][0]["asr"]["options"]["phrases"] = ["hello"]
    await start(Agents.model_validate(agents))
