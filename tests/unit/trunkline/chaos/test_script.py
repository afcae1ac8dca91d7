"""The script's answers are those that the agent of the run gives."""

from __future__ import annotations

from pathlib import Path

from calls.conversation import Message
from trunkline.chaos.script import _answer, _lines, write_agents
from workers.providers.dialogue import Dialogue
from workers.providers.receptionist import Receptionist


def test_every_line_has_an_answer_of_its_own_whatever_was_said_before(tmp_path: Path) -> None:
    agent = write_agents(tmp_path / "agents.yaml")
    dialogue = Dialogue(Receptionist.model_validate(agent.llm.options))
    conversation = [Message("assistant", agent.greeting)]
    given = set()
    for number, said in enumerate(_lines(), start=1):
        conversation.append(Message("user", said))
        answer = dialogue.answer(conversation, 0.9)
        assert answer.text == " ".join(_answer(number, said))
        assert answer.action is None
        conversation.append(Message("assistant", answer.text))
        given.add(answer.text)
    assert len(given) >= 12
