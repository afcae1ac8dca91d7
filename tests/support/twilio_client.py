"""Twilio's side of calls, on loopback: webhooks, media streams, and the REST API that acts on them.

Written from Twilio's documentation and not from what the server does:
https://www.twilio.com/docs/voice/media-streams/websocket-messages, .../docs/voice/twiml
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import aiohttp
import numpy as np
from aiohttp import web
from twilio.request_validator import RequestValidator

from media import g711
from media.frames import Samples, to_pcm, to_samples
from tests.support.person import words_of
from tests.support.twilio import ACCOUNT, AUTH_TOKEN
from trunkline.phone.caller import VOICE_RMS

FRAME: Final = 160
FRAME_S: Final = 0.02
SILENCE: Final = b"\xff" * FRAME
#: So long a callee rings before it says that it is busy, or answers, s.
RING_S: Final = 0.5

Message = dict[str, Any]
#: What the network makes of one message: those that arrive now.
Network = Callable[[Message], Iterable[Message]]


class Twilio:
    """The carrier: one account, its calls, and its REST API on a loopback port."""

    def __init__(self, public_url: str) -> None:
        """`public_url`: where our server is, as it knows itself."""
        self.public_url = public_url
        self.calls: dict[str, TwilioCall] = {}
        #: Numbers that answer, with what they do; others are busy. Unanswered ones ring on.
        self.answers: dict[str, Callable[[TwilioCall], Any]] = {}
        self.rings_on: set[str] = set()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._validator = RequestValidator(AUTH_TOKEN)

    async def __aenter__(self) -> Twilio:
        self.http = aiohttp.ClientSession()
        app = web.Application()
        base = f"/2010-04-01/Accounts/{ACCOUNT}"
        app.router.add_post(f"{base}/Calls.json", self._create)
        app.router.add_post(f"{base}/Calls/{{sid}}.json", self._update)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.api_url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for call in self.calls.values():
            await call.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.http.close()
        assert self._runner is not None
        await self._runner.cleanup()

    def call(self, to: str, from_: str, direction: str = "inbound") -> TwilioCall:
        """A call, not begun."""
        call = TwilioCall(self, to, from_, direction)
        self.calls[call.sid] = call
        return call

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, str]:
        """A webhook, signed. Returns the status and the body."""
        headers = {"X-Twilio-Signature": self._validator.compute_signature(url, dict(form))}
        async with self.http.post(url, data=form, headers=headers) as response:
            return response.status, await response.text()

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _create(self, request: web.Request) -> web.Response:
        pairs = parse_qsl(await request.text())
        form = dict(pairs)
        self.requests.append((request.path, form))
        call = self.call(form["To"], form["From"], "outbound-api")
        events = {value for name, value in pairs if name == "StatusCallbackEvent"}
        self.spawn(self._place(call, form, events))
        return web.json_response({"sid": call.sid, "status": "queued"}, status=201)

    async def _place(self, call: TwilioCall, form: Mapping[str, str], events: set[str]) -> None:
        async def tell(status: str, event: str) -> None:
            call.status = status
            if event in events:
                await call.post(form["StatusCallback"])

        await asyncio.sleep(0.1)
        await tell("ringing", "ringing")
        await asyncio.sleep(RING_S)
        number = call.to
        if number in self.rings_on:
            with suppress(TimeoutError):
                await asyncio.wait_for(call.over.wait(), float(form["Timeout"]))
            await tell("canceled" if call.over.is_set() else "no-answer", "completed")
        elif number not in self.answers:
            await tell("busy", "completed")
        else:
            await tell("in-progress", "answered")
            call.begin(form["Url"])
            self.spawn(self.answers[number](call))
            await call.over.wait()
            await tell("completed", "completed")
        call.over.set()

    async def _update(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text()))
        self.requests.append((request.path, form))
        call = self.calls.get(request.match_info["sid"])
        if call is None or call.over.is_set():
            return web.json_response({"code": 21220, "message": "not in progress"}, status=400)
        if form.get("Status") == "completed":
            self.spawn(call.finish())
        else:
            self.spawn(call.redirect(form["Twiml"]))
        return web.json_response({"sid": call.sid, "status": "in-progress"})


class TwilioCall:
    """One call, and the person who speaks in it."""

    def __init__(self, twilio: Twilio, to: str, from_: str, direction: str) -> None:
        self.twilio = twilio
        self.to, self.from_, self.direction = to, from_, direction
        self.sid = "CA" + secrets.token_hex(16)
        self.status = "ringing"
        self.over = asyncio.Event()
        #: What was answered to the webhooks, in order.
        self.answers: list[tuple[int, str]] = []
        #: Everything that the stream brought, without audio, and how much had been heard by then.
        self.events: list[tuple[str, int]] = []
        self.close_codes: list[int | None] = []
        self.keys_played: list[str] = []
        self.dialled: list[tuple[str, str]] = []
        self.network: Network = lambda message: (message,)
        #: Is the stream to be asked for again after it broke?
        self.comes_back = True
        self.streams = 0
        self.voice_at: float | None = None
        self.failure: BaseException | None = None
        self._heard = bytearray()
        self._queue: deque[bytes | str] = deque()
        self._partial = b""
        self._out: deque[bytes] = deque()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._stream = ""
        self._sequence = self._chunk = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._life: asyncio.Task[None] | None = None
        self._streaming = asyncio.Event()

    # What a test looks at

    @property
    def heard(self) -> Samples:
        """What the caller has heard since the call began, silence and all."""
        return to_samples(g711.ulaw_to_pcm(bytes(self._heard)))

    @property
    def words(self) -> list[str]:
        """The names of what the stream brought beside audio."""
        return [name for name, _ in self.events]

    # What the person does

    def begin(self, url: str = "") -> None:
        """Ring at our webhook, and do as it says, in the background."""
        self._tasks.append(asyncio.get_running_loop().create_task(self._beat()))
        self._live(self._fetch(url or f"{self.twilio.public_url}/twilio/voice"))

    async def connected(self, within_s: float = 10) -> None:
        """Wait until there is a stream."""
        await self._until(self._streaming.is_set, within_s)

    async def say(self, *what: Any) -> None:
        """Say recordings, with pauses of so many s between them. Returns when all is said."""
        for each in what:
            if isinstance(each, float | int):
                self._out.extend([SILENCE] * round(each * 50))
            else:
                codes = g711.pcm_to_ulaw(to_pcm(words_of(each)))
                self._out.extend(codes[at : at + FRAME] for at in range(0, len(codes), FRAME))
        await self._until(lambda: not self._out, 60)

    async def press(self, keys: str) -> None:
        """Press keys."""
        for key in keys:
            await self._send({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": key}})
            await asyncio.sleep(0.2)

    async def voice(self, within_s: float = 15) -> None:
        """Wait until something is heard, from now on."""
        since = time.monotonic()
        await self._until(lambda: self.voice_at is not None and self.voice_at > since, within_s)

    async def quiet(self, for_s: float = 1.0, within_s: float = 30) -> None:
        """Wait until nothing was heard for so long, after something was."""
        await self._until(
            lambda: self.voice_at is not None and time.monotonic() - self.voice_at >= for_s,
            within_s,
        )

    async def answered(self, for_s: float = 1.0) -> None:
        """Wait until the agent begins to speak, and has finished."""
        await self.voice()
        await self.quiet(for_s)

    async def hang_up(self) -> None:
        """The caller hangs up: the stream is told, the action is not asked."""
        await self.finish()
        form = self._form() | {"CallStatus": "completed"}
        await self.twilio.post(f"{self.twilio.public_url}/twilio/status", form)

    def break_socket(self, *, comes_back: bool = True) -> None:
        """The connection is cut, without a word."""
        self.comes_back = comes_back
        self._streaming.clear()
        assert self._socket is not None
        self._socket._writer.transport.abort()

    async def finish(self) -> None:
        """The call is over."""
        self.status = "completed"
        self.over.set()
        await self._stop_stream()
        await self._leave()

    async def redirect(self, document: str) -> None:
        """The call's TwiML is replaced: what it does ends, and this comes next."""
        await self._stop_stream()
        await self._leave()
        self._live(self._obey(document))

    async def close(self) -> None:
        """Leave nothing behind."""
        if not self.over.is_set():
            await self.finish()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def post(self, url: str, **more: str) -> tuple[int, str]:
        """A webhook about this call."""
        answer = await self.twilio.post(url, self._form() | more)
        self.answers.append(answer)
        return answer

    # TwiML

    def _form(self) -> dict[str, str]:
        return {
            "AccountSid": ACCOUNT,
            "ApiVersion": "2010-04-01",
            "CallSid": self.sid,
            "CallStatus": self.status,
            "Called": self.to,
            "Caller": self.from_,
            "Direction": self.direction,
            "From": self.from_,
            "To": self.to,
        }

    def _live(self, work: Any) -> None:
        async def live() -> None:
            try:
                await work
            except Exception as error:
                self.failure = error
                self.over.set()

        self._life = asyncio.get_running_loop().create_task(live())

    async def _leave(self) -> None:
        if self._life is not None and self._life is not asyncio.current_task():
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)

    async def _fetch(self, url: str, **more: str) -> None:
        status, document = await self.post(url, **more)
        if status != 200:
            self.status = "failed"
            self.over.set()
            return
        await self._obey(document)

    async def _obey(self, document: str) -> None:
        for verb in ElementTree.fromstring(document):
            match verb.tag:
                case "Connect":
                    self.status = "in-progress"
                    await self._connect(verb[0])
                    if self.comes_back:
                        await self._fetch(verb.attrib["action"])
                    return
                case "Play":
                    keys = verb.attrib["digits"]
                    self.keys_played.append(keys)
                    await asyncio.sleep(0.1 * len(keys))
                case "Redirect":
                    await self._fetch(verb.text or "")
                    return
                case "Dial":
                    await self._dial(verb)
                    return
                case "Hangup" | "Reject":
                    self.status = "busy" if verb.tag == "Reject" else "completed"
                    self.over.set()
                    return
                case _:
                    raise AssertionError(f"TwiML that Twilio has not: {verb.tag}")
        self.status = "completed"
        self.over.set()

    async def _dial(self, verb: ElementTree.Element) -> None:
        whom = verb[0]
        number, callback = whom.text or "", whom.attrib["statusCallback"]
        leg = {"CallSid": "CA" + secrets.token_hex(16), "ParentCallSid": self.sid}
        leg |= {"Direction": "outbound-dial", "To": number, "Called": number}
        self.dialled.append((whom.tag, number))

        async def tell(status: str) -> None:
            await self.twilio.post(callback, self._form() | leg | {"CallStatus": status})

        await tell("ringing")
        await asyncio.sleep(RING_S)
        if number not in self.twilio.answers:
            await self._fetch(verb.attrib["action"], DialCallStatus="busy")
            return
        await tell("in-progress")
        await asyncio.sleep(RING_S)
        await self._fetch(
            verb.attrib["action"], DialCallStatus="completed", DialCallSid=leg["CallSid"]
        )

    # The stream

    async def _connect(self, stream: ElementTree.Element) -> None:
        parameters = {each.attrib["name"]: each.attrib["value"] for each in stream}
        async with self.twilio.http.ws_connect(stream.attrib["url"]) as socket:
            self._socket, self._stream = socket, "MZ" + secrets.token_hex(16)
            self._sequence = self._chunk = 0
            await socket.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
            await self._send(start_of(self.sid, self._stream, parameters))
            self.streams += 1
            self._streaming.set()
            try:
                async for message in socket:
                    self._take(json.loads(message.data))
            finally:
                self._streaming.clear()
                self.close_codes.append(socket.close_code)
                self._queue.clear()
                self._partial = b""
                if self._socket is socket and not self.over.is_set():
                    self._socket = None

    async def _stop_stream(self) -> None:
        socket, self._socket = self._socket, None
        self._streaming.clear()
        self._queue.clear()
        self._partial = b""
        if socket is None or socket.closed:
            return
        stop = {"event": "stop", "streamSid": self._stream, "sequenceNumber": "0"}
        stop["stop"] = {"accountSid": ACCOUNT, "callSid": self.sid}  # type: ignore[assignment]
        with suppress(ConnectionError, aiohttp.ClientError):
            await socket.send_json(stop)  # whoever follows the stream closes it

    def _take(self, message: Message) -> None:
        match message["event"]:
            case "media":
                assert message["streamSid"] == self._stream
                self._queue.append(base64.b64decode(message["media"]["payload"]))
            case "mark":
                self._queue.append(message["mark"]["name"])
                self._echo_due()
            case "clear":
                self.events.append(("clear", len(self._heard)))
                marks = [each for each in self._queue if isinstance(each, str)]
                self._queue.clear()
                self._partial = b""
                for name in marks:
                    self._echo(name)

    def _echo_due(self) -> None:
        """Marks with nothing before them are reached."""
        while not self._partial and self._queue and isinstance(self._queue[0], str):
            name = self._queue.popleft()
            assert isinstance(name, str)
            self._echo(name)

    def _echo(self, name: str) -> None:
        self.events.append((f"mark {name}", len(self._heard)))
        self.twilio.spawn(self._send({"event": "mark", "mark": {"name": name}}))

    def _play(self) -> None:
        """20 ms of what was sent, or silence."""
        while len(self._partial) < FRAME and self._queue:
            if isinstance(self._queue[0], str) and self._partial:
                break
            due = self._queue.popleft()
            if isinstance(due, str):
                self._echo(due)
            else:
                self._partial += due
        frame, self._partial = self._partial[:FRAME], self._partial[FRAME:]
        self._heard += frame + SILENCE[len(frame) :]
        if frame and g711.rms(g711.ulaw_to_pcm(frame)) >= VOICE_RMS:
            self.voice_at = time.monotonic()
        self._echo_due()

    async def _beat(self) -> None:
        begun, count = time.monotonic(), 0
        while not self.over.is_set():
            self._play()
            if self._streaming.is_set():
                await self._send_audio(self._out.popleft() if self._out else SILENCE)
            count += 1
            await asyncio.sleep(max(0.0, begun + count * FRAME_S - time.monotonic()))

    async def _send_audio(self, payload: bytes) -> None:
        self._chunk += 1
        media = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str((self._chunk - 1) * 20),
            "payload": base64.b64encode(payload).decode(),
        }
        for message in self.network({"event": "media", "media": media}):
            await self._send(message)

    async def _send(self, message: Message) -> None:
        socket = self._socket
        if socket is None:
            return
        self._sequence += 1
        told = message | {"sequenceNumber": str(self._sequence), "streamSid": self._stream}
        with suppress(ConnectionError, aiohttp.ClientError):
            await socket.send_json(told)

    async def _until(self, done: Callable[[], bool], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            assert self.failure is None, f"{self.from_}: {self.failure!r}"
            assert not self.over.is_set(), f"{self.from_} was hung up on"
            assert time.monotonic() < deadline, f"{self.from_} waited {within_s} s in vain"
            await asyncio.sleep(0.02)


class Unruly:
    """A network that swaps, drops and doubles messages, each at its own interval."""

    def __init__(self, swap: int = 0, drop: int = 0, double: int = 0) -> None:
        self._swap, self._drop, self._double = swap, drop, double
        self._count = 0
        self._held: Message | None = None

    def __call__(self, message: Message) -> Iterable[Message]:
        self._count += 1
        if self._drop and self._count % self._drop == 0:
            return
        if self._swap and self._count % self._swap == 0 and self._held is None:
            self._held = message
            return
        yield message
        if self._held is not None:
            yield self._held
            self._held = None
        if self._double and self._count % self._double == 0:
            yield message


def start_of(
    call: str, stream: str, parameters: Mapping[str, str], account: str = ACCOUNT
) -> Message:
    """A stream's first message but one."""
    return {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": stream,
        "start": {
            "streamSid": stream,
            "accountSid": account,
            "callSid": call,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(parameters),
        },
    }


def media_of(stream: str, chunk: int, payload: bytes = SILENCE) -> Message:
    """20 ms of the caller."""
    return {
        "event": "media",
        "sequenceNumber": str(chunk + 1),
        "streamSid": stream,
        "media": {
            "track": "inbound",
            "chunk": str(chunk),
            "timestamp": str((chunk - 1) * 20),
            "payload": base64.b64encode(payload).decode(),
        },
    }


def silence_of(samples: Samples) -> float:
    """Which share of it is silent."""
    return float((np.abs(samples.astype(np.int32)) < 200).mean())
