"""What docs/conversation.md promises, proven by real calls.

Most of them run at once, on one installation whose agents differ in a knob or two. Every test then
looks at one call from both ends: at its log, by the command line, and at what its phone heard. That
is what was recorded of the agent, frame by frame, and a sentence in it is known by its sound.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from calls.agent import Agent
from media import g711
from media.correlate import find
from media.frames import SAMPLE_RATE, Samples, to_samples
from media.seam import EDGE
from media.wav import read_channels
from tests.calls.conftest import CALLERS
from tests.contract.providers.conftest import OpenAIService
from tests.support.person import Person
from tests.support.redis_server import RedisServer
from tests.support.sentences import ALIKE, likeness, places, voice
from tests.support.stack import Installation, free_port, role_of, started_by_hand, started_by_up
from trunkline.chaos.sound import compare
from trunkline.phone.clock import Clock
from trunkline.phone.heard import listen
from workers.ports import Ask
from workers.providers.espeak import synthesizer
from workers.tts.take import Take

SOUNDS = Path(__file__).parent / "sounds"
HOURS = CALLERS / "rms-what-are-your-opening-hours.wav"
ADDRESS = CALLERS / "rms-what-is-your-address.wav"
CANCEL = CALLERS / "rms-i-would-like-to-cancel-my-appointment.wav"
THURSDAY = CALLERS / "rms-on-thursday.wav"
YEAH = SOUNDS / "rms-yeah.wav"
MHM = SOUNDS / "slt-mhm.wav"
OKAY = SOUNDS / "slt-okay.wav"

GREETING = "Riverside Clinic, good day."
OPEN = "We are open from eight in the morning."
LIVES = "You find us at twelve River Street."
LONG = (
    "We are open from Monday to Friday between eight and six and on every second Saturday"
    " between nine and noon."
)
FILLER = "Let me look that up for you."
TROUBLE = "Something here is broken, so please hold the line."
REPROMPTS = ["Is anybody there?", "I still hear nothing at all."]
GOODBYE = "Then I hang up. Farewell."
APOLOGY = "My thoughts are out of order today."
MENU = "Please enter your customer number now. After that you may press the hash key on your phone."
KEYED = "Thank you, your number has arrived."
#: A quarter of a second: what a busy machine may add to any time below.
SLACK_MS = 250.0


def rules(**options: Any) -> dict[str, Any]:
    """The responder of rules, with a say for the shipped questions."""
    says = {"hours": options.pop("hours", OPEN), "address": options.pop("address", LIVES)}
    intents: dict[str, Any] = {
        "hours": {"phrases": ["what are your opening hours"], "say": says["hours"]},
        "address": {"phrases": ["what is your address"], "say": says["address"]},
    }
    return {
        "provider": "rules",
        "options": {"intents": intents | options.pop("more", {})} | options,
    }


def hears(**options: Any) -> dict[str, Any]:
    return {"provider": "pocketsphinx", "options": options}


def agent(name: str, **keys: Any) -> dict[str, Any]:
    """An agent that answers calls to its name. It asks nothing and waits for nothing."""
    quiet = {"waiting": {"filler_after_ms": 0, "trouble_after_ms": 0}, "apology": APOLOGY}
    return {
        "name": name,
        "numbers": [name],
        "greeting": GREETING,
        "voice": "en-us",
        "tts": {"provider": "espeak", "options": {"rate": 190}},
        # A language model tells nobody what callers say.
        "asr": hears(phrases=["what are your opening hours", "what is your address"]),
        "llm": rules(),
        "silence": {"reprompt_after_ms": 0},
        **quiet,
        **keys,
    }


def dead_service(port: int) -> dict[str, Any]:
    options = {"base_url": f"http://127.0.0.1:{port}/v1", "api_key_env": "none", "model": "m"}
    return {"provider": "openai", "options": options, "timeout_ms": 2000}


# The calls. Each is a person's part, named like the agent that answers.

Scene = Callable[[Person], Awaitable[None]]
SCENES: dict[str, Scene] = {}


def scene(act: Scene) -> Scene:
    SCENES[act.__name__.replace("_", "-")] = act
    return act


async def ask(person: Person, *what: Path | float) -> None:
    """Let the agent greet, and say something."""
    await person.answered(0.5)
    await person.say(*what)


@scene
async def silent(person: Person) -> None:
    await asyncio.wait_for(person.hung_up_on.wait(), 25)


@scene
async def slow(person: Person) -> None:
    await ask(person, HOURS)
    await person.answered(3.0)


@scene
async def fast(person: Person) -> None:
    await ask(person, HOURS)
    await person.answered(1.5)


@scene
async def halting(person: Person) -> None:
    await ask(person, HOURS)
    await person.answered(5.0)


@scene
async def keys_ended(person: Person) -> None:
    await person.voice()
    await asyncio.sleep(0.8)
    await person.press("4711#")
    await person.answered()


@scene
async def keys_timed_out(person: Person) -> None:
    await person.answered(0.5)
    await person.press("4711")
    await person.answered()


async def _over(person: Person, what: Path, after_s: float = 1.2) -> None:
    """Ask, and say something while the answer is heard."""
    await ask(person, HOURS)
    await person.voice()
    await asyncio.sleep(after_s)
    await person.say(what)


@scene
async def yeah(person: Person) -> None:
    await _over(person, YEAH)
    await person.quiet(2.0)


@scene
async def mhm(person: Person) -> None:
    await _over(person, MHM)
    await person.quiet(2.0)


@scene
async def okay(person: Person) -> None:
    await _over(person, OKAY)
    await person.quiet(2.0)


@scene
async def barge_in(person: Person) -> None:
    await _over(person, ADDRESS)
    await person.quiet(1.5)


@scene
async def context(person: Person) -> None:
    await _over(person, ADDRESS, 0.7)
    await person.quiet(1.5)


@scene
async def protected(person: Person) -> None:
    await _over(person, ADDRESS)
    await person.quiet(1.5)


@scene
async def stand_in(person: Person) -> None:
    await ask(person, HOURS)
    await person.answered(1.5)


@scene
async def all_dead(person: Person) -> None:
    await ask(person, HOURS)
    await person.answered(1.5)


@scene
async def hesitating(person: Person) -> None:
    await ask(person, CANCEL, 0.5, THURSDAY)
    await person.answered(1.5)


def agents(dead_port: int, model_url: str) -> list[dict[str, Any]]:
    filler = {"filler_after_ms": 700, "fillers": [FILLER], "trouble_after_ms": 0}
    silence = {"reprompt_after_ms": 1200, "reprompts": REPROMPTS, "goodbye": GOODBYE}
    # The embedded transcriber has to know how the digits of a phrase would be said.
    spelled = {"4711": "F AO R S EH V AH N W AH N W AH N"}
    keys = {
        "asr": hears(pronunciations=spelled),
        "llm": rules(more={"keyed": {"phrases": ["4711"], "say": KEYED}}),
    }
    model = dead_service(0)
    model["options"]["base_url"] = model_url
    cancel = {
        "phrases": ["i would like to cancel my appointment"],
        "slots": ["day"],
        "say": "Cancelled for {day}, as you wish.",
    }
    asks = {"day": {"type": "day", "ask": "Which of the days would that be?"}}
    return [
        agent("silent", silence=silence),
        agent("slow", llm=rules(pace_ms=450), waiting=filler),
        agent("fast", waiting=filler),
        agent(
            "halting",
            llm=rules(hours=f"Certainly. {OPEN}", pace_ms=450),
            waiting=filler | {"filler_after_ms": 1200},
        ),
        agent("keys-ended", greeting=MENU, **keys),
        agent("keys-timed-out", keypad={"terminator": "", "timeout_ms": 800}, **keys),
        agent("yeah", llm=rules(hours=LONG)),
        agent("mhm", llm=rules(hours=LONG)),
        agent("okay", llm=rules(hours=LONG)),
        agent("barge-in", llm=rules(hours=LONG)),
        agent("context", llm=model, tts={"provider": "espeak", "options": {"rate": 120}}),
        agent("protected", llm=rules(hours=LONG), interruption={"protect": ["second Saturday"]}),
        agent("stand-in", llm=dead_service(dead_port) | {"fallback": [rules()]}),
        agent("all-dead", llm=dead_service(dead_port)),
        agent(
            "hesitating",
            llm=rules(slots=asks, more={"cancel": cancel}),
            endpointing={"silence_ms": 1000},
        ),
    ]


@dataclass
class Call:
    """One call, from both ends."""

    name: str
    shown: dict[str, Any]
    log: list[dict[str, Any]]
    #: What the phone heard, and the agent's side of the recording; 8000 Hz.
    heard: Samples
    agent: Samples
    hung_up_on: bool

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The entries of a kind."""
        return [entry["payload"] for entry in self.log if entry["kind"] == kind]

    @property
    def turns(self) -> list[str]:
        """What the caller said."""
        return [turn["text"] for turn in self.of("turn.ended")]

    def places(self, text: str) -> list[int]:
        """Where in the call a sentence was heard to begin, in samples of the log's clock."""
        return [place + self._behind for place in places(spoken(text), self.heard)]

    def times_heard(self, text: str) -> int:
        return len(self.places(text))

    def heard_of(self, text: str) -> Samples:
        """What was heard where the log says that this sentence was played."""
        [said] = [e for e in (*self.of("sentence"), *self.of("aside")) if e["text"] == text]
        place = (said["reply"], said.get("index", 0))
        starts = [e for e in self.of("playback.started") if (e["reply"], e["index"]) == place]
        stops = [e for e in self.of("playback.stopped") if (e["reply"], e["index"]) == place]
        assert [start["offset"] for start in starts] == [0, *(e["offset"] for e in stops[:-1])]
        return np.concatenate([
            self.heard[start["position"] - self._behind : stop["position"] - self._behind]
            for start, stop in zip(starts, stops, strict=True)
        ])  # fmt: skip

    def was_heard(self, text: str) -> bool:
        """Was a sentence heard, all of it, and once?"""
        begun = self.times_heard(text)
        return begun == 1 and likeness(spoken(text), self.heard_of(text)) > ALIKE

    def since(self, position: int) -> Samples:
        """What was heard from there on."""
        return self.heard[position - self._behind :]

    @cached_property
    def _behind(self) -> int:
        """How far the phone's clock is behind the log's: by the first sentence that was heard."""
        first = self.of("playback.started")[0]["position"]
        at = find(self.agent[first : first + SAMPLE_RATE], self.heard)
        assert at.peak > 0.8
        return int(first - at.lag)


