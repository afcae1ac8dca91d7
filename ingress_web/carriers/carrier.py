"""What is asked of a carrier about its own calls, beside their streams: `Carrier`, a file each.

Calls are named by the carrier's ids. Whoever asks has an agent that waits, so everything answers
or fails within 35 s.
"""

from __future__ import annotations

from typing import Protocol


class CarrierError(Exception):
    """The carrier would not, or could not be reached.

    `status` is HTTP's, 0 where nothing came back; `code` the carrier's own, 0 for none; `hint` says
    what to do about it, as far as that is known. None of them holds a secret.
    """

    def __init__(self, status: int, code: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        code = f" ({self.code})" if self.code else ""
        return f"{self.message}{code}" + (f": {self.hint}" if self.hint else "")


class Carrier(Protocol):
    """A carrier's calls, by its REST API. Each method raises `CarrierError`."""

    #: As `call.started` names it.
    name: str

    async def hang_up(self, call: str) -> None:
        """End a call; one that is over is no error.

        Close its stream first: what was sent to the caller is then not cut off by the carrier.
        """
        ...

    async def transfer(
        self, call: str, target: str, *, caller_id: str = "", timeout_s: float = 30
    ) -> None:
        """Put the caller through to `target`: a number, or a sip:, sips: or tel: URI.

        Its stream ends when this is done, and the webhook tells `Door.dialled` what came of it.

        Args:
            caller_id: what the target is shown: one of our numbers. Empty: the caller's.
            timeout_s: how long it may ring.
        """
        ...

    async def send_digits(self, call: str, digits: str) -> None:
        """Send keys to the other side: 0-9 * #; `w` or `,` pauses for half a second.

        Its stream may end when this is done, and a new one come after the last key.
        """
        ...

    async def place(self, to: str, from_: str, *, call: str, timeout_s: float = 60) -> str:
        """Call somebody, from a number of ours. Returns the carrier's id of the call.

        What comes of it is told to `Door.status_changed`, and once answered `Door.admit`.

        Args:
            to: a number or a sip: URI.
            call: our id of it: `Offer.placed_as`.
            timeout_s: how long it may ring.
        """
        ...

    async def close(self) -> None:
        """Give up the connections."""
        ...
