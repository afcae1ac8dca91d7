"""A call's audio, in ranges, so that a player can seek in it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import FileResponse

from admin.finding import CallIdPath
from storage.repository import CallHistory


def router(history: CallHistory, recordings: Path) -> APIRouter:
    """Give `/calls/{id}/recording`; with `?download=1` as a file to keep."""
    routes = APIRouter()

    async def send(call_id: CallIdPath, download: bool = Query(default=False)) -> FileResponse:
        kept = await history.recording(call_id)
        path = inside(recordings, kept.path) if kept else None
        if path is None:
            raise HTTPException(404, "this call has no recording")
        return FileResponse(
            path,
            media_type="audio/wav",
            filename=f"{call_id}.wav",
            content_disposition_type="attachment" if download else "inline",
            # A player asks again and again; the file never changes.
            headers={"Cache-Control": "private, no-cache"},
        )

    routes.add_api_route(
        "/calls/{call_id}/recording", send, methods=["GET", "HEAD"], response_class=FileResponse
    )
    return routes


def inside(directory: Path, name: str) -> Path | None:
    """Find a file below a directory; None if there is none, or the name leads out of it."""
    root = directory.resolve()
    try:
        path = (root / name).resolve()
    except (OSError, ValueError):  # a loop of links; a NUL
        return None
    return path if path.is_relative_to(root) and path.is_file() else None