@cache
def spoken(text: str, rate: int = 190) -> Samples:
    """A sentence in the agents' voice, synthesized here."""
    speaker = Agent.model_validate(agent("x"))

    async def take() -> bytes:
        voice = synthesizer(Ask(speaker, {"rate": rate}, lambda _: None))
        one = Take(voice, text, keep=1 << 20)
        async for _ in one:
            pass
        assert one.kept is not None
        return one.kept

    return to_samples(g711.ulaw_to_pcm(asyncio.run(take())))


@dataclass
class Calls:
    """All calls of the installation, looked at when a test wants them."""

    installation: Installation
    people: dict[str, Person]
    failures: dict[str, BaseException] = field(default_factory=dict)
    #: What the language model of the test was sent.
    requests: list[Any] = field(default_factory=list)
    _asked: dict[str, tuple[Future[Any], Future[Any]]] = field(default_factory=dict)
    _known: dict[str, Call] = field(default_factory=dict)

    def ask(self, pool: ThreadPoolExecutor) -> None:
        """Begin to ask for all that was kept: the command line takes a second each time."""
        deadline = time.monotonic() + 30
        while len(listed := self.installation.ask("calls", "list")) < len(self.people) or any(
            call["live"] for call in listed
        ):
            assert time.monotonic() < deadline, f"not all calls are recorded: {listed}"
            time.sleep(0.2)
        for call in sorted(listed, key=lambda call: list(self.people).index(call["caller"])):
            self._asked[call["caller"]] = (
                pool.submit(self.installation.ask, "calls", "show", call["id"]),
                pool.submit(self.installation.ask, "calls", "events", call["id"]),
            )

    def __getitem__(self, name: str) -> Call:
        if name in self.failures:
            raise self.failures[name]
        if name not in self._known:
            shown, log = (asked.result() for asked in self._asked[name])
            self._known[name] = look(self.installation, self.people[name], shown, log)
        return self._known[name]


