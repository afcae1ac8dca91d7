"""What the dashboard shows, sends, and says when something is down."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from bus.trunk_state import Lines, PhoneState, TrunkState
from calls import events as e
from calls.conversation import Conversation
from calls.ids import CallId, ReplyId
from storage import migrate
from storage.record import CallRecord
from tests.support.facts import (
    aside,
    guessed,
    sentence,
    speech,
    synthesis_started,
    turn,
    withdrawn,
)

House = Any  # conftest's; test files do not import each other
T0 = 1_790_000_000_000.0  # when its calls began


async def test_the_list_shows_live_and_past(house: House) -> None:
    async with house.member() as member:
        page = (await member.get("/")).text
    assert page.index(f"/calls/{house.live_call}") < page.index(f"/calls/{house.past}")
    assert "data-refresh-ms" in page


async def test_a_call_that_is_kept_already_is_not_live(house: House) -> None:
    house.live.logs[house.past] = house.log(house.past)
    async with house.member() as member:
        assert (await member.get("/")).text.count(f'href="/calls/{house.past}"') == 1


async def test_search_finds_what_was_said(house: House) -> None:
    async with house.member() as member:
        assert house.past in (await member.get("/", params={"text": "EIGHT"})).text
        nothing = (await member.get("/", params={"text": "pizza", "agent": "", "ending": ""})).text
    assert house.past not in nothing
    assert "No call is like that" in nothing


async def test_the_list_goes_on_in_pages(house: House) -> None:
    log = house.log(house.past)
    call = CallRecord.of(Conversation.of(log), (), None)
    for n in range(60):
        await house.history.record(replace(call, id=CallId(f"20260921t110000-{n:08}"), turns=()))
    async with house.member() as member:
        seen: list[str] = []
        url: str | None = "/?agent=clinic"
        while url:
            page = (await member.get(url)).text
            seen += re.findall(r'href="/calls/([a-z0-9-]+)"', page)
            following = re.search(r'href="([^"]+)" rel="next"', page)
            url = following[1].replace("&amp;", "&") if following else None
    assert len(seen) == len(set(seen)) == 61


def _foreign(page: str) -> list[str]:
    """Find scripts and handlers that are not ours."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "script" and not (dict(attrs).get("src") or "").startswith("/static/"):
                found.append(tag)
            found.extend(name for name, _ in attrs if name.startswith("on"))

    Reader().feed(page)
    return found


@pytest.mark.parametrize("which", ["past", "live_call"])
async def test_what_callers_say_is_text_never_markup(house: House, which: str) -> None:
    call = getattr(house, which)
    async with house.member() as member:
        for path in ("/", f"/calls/{call}", f"/?text={house.evil}", f"/login?next={house.evil}"):
            page = (await member.get(path)).text
            assert _foreign(page) == []
        assert "&lt;script&gt;alert(1)" in (await member.get(f"/calls/{call}")).text


async def test_an_unheard_part_of_a_reply_is_told_from_what_was_heard(house: House) -> None:
    async with house.member() as member:
        page = (await member.get(f"/calls/{house.past}")).text
    assert re.search(r"We open <del[^>]*>.*at eight.*</del>", page)


async def test_a_turns_stages_are_shown(house: House) -> None:
    async with house.member() as member:
        page = (await member.get(f"/calls/{house.past}")).text
    assert "End-of-turn wait 600 ms, Final transcript 50 ms" in page
    assert '<span class="total">800 ms</span>' in page
    assert 'data-seek="2.0"' in page


async def test_a_live_page_renews_itself_and_a_past_one_does_not(house: House) -> None:
    async with house.member() as member:
        assert "data-refresh-ms" in (await member.get(f"/calls/{house.live_call}")).text
        # It is over, but the recorder is not done.
        house.live.logs[house.live_call] = house.log(house.live_call)
        assert "data-refresh-ms" in (await member.get(f"/calls/{house.live_call}")).text
        assert "data-refresh-ms" not in (await member.get(f"/calls/{house.past}")).text


