"""`trunkline demo`: the whole system, one phone call to it, and proof that the call was a call.

Everything runs as it does in earnest, on free ports of the loopback and in a folder of its own. The
caller is `trunkline dial`, a softphone that shares no SIP or RTP with us; its lines are the WAVs of
trunkline/callers (their README says where they come from). The demo fails unless the transcripts
are what was said, the answers are what the script expects, and the agent's voice as we recorded it
is found in what the caller's phone heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bus.events import WireError
from calls.conversation import Conversation
from calls.ids import CallId
from media.correlate import coverage
from media.frames import Samples, to_samples
from media.wav import read_channels, read_mono
from storage import migrate
from telemetry.log import configure
from trunkline import history
from trunkline.buses import BusView, open_bus
from trunkline.children import Announcement
from trunkline.data_dir import keep_private, new_folder_in
from trunkline.errors import UserError
from trunkline.listen import HostPort, SipListen, parse_sip_listen
from trunkline.settings import EXAMPLE_AGENTS, Settings
from trunkline.stack import Stack
from trunkline.transcript import Transcript

CALLERS = Path(__file__).parent / "callers"

#: How much of the agent's speech must be found in what the caller heard.
ARRIVED = 0.9
_RECORDED_SECONDS = 60.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Line:
    """One turn of a caller's script."""

    wav: Path
    said: str
    #: A regular expression for the agent's answer.
    expects: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a run."""

    #: What `--json` prints.
    report: dict[str, Any]
    #: The share of the agent's speech that was found in what the caller heard.
    arrived: float
    #: Why it failed, for people; empty if it did not.
    wrong: tuple[str, ...]


def load_script(caller: str) -> tuple[Line, ...]:
    """Read a caller's turns.

    Raises:
        UserError: there is no such caller.
    """
    callers = yaml.safe_load((CALLERS / "script.yaml").read_text("utf-8"))["callers"]
    if caller not in callers:
        raise UserError(f"no caller {caller!r}; there are: {', '.join(callers)}")
    return tuple(
        Line(CALLERS / turn["wav"], turn["said"], turn["expects"])
        for turn in callers[caller]["turns"]
    )


def run_demo(settings: Settings, *, caller: str, as_json: bool, keep: bool) -> int:
    """Run the demo.

    Args:
        settings: Only `data_dir` is used; the demo needs nothing from outside.
        caller: Whose script.
        as_json: Print one JSON object, last, on stdout; what people read goes to stderr.
        keep: Leave the stack running after the call, until Ctrl-C.

    Returns:
        0 if all was as it must be, else 1.
    """
    lines = load_script(caller)
    keep_private()
    folder = new_folder_in(settings.data_dir, time.strftime("demo-%Y%m%d-%H%M%S"))
    own = settings.model_copy(
        update={
            "data_dir": folder,
            "bus_url": None,
            "database_url": f"sqlite:///{folder}/trunkline.db",
            "agents": EXAMPLE_AGENTS,
            "sip_listen": (SipListen("udp", "127.0.0.1", 0),),
            "http_listen": HostPort("127.0.0.1", 0),
            "metrics_listen": None,
            "public_address": None,
            "log_level": "warning",
            "drain_seconds": 2.0,
        }
    )
    configure("demo", level="warning", fmt=settings.log_format)
    out = sys.stderr if as_json else sys.stdout

    def tell(text: str) -> None:
        out.write(f"{text}\n")
        out.flush()

    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(Demo(own, lines, tell).run(as_json=as_json, keep=keep))
    return 130


class Demo:
    """One run."""

    def __init__(
        self, settings: Settings, lines: tuple[Line, ...], tell: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._lines = lines
        self._tell = tell
        self._heard_file = settings.data_dir / "caller-heard.wav"

    async def run(self, *, as_json: bool, keep: bool) -> int:
        """Start, call, check, stop."""
        self._tell("Starting the bus and six roles, each a process of its own ...")
        await migrate.upgrade(self._settings.database_url)
        started = time.monotonic()
        stack = Stack(self._settings, sizes={}, progress=lambda role: self._tell(f"  {role}"))
        try:
            announcement = await stack.start()
            self._tell(f"All ready after {time.monotonic() - started:.1f} s.\n")
            self._settings = self._settings.model_copy(update={"bus_url": stack.bus_url})
            call = await self._call(announcement["sip"])
            verdict = self._check(await self._recorded(call))
            self._conclude(verdict, announcement, keep=keep)
            if as_json:
                sys.stdout.write(json.dumps(verdict.report) + "\n")
                sys.stdout.flush()
            if keep:
                self._tell("Ctrl-C stops it.")
                await _told_to_stop()
        finally:
            await stack.stop()
        return 0 if verdict.report["ok"] else 1

    async def _call(self, sip: str) -> CallId:
        """Have the softphone call, and print the conversation as the log grows."""
        listen = parse_sip_listen(sip)[0]
        uri = f"sip:clinic@{listen.host}:{listen.port}"
        self._tell(f"pyVoIP dials {uri}")
        argv = [sys.executable, "-m", "trunkline", "dial", uri, "--json"]
        argv += ["--record", str(self._heard_file)]
        for line in self._lines:
            argv += ["--wav", str(line.wav)]
        phone = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with open_bus(self._settings) as bus:
                transcript = Transcript(self._tell)
                call: CallId | None = None
                while phone.returncode is None:
                    call = await self._look(bus, call, transcript)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_SECONDS):
                            await phone.wait()
                call = await self._look(bus, call, transcript)
        finally:
            if phone.returncode is None:
                phone.kill()
        _, said = await phone.communicate()
        if phone.returncode != 0 or call is None:
            raise UserError(f"the softphone failed: {said.decode(errors='replace').strip()}")
        return call

    async def _look(
        self, bus: BusView, call: CallId | None, transcript: Transcript
    ) -> CallId | None:
        call = call or next(iter(await bus.presence.live_calls()), None)
        if call is not None:
            with contextlib.suppress(WireError):
                transcript.show(Conversation.of(await bus.log.read(call)))
        return call

    async def _recorded(self, call: CallId) -> history.Json:
        deadline = time.monotonic() + _RECORDED_SECONDS
        while True:
            found = await history.show(self._settings, call)
            if not found["live"]:
                return found
            if time.monotonic() > deadline:
                raise UserError(f"call {call} was not recorded within {_RECORDED_SECONDS:.0f} s")
            await asyncio.sleep(_LOOK_SECONDS)

    def _check(self, call: history.Json) -> Verdict:
        """Compare what happened with what must have."""
        turns = [turn for turn in call["turns"] if turn["number"] > 0]
        report = []
        wrong = []
        if len(turns) != len(self._lines):
            wrong.append(f"{len(self._lines)} turns were said, {len(turns)} heard")
        for line, turn in zip(self._lines, turns, strict=False):
            heard, answer = turn["caller_text"], turn["agent_text"]
            if heard.lower().strip(" .?!") != line.said:
                wrong.append(f"{line.said!r} was heard as {heard!r}")
            if not re.search(line.expects, answer, re.IGNORECASE | re.DOTALL):
                wrong.append(f"{line.said!r} was answered {answer!r}, not {line.expects!r}")
            report.append(
                {
                    "said": line.said,
                    "heard": heard,
                    "answer": answer,
                    "voice_to_voice_ms": turn["voice_to_voice_ms"],
                    "stages_ms": turn["stages_ms"],
                }
            )
        arrived = self._arrived(call["recording_file"])
        if arrived < ARRIVED:
            wrong.append(f"{arrived:.0%} of the agent's speech arrived, {ARRIVED:.0%} must")
        return Verdict(
            {
                "ok": not wrong,
                "call_id": call["id"],
                "turns": report,
                "recording": call["recording_file"],
                "caller_heard": str(self._heard_file),
            },
            arrived,
            tuple(wrong),
        )

    def _arrived(self, recording: str | None) -> float:
        """The share of the agent's speech, as we recorded it, that the caller's phone heard."""
        if recording is None or not self._heard_file.exists():
            return 0.0
        with Path(recording).open("rb") as file:
            channels, _ = read_channels(file)
        agent: Samples = channels[:, 1].astype("int16")
        with self._heard_file.open("rb") as file:
            return coverage(agent, to_samples(read_mono(file)))

    def _conclude(self, verdict: Verdict, announcement: Announcement, *, keep: bool) -> None:
        report = verdict.report
        self._tell("")
        for wrong in verdict.wrong:
            self._tell(f"WRONG: {wrong}")
        self._tell(
            f"{verdict.arrived:.0%} of the agent's speech was found in what the caller heard."
        )
        self._tell(f"Recording (left: caller, right: agent)  {report['recording']}")
        self._tell(f"What the caller's phone heard           {report['caller_heard']}")
        page = f"/calls/{report['call_id']}"
        if keep:
            self._tell(f"The call's page                         {announcement['http']}{page}")
        else:
            self._tell(f"To see it: TRUNKLINE_DATA_DIR={self._settings.data_dir} make up")
            self._tell(f"The call's page is then {page} of the dashboard that it names.")
        if "password" in announcement:
            self._tell(f"The dashboard's password there is {announcement['password']}")
        self._tell("The demo succeeded." if report["ok"] else "The demo FAILED.")


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