def look(
    installation: Installation, person: Person, shown: dict[str, Any], log: list[dict[str, Any]]
) -> Call:
    """A call from both ends; what its phone heard is what was recorded of the agent."""
    with installation.recording(shown).open("rb") as file:
        channels, _ = read_channels(file)
    heard = listen(person.packets)
    call = Call(
        person.name, shown, log, heard.samples, channels[:, 1].astype(np.int16),
        person.hung_up_on.is_set(),
    )  # fmt: skip
    arrived, besides_ms = compare(call.agent, call.heard)
    assert arrived > 0.97, f"{person.name}: {arrived:.0%} of the recorded voice was heard"
    assert besides_ms < 100, f"{person.name}: {besides_ms} ms were heard that were not recorded"
    return call


async def act(
    installation: Installation, people: dict[str, Person], scenes: dict[str, Scene]
) -> dict[str, BaseException]:
    """Have everybody call at once, and hang up. Returns whose part went wrong."""

    def tick() -> None:
        for person in people.values():
            person.tick()

    async def one(person: Person) -> None:
        try:
            await person.dial(("127.0.0.1", installation.sip_port), person.name)
            await scenes[person.name](person)
        finally:
            await person.hang_up()

    ticking = asyncio.create_task(Clock(tick).run())
    try:
        done = await asyncio.gather(*map(one, people.values()), return_exceptions=True)
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
    named = zip(people, done, strict=True)
    return {name: failure for name, failure in named if failure is not None}


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    folder = tmp_path_factory.mktemp("conversation")
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        model = OpenAIService({})
        runner.run(model.__aenter__())
        stack.callback(lambda: runner.run(model.__aexit__()))
        listed = agents(free_port(socket.SOCK_STREAM), model.base_url)
        (folder / "agents.yaml").write_text(yaml.safe_dump({"agents": listed}))
        installation = stack.enter_context(
            started_by_up(folder, TRUNKLINE_AGENTS=str(folder / "agents.yaml"))
        )
        people = {name: Person(name) for name in SCENES}
        found = Calls(installation, people)
        found.failures = runner.run(act(installation, people, SCENES))
        found.requests = [each.json for each in model.requests]
        found.ask(stack.enter_context(ThreadPoolExecutor(2)))
        yield found


