"""The run: a stack of its own, callers, blows, and the account."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bus.events import WireError
from calls import events as e
from calls.ids import CallId
from storage import migrate
from storage.repository import CallHistory
from storage.session import Database
from telemetry.log import configure
from trunkline.buses import BusView, open_bus
from trunkline.chaos.machine import Usage
from trunkline.chaos.report import Json, as_text, report
from trunkline.chaos.script import Script, calibrate, write_agents
from trunkline.chaos.sound import Kept, Sound, look
from trunkline.chaos.strikes import Striker, Weapon
from trunkline.chaos.verdict import judge
from trunkline.data_dir import keep_private, new_folder_in
from trunkline.errors import UserError
from trunkline.listen import HostPort, SipListen, parse_sip_listen
from trunkline.phone.caller import Caller, Manners, Story
from trunkline.phone.clock import Clock
from trunkline.phone.heard import listen
from trunkline.settings import Settings
from trunkline.stack import Stack

WORKERS: Final = ("asr", "llm", "tts", "recorder")
#: So that one can take over from the other.
_PER_POOL: Final = 2
_STAGGER_S: Final = 0.15
_LOOK_S: Final = 0.25
_RECORDED_S: Final = 60.0
_KNOWN_S: Final = 10.0

Log = list[e.AnyEvent]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done."""

    calls: int
    kill: tuple[str, ...]
    every_s: float
    for_s: float
    weapon: Weapon = "kill"
    rolling: bool = False
    seed: int = 1


def run_chaos(settings: Settings, plan: Plan, *, as_json: bool) -> int:
    """Run it.

    Args:
        settings: `data_dir` and, if it is set, `bus_url` are used; the rest is its own.
        plan: What is to be done.
        as_json: Print one object on stdout instead of a table.

    Returns:
        0 if no word, no sentence and no call was lost, else 1.

    Raises:
        UserError: something to be mended first.
    """
    for role in plan.kill:
        if role not in WORKERS:
            raise UserError(f"--kill {role}: there are {', '.join(WORKERS)}")
    keep_private()
    folder = new_folder_in(settings.data_dir, time.strftime("chaos-%Y%m%d-%H%M%S"))
    own = settings.model_copy(
        update={
            "data_dir": folder,
            "database_url": f"sqlite:///{folder}/trunkline.db",
            "agents": folder / "agents.yaml",
            "sip_listen": (SipListen("udp", "127.0.0.1", 0),),
            "http_listen": HostPort("127.0.0.1", 0),
            "metrics_listen": None,
            "public_address": None,
            "log_level": "warning",
            "drain_seconds": 2.0,
        }
    )
    configure("chaos", level="critical", fmt=settings.log_format)
    began = time.monotonic()

    def tell(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:6.1f} s  {text}\n")
        sys.stderr.flush()

    with contextlib.suppress(KeyboardInterrupt):
        found = asyncio.run(Run(own, plan, tell).run())
        (folder / "report.json").write_text(json.dumps(found, indent=1))
        tell(f"calls, recordings and this account are in {folder}")
        sys.stdout.write((json.dumps(found) if as_json else as_text(found)) + "\n")
        sys.stdout.flush()
        return 0 if found["ok"] else 1
    return 130


