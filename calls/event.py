"""What all events share, and the ids in them as the wire has to have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import StringConstraints

from calls.ids import CALL_ID_PATTERN, REPLY_ID_PATTERN, CallId, ReplyId

CheckedCallId = Annotated[CallId, StringConstraints(pattern=f"^{CALL_ID_PATTERN}$")]
CheckedReplyId = Annotated[ReplyId, StringConstraints(pattern=f"^{REPLY_ID_PATTERN}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events share."""

    KEY: ClassVar[tuple[str, ...]] = ()

    kind: str
    at: float

    @property
    def key(self) -> str:
        """The fact's identity within its call."""
        return "/".join([self.kind, *(str(getattr(self, name)) for name in self.KEY)])