# What the callers were promised.


def test_a_silent_caller_is_asked_twice_and_then_hung_up_on(calls: Calls) -> None:
    call = calls["silent"]
    due = [("reprompt", REPROMPTS[0]), ("reprompt", REPROMPTS[1]), ("goodbye", GOODBYE)]
    assert [(aside["why"], aside["text"]) for aside in call.of("aside")] == due
    assert all(call.was_heard(text) for _, text in due)
    where = [call.places(text)[0] for _, text in due]
    assert where == sorted(where)
    starts = [event["position"] for event in call.of("playback.started")]
    stops = [event["position"] for event in call.of("playback.stopped")]
    for stop, start in zip(stops, starts[1:], strict=False):
        assert 1200 <= (start - stop) / 8 <= 1200 + 2 * SLACK_MS
    assert call.shown["ending"] == "agent_hung_up"
    assert call.hung_up_on


def test_a_slow_answer_is_bridged_by_one_filler(calls: Calls) -> None:
    call = calls["slow"]
    assert [aside["why"] for aside in call.of("aside")] == ["filler"]
    assert call.was_heard(FILLER)
    assert call.was_heard(OPEN)
    assert call.places(FILLER) < call.places(OPEN)


def test_a_fast_answer_draws_no_filler(calls: Calls) -> None:
    call = calls["fast"]
    assert call.of("aside") == []
    assert call.times_heard(FILLER) == 0
    assert call.was_heard(OPEN)


