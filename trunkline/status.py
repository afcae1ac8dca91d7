"""`trunkline status`: who is there, what waits, and who is being talked to."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from bus.events import WireError
from bus.presence import as_json
from calls.conversation import Conversation
from calls.ids import CallId
from trunkline.buses import BusView, open_bus
from trunkline.settings import Settings


async def status(settings: Settings) -> dict[str, Any]:
    """Look at the installation.

    Returns:
        `processes` [{role, pid, host, since (epoch ms), owned, address}], `pools`
        {pool: {waiting, owned}}, `trunks` and `phones` [as bus/trunk_state.py has them], `calls`
        [{id, agent, caller, called, started_at (epoch ms), turns, ended}].

    Raises:
        UserError: the bus is not to be had.
    """
    async with open_bus(settings) as bus:
        pools = {}
        for name, queue in bus.queues.items():
            waiting, owned = await queue.lag()
            pools[name] = {"waiting": waiting, "owned": owned}
        lines = await bus.trunks.lines()
        return {
            "trunks": [asdict(trunk) for trunk in lines.trunks],
            "phones": [asdict(phone) for phone in lines.phones],
            "processes": [as_json(process) for process in await bus.presence.processes()],
            "pools": pools,
            "calls": [await _call(bus, call) for call in sorted(await bus.presence.live_calls())],
        }


async def _call(bus: BusView, call: CallId) -> dict[str, Any]:
    try:
        conversation = Conversation.of(await bus.log.read(call))
    except WireError:
        return {"id": call, "unreadable": True}
    started = conversation.started
    return {
        "id": call,
        "agent": started.agent.name if started else None,
        "caller": started.caller if started else None,
        "called": started.called if started else None,
        "started_at": started.at if started else None,
        "turns": conversation.current_turn,
        "ended": conversation.ended is not None,
    }


def as_text(found: dict[str, Any], now_ms: float | None = None) -> str:
    """The same for people."""
    now_ms = time.time() * 1000 if now_ms is None else now_ms
    lines = [f"{'ROLE':<10}{'PID':>8}  {'HOST':<20}{'OWNED':>6}  {'SINCE':<10}ADDRESS"]
    lines += [
        f"{p['role']:<10}{p['pid']:>8}  {p['host'][:19]:<20}{p['owned']:>6}  "
        f"{_ago(now_ms - p['since']):<10}{p['address']}".rstrip()
        for p in found["processes"]
    ]
    if not found["processes"]:
        lines.append("nobody is there; start `trunkline up`")
    lines += ["", f"{'POOL':<10}{'WAITING':>8}{'OWNED':>8}"]
    lines += [
        f"{name:<10}{pool['waiting']:>8}{pool['owned']:>8}" for name, pool in found["pools"].items()
    ]
    if found["trunks"]:
        lines += ["", f"{'TRUNK':<20}{'REGISTERED':<12}{'REACHABLE':<11}{'CALLS':>7}  LAST ANSWER"]
        lines += [_trunk(trunk) for trunk in found["trunks"]]
    if found["phones"]:
        lines += ["", f"{'PHONE':<20}CONTACT"]
        lines += [f"{phone['user'][:19]:<20}{phone['contact']}" for phone in found["phones"]]
    lines += ["", f"{len(found['calls'])} live call(s)"]
    for call in found["calls"]:
        if call.get("unreadable"):
            lines.append(f"{call['id']}  its log is of another version")
            continue
        since = "?" if call["started_at"] is None else _ago(now_ms - call["started_at"])
        lines.append(
            f"{call['id']}  {call['caller']} -> {call['called']} ({call['agent']}), "
            f"{call['turns']} turn(s), {'ended, being recorded' if call['ended'] else since}"
        )
    return "\n".join(lines)


def _trunk(trunk: dict[str, Any]) -> str:
    calls = f"{trunk['calls']}/{trunk['limit']}" if trunk["limit"] else str(trunk["calls"])
    answer = f"{trunk['status'] or ''} {trunk['reason']}".strip()
    return (
        f"{trunk['name'][:19]:<20}{trunk['registered']:<12}{trunk['reachable']:<11}{calls:>7}  "
        f"{answer}".rstrip()
    )


def _ago(ms: float) -> str:
    seconds = max(0, int(ms // 1000))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"