class Run:
    """One run."""

    def __init__(self, settings: Settings, plan: Plan, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._plan = plan
        self._tell = tell

    async def run(self) -> Json:
        """Start, call, strike, hang up, look, stop."""
        agent = write_agents(self._settings.agents)
        script = await calibrate(agent)
        self._tell(f"{len(script.recordings)} recordings are understood when nothing is wrong")
        await self._alone()
        await migrate.upgrade(self._settings.database_url)
        stack = Stack(self._settings, sizes=dict.fromkeys(WORKERS, _PER_POOL))
        try:
            announcement = await stack.start()
            self._tell(f"{len(announcement['processes'])} processes run")
            self._settings = self._settings.model_copy(update={"bus_url": stack.bus_url})
            async with open_bus(self._settings) as bus:
                striker = Striker(stack, bus.queues, self._plan.weapon, self._plan.seed, self._tell)
                try:
                    return await self._calls(announcement["sip"], bus, striker, script)
                finally:
                    await striker.stop()
        finally:
            await stack.stop()

    async def _alone(self) -> None:
        """Refuse a bus on which somebody else's processes work: they would take our calls."""
        if self._settings.bus_url is None:
            return
        async with open_bus(self._settings) as bus:
            if others := await bus.presence.processes():
                raise UserError(
                    f"{len(others)} processes work on {self._settings.bus_url} already; chaos "
                    "wants a bus, or a database number of it, to itself"
                )

    async def _calls(self, sip: str, bus: BusView, striker: Striker, script: Script) -> Json:
        plan = self._plan
        callers = [
            Caller(
                f"chaos-{number}",
                [recording.frames for recording in script.recordings],
                Manners(),
                seed=plan.seed * 1000 + number,
            )
            for number in range(plan.calls)
        ]

        def tick() -> None:
            for caller in callers:
                caller.tick()

        clock = Clock(tick)
        gc.collect()
        gc.freeze()
        gc.disable()
        ticking = asyncio.create_task(clock.run(), name="phones")
        blows: asyncio.Task[None] | None = None
        try:
            await self._dial(sip, callers)
            before = Usage.now()
            names = await self._names(bus, [caller.story for caller in callers])
            if plan.rolling:
                blows = asyncio.create_task(striker.rolling(plan.kill), name="rolling restart")
                await asyncio.gather(asyncio.sleep(plan.for_s), blows)
            else:
                blows = asyncio.create_task(
                    striker.on_schedule(plan.kill, plan.every_s), name="blows"
                )
                await asyncio.sleep(plan.for_s)
            used = Usage.now().cores_since(before)
            await self._hang_up(callers, striker)
            logs = await self._recorded(bus, names)
        finally:
            for task in (ticking, blows):
                if task is not None:
                    task.cancel()
            gc.enable()
            gc.unfreeze()
        await striker.settle()
        self._tell("looking at what came of it")
        stories = [caller.story for caller in callers]
        verdicts = [judge(story, script, logs.get(story.call_id, [])) for story in stories]
        sounds = [await self._look(story, logs.get(story.call_id, [])) for story in stories]
        return report(verdicts, sounds, striker.blows, clock.lags_ms, used)

    async def _dial(self, sip: str, callers: Sequence[Caller]) -> None:
        listen_at = parse_sip_listen(sip)[0]
        dialing = []
        for caller in callers:
            dialing.append(
                asyncio.create_task(caller.dial((listen_at.host, listen_at.port), "chaos"))
            )
            await asyncio.sleep(_STAGGER_S)
        answered = sum(await asyncio.gather(*dialing))
        self._tell(f"{answered} of {len(callers)} calls are answered")

    async def _hang_up(self, callers: Sequence[Caller], striker: Striker) -> None:
        """Let each caller hear its last answer and hang up; the recorder is hit as it begins."""
        self._tell("callers hear their last answers, and hang up")
        for caller in callers:
            caller.finish()
        left = list(callers)
        first = "recorder" in self._plan.kill and not self._plan.rolling
        while left:
            for caller in [each for each in left if each.over]:
                left.remove(caller)
                await caller.hang_up()
                if first:
                    first = False
                    await striker.strike("recorder")
            await asyncio.sleep(_LOOK_S)

    async def _names(self, bus: BusView, stories: Sequence[Story]) -> dict[str, CallId]:
        """What we call the calls that were answered, by their SIP Call-ID."""
        due = {story.call_id for story in stories if story.answered_at is not None}
        names: dict[str, CallId] = {}
        deadline = time.monotonic() + _KNOWN_S
        while due - names.keys() and time.monotonic() < deadline:
            for call in await bus.presence.live_calls():
                with contextlib.suppress(WireError):
                    log = await bus.log.read(call)
                    if log and isinstance(log[0], e.CallStarted):
                        names[log[0].carrier_call] = call
        return names

    async def _recorded(self, bus: BusView, names: Mapping[str, CallId]) -> dict[str, Log]:
        """The logs by SIP Call-ID, once each tells that its call was recorded."""
        logs: dict[str, Log] = {}
        left = dict(names)
        deadline = time.monotonic() + _RECORDED_S
        while left and time.monotonic() < deadline:
            for name, call in tuple(left.items()):
                with contextlib.suppress(WireError):
                    logs[name] = await bus.log.read(call)
                    if any(isinstance(event, e.CallRecorded) for event in logs[name]):
                        del left[name]
            await asyncio.sleep(_LOOK_S)
        self._tell(f"{len(names) - len(left)} of {len(names)} calls are recorded")
        return logs

    async def _look(self, story: Story, log: Log) -> Sound:
        heard = listen(story.packets)
        call = log[0].call if log and isinstance(log[0], e.CallStarted) else CallId("")
        until = next(
            (at for at, event in enumerate(log) if isinstance(event, e.CallRecorded)), len(log)
        )
        database = Database(self._settings.database_url)
        try:
            history = CallHistory(database)
            record = await history.get(call)
            events = await history.events(call)
        finally:
            await database.close()
        recording = (
            self._settings.recordings_dir / record.recording.path
            if record is not None and record.recording is not None
            else None
        )
        return look(story, heard, log[:until], Kept(record, events, recording))