def test_no_filler_is_heard_once_the_answer_has_begun(calls: Calls) -> None:
    """Its second sentence comes later than a filler would be due."""
    call = calls["halting"]
    assert call.was_heard("Certainly.")
    assert call.was_heard(OPEN)
    assert (call.places(OPEN)[0] - call.places("Certainly.")[0]) / 8 > 1200 + 700
    assert call.times_heard(FILLER) == 0
    assert call.of("aside") == []


@pytest.mark.parametrize(
    ("name", "pressed", "waited_ms"), [("keys-ended", "4711#", 0), ("keys-timed-out", "4711", 800)]
)
def test_keys_become_one_turn(calls: Calls, name: str, pressed: str, waited_ms: int) -> None:
    call = calls[name]
    assert "".join(key["digit"] for key in call.of("digit")) == pressed
    [turn] = call.of("turn.ended")
    assert (turn["text"], turn["rule"]) == ("4711", "keypad")
    waited = turn["decided_at"] - turn["speech_ended_at"]
    assert waited_ms - 40 <= waited <= waited_ms + SLACK_MS
    assert call.was_heard(KEYED)


def test_the_first_key_stops_the_agent(calls: Calls) -> None:
    call = calls["keys-ended"]
    [stop] = [e for e in call.of("playback.stopped") if e["why"] == "paused"]
    assert 0 <= stop["position"] - call.of("digit")[0]["position"] <= 160
    first, second = MENU.split(". ")
    assert len(call.heard_of(f"{first}.")) < 0.7 * len(spoken(f"{first}."))
    assert call.times_heard(second) == 0
    silent_from = stop["position"] + EDGE  # what broke off dies away
    after = call.since(silent_from)[: call.places(KEYED)[0] - silent_from]
    assert voice(after) == 0


@pytest.mark.parametrize("name", ["yeah", "mhm", "okay"])
def test_a_backchannel_ends_nothing_and_draws_nothing(calls: Calls, name: str) -> None:
    call = calls[name]
    assert call.turns == ["what are your opening hours"], call.of("speech.dropped")
    assert [drop["why"] for drop in call.of("speech.dropped")] == ["backchannel"]
    assert call.was_heard(LONG)
    runs = [e["why"] for e in call.of("playback.stopped") if e["reply"].startswith("1.")]
    assert runs == ["paused", "finished"]


def test_a_barge_in_ends_the_answer(calls: Calls) -> None:
    call = calls["barge-in"]
    assert call.turns == ["what are your opening hours", "what is your address"]
    assert call.shown["turns"][1]["interrupted"]
    assert call.times_heard(LONG) == 1
    assert len(call.heard_of(LONG)) < len(spoken(LONG)) / 2
    assert call.was_heard(LIVES)


def test_the_model_is_told_what_the_caller_had_heard(calls: Calls) -> None:
    call = calls["context"]
    assert call.turns == ["what are your opening hours", "what is your address"]
    messages = calls.requests[-1]["messages"]
    *_, question, answer, next_question = [(m["role"], m["content"]) for m in messages]
    assert question == ("user", "what are your opening hours")
    assert next_question == ("user", "what is your address")
    assert answer == ("assistant", call.shown["turns"][1]["heard_text"])
    whole = "You said what are your opening hours."
    assert whole.startswith(answer[1])
    # What it is told was heard is as long, within two words, as what the phone heard.
    share = len(call.heard_of(whole)) / len(spoken(whole, rate=120))
    assert abs(share - len(answer[1]) / len(whole)) < 0.25


