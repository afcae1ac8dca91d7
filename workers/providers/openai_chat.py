"""A responder on any chat model with OpenAI's streaming chat completions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal

from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from openai.types.chat import ChatCompletionToolUnionParam as Tool
from pydantic import Field

from calls.conversation import Message
from workers.ports import Action, Ask, Token
from workers.providers.openai_client import OpenAIOptions, Service, connect, vendor_errors
from workers.providers.options import parse

#: Follows the agent's prompt. A model that does not know it is spoken answers in lists.
SPOKEN = (
    "You are on a phone call, and your words are read aloud: answer in one to three short plain "
    "sentences, without lists, markup or emoji, and write numbers as they are spoken."
)
#: Follows too, when the transcriber was unsure.
UNCERTAIN = (
    "The caller's last words were heard badly and may be wrong: if they make little sense, ask "
    "the caller to say it again."
)

TOOLS: dict[str, Tool] = {
    "hangup": {
        "type": "function",
        "function": {
            "name": "hangup",
            "description": "End the phone call, after what you say now has been heard. Say "
            "goodbye in the same answer. Only when the caller is done or asks for it.",
            "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
        },
    }
}


class ChatOptions(OpenAIOptions):
    """`llm.options` in agents.yaml."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    #: Longest reply; None leaves it to the service.
    max_tokens: int | None = Field(default=None, ge=1)
    #: Appended to the agent's prompt; "" for none.
    spoken_style: str = SPOKEN
    #: What the model may do besides speaking; some small models need this to be empty.
    tools: tuple[Literal["hangup"], ...] = ("hangup",)
    #: A transcript of lower confidence is pointed out to the model.
    uncertain_below: float = Field(default=0.4, ge=0, le=1)


class ChatResponder:
    """Answers with a chat model; any number of replies at once, on shared connections."""

    def __init__(self, options: ChatOptions, prompt: str, service: Service) -> None:
        self._options = options
        self._prompt = f"{prompt}\n\n{options.spoken_style}".strip()
        self._service = service
        self._client = service.client(options)

    async def reply(
        self, conversation: Sequence[Message], *, confidence: float | None
    ) -> AsyncIterator[Token | Action]:
        """Stream the model's answer. Closing it closes the request, so the model stops too."""
        options = self._options
        with vendor_errors(options):
            stream = await self._client.chat.completions.create(
                model=options.model,
                messages=self._messages(conversation, confidence),
                stream=True,
                extra_body=self._extra(),
            )
            wanted: dict[str, None] = {}
            try:
                async for chunk in stream:
                    text, tools = _read(chunk)
                    wanted.update(dict.fromkeys(tools))
                    if text:
                        yield Token(text)
            finally:
                await stream.close()
        for tool in wanted:
            if tool in options.tools:
                yield Action(tool)

    def _messages(
        self, conversation: Sequence[Message], confidence: float | None
    ) -> list[ChatCompletionMessageParam]:
        prompt = self._prompt
        if confidence is not None and confidence < self._options.uncertain_below:
            prompt = f"{prompt}\n\n{UNCERTAIN}"
        messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": prompt}]
        for role, text in conversation:
            if role == "user":
                messages.append({"role": "user", "content": text})
            else:
                messages.append({"role": "assistant", "content": text})
        return messages

    def _extra(self) -> dict[str, object]:
        options = self._options
        fields: dict[str, object] = {}
        if options.temperature is not None:
            fields["temperature"] = options.temperature
        if options.max_tokens is not None:
            fields["max_tokens"] = options.max_tokens
        if options.tools:
            fields["tools"] = [TOOLS[name] for name in options.tools]
        return {**fields, **options.extra}

    async def close(self) -> None:
        """Let go of the shared client."""
        await self._service.release()


def _read(chunk: ChatCompletionChunk) -> tuple[str, list[str]]:
    """The text in a chunk, and the names of the tools that it begins to call."""
    if not chunk.choices:  # the last chunk may carry the usage alone
        return "", []
    delta = chunk.choices[0].delta
    calls = delta.tool_calls or []
    # A call's name comes whole with its first piece; the pieces after it carry arguments.
    names = [call.function.name for call in calls if call.function and call.function.name]
    return delta.content or "", names


def responder(ask: Ask) -> ChatResponder:
    """The factory named in the entry points.

    Raises:
        ProviderError: an option is wrong, or the key is missing.
    """
    options = parse(ChatOptions, ask.options, where=f"agent {ask.agent.name!r}: llm.options")
    return ChatResponder(options, ask.agent.prompt, connect(options, ask, "llm"))
