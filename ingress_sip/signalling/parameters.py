"""`;name=value` lists, as Via, From, To, Contact and URIs carry them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.grammar import split_list


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters in order, each value as it was written (quotes and escapes kept).

    Names compare without regard to case; a parameter without `=` has the value None.
    """

    items: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Parameters:
        """`a=1;b;c="x;y"`, without the leading semicolon. Raises SipError(400)."""
        return cls(tuple(_parse_one(piece) for piece in split_list(text, ";")))

    def get(self, name: str) -> str | None:
        """The value of `name`; None both when it is missing and when it has no value."""
        wanted = name.lower()
        for key, value in self.items:
            if key.lower() == wanted:
                return value
        return None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(key.lower() == name.lower() for key, _ in self.items)

    def __iter__(self) -> Iterator[tuple[str, str | None]]:
        return iter(self.items)

    def setting(self, name: str, value: str | None) -> Parameters:
        """A copy in which `name` has `value`: in its old place, or at the end when it is new."""
        if name not in self:
            return Parameters((*self.items, (name, value)))
        return Parameters(
            tuple((k, value if k.lower() == name.lower() else v) for k, v in self.items)
        )

    def __str__(self) -> str:
        """With the leading semicolon, or empty."""
        return "".join(f";{k}" if v is None else f";{k}={v}" for k, v in self.items)


NO_PARAMETERS = Parameters()


def _parse_one(piece: str) -> tuple[str, str | None]:
    name, equals, value = piece.partition("=")
    name = name.strip()
    if not name or any(c in ' \t"<>' for c in name):
        raise SipError(400, "Bad Parameter")
    return name, value.strip() if equals else None