def test_a_protected_sentence_is_heard_to_its_end(calls: Calls) -> None:
    call = calls["protected"]
    assert call.turns == ["what are your opening hours", "what is your address"]
    assert call.was_heard(LONG)
    assert call.was_heard(LIVES)
    assert call.places(LONG) < call.places(LIVES)


def test_a_stand_in_answers_for_a_dead_model(calls: Calls) -> None:
    call = calls["stand-in"]
    assert call.was_heard(OPEN)
    assert call.times_heard(APOLOGY) == 0
    assert call.of("stage.failed") == []


def test_an_apology_is_heard_when_nobody_can_answer(calls: Calls) -> None:
    call = calls["all-dead"]
    assert [failure["stage"] for failure in call.of("stage.failed")] == ["llm"]
    assert call.was_heard(APOLOGY)


def test_a_wrong_guess_is_not_heard(calls: Calls) -> None:
    call = calls["hesitating"]
    [guess, *_] = call.of("turn.guessed")
    assert guess["text"] == "i would like to cancel my appointment"
    assert guess["revision"] in [each["revision"] for each in call.of("turn.guess_withdrawn")]
    assert call.turns == ["i would like to cancel my appointment on thursday"]
    wrong, right = "Which of the days would that be?", "Cancelled for Thursday, as you wish."
    assert wrong in [sentence["text"] for sentence in call.of("sentence")]
    assert call.times_heard(wrong) == 0
    assert call.was_heard(right)


def test_without_workers_the_caller_is_told_and_then_answered(tmp_path: Path) -> None:
    """The only asr and tts workers die and stay away: the phrase comes from the cache of speech."""
    waiting = {"filler_after_ms": 0, "trouble_after_ms": 4000, "trouble": TROUBLE}
    agents_file = tmp_path / "agents.yaml"
    agents_file.write_text(yaml.safe_dump({"agents": [agent("abandoned", waiting=waiting)]}))
    back_at: list[float] = []
    with contextlib.ExitStack() as stack:
        bus = stack.enter_context(RedisServer(tmp_path / "redis"))
        database = f"sqlite:///{tmp_path}/trunkline.db"
        installation = stack.enter_context(
            started_by_hand(tmp_path, bus.url, database, TRUNKLINE_AGENTS=str(agents_file))
        )
        pids = {p["role"]: p["pid"] for p in installation.ask("status")["processes"]}

        async def abandoned(person: Person) -> None:
            await person.answered(1.0)
            for role in ("asr", "tts"):
                os.kill(pids[role], signal.SIGKILL)
            await person.say(HOURS)
            await person.voice()
            await person.quiet(0.5)
            back_at.append(time.time() * 1000)
            for role in ("asr", "tts"):
                stack.enter_context(role_of(installation, role))
            await person.answered(2.0)
            await person.say(ADDRESS)
            await person.answered(1.0)

        person = Person("abandoned")
        failures = asyncio.run(act(installation, {"abandoned": person}, {"abandoned": abandoned}))
        assert not failures, failures
        shown = installation.recorded_call("abandoned")
        log = installation.ask("calls", "events", shown["id"])
        call = look(installation, person, shown, log)
    told = call.of("aside")
    assert {aside["why"] for aside in told} == {"trouble"}
    spoken_for = {e["reply"]: e for e in call.of("synthesis.started")}
    assert spoken_for[told[0]["reply"]]["cached"]
    assert spoken_for[told[0]["reply"]]["taken_at"] < back_at[0]
    assert 1 <= call.times_heard(TROUBLE) <= len(told)
    assert call.turns == ["what are your opening hours", "what is your address"]
    assert call.was_heard(OPEN)
    assert call.was_heard(LIVES)
    assert call.places(TROUBLE)[0] < call.places(OPEN)[0] < call.places(LIVES)[0]
    assert call.shown["ending"] == "caller_hung_up"
