"""Keys in the signalling: the two bodies of an INFO that phones use for them.

Neither has an RFC: `application/dtmf-relay` is Cisco's ("Signal=5" and "Duration=160" on lines of
their own), `application/dtmf` the key alone.
"""

from __future__ import annotations

import re
from typing import Final

RELAY: Final = "application/dtmf-relay"
PLAIN: Final = "application/dtmf"
_USUAL_MS: Final = 160
_MOST_MS: Final = 8000
_SIGNAL_RE: Final = re.compile(rb"^\s*Signal\s*=\s*(\S{1,2})\s*$", re.I | re.M)
_DURATION_RE: Final = re.compile(rb"^\s*Duration\s*=\s*([0-9]{1,5})\s*$", re.I | re.M)
_KEYS: Final = "0123456789*#ABCD"


def key_in(content_type: str, body: bytes) -> tuple[str, int] | None:
    """The key and for how long it was pressed, ms; None where the body names none."""
    if len(body) > 1000:
        return None
    duration = _USUAL_MS
    if content_type == RELAY:
        signal, lasted = _SIGNAL_RE.search(body), _DURATION_RE.search(body)
        name = signal.group(1) if signal else b""
        if lasted:
            duration = min(int(lasted.group(1)), _MOST_MS)
    else:
        name = body.strip()
    text = name.decode("ascii", "replace").upper()
    if text in ("10", "11"):  # Cisco's numbers of the star and the pound key
        text = "*#"[int(text) - 10]
    return (text, duration) if len(text) == 1 and text in _KEYS else None
