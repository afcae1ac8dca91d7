"""The wire form of `calls.events`: JSON with a version, typed both ways, limited in size.

Version 1 is what stands in calls/events.py. A reader ignores fields it does not know, so that
adding a field with a default needs no new version; a kind it does not know is passed over, so that
a newer writer does not stop an older reader during a rolling update.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from calls.events import AnyEvent, Event

VERSION: Final = 1
#: No event comes near it; an entry past it is not ours.
MAX_EVENT_BYTES: Final = 256 * 1024

_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="kind")])


class WireError(ValueError):
    """An entry of the bus is not in the form this file describes.

    Some process writes another version of the contract, or something else writes to the key.
    """


def encode(event: Event) -> bytes:
    """Write an event.

    Raises:
        ValueError: it is larger than MAX_EVENT_BYTES.
    """
    data = _EVENT.dump_json(event)  # type: ignore[arg-type]  # every concrete Event is in AnyEvent
    if len(data) > MAX_EVENT_BYTES:
        raise ValueError(f"event {event.kind} of {len(data)} bytes; {MAX_EVENT_BYTES} at most")
    return data


def decode(data: bytes) -> AnyEvent | None:
    """Read an event; None for a kind that this version does not know.

    Raises:
        WireError
    """
    if len(data) > MAX_EVENT_BYTES:
        raise WireError(f"an event of {len(data)} bytes; {MAX_EVENT_BYTES} at most")
    try:
        return _EVENT.validate_json(data)
    except ValidationError as error:
        if all(problem["type"] == "union_tag_invalid" for problem in error.errors()):
            return None
        raise WireError(f"not an event of version {VERSION}: {data[:200]!r}") from error
