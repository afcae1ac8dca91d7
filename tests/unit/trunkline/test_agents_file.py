"""A wrong agents' file is refused with file, line and mend; a right one is read as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from calls.agent import Agent
from trunkline.agents_file import MAX_BYTES, AgentsFileError, load_agents, parse_agents

GOOD = """\
agents:
  - name: receptionist
    numbers: ["+1555*", "bot"]
    prompt: You answer for a clinic.
    endpointing:
      silence_ms: 500
    asr:
      provider: pocketsphinx
      options:
        phrases: [yes please, no thank you]
  - name: night
"""


def test_a_good_file_is_read_in_order() -> None:
    agents = parse_agents(GOOD)
    assert [agent.name for agent in agents.agents] == ["receptionist", "night"]
    first = agents.agents[0]
    assert first.numbers == ("+1555*", "bot")
    assert first.endpointing.silence_ms == 500
    assert first.asr.options == {"phrases": ["yes please", "no thank you"]}
    assert (found := agents.for_number("+15550100"))
    assert found.name == "receptionist"


def test_anchors_and_merges_spare_repetition() -> None:
    agents = parse_agents(
        "agents:\n  - &base\n    name: day\n    voice: en-gb\n  - <<: *base\n    name: night\n"
    )
    assert [(agent.name, agent.voice) for agent in agents.agents] == [
        ("day", "en-gb"),
        ("night", "en-gb"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f.yaml:1: the file is empty; write `agents:` and a list"),
        (
            "agents:\n  - name: a\n    endpoint:\n      silence_ms: 5\n",
            "f.yaml:3: agents[0].endpoint: no such key; did you mean 'endpointing'?",
        ),
        (
            "agents:\n  - name: a\n    endpointing:\n      silence: 500\n",
            "f.yaml:4: agents[0].endpointing.silence: no such key; did you mean 'silence_ms'?",
        ),
        (
            "agents:\n  - name: a\n    endpointing:\n      silence_ms: soon\n",
            "f.yaml:4: agents[0].endpointing.silence_ms: input should be a valid integer, unable"
            " to parse string as an integer, not 'soon'",
        ),
        (
            "agents:\n  - name: a\n    numbers: [100]\n",
            "f.yaml:3: agents[0].numbers[0]: input should be a valid string, not 100;"
            " put it in quotes",
        ),
        (
            "agents:\n  - name: a\n    voice: x\n    voice: y\n",
            "f.yaml:4: 'voice' stands already on line 3; keep one of them",
        ),
        (
            "agents:\n  - name: a\n    transfer:\n      destinations:\n"
            "        front: {target: '100', mod: blind}\n",
            "f.yaml:5: agents[0].transfer.destinations.front.mod: no such key; did you mean 'mode'",
        ),
        (
            "agents:\n  - name: a\n    transfer: {destinations: {front: {target: +1 55a}}}\n",
            "f.yaml:3: agents[0].transfer.destinations.front.target: write a number or a sip:",
        ),
        ("agents:\n  - prompt: hi\n", "f.yaml:2: agents[0].name: field required; add it"),
        (
            "agents:\n  - name: a\n  - name: a\n",
            "f.yaml:3: an agent on line 2 is named 'a' too; rename one",
        ),
        ("agents: []\n", "f.yaml:1: agents: add at least one"),
        ("agents:\n", "f.yaml:1: agents: write a list; nothing stands there"),
        ("agents:\n  - a\n", "f.yaml:2: agents[0]: write `key: value` lines, not 'a'"),
        ("agents:\n  - name: 'a\n", "f.yaml:3: not YAML: found unexpected end of stream"),
        ("agents: !!python/object:os.system x\n", "f.yaml:1: not YAML: could not determine"),
        ("- name: a\n", "f.yaml:1: the file: write `key: value` lines"),
        ("agents:\n  \0\n", "f.yaml:2: not YAML: special characters are not allowed"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_mend(text: str, expected: str) -> None:
    with pytest.raises(AgentsFileError) as refused:
        parse_agents(text, "f.yaml")
    assert str(refused.value).startswith(expected)


def test_every_finding_is_a_line_of_its_own() -> None:
    with pytest.raises(AgentsFileError) as refused:
        parse_agents(
            "agents:\n  - name: a\n    recording: perhaps\n  - name: b\n    voice: 3\n", "f.yaml"
        )
    first, second = str(refused.value).splitlines()
    assert first.startswith("f.yaml:3: agents[0].recording: ")
    assert second.startswith("f.yaml:5: agents[1].voice: ")


def test_what_a_provider_refuses_is_said_where_it_stands() -> None:
    def judge(agent: Agent) -> str:
        return "" if agent.name == "night" else "no such model\nno key"

    with pytest.raises(AgentsFileError) as refused:
        parse_agents(GOOD, "f.yaml", "asr", judge)
    assert str(refused.value) == "f.yaml:7: no such model\nf.yaml:7: no key"
    with pytest.raises(AgentsFileError, match=r"f\.yaml:2: no such model"):
        parse_agents(GOOD, "f.yaml", "tts", judge)  # left to its default: the agent's own line


STAND_IN = """\
agents:
  - name: desk
    asr:
      provider: openai
      fallback:
        - provider: pocketsphinx
"""


def test_what_a_stand_in_refuses_is_said_where_that_stands() -> None:
    with pytest.raises(AgentsFileError) as refused:
        parse_agents(STAND_IN, "f.yaml", "asr", lambda _: "asr.fallback.0.options: no\nno key")
    assert str(refused.value) == "f.yaml:6: asr.fallback.0.options: no\nf.yaml:3: no key"
    slip = STAND_IN.replace("- provider", "- provder")
    with pytest.raises(AgentsFileError, match=r"f\.yaml:6: .*did you mean 'provider'"):
        parse_agents(slip, "f.yaml")


def test_a_small_file_cannot_grow_without_bound() -> None:
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(AgentsFileError, match="repeated too much"):
        parse_agents("\n".join(bomb))
    with pytest.raises(AgentsFileError, match="nested or repeated too much"):
        parse_agents("agents: &a\n  - *a\n")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(AgentsFileError, match=r"absent\.yaml: there is no such file"):
        load_agents(tmp_path / "absent.yaml")
    with pytest.raises(AgentsFileError, match="cannot be read"):
        load_agents(tmp_path)
    (latin := tmp_path / "latin.yaml").write_bytes(b"agents: \xe9")
    with pytest.raises(AgentsFileError, match="not UTF-8"):
        load_agents(latin)
    (big := tmp_path / "big.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(AgentsFileError, match="larger than"):
        load_agents(big)
    (good := tmp_path / "good.yaml").write_text(GOOD)
    assert len(load_agents(good).agents) == 2
