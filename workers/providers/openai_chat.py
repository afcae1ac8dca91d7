"""A responder on any chat model with OpenAI's streaming chat completions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from openai import AsyncStream
from pydantic import Field

from calls.agent import Agent
from calls.conversation import Message
from calls.events import ActionName
from workers.ports import Action, Ask, Token
from workers.providers.openai_client import OpenAIOptions, Service, connect, vendor_errors
from workers.providers.openai_tools import ToolCalls, text_of, tools
from workers.providers.options import parse

#: Follows the agent's prompt. A model that does not know it is spoken answers in lists.
SPOKEN = (
    "You are on a phone call, and your words are read aloud: answer in one to three short plain "
    "sentences, without lists, markup or emoji, and write numbers as they are spoken."
)
#: Follows what the caller has of an answer that broke off. Not a system message, and not the answer
#: alone: some services want the roles to take turns, and the user's to be the last.
GO_ON = (
    "(Your answer broke off there; I have heard all of it so far. Go on right after its last word. "
    "Repeat nothing, and do not mention this. If nothing is missing, answer with nothing.)"
)
#: Follows the prompt too, when the transcriber was unsure.
UNCERTAIN = (
    "The caller's last words were heard badly and may be wrong: if they make little sense, ask "
    "the caller to say it again."
)


class ChatOptions(OpenAIOptions):
    """`llm.options` in agents.yaml."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    #: Longest reply; None leaves it to the service.
    max_tokens: int | None = Field(default=None, ge=1)
    #: Appended to the agent's prompt; "" for none.
    spoken_style: str = SPOKEN
    #: What the model may do besides speaking; some small models need this to be empty. transfer
    #: is offered where the agent has somebody to transfer to (`transfer` in agents.yaml).
    tools: tuple[ActionName, ...] = ("hangup", "transfer")
    #: A transcript of lower confidence is pointed out to the model.
    uncertain_below: float = Field(default=0.4, ge=0, le=1)


class ChatResponder:
    """Answers with a chat model; any number of replies at once, on shared connections."""

    def __init__(self, options: ChatOptions, agent: Agent, service: Service) -> None:
        self._options = options
        self._prompt = f"{agent.prompt}\n\n{options.spoken_style}".strip()
        self._tools = tools(options.tools, agent.transfer)
        self._service = service
        self._client = service.client

    async def reply(
        self,
        conversation: Sequence[Message],
        *,
        confidence: float | None,
        said: Sequence[str] = (),
    ) -> AsyncIterator[Token | Action]:
        """Stream the model's answer. Closing it closes the request, so the model stops too."""
        with vendor_errors(self._options):
            # Not by `chat.completions`: making its objects of each chunk is a quarter of the CPU.
            stream = await self._client.post(
                "/chat/completions",
                body=self._body(self._messages(conversation, confidence, said)),
                cast_to=object,
                stream=True,
                stream_cls=AsyncStream[object],
            )
            calls = ToolCalls()
            try:
                async for chunk in stream:
                    if text := _read(chunk, calls):
                        yield Token(text)
            finally:
                await stream.close()
        for action in calls.actions(self._tools):
            yield action

    def _messages(
        self, conversation: Sequence[Message], confidence: float | None, said: Sequence[str]
    ) -> list[dict[str, str]]:
        prompt = self._prompt
        if confidence is not None and confidence < self._options.uncertain_below:
            prompt = f"{prompt}\n\n{UNCERTAIN}"
        told, conversation = _told_first(conversation)
        lines = [("system", "\n\n".join([prompt, *told])), *lines_of(conversation)]
        if said:
            lines += [("assistant", " ".join(said)), ("user", GO_ON)]
        return [{"role": role, "content": text} for role, text in lines]

    def _body(self, messages: list[dict[str, str]]) -> dict[str, object]:
        options = self._options
        body: dict[str, object] = {"model": options.model, "messages": messages, "stream": True}
        if options.temperature is not None:
            body["temperature"] = options.temperature
        if options.max_tokens is not None:
            body["max_tokens"] = options.max_tokens
        if self._tools:
            body["tools"] = list(self._tools.values())
        return {**body, **options.extra}

    async def close(self) -> None:
        """Let go of the shared client."""
        await self._service.release()


def _read(chunk: Any, calls: ToolCalls) -> str:
    """The text in a `chat.completion.chunk`; what it has of tool calls goes to `calls`.

    Raises:
        ValueError: it is none.
    """
    try:
        if not chunk.get("choices"):  # the last chunk may carry the usage alone
            return ""
        delta = chunk["choices"][0].get("delta") or {}
        calls.add(delta.get("tool_calls") or [])
        return text_of(delta.get("content"))
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"no chunk of a chat completion: {chunk!r:.200}") from error


def _told_first(conversation: Sequence[Message]) -> tuple[list[str], Sequence[Message]]:
    """What is known of the call before anybody speaks, and the rest of the conversation."""
    begin = next(
        (at for at, line in enumerate(conversation) if line.role != "note"), len(conversation)
    )
    return [line.text for line in conversation[:begin]], conversation[begin:]


def lines_of(conversation: Sequence[Message]) -> list[tuple[str, str]]:
    """The conversation as (role, text). A note is put before what the caller said next.

    It is no system message: some services want that first and alone, and the roles to take turns.
    """
    lines: list[tuple[str, str]] = []
    notes: list[str] = []
    for role, text in conversation:
        if role == "note":
            notes.append(f"({text})")
            continue
        if notes and role == "assistant":
            lines.append(("user", "\n".join(notes)))
            notes = []
        lines.append((role, "\n".join([*notes, text])))
        notes = []
    if notes:
        lines.append(("user", "\n".join(notes)))
    return lines


def responder(ask: Ask) -> ChatResponder:
    """The factory named in the entry points.

    Raises:
        ProviderError: an option is wrong, or the key is missing.
    """
    options = parse(ChatOptions, ask.options, where=f"agent {ask.agent.name!r}: llm.options")
    return ChatResponder(options, ask.agent, connect(options, ask, "llm"))