@pytest.mark.parametrize("unknown", ["20260921t120000-00000000", "x", "..%2f..%2fsecret", "A" * 99])
@pytest.mark.parametrize(
    "page", ["/calls/{}", "/calls/{}/recording", "/api/calls/{}", "/api/calls/{}/events"]
)
async def test_an_unknown_call_is_not_found(house: House, page: str, unknown: str) -> None:
    async with house.member() as member:
        assert (await member.get(page.format(unknown))).status_code == 404


@pytest.mark.parametrize("query", ["before=yesterday", "before=~", f"text={'x' * 300}"])
async def test_a_query_that_makes_no_sense_is_refused(house: House, query: str) -> None:
    async with house.member() as member:
        assert (await member.get(f"/?{query}")).status_code in {400, 422}


async def test_the_api_tells_the_same(house: House) -> None:
    async with house.visitor(headers={"Authorization": f"Bearer {house.password}"}) as client:
        listed = (await client.get("/api/calls")).json()
        assert [call["id"] for call in listed["live"]] == [house.live_call]
        assert [call["id"] for call in listed["past"]["calls"]] == [house.past]
        assert listed["past"]["next"] is None
        call = (await client.get(f"/api/calls/{house.past}")).json()
        assert call["started_at"].endswith("Z")
        assert call["turns"][0]["heard_text"] == "We open"
        assert call["turns"][0]["stages_ms"]["endpoint"] == 600
        events = (await client.get(f"/api/calls/{house.past}/events")).json()
        assert [event["kind"] for event in events][::9] == ["call.started", "call.ended"]
        live = (await client.get(f"/api/calls/{house.live_call}")).json()
        assert live["ended_at"] is None


async def test_health_and_readiness(house: House) -> None:
    async with house.visitor() as visitor:
        assert (await visitor.get("/health")).json() == {"status": "ok"}
        assert (await visitor.get("/ready")).status_code == 200
        house.checks["bus"] = "no answer from 127.0.0.1:6379"
        answer = await visitor.get("/ready")
        assert answer.status_code == 503
        assert answer.json()["checks"]["bus"] == "no answer from 127.0.0.1:6379"
        house.checks["bus"] = False
        assert (await visitor.get("/ready")).status_code == 503


async def test_a_recording_is_sent_whole_and_in_ranges(house: House) -> None:
    async with house.member() as member:
        url = f"/calls/{house.past}/recording"
        whole = await member.get(url)
        assert whole.headers["content-type"] == "audio/wav"
        assert whole.headers["accept-ranges"] == "bytes"
        assert whole.content == bytes(range(256))
        part = await member.get(url, headers={"Range": "bytes=16-31"})
        assert part.status_code == 206
        assert part.content == bytes(range(16, 32))
        assert part.headers["content-range"] == "bytes 16-31/256"
        assert (await member.get(url, headers={"Range": "bytes=-4"})).content == bytes(
            range(252, 256)
        )
        assert (await member.get(url, headers={"Range": "bytes=256-"})).status_code == 416
        head = await member.head(url)
        assert (head.headers["content-length"], head.content) == ("256", b"")
        keep = await member.get(url, params={"download": 1})
        assert keep.headers["content-disposition"] == f'attachment; filename="{house.past}.wav"'


def _link_out(house: House) -> str:
    (house.recordings / "link.wav").symlink_to(house.recordings.parent / "secret")
    return "link.wav"


@pytest.mark.parametrize(
    "path_of",
    [
        lambda _: "../secret",
        lambda house: str(house.recordings.parent / "secret"),
        lambda _: "a/../../secret",
        lambda _: "",
        lambda _: "gone.wav",
        _link_out,
    ],
)
async def test_no_recording_lies_outside_its_directory(
    house: House, path_of: Callable[[House], str]
) -> None:
    await house.keep(path_of(house))
    async with house.member() as member:
        assert (await member.get(f"/calls/{house.past}/recording")).status_code == 404


