"""What the providers' contract suites share: the example agent, its callers, and a service that
speaks OpenAI's protocol over a real socket."""

from __future__ import annotations

import asyncio
import io
import json
import re
import wave
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from calls.agent import Agent, Agents, ProviderSpec, StageSpec
from workers.ports import Ask

ROOT = Path(__file__).parents[3]
CALLERS = ROOT / "trunkline" / "callers"


def pcm_of(wav: Path | bytes) -> bytes:
    """The samples of a WAV file that must be 8000 Hz, mono, 16 bit."""
    with wave.open(io.BytesIO(wav) if isinstance(wav, bytes) else str(wav)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        return file.readframes(file.getnframes())


@pytest.fixture(scope="session")
def example() -> Agent:
    text = (ROOT / "agents.example.yaml").read_text(encoding="utf-8")
    return Agents.model_validate(yaml.safe_load(text)).agents[0]


@pytest.fixture(scope="session")
def callers() -> dict[str, list[dict[str, Any]]]:
    script = yaml.safe_load((CALLERS / "script.yaml").read_text(encoding="utf-8"))
    return {name: caller["turns"] for name, caller in script["callers"].items()}


@pytest.fixture(scope="session")
def recordings(callers: dict[str, list[dict[str, Any]]]) -> dict[str, bytes]:
    """What is said in each shipped recording -> its samples (one recording for each wording)."""
    return {
        turn["said"]: pcm_of(CALLERS / turn["wav"]) for turns in callers.values() for turn in turns
    }


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def upload(self) -> bytes:
        """The file of a multipart form."""
        boundary = self.headers["content-type"].partition("boundary=")[2].encode()
        part = next(part for part in self.body.split(b"--" + boundary) if b"filename=" in part)
        return part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


class OpenAIService:
    """Transcribes the shipped recordings, answers "You said ...", and speaks in tones."""

    def __init__(self, recordings: dict[str, bytes]) -> None:
        self.words = {pcm: said for said, pcm in recordings.items()}
        self.requests: list[Request] = []
        self.connections = 0
        #: Answer every request with this status, or do nothing ("silence").
        self.fault: int | str | None = None
        #: After the first piece of a streamed answer: wait for `go_on`, or break off.
        self.after_first: str | None = None
        self.go_on = asyncio.Event()
        #: A request has come.
        self.asked = asyncio.Event()
        #: The client went away before it had the whole answer.
        self.client_left = asyncio.Event()
        self.pcm_type = "audio/pcm"
        #: Bytes per piece of speech: odd, so that samples are cut in two.
        self.piece = 1001
        self.base_url = ""
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> OpenAIService:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            while head := await self._head(reader):
                request_line, *lines = head.decode().split("\r\n")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                request = Request(request_line.split()[1], headers, body)
                self.requests.append(request)
                self.asked.set()
                await self._answer(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.client_left.set()
        finally:
            self._talks.discard(task)
            writer.transport.abort()

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.fault == "silence":
            await reader.read()
            raise ConnectionResetError
        if isinstance(self.fault, int):
            problem = {"error": {"message": f"no luck ({self.fault})", "type": "test"}}
            self._whole(writer, self.fault, problem)
        elif request.path == "/v1/audio/transcriptions":
            self._whole(writer, 200, {"text": f" {self._heard(pcm_of(request.upload))}\n"})
        elif request.path == "/v1/chat/completions":
            await self._stream(reader, writer, "text/event-stream", self._chat(request.json))
        elif request.path == "/v1/audio/speech":
            await self._stream(reader, writer, self.pcm_type, self._speech(request.json))
        else:
            self._whole(writer, 404, {"error": {"message": request.path}})

    def _heard(self, pcm: bytes) -> str:
        """The words of the recording that it begins with, if it is all there."""
        return next((said for known, said in self.words.items() if pcm.startswith(known)), "")

    def _whole(self, writer: asyncio.StreamWriter, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        writer.write(
            b"HTTP/1.1 %d Whatever\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%s" % (status, len(data), data)
        )

    async def _stream(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        content_type: str,
        pieces: list[bytes],
    ) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked"
        writer.write(head.encode() + b"\r\n\r\n")
        for index, piece in enumerate(pieces):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            if index == 0 and self.after_first == "break off":
                writer.close()
                raise ConnectionResetError
            if index == 0 and self.after_first == "wait":
                left = asyncio.ensure_future(reader.read(1))
                going_on = asyncio.ensure_future(self.go_on.wait())
                await asyncio.wait({left, going_on}, return_when=asyncio.FIRST_COMPLETED)
                going_on.cancel()
                if left.done():
                    raise ConnectionResetError
                left.cancel()
                await asyncio.gather(left, return_exceptions=True)
        writer.write(b"0\r\n\r\n")

    def _chat(self, body: dict[str, Any]) -> list[bytes]:
        lines = [m["content"] for m in body["messages"] if m["role"] == "user"]
        said, stands = (lines or [""])[-1], ""
        if "broke off" in said:  # a good model goes on after what stands of its answer
            assert [m["role"] for m in body["messages"][-3:]] == ["user", "assistant", "user"]
            said, stands = lines[-2], body["messages"][-2]["content"]
        answer = f"You said {said}.".removeprefix(stands)
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word} for word in re.findall(r"\S+ ?", answer)]
        if "goodbye" in said and "tools" in body:
            call = {"index": 0, "id": "call_1", "type": "function"}
            function = {"name": "hangup", "arguments": ""}
            deltas += [{"tool_calls": [{**call, "function": function}]}]
            deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}]
        if "human" in said and any(t["function"]["name"] == "transfer" for t in body["tools"]):
            pieces = ("", '{"desti', 'nation": "front"}')
            for piece, name in zip(pieces, ("transfer", None, None), strict=True):
                function = {"name": name, "arguments": piece}
                deltas += [{"tool_calls": [{"index": 0, "function": function}]}]
        chunks = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
        chunks.append([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        chunks.append([])  # usage only, as with stream_options.include_usage
        common = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        lines = [json.dumps({**common, "choices": choices}) for choices in chunks]
        return [f"data: {line}\n\n".encode() for line in [*lines, "[DONE]"]]

    def _speech(self, body: dict[str, Any]) -> list[bytes]:
        assert body["response_format"] == "pcm"
        n = np.arange(len(body["input"]) * 24_000 * 60 // 1000)  # 60 ms a character
        tone = (9000 * np.sin(2 * np.pi * 440 * n / 24_000)).astype("<i2").tobytes()
        return [tone[at : at + self.piece] for at in range(0, len(tone), self.piece)]


@pytest.fixture
async def service(recordings: dict[str, bytes]) -> AsyncIterator[OpenAIService]:
    async with OpenAIService(recordings) as running:
        yield running


@dataclass
class Asking:
    """Makes `Ask`s of the example agent, with the stage under test on another provider."""

    example: Agent
    service: OpenAIService
    secrets: dict[str, str] = field(default_factory=lambda: {"OPENAI_API_KEY": "sk-test"})

    def ask(self, stage: str, provider: str, *, timeout_ms: int = 8000, **options: Any) -> Ask:
        given: StageSpec = getattr(self.example, stage)
        if provider == "openai":
            options = {"base_url": self.service.base_url, "model": "m", **options}
        else:
            options = {**given.options, **options}
        spec = StageSpec(provider=provider, options=options, timeout_ms=timeout_ms)
        return self._asked(stage, spec)

    def ask_with_stand_in(self, stage: str) -> Ask:
        """The service, which is down, and behind it what the example has for this stage."""
        self.service.fault = 503
        given: StageSpec = getattr(self.example, stage)
        stand_in = ProviderSpec(provider=given.provider, options=given.options)
        first = self.ask(stage, "openai").agent
        spec: StageSpec = getattr(first, stage)
        return self._asked(stage, spec.model_copy(update={"fallback": (stand_in,)}))

    def _asked(self, stage: str, spec: StageSpec) -> Ask:
        return Ask(self.example.model_copy(update={stage: spec}), spec.options, self.secrets.get)


@pytest.fixture
def asking(example: Agent, service: OpenAIService) -> Asking:
    return Asking(example, service)


@pytest.fixture(scope="session")
def noisy() -> Callable[[bytes], bytes]:
    """Adds white noise, always the same, whose RMS is 1 % of full scale."""

    def add(pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, "<i2")
        noise = np.random.default_rng(7).normal(0, 0.01 * 32768, len(samples))
        return np.clip(samples + noise, -32768, 32767).astype("<i2").tobytes()

    return add
