"""Whom an agent may transfer a caller to, as agents.yaml has it."""

from __future__ import annotations

import fnmatch
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

#: blind: the caller is handed over at once (RFC 3515); attended: once the other side has answered
#: (RFC 3891).
TransferMode = Literal["blind", "attended"]

_NUMBER: Final = re.compile(r"\+?[0-9*#]{1,40}")
#: No `?`: headers in the URI of a REFER would end up in the INVITE (RFC 3261 19.1.5).
_URI: Final = re.compile(r"(?:sips?|tel):[A-Za-z0-9+*#._~!$&'()=;:@%\[\]-]{1,120}")
#: What people, and models, write between the digits.
_BETWEEN: Final = str.maketrans("", "", " -./()\u2010\u2011\u2013\u00a0\u202f")


def parse_target(text: str) -> str:
    """Accept a transfer's target: a number, as people may write it, or a sip: or tel: URI.

    Raises:
        ValueError: it is neither, or longer than 128 characters.
    """
    number = text.translate(_BETWEEN)
    if _NUMBER.fullmatch(number):
        return number
    if _URI.fullmatch(text):
        return text
    raise ValueError("write a number or a sip: or tel: URI, of at most 128 characters")


Target = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(parse_target)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Destination(_Frozen):
    """Somebody whom the agent may transfer to."""

    target: Target
    mode: TransferMode = "blind"
    #: Said to the caller first, where the answer says nothing itself.
    announce: str = Field(default="", max_length=500)


class Transfer(_Frozen):
    """Whom the agent may transfer to; nobody, as it is."""

    #: By the name that the model, or a rule, calls them by.
    destinations: dict[Name, Destination] = Field(default_factory=dict, max_length=64)
    #: Patterns of other numbers that a model may name, as a shell's: "+1555*". Each call to such a
    #: number costs what it costs: callers talk models into things.
    numbers: tuple[str, ...] = Field(default=(), max_length=64)
    #: Said when nobody could be reached, and the caller is back.
    failed: Phrase = "I could not reach them. Is there anything else I can do for you?"

    def allows(self, number: str) -> bool:
        """May a model name this number, of digits and perhaps a plus in front?"""
        return any(fnmatch.fnmatchcase(number, pattern) for pattern in self.numbers)

    @property
    def phrases(self) -> tuple[str, ...]:
        """What may be said: nothing where there is nobody to transfer to."""
        if not self.destinations and not self.numbers:
            return ()
        announced = (each.announce for each in self.destinations.values() if each.announce)
        return (*announced, self.failed)