async def test_without_the_bus_the_past_is_still_there(house: House) -> None:
    house.live.trouble = "the bus does not answer"
    async with house.member() as member:
        page = (await member.get("/")).text
        assert "the bus does not answer" in page
        assert house.past in page
        assert (await member.get(f"/calls/{house.past}")).status_code == 200
        assert (await member.get(f"/calls/{house.live_call}")).status_code == 503


async def test_without_the_database_a_page_says_so(house: House) -> None:
    async with house.member() as member:
        await migrate.downgrade(f"sqlite:///{house.database_file}", "base")
        answer = await member.get("/")
        assert answer.status_code == 503
        assert "history cannot be read" in answer.text
        assert "Traceback" not in answer.text
        api = await member.get("/api/calls", headers={"Accept": "application/json"})
        assert api.status_code == 503
        assert "trunkline migrate" in api.json()["error"]


async def test_our_own_mistake_shows_no_trace(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(house.history, "agents", lambda: broken(None))
    async with house.member() as member:
        answer = await member.get("/")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "content-security-policy" in answer.headers


async def test_what_failed_in_a_call_is_said_on_its_page(house: House) -> None:
    house.live.logs[house.live_call].append(
        e.StageFailed(at=0.0, stage="tts", error_type="ProviderError", message="<b>no</b> audio")
    )
    async with house.member() as member:
        page = (await member.get(f"/calls/{house.live_call}")).text
    assert "tts: &lt;b&gt;no&lt;/b&gt; audio" in page


async def test_how_a_turn_ended_and_what_was_said_beside_it_is_on_its_page(house: House) -> None:
    log = house.live.logs[house.live_call]
    log += [
        speech(2, 40_000),
        e.SpeechDropped(
            at=T0 + 5200, turn=2, position=40_000, why="backchannel", text=f"mhm {house.evil}"
        ),
        guessed(2, 0, "two", at=T0 + 6000),
        withdrawn(2, 0),
        guessed(2, 1, "two please", at=T0 + 6500),
        synthesis_started("2.1", 0, at=T0 + 6580),
        sentence("2.1", 0, "Two it is.", at=T0 + 6570),
        turn(
            2, "two please", at=T0 + 6700, speech_start=48_000, speech_end=51_200,
            speech_ended_at=T0 + 6400, decided_at=T0 + 6650, revision=1, rule="complete",
        ),
        aside("2.a0", "filler", f"One moment. {house.evil}", at=T0 + 6800),
        turn(3, "42#<b>", at=T0 + 9000, speech_start=60_000, speech_end=62_000, rule="keypad"),
    ]  # fmt: skip
    async with house.member() as member:
        page = (await member.get(f"/calls/{house.live_call}")).text
    assert _foreign(page) == []
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "complete answer, 250 ms" in text
    assert "2 guesses, 1 withdrawn; reply ready 70 ms before the turn ended" in text
    assert text.index("(mhm &lt;script&gt;") < text.index("two please")
    assert text.index("two please") < text.index("One moment. &lt;script") < text.index("Two it is")
    assert re.findall(r"<kbd>([^<]*)</kbd>", page) == ["4", "2", "#", "&lt;", "b", "&gt;"]


async def test_a_sentence_says_that_it_is_protected_or_cached(house: House) -> None:
    async with house.member() as member:
        assert 'class="tag"' not in (await member.get(f"/calls/{house.live_call}")).text
        house.live.logs[house.live_call] += [
            e.SentenceReady(
                at=T0 + 3701, reply=ReplyId("1.0"), index=1, text="Calls are recorded.",
                first_token_at=T0 + 3701, protected=True,
            ),
            e.SynthesisStarted(
                at=T0 + 3900, reply=ReplyId("1.0"), index=1, taken_at=T0 + 3890, cached=True
            ),
        ]  # fmt: skip
        page = (await member.get(f"/calls/{house.live_call}")).text
    assert re.findall(r'class="tag"[^>]*>(\w+)<', page) == ["protected", "cached"]


EVIL = "<script>alert(1)</script>"


def _transferring(log: list[e.Event]) -> list[e.Event]:
    reply = ReplyId("1.0")
    given = {"target": "+15550111", "mode": "attended", "destination": "front"}
    asked = e.ActionRequested(at=T0 + 4000, reply=reply, action="transfer", arguments=given)
    steps = [(4900, 100, "Trying"), (5400, 180, "Ringing"), (6400, 486, "Busy Here")]
    return [
        *log[:-1],
        asked,
        *(
            e.TransferProgressed(
                at=T0 + at, reply=reply, target="+15550111", status=status, text=text
            )
            for at, status, text in steps
        ),
        e.ActionDone(
            at=T0 + 6400, reply=reply, action="transfer", outcome="failed",
            detail=f"486 Busy Here {EVIL}", status=486,
        ),
        e.MediaQuality(
            at=T0 + 8000, packets=200, lost=2, late=0, concealed=2, jitter_ms=2.5, mos=4.32,
            round_trip_ms=41.25, codec="PCMA", sent=400, peer_lost=8, peer_jitter_ms=6.5,
        ),
        log[-1],
    ]  # fmt: skip


async def test_a_calls_page_shows_its_direction_its_actions_and_both_ways_of_the_line(
    house: House,
) -> None:
    first, *rest = _transferring(house.log(house.past))
    log = [replace(first, direction="outbound", trunk="carrier-a"), *rest]  # type: ignore[type-var]
    await house.history.record(CallRecord.of(Conversation.of(log), log, None))
    async with house.member() as member:
        page = (await member.get(f"/calls/{house.past}")).text
        listed = (await member.get("/")).text
        found = (await member.get("/", params={"direction": "outbound"})).text
        other = (await member.get("/", params={"direction": "inbound"})).text
    assert _foreign(page) == []
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    for shown in (
        "outbound by carrier-a",
        "Callee",
        "Transfer to front (+15550111), attended",
        "failed: 486 Busy Here",
        "0.9 s 100 Trying",
        "2.4 s 486 Busy Here",
        "MOS 4.3, good",
        "Round trip 41.2 ms",
        "Lost on the way here 2 (0.99 %)",
        "Lost on the way there 8 (2.00 %)",
        "Jitter there 6.5 ms",
        "Codec PCMA",
    ):
        assert shown in words, shown
    assert page.count('class="mark ') == 4
    assert "outbound by carrier-a" in listed
    assert house.past in found
    assert house.past not in other


async def test_the_trunks_page_shows_lines_or_why_there_are_none(house: House) -> None:
    house.live.known = Lines(
        (
            TrunkState(
                name="carrier-a", process="sip-1", registered="failed", reachable="yes",
                status=403, reason=EVIL, calls=3, outbound=1, limit=30, since_ms=T0,
            ),
            TrunkState(name="pbx"),
        ),
        (PhoneState(user="anna", contact="sip:anna@192.0.2.8:5060", expires_ms=T0),),
    )  # fmt: skip
    async with house.member() as member:
        page = (await member.get("/trunks")).text
        json = (await member.get("/api/trunks")).json()
        house.live.trouble = "the bus is away"
        down = (await member.get("/trunks")).text
    assert _foreign(page) == []
    for shown in ("carrier-a", "failed", "answers", "403 &lt;script", "sip:anna@192.0.2.8:5060"):
        assert shown in page, shown
    assert "not wanted" in page
    assert json["lines"]["trunks"][0]["limit"] == 30
    assert "the bus is away" in down


async def test_the_trunks_page_is_shut(house: House) -> None:
    async with house.visitor() as visitor:
        for path in ("/trunks", "/api/trunks"):
            assert (await visitor.get(path)).status_code in {303, 401}
