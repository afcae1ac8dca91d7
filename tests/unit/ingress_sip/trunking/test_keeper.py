"""Trunks kept alive against made-up ones, on a clock that the test turns."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.replies import REASONS
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri, parse_uri
from ingress_sip.trunking.config import Trunks
from ingress_sip.trunking.keeper import TrunkKeeper
from ingress_sip.trunking.lines import Line
from ingress_sip.trunking.outbound import NoRouteError, Route
from ingress_sip.trunking.policy import Policy
from ingress_sip.trunking.watch import Health
from telemetry import metrics

FIRST = Hop(Transport.UDP, "192.0.2.1", 5060)
SECOND = Hop(Transport.UDP, "192.0.2.2", 5060)
THIRD = Hop(Transport.UDP, "192.0.2.3", 5060)


def trunk(name: str = "acme", **more: Any) -> dict[str, Any]:
    return {"name": name, "uri": f"sip:{name}.example", **more}


def registered(name: str = "acme", **more: Any) -> dict[str, Any]:
    return trunk(name, registration={"user": "1234", "password_env": "A"}, **more)


class World:
    """Trunks that answer as they are told to."""

    def __init__(self, *trunks: dict[str, Any], phones: dict[str, Any] | None = None) -> None:
        self.now = 1000.0
        self.names: dict[str, tuple[Hop, ...]] = {"acme.example": (FIRST, SECOND)}
        self.answers: dict[tuple[str, Hop], int] = {}
        self.asked: list[Ask] = []
        self.broken = False
        self.silent = False
        self.was_asked = asyncio.Event()
        tokens = count()
        self.config = Trunks.model_validate({"trunks": trunks, "phones": phones})
        self.policy = Policy(self.config, lambda _: "secret", lambda: f"t{next(tokens)}")
        self.keeper = TrunkKeeper(
            self.config,
            self.policy,
            request=self.request,
            resolve=self.resolve,
            clock=lambda: self.now,
            secret=lambda _: "secret",
            tokens=lambda: f"t{next(tokens)}",
            jitter=lambda: 0.0,
        )

    async def request(self, ask: Ask) -> Response:
        self.asked.append(ask)
        self.was_asked.set()
        if self.silent:
            await asyncio.Event().wait()
        if self.broken:
            raise RuntimeError("a mistake of ours")
        # RFC 3263 4.3: the next address when one does not answer.
        statuses = [self.answers.get((ask.method, hop), 200) for hop in ask.hops]
        status = next((each for each in statuses if each != 408), 408)
        number = ask.cseq or 1
        return Response(
            status, REASONS[status], headers=Headers([("CSeq", f"{number} {ask.method}")])
        )

    async def resolve(self, uri: SipUri) -> tuple[Hop, ...]:
        hops = self.names.get(uri.host)
        if hops is None:
            raise OSError(f"{uri.host} has no address")
        return hops

    async def until(self, now: float) -> list[str]:
        """Turn the clock on, and let everything happen on the way. Gives what was asked."""
        self.asked.clear()
        while (due := self.keeper.due()) is not None and due <= now:
            self.now = max(self.now, due)
            self.keeper.act()
            await self.keeper.settled()
        self.now = now
        return [said(ask) for ask in self.asked]

    async def begun(self) -> list[str]:
        return await self.until(self.now)

    def health(self) -> Health:
        return self.keeper.health()[0]

    def told(self) -> tuple[str, str]:
        return self.health().registered, self.health().reachable

    async def routes(self, number: str = "+4930", **how: str) -> tuple[Route, ...]:
        return await self.keeper.routes(number, **how)


def said(ask: Ask) -> str:
    expires = dict(ask.headers).get("Expires")
    return f"{ask.method} {ask.hops[0].host}" + ("" if expires is None else f" {expires}")


async def test_a_trunk_is_registered_refreshed_and_left() -> None:
    world = World(registered(options_s=0))
    assert world.told() == ("no", "unknown")
    assert await world.begun() == ["REGISTER 192.0.2.1 600"]
    (ask,) = world.asked
    assert (str(ask.uri), str(ask.to), str(ask.from_)) == (
        "sip:acme.example", "<sip:1234@acme.example>", "<sip:1234@acme.example>",
    )  # fmt: skip
    assert ask.hops == (FIRST, SECOND)
    assert ask.digest is not None
    assert world.told() == ("yes", "yes")
    assert world.health().expires_at == 1600
    first = ask
    assert await world.until(1539) == []
    assert await world.until(1540) == ["REGISTER 192.0.2.1 600"]
    again = world.asked[0]
    assert (again.call_id, again.cseq) == (first.call_id, 2)
    assert again.digest is first.digest  # its nonce is used again
    world.asked.clear()
    await world.keeper.leave()
    assert [said(each) for each in world.asked] == ["REGISTER 192.0.2.1 0"]
    assert world.told() == ("no", "yes")
    assert await world.until(9999) == []


async def test_the_domain_that_is_registered_may_be_another() -> None:
    account = {"user": "1234", "password_env": "A", "domain": "home.example", "auth_user": "x"}
    world = World({**trunk(options_s=0, uri="sips:acme.example"), "registration": account})
    await world.begun()
    (ask,) = world.asked
    assert (str(ask.uri), str(ask.to)) == ("sips:home.example", "<sips:1234@home.example>")
    assert ask.hops == (FIRST, SECOND)


async def test_a_refusal_is_told_and_tried_again_later() -> None:
    world = World(registered())
    world.answers = {("REGISTER", FIRST): 403}
    with capture_logs() as logs:
        await world.begun()
    assert world.told() == ("failed", "yes")
    assert (world.health().status, world.health().reason) == (403, "Forbidden")
    assert [each["log_level"] for each in logs][-1] == "warning"
    assert "REGISTER 192.0.2.1 600" not in await world.until(1059)
    world.answers.clear()
    assert "REGISTER 192.0.2.1 600" in await world.until(1060)
    assert world.told() == ("yes", "yes")
    assert world.health().since == 1060


async def test_every_address_is_asked_and_the_dead_come_last() -> None:
    world = World(trunk(options_s=30))
    assert await world.begun() == ["OPTIONS 192.0.2.1", "OPTIONS 192.0.2.2"]
    assert world.told() == ("off", "yes")
    world.answers = {("OPTIONS", FIRST): 408, ("OPTIONS", SECOND): 404}
    await world.until(1030)
    assert world.told() == ("off", "yes")  # 404 is an answer
    (route,) = await world.routes()
    assert route.hops == (SECOND, FIRST)
    world.answers[("OPTIONS", SECOND)] = 503
    await world.until(1060)
    assert world.told() == ("off", "no")
    assert world.health().status == 408
    world.answers.clear()
    await world.until(1090)
    assert world.told() == ("off", "yes")
    (route,) = await world.routes()
    assert route.hops == (FIRST, SECOND)


async def test_a_registration_leaves_an_address_that_died() -> None:
    world = World(registered(options_s=30))
    await world.begun()
    world.answers = {("OPTIONS", FIRST): 408, ("REGISTER", FIRST): 408}
    assert await world.until(1030) == [
        "OPTIONS 192.0.2.1", "OPTIONS 192.0.2.2", "REGISTER 192.0.2.2 600",
    ]  # fmt: skip
    assert world.told() == ("yes", "yes")
    # It stays where it is when the first one comes back.
    world.answers.clear()
    assert await world.until(1060) == ["OPTIONS 192.0.2.1", "OPTIONS 192.0.2.2"]


async def test_a_name_that_leads_nowhere_is_told_of_once() -> None:
    world = World(registered())
    world.names.clear()
    with capture_logs() as logs:
        await world.until(1100)
    assert world.told() == ("failed", "no")
    assert world.health().reason == "acme.example has no address"
    assert sum(each["event"] == "trunk.unresolved" for each in logs) == 1
    with pytest.raises(NoRouteError, match=r"acme: acme\.example has no address"):
        await world.routes()


async def test_addresses_are_kept_when_the_names_are_away() -> None:
    world = World(trunk())
    await world.begun()
    world.names.clear()
    assert await world.until(1030) == ["OPTIONS 192.0.2.1", "OPTIONS 192.0.2.2"]
    assert world.told() == ("off", "yes")


async def test_a_trunk_may_call_from_where_its_name_leads() -> None:
    world = World(trunk(options_s=0))
    assert not world.policy.is_trunk("192.0.2.2")
    assert await world.begun() == []
    assert world.policy.is_trunk("192.0.2.2")
    world.names = {"acme.example": (THIRD,)}
    await world.until(1060)
    assert world.policy.is_trunk("192.0.2.3")
    assert not world.policy.is_trunk("192.0.2.2")


async def test_a_new_address_of_ours_is_registered_everywhere() -> None:
    world = World(registered("acme", options_s=0), registered("other", options_s=0))
    world.names["other.example"] = (THIRD,)
    await world.begun()
    world.asked.clear()
    world.keeper.address_changed()
    await world.keeper.settled()
    assert [said(ask) for ask in world.asked] == [
        "REGISTER 192.0.2.1 600",
        "REGISTER 192.0.2.3 600",
    ]


async def test_a_mistake_of_ours_does_not_end_the_watch() -> None:
    world = World(registered())
    world.broken = True
    with capture_logs() as logs:
        await world.begun()
    assert "trunk.ask_failed" in [each["event"] for each in logs]
    assert world.told() == ("failed", "no")
    world.broken = False
    await world.until(1060)
    assert world.told() == ("yes", "yes")


async def test_what_the_metrics_say() -> None:
    world = World(registered(), trunk("other"))

    def read() -> tuple[float, ...]:
        gauges = (metrics.TRUNK_REGISTERED, metrics.TRUNK_REACHABLE)
        return tuple(gauge.labels("acme")._value.get() for gauge in gauges)

    assert read() == (0, 0)
    await world.begun()
    assert read() == (1, 1)
    world.answers = {
        (method, hop): 408 for method in ("OPTIONS", "REGISTER") for hop in (FIRST, SECOND)
    }
    await world.until(1600)
    assert read() == (0, 0)
    line = Line("acme", "outbound", "")
    world.policy.lines.take(line)
    assert metrics.TRUNK_CALLS.labels("acme", "outbound")._value.get() == 1
    world.policy.lines.free(line)
    assert metrics.TRUNK_CALLS.labels("acme", "outbound")._value.get() == 0


async def test_a_call_says_what_the_trunk_wants_to_hear() -> None:
    world = World(
        trunk(
            uri="sip:acme.example:5070;transport=tcp",
            auth={"user": "agent", "password_env": "A"},
            caller_id="+4940",
            from_domain="us.example",
            asserted_identity=True,
            numbers={"strip": "+", "prefix": "00"},
        )
    )
    (route,) = await world.routes("+49#1")
    assert str(route.uri) == "sip:0049%231@acme.example:5070;transport=tcp"
    assert str(route.to) == "<sip:0049%231@acme.example:5070>"
    assert str(route.from_) == "<sip:+4940@us.example>"
    assert route.headers == (("P-Asserted-Identity", "<sip:+4940@us.example>"),)
    assert route.line == Line("acme", "outbound", "")
    again = (await world.routes(caller="+4950"))[0]
    assert str(again.from_) == "<sip:+4950@us.example>"
    assert route.digest
    assert again.digest is not route.digest  # one request at a time


async def test_trunks_are_tried_in_order_and_those_that_are_down_last() -> None:
    world = World(
        registered("acme", dial=["+49*"]), trunk("other"), trunk("third", dial=[], max_calls=1)
    )
    world.names |= {"other.example": (THIRD,), "third.example": (THIRD,)}

    async def order(number: str = "+49") -> list[str]:
        routes = await world.routes(number)
        return [route.trunk.name for route in routes if route.trunk]

    await world.begun()
    assert await order() == ["acme", "other"]
    assert await order("+1") == ["other"]
    world.answers = {("REGISTER", FIRST): 403}
    await world.until(1600)
    assert await order() == ["other", "acme"]
    (route,) = await world.routes("+49", trunk="third")
    world.policy.lines.take(route.line)
    with pytest.raises(NoRouteError, match="all lines of third are taken"):
        await world.routes("+49", trunk="third")
    with pytest.raises(NoRouteError, match="no trunk is named 'fourth'; there are: acme, other, t"):
        await world.routes("+49", trunk="fourth")
    with pytest.raises(NoRouteError, match="no trunk dials '1'"):
        await World(trunk(dial=["+*"])).routes("1")


async def test_a_phone_of_ours_is_called_where_it_is() -> None:
    phones = {"realm": "us.example", "users": [{"name": "alice", "password_env": "A"}]}
    world = World(trunk(), phones=phones)
    with pytest.raises(NoRouteError, match="no phone of 'alice' is registered"):
        await world.routes("alice")
    assert world.policy.registrar
    fields = [
        ("To", "<sip:alice@us>"), ("Call-ID", "c"), ("CSeq", "1 REGISTER"),
        ("Contact", "<sip:a@10.0.0.1>"),
    ]  # fmt: skip
    request = Request("REGISTER", parse_uri("sip:us"), headers=Headers(fields))
    world.policy.registrar.register(request, "alice", THIRD, world.now)
    (route,) = await world.routes("alice", caller="100")
    assert (str(route.uri), route.hops, route.trunk) == ("sip:a@10.0.0.1", (THIRD,), None)
    assert (str(route.to), str(route.from_)) == ("<sip:alice@us.example>", "<sip:100@us.example>")


async def test_it_runs_by_itself_and_leaves_in_time() -> None:
    world = World(registered())
    running = asyncio.create_task(world.keeper.run())
    await world.was_asked.wait()
    await world.keeper.settled()
    assert world.told() == ("yes", "yes")

    world.silent = True
    await world.keeper.leave(patience_s=0)  # a trunk that does not answer holds nobody up
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "trunk acme"]


async def test_who_has_left_does_not_look_again() -> None:
    world = World(registered())
    world.keeper.act()  # the first look is under way
    await world.keeper.leave()
    await world.keeper.settled()
    assert world.keeper.due() is None
    registers = [said(ask) for ask in world.asked if ask.method == "REGISTER"]
    assert registers == ["REGISTER 192.0.2.1 600", "REGISTER 192.0.2.1 0"]
