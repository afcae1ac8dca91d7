"""Signing in and out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from admin.gate import Doorkeeper, TooManyGuessesError, client_address
from admin.pages import Pages


def router(doorkeeper: Doorkeeper, pages: Pages) -> APIRouter:
    """Give `/login` and `/logout`."""
    routes = APIRouter()

    @routes.get("/login", response_class=HTMLResponse)
    async def form(request: Request, next: str = "/") -> Response:  # its name in the URL
        if doorkeeper.knows(request.session):
            return RedirectResponse(local_path(next), status_code=303)
        return pages.page("login.html", next=local_path(next), trouble=None)

    @routes.post("/login", response_class=HTMLResponse)
    async def sign_in(
        request: Request,
        password: Annotated[str, Form(max_length=1000)],
        next: Annotated[str, Form(max_length=1000)] = "/",  # its name in the form
    ) -> Response:
        target = local_path(next)
        try:
            admitted = await doorkeeper.admits(client_address(request), password)
        except TooManyGuessesError as error:
            return pages.page(
                "login.html",
                status=429,
                headers={"Retry-After": str(error.wait_s)},
                next=target,
                trouble=f"{error}".capitalize() + ".",
            )
        if not admitted:
            trouble = "That is not the password."
            return pages.page("login.html", status=403, next=target, trouble=trouble)
        request.session.clear()
        request.session["stamp"] = doorkeeper.stamp
        return RedirectResponse(target, status_code=303)

    @routes.post("/logout")
    async def sign_out(request: Request) -> Response:
        request.session.clear()
        return RedirectResponse("/login", status_code=303)

    return routes


def local_path(target: str) -> str:
    """Let nobody send our users elsewhere: a path of ours, or the front page.

    Browsers read a backslash as a slash and drop tabs and line ends (WHATWG URL, 4.4), so `/\\host`
    leads away as `//host` does.
    """
    parts = urlsplit(target)
    is_path = target.startswith("/") and not parts.scheme and not parts.netloc
    is_plain = target.isprintable() and "\\" not in target and not target.startswith("//")
    return target if is_path and is_plain else "/"
