"""The header multimap: any number of values per name, in the order they came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from ingress_sip.signalling.errors import LocalProtocolError
from ingress_sip.signalling.grammar import split_list

# RFC 3261 section 20 and the IANA registry's compact forms.
COMPACT_FORMS = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
# fmt: off
_LONG_FORMS = (
    "Accept", "Allow", "Authorization", "CSeq", "Content-Disposition", "Content-Language", "Date",
    "Expires", "Max-Forwards", "Proxy-Authorization", "Proxy-Require", "Reason", "Record-Route",
    "Require", "Retry-After", "Route", "Server", "Timestamp", "Unsupported", "User-Agent",
    "WWW-Authenticate", "Warning",
)
# fmt: on
_CANONICAL = {
    **COMPACT_FORMS,
    **{name.lower(): name for name in (*COMPACT_FORMS.values(), *_LONG_FORMS)},
}


@lru_cache(maxsize=512)  # the same two dozen names in every message
def _names(name: str) -> tuple[str, str]:
    """The name to write (as it came, when we do not know it), and the one to compare by."""
    canonical = _CANONICAL.get(name.lower(), name)
    return canonical, canonical.lower()


class Headers:
    """Immutable header fields. Names compare without regard to case or compact form.

    Raises LocalProtocolError for a value that would break out of its line.
    """

    __slots__ = ("_index", "items")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        fields: list[tuple[str, str]] = []
        index: dict[str, list[str]] = {}
        for name, value in items:
            if "\r" in value or "\n" in value:
                raise LocalProtocolError(f"line break in the value of {name}")
            canonical, key = _names(name)
            fields.append((canonical, value))
            index.setdefault(key, []).append(value)
        self.items = tuple(fields)
        self._index = index

    def get(self, name: str) -> str | None:
        """The first value, or None."""
        values = self._index.get(_names(name)[1])
        return values[0] if values else None

    def get_all(self, name: str) -> tuple[str, ...]:
        """Every line's value, in order, commas untouched."""
        return tuple(self._index.get(_names(name)[1], ()))

    def get_list(self, name: str) -> tuple[str, ...]:
        """Every element of a comma-separated field, over all its lines. Raises SipError(400)."""
        lines = self._index.get(_names(name)[1], ())
        return tuple(element for line in lines for element in split_list(line) if element)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _names(name)[1] in self._index

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.items == other.items

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        return f"Headers({list(self.items)!r})"
