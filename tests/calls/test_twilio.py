"""Calls by Twilio: `trunkline up` with its web side, and Twilio's side by tests/support.

All calls are made at once; every test then looks at one of them from both ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from media.correlate import find
from media.frames import Samples
from media.wav import read_channels
from tests.calls.conftest import CALLERS
from tests.calls.test_conversation import HOURS, LONG, agent, rules, spoken
from tests.support.person import Person, words_of
from tests.support.sentences import places, voice
from tests.support.stack import ROOT, Installation, free_port, normal, started_by_up
from tests.support.twilio import ACCOUNT, AUTH_TOKEN
from tests.support.twilio_client import Twilio, TwilioCall, Unruly
from trunkline.phone.clock import Clock

CLINIC, QUICK, TALKER = "+15550001", "+15550002", "+15550003"
COLLEAGUE, ENGAGED, CALLEE, NOBODY, BUSY = (f"+1555011{n}" for n in range(5))
PASSWORD = "correct-horse-battery"
#: A mark stands after 160 ms at most; some of it may be under way.
MARK = 1280 + 480
SPELLED = {"1": "W AH N", "2": "T UW", "3": "TH R IY", "9": "N AY N"}

#: What ten callers say, and what each of them alone is told.
QUESTIONS = {
    "rms-what-are-your-opening-hours": "We are open Monday to Friday, from eight to six.",
    "rms-what-is-your-address": "We are at twelve River Street, next to the library.",
    "rms-hello": "Hello. I can book, move or cancel an appointment for you.",
    "rms-can-i-talk-to-a-human": "A colleague will call you back within the hour. Goodbye.",
    "awb-i-would-like-to-book-an-appointment": "For which day?",
    "rms-i-need-a-refill-of-my-prescription": "Which medicine do you need?",
    "rms-can-i-get-more-aspirin": "A refill of aspirin. Is that right?",
    "awb-please-cancel-my-appointment-on-monday": "You want to cancel your appointment on Monday.",
    "rms-can-you-move-my-appointment-to-wednesday-afternoon": "Your appointment moves to Wednesday",
    "awb-goodbye": "Thank you for calling. Goodbye.",
}

Scene = Callable[[TwilioCall], Awaitable[None]]
SCENES: dict[str, tuple[str, Scene]] = {}


def scene(called: str) -> Callable[[Scene], Scene]:
    def keep(act: Scene) -> Scene:
        SCENES[act.__name__] = called, act
        return act

    return keep


async def until_over(call: TwilioCall, within_s: float = 20) -> None:
    await asyncio.wait_for(call.over.wait(), within_s)


@scene(CLINIC)
async def conversation(call: TwilioCall) -> None:
    await call.answered()
    await call.say(HOURS)
    await call.answered()
    await call.say(CALLERS / "rms-goodbye.wav")
    await until_over(call)


@scene(TALKER)
async def barge_in(call: TwilioCall) -> None:
    await call.answered(0.5)
    await call.say(HOURS)
    await call.voice()
    await asyncio.sleep(1.2)
    await call.say(CALLERS / "rms-what-is-your-address.wav")
    await call.quiet(1.5)
    await call.hang_up()


@scene(QUICK)
async def hung_up_by_key(call: TwilioCall) -> None:
    await call.connected()
    await call.press("9")
    await until_over(call)


@scene(QUICK)
async def transfer_answered(call: TwilioCall) -> None:
    await call.connected()
    await call.press("1")
    await until_over(call)


@scene(QUICK)
async def transfer_busy(call: TwilioCall) -> None:
    await call.connected()
    await call.press("2")
    while call.streams < 2:
        await asyncio.sleep(0.05)
    await call.answered(0.5)
    await call.press("9")
    await until_over(call)


@scene(QUICK)
async def digits_sent(call: TwilioCall) -> None:
    await call.connected()
    await call.press("3")
    while call.streams < 2:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    await call.press("9")
    await until_over(call)


@scene(TALKER)
async def broken(call: TwilioCall) -> None:
    """Its socket breaks in mid-reply, and Twilio asks for another."""
    await call.answered(0.5)
    await call.say(HOURS)
    await call.voice()
    await asyncio.sleep(1.5)
    call.break_socket()
    await call.connected()
    await call.answered(1.5)
    await call.hang_up()


@scene(TALKER)
async def broken_for_good(call: TwilioCall) -> None:
    await call.answered(0.5)
    call.break_socket(comes_back=False)
    await asyncio.sleep(11.5)


@scene(CLINIC)
async def unruly(call: TwilioCall) -> None:
    """Messages are lost, late and doubled on the way, and the caller is understood."""
    call.network = Unruly(swap=7, drop=40, double=9)
    await call.answered()
    await call.say(HOURS)
    await call.answered()
    await call.hang_up()


class Stage:
    """The installation, Twilio, and the calls that are made between them."""

    def __init__(self, installation: Installation, twilio: Twilio, web_url: str) -> None:
        self.installation, self.twilio, self.web_url = installation, twilio, web_url
        self.played: dict[str, TwilioCall] = {}
        self.parts: dict[str, Future[None]] = {}
        self.placed: dict[str, subprocess.Popen[str]] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        self._rows: list[dict[str, Any]] = []

    def submit(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def act(self, name: str, called: str, part: Scene) -> None:
        call = self.played[name] = self.twilio.call(called, name)

        async def play() -> None:
            call.begin()
            await part(call)

        self.parts[name] = self.submit(play())

    def __getitem__(self, name: str) -> TwilioCall:
        """A call from Twilio's side, once it is over."""
        self.parts[name].result(90)
        return self.played[name]

    def row(self, **fields: str) -> dict[str, Any]:
        """A call as it was kept."""
        deadline = time.monotonic() + 30
        while True:
            found = [r for r in self._rows if all(r.get(k) == v for k, v in fields.items())]
            if found and found[0]["ended_at"] and not found[0]["live"]:
                assert len(found) == 1
                return dict(self.installation.ask("calls", "show", found[0]["id"]))
            assert time.monotonic() < deadline, (fields, self._rows)
            self._rows = self.installation.ask("calls", "list", "--limit", "500")

    def log(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        return list(self.installation.ask("calls", "events", row["id"]))

    def agent_side(self, row: dict[str, Any]) -> Samples:
        with self.installation.recording(row).open("rb") as file:
            channels, _ = read_channels(file)
        assert channels.shape[1] == 2
        return channels[:, 1].astype(np.int16)


def of(log: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [entry["payload"] for entry in log if entry["kind"] == kind]


def agents() -> list[dict[str, Any]]:
    [clinic] = yaml.safe_load((ROOT / "agents.example.yaml").read_text())["agents"]
    intents = {
        "over": {"phrases": ["9"], "say": "Bye.", "then": "hangup"},
        "put": {"phrases": ["1"], "say": "One.", "then": "transfer", "to": "colleague"},
        "vain": {"phrases": ["2"], "say": "Two.", "then": "transfer", "to": "engaged"},
        "keys": {"phrases": ["3"], "say": "Three.", "then": "send_digits", "digits": "12#"},
    }
    quick = agent(
        "quick",
        numbers=[QUICK],
        greeting="",
        asr={"provider": "pocketsphinx", "options": {"pronunciations": SPELLED}},
        llm={"provider": "rules", "options": {"intents": intents}},
        transfer={
            "destinations": {"colleague": {"target": COLLEAGUE}, "engaged": {"target": ENGAGED}}
        },
        keypad={"max_digits": 1, "terminator": ""},
    )
    return [agent("talker", numbers=[TALKER], llm=rules(hours=LONG)), quick, clinic]


@contextlib.contextmanager
def staged(folder: Path, **settings: str) -> Iterator[Stage]:
    """An installation with a fake Twilio, whose side has a thread of its own."""
    port = free_port(socket.SOCK_STREAM)
    web_url = f"http://127.0.0.1:{port}"
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    twilio = Twilio(web_url)
    (folder / "agents.yaml").write_text(yaml.safe_dump({"agents": agents()}))
    wait(twilio.__aenter__())
    try:
        with started_by_up(
            folder,
            TRUNKLINE_AGENTS=str(folder / "agents.yaml"),
            TRUNKLINE_WEB_LISTEN=f"127.0.0.1:{port}",
            TRUNKLINE_PUBLIC_URL=web_url,
            TRUNKLINE_TWILIO_ACCOUNT_SID=ACCOUNT,
            TRUNKLINE_TWILIO_AUTH_TOKEN=AUTH_TOKEN,
            TRUNKLINE_TWILIO_API_URL=twilio.api_url,
            TRUNKLINE_ADMIN_PASSWORD=PASSWORD,
            **settings,
        ) as installation:
            stage = Stage(installation, twilio, web_url)
            stage.loop = loop
            yield stage
    finally:
        wait(twilio.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("twilio"), TRUNKLINE_DRAIN_SECONDS="1") as stage:

        async def callee(call: TwilioCall) -> None:
            await call.connected()
            await call.press("9")

        stage.twilio.answers = {COLLEAGUE: callee, CALLEE: callee}
        stage.twilio.rings_on = {NOBODY}
        for name, (called, part) in SCENES.items():
            stage.act(name, called, part)
        stage.parts["sip"] = stage.submit(by_sip(stage.installation.sip_port))
        stage.placed = {
            number: subprocess.Popen(
                [sys.executable, "-m", "trunkline", "call", number, "--agent", "quick",
                 "--carrier", "twilio", "--caller-id", CLINIC, "--timeout", "3", "--json"],
                env=stage.installation.environment, cwd=stage.installation.data,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for number in (CALLEE, NOBODY, BUSY)
        }  # fmt: skip
        try:
            yield stage
        finally:
            for process in stage.placed.values():  # of tests that were not chosen
                process.kill()
                process.wait()
                for pipe in filter(None, (process.stdout, process.stderr)):
                    pipe.close()


async def by_sip(port: int) -> None:
    """The same conversation by the other door."""
    person = Person("sip-caller")
    ticking = asyncio.get_running_loop().create_task(Clock(person.tick).run())
    try:
        await person.dial(("127.0.0.1", port), "clinic")
        await person.answered()
        await person.say(HOURS)
        await person.answered()
        await person.say(CALLERS / "rms-goodbye.wav")
        await asyncio.wait_for(person.hung_up_on.wait(), 20)
    finally:
        await person.hang_up()
        ticking.cancel()


@cache
def clinic_says(text: str) -> Samples:
    return spoken(text, 165)


def test_a_conversation_is_understood_heard_and_kept(stage: Stage) -> None:
    call = stage["conversation"]
    row = stage.row(caller="conversation")
    log = stage.log(row)
    turns = [turn["text"] for turn in of(log, "turn.ended")]
    assert turns == ["what are your opening hours", "goodbye"]
    assert places(clinic_says(QUESTIONS[HOURS.stem]), call.heard)
    agent_side = stage.agent_side(row)
    for started in of(log, "playback.started"):
        said = agent_side[started["position"] : started["position"] + 8000]
        assert find(said, call.heard).peak > 0.95
    assert row["ending"] == "agent_hung_up"
    # The agent's last word was heard before the stream was closed.
    assert places(clinic_says("Thank you for calling. Goodbye."), call.heard)
    assert call.streams == 1
    assert "<Hangup" in call.answers[-1][1] or call.status == "completed"


def test_the_same_call_by_sip_is_the_same_call(stage: Stage) -> None:
    stage.parts["sip"].result(60)
    rows = [stage.row(caller=stage["conversation"].from_), stage.row(caller="sip-caller")]
    logs = [stage.log(row) for row in rows]
    kinds = [{entry["kind"] for entry in log} for log in logs]
    assert kinds[0] ^ kinds[1] <= {"guess.withdrawn", "turn.guessed", "call.ringing"}
    told = [[t["text"] for t in of(log, "turn.ended")] for log in logs]
    said = [[normal(t["text"]) for t in of(log, "sentence")] for log in logs]
    assert told[0] == told[1]
    assert said[0] == said[1]
    filled = [{name for name, value in row.items() if value not in (None, "", [])} for row in rows]
    assert filled[0] ^ filled[1] <= {"sip_status", "trunk"}, filled
    pages = [page(stage, row["id"]) for row in rows]
    parts = [{line.split(">")[0] for line in text.split("<h2")[1:]} for text in pages]
    assert parts[0] == parts[1]
    for text in pages:
        assert "what are your opening hours" in text


def page(stage: Stage, call: str) -> str:
    """A call's page of the dashboard."""
    where = stage.installation.environment["TRUNKLINE_HTTP_LISTEN"]
    with httpx.Client(base_url=f"http://{where}", follow_redirects=True) as browser:
        assert browser.post("/login", data={"password": PASSWORD}).status_code == 200
        answer = browser.get(f"/calls/{call}")
        assert answer.status_code == 200
        return answer.text


def test_who_is_interrupted_stops_and_knows_what_was_heard(stage: Stage) -> None:
    call = stage["barge_in"]
    row = stage.row(caller="barge_in")
    log = stage.log(row)
    [at] = [at for name, at in call.events if name == "clear"]
    [stopped] = [e for e in of(log, "playback.stopped") if e["why"] not in ("finished",)]
    [began] = places(spoken(LONG), call.heard)
    assert abs((at - began) - stopped["offset"]) < MARK
    # Nothing of it is heard afterwards, but the answer to what was said meanwhile.
    assert places(spoken("You find us at twelve River Street."), call.heard)
    assert voice(call.heard[at : at + 1600]) == 0
    texts = [turn["text"] for turn in of(log, "turn.ended")]
    assert texts == ["what are your opening hours", "what is your address"]


def test_keys_are_heard_and_the_agent_hangs_up(stage: Stage) -> None:
    call = stage["hung_up_by_key"]
    row = stage.row(caller="hung_up_by_key")
    assert [turn["text"] for turn in of(stage.log(row), "turn.ended")] == ["9"]
    assert row["ending"] == "agent_hung_up"
    assert call.close_codes == [1000]
    assert call.status == "completed"


def test_the_caller_is_put_through(stage: Stage) -> None:
    call = stage["transfer_answered"]
    row = stage.row(caller="transfer_answered")
    steps = [step["status"] for step in of(stage.log(row), "transfer.progress")]
    assert row["ending"] == "transferred"
    assert call.dialled == [("Number", COLLEAGUE)]
    assert 180 in steps
    assert 200 in steps


def test_a_busy_colleague_brings_the_caller_back(stage: Stage) -> None:
    call = stage["transfer_busy"]
    row = stage.row(caller="transfer_busy")
    log = stage.log(row)
    first = of(log, "action.done")[0]
    assert (first["action"], first["outcome"]) == ("transfer", "failed")
    assert call.dialled == [("Number", ENGAGED)]
    assert call.streams == 2
    assert row["ending"] == "agent_hung_up"


def test_the_agent_presses_keys(stage: Stage) -> None:
    call = stage["digits_sent"]
    row = stage.row(caller="digits_sent")
    assert call.keys_played == ["12#"]
    done = of(stage.log(row), "action.done")[0]
    assert (done["action"], done["outcome"]) == ("send_digits", "done")
    assert row["ending"] == "agent_hung_up"


def test_a_broken_stream_comes_back_into_the_same_call(stage: Stage) -> None:
    call = stage["broken"]
    row = stage.row(caller="broken")
    assert call.streams == 2
    assert row["ending"] == "caller_hung_up"
    log = stage.log(row)
    last = of(log, "playback.stopped")[-1]
    assert last["why"] == "finished"
    assert len(of(log, "call.answered")) == 1


@pytest.mark.deep
def test_a_stream_that_does_not_come_back_ends_the_call(stage: Stage) -> None:
    assert stage["broken_for_good"].streams == 1
    assert stage.row(caller="broken_for_good")["ending"] == "media_timeout"


def test_what_is_lost_and_late_is_concealed(stage: Stage) -> None:
    call = stage["unruly"]
    row = stage.row(caller="unruly")
    log = stage.log(row)
    assert [turn["text"] for turn in of(log, "turn.ended")] == ["what are your opening hours"]
    assert places(clinic_says(QUESTIONS[HOURS.stem]), call.heard)
    quality = of(log, "media.quality")[-1]
    assert quality["lost"] > 5
    assert quality["concealed"] > 5


@pytest.mark.parametrize(
    ("number", "status", "ending"),
    [(CALLEE, 0, "agent_hung_up"), (BUSY, 1, "busy"), (NOBODY, 1, "no_answer")],
    ids=["answered", "busy", "no answer"],
)
def test_a_call_is_placed(stage: Stage, number: str, status: int, ending: str) -> None:
    out, err = stage.placed[number].communicate(timeout=60)
    assert stage.placed[number].returncode == status, out + err
    assert json.loads(out)["ending"] == ending
    row = stage.row(called=number)
    assert row["ending"] == ending


@pytest.mark.deep  # ten conversations on two cores
def test_ten_calls_at_once_are_not_mixed(stage: Stage) -> None:
    async def ask(call: TwilioCall, wav: Path) -> None:
        await call.answered()
        await call.say(wav)
        await call.answered(1.2)

    def asks(wav: Path) -> Scene:
        async def act(call: TwilioCall) -> None:
            with contextlib.suppress(AssertionError):  # some answers are the last
                await ask(call, wav)
            if not call.over.is_set():
                await call.hang_up()

        return act

    for done in [*SCENES, "sip"]:
        stage.parts[done].exception(60)
    for name in QUESTIONS:
        stage.act(name, CLINIC, asks(CALLERS / f"{name}.wav"))
    for name, answer in QUESTIONS.items():
        call = stage[name]
        row = stage.row(caller=name)
        with stage.installation.recording(row).open("rb") as file:
            channels, _ = read_channels(file)
        heard_of_us = channels[:, 0].astype(np.int16)
        said = words_of(CALLERS / f"{name}.wav")
        assert find(said, heard_of_us).peak > 0.9, name
        texts = [e["text"] for e in of(stage.log(row), "sentence")]
        assert normal(answer) in normal(" ".join(texts)), (name, texts)
        for started in of(stage.log(row), "playback.started"):
            at = started["position"]
            said = channels[at : at + 4000, 1].astype(np.int16)
            assert find(said, call.heard).peak > 0.9, name


@pytest.mark.deep  # an installation of its own
def test_a_drain_lets_the_call_go_on_and_takes_no_other(tmp_path: Path) -> None:
    with staged(tmp_path, TRUNKLINE_DRAIN_SECONDS="20") as stage:
        stage.act("last", QUICK, hung_up_after(6.0))
        stage.submit(stage.played["last"].connected()).result(15)
        [web] = [p for p in stage.installation.ask("status")["processes"] if p["role"] == "web"]
        import os

        os.kill(web["pid"], signal.SIGTERM)
        time.sleep(1)
        late = stage.twilio.call(QUICK, "late")
        future = asyncio.run_coroutine_threadsafe(
            late.post(f"{stage.web_url}/twilio/voice"), stage.loop
        )  # type: ignore[arg-type]
        assert future.result(10)[0] == 503
        assert not stage.played["last"].over.is_set()
        stage["last"]
        assert stage.row(caller="last")["ending"] == "agent_hung_up"


def hung_up_after(seconds: float) -> Scene:
    async def act(call: TwilioCall) -> None:
        await call.connected()
        await asyncio.sleep(seconds)
        await call.press("9")
        await until_over(call)

    return act
