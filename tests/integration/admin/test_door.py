"""Who gets in, and what may come in: as a browser, a scraper and an attacker meet the dashboard."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from starlette.routing import Mount, Route

from admin.app import create_app
from admin.gate import OPEN_PATHS, OPEN_PREFIX
from admin.routes.login import local_path
from admin.throttle import BURST, REFILL_S

House = Any  # conftest's; test files do not import each other


def _paths(app: FastAPI) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    pending = list(app.routes)
    while pending:
        route = pending.pop()
        if isinstance(route, Mount):
            found.append(("GET", f"{route.path}/x"))
        elif isinstance(route, Route):
            path = route.path.replace("{call_id}", "20260921t120000-0badcafe")
            found += [(method, path) for method in route.methods or ()]
        else:  # a router that FastAPI keeps whole
            pending += list(route.original_router.routes)  # type: ignore[attr-defined]
    return found


async def test_every_route_but_the_open_ones_is_shut(house: House) -> None:
    routes = _paths(house.app)
    assert {path for _, path in routes} >= OPEN_PATHS | {
        "/",
        "/metrics",
        f"/calls/{house.past}/recording",
    }
    async with house.visitor() as visitor:
        for method, path in routes:
            answer = await visitor.request(method, path)
            is_open = path in OPEN_PATHS or path.startswith(OPEN_PREFIX)
            assert (answer.status_code == 401) is not is_open, (method, path)


def test_what_is_open_is_what_has_to_be() -> None:
    assert {"/health", "/ready", "/login"} == OPEN_PATHS
    assert OPEN_PREFIX == "/static/"


@pytest.mark.parametrize(
    "path", ["/static/../", "/static/..%2f..%2fapp.py", "//", "/static/%2e%2e/gate.py"]
)
async def test_no_odd_path_slips_through(house: House, path: str) -> None:
    async with house.visitor() as visitor:
        assert (await visitor.get(path)).status_code in {401, 404}


async def test_a_browser_is_led_to_the_form_and_back(house: House) -> None:
    async with house.visitor(headers={"Accept": "text/html"}) as browser:
        answer = await browser.get(f"/calls/{house.past}?x=1&y=2")
        assert answer.status_code == 303
        form = await browser.get(answer.headers["location"])
        target = re.search(r'name="next" value="([^"]*)"', form.text)
        assert target is not None
        back = await browser.post(
            "/login",
            data={"password": house.password, "next": target[1].replace("&amp;", "&")},
        )
        assert back.headers["location"] == f"/calls/{house.past}?x=1&y=2"
        assert (await browser.get(back.headers["location"])).status_code == 200


async def test_the_session_cookie_is_kept_from_scripts_and_other_sites(house: House) -> None:
    async with house.visitor() as browser:
        answer = await browser.post("/login", data={"password": house.password})
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie


async def test_a_wrong_password_opens_nothing(house: House) -> None:
    async with house.visitor(headers={"Accept": "text/html"}) as browser:
        answer = await browser.post("/login", data={"password": "wrong"})
        assert answer.status_code == 403
        assert "not the password" in answer.text
        assert (await browser.get("/")).status_code == 303


async def test_a_forged_cookie_opens_nothing(house: House) -> None:
    unsigned = base64.b64encode(b'{"stamp": "x"}').decode()
    async with house.visitor(cookies={"trunkline": f"{unsigned}.abc.def"}) as visitor:
        assert (await visitor.get("/")).status_code == 401


async def test_signing_out_ends_the_session(house: House) -> None:
    async with house.member() as member:
        assert (await member.get("/")).status_code == 200
        await member.post("/logout")
        assert (await member.get("/")).status_code == 303


async def test_a_new_password_ends_all_sessions(house: House, tmp_path: Path) -> None:
    async with house.member() as member:
        other = create_app(
            history=house.history,
            live=house.live,
            recordings=tmp_path,
            password_hash=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("new"),
            session_secret="s" * 43,
            ready=lambda: asyncio.sleep(0, {}),
            version="9.9",
        )
        transport = httpx.ASGITransport(other)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://dash", cookies=member.cookies
        ) as again:
            assert (await again.get("/")).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
async def test_scrapers_send_the_password_each_time(house: House, scheme: str) -> None:
    words = {
        "Bearer": house.password,
        "Basic": base64.b64encode(f"prometheus:{house.password}".encode()).decode(),
    }
    authorization = f"{scheme} {words[scheme]}"
    async with house.visitor(headers={"Authorization": authorization}) as scraper:
        for _ in range(2):
            answer = await scraper.get("/metrics")
            assert answer.status_code == 200
            assert "python_info" in answer.text
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Bearer", "Basic !!", "Basic /w==", "x"])
async def test_a_scraper_with_wrong_words_is_told_how(house: House, authorization: str) -> None:
    async with house.visitor(headers={"Authorization": authorization}) as scraper:
        answer = await scraper.get("/metrics")
        assert answer.status_code == 401
        assert "Basic" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("by", ["form", "header"])
async def test_guessing_is_slowed_down(house: House, by: str) -> None:
    async with house.visitor() as guesser:

        async def guess(password: str) -> httpx.Response:
            if by == "form":
                return await guesser.post("/login", data={"password": password})
            return await guesser.get("/", headers={"Authorization": f"Bearer {password}"})

        for n in range(BURST):
            assert (await guess(f"guess {n}")).status_code in {401, 403}
        refused = await guess(house.password)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) == REFILL_S
        house.now += REFILL_S
        assert (await guess(house.password)).status_code in {200, 303}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://dash"}, 303),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 303),
    ],
)
async def test_other_sites_forms_are_refused(
    house: House, headers: dict[str, str], status: int
) -> None:
    async with house.member() as member:
        assert (await member.post("/logout", headers=headers)).status_code == status


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "evil", ""],
)
def test_nobody_is_sent_elsewhere_after_signing_in(target: str) -> None:
    assert local_path(target) == "/"


async def test_large_bodies_are_refused_unread(house: House) -> None:
    async def endless() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    async with house.visitor() as visitor:
        answer = await visitor.post("/login", data={"password": "x" * 20_000})
        assert answer.status_code == 413
        assert (await visitor.post("/login", content=endless())).status_code == 413


async def test_every_answer_is_hardened(house: House) -> None:
    async with house.member() as member:
        for path in (
            "/",
            "/health",
            "/nowhere",
            "/static/style.css",
            f"/calls/{house.past}/recording",
        ):
            headers = (await member.get(path)).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
        assert (await member.get("/")).headers["cache-control"] == "no-store"
