"""A responder on any chat model with OpenAI's streaming chat completions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal

from openai import AsyncStream
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

TOOLS: Final[dict[str, dict[str, object]]] = {
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
            if tool in self._options.tools:
                yield Action(tool)

    def _messages(
        self, conversation: Sequence[Message], confidence: float | None, said: Sequence[str]
    ) -> list[dict[str, str]]:
        prompt = self._prompt
        if confidence is not None and confidence < self._options.uncertain_below:
            prompt = f"{prompt}\n\n{UNCERTAIN}"
        lines = [("system", prompt), *conversation]
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
        if options.tools:
            body["tools"] = [TOOLS[name] for name in options.tools]
        return {**body, **options.extra}

    async def close(self) -> None:
        """Let go of the shared client."""
        await self._service.release()


def _read(chunk: Any) -> tuple[str, list[str]]:
    """The text in a `chat.completion.chunk`, and the names of the tools that it begins to call.

    Raises:
        ValueError: it is none.
    """
    try:
        if not chunk.get("choices"):  # the last chunk may carry the usage alone
            return "", []
        delta = chunk["choices"][0].get("delta") or {}
        calls = delta.get("tool_calls") or ()
        # A call's name comes whole with its first piece; the pieces after it carry arguments.
        named = [(call.get("function") or {}).get("name") for call in calls]
        return _text(delta.get("content")), [_text(name) for name in named if name]
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"no chunk of a chat completion: {chunk!r:.200}") from error


def _text(value: object) -> str:
    if not isinstance(value, str | None):
        raise TypeError(value)
    return value or ""


def responder(ask: Ask) -> ChatResponder:
    """The factory named in the entry points.

    Raises:
        ProviderError: an option is wrong, or the key is missing.
    """
    options = parse(ChatOptions, ask.options, where=f"agent {ask.agent.name!r}: llm.options")
    return ChatResponder(options, ask.agent.prompt, connect(options, ask, "llm"))
