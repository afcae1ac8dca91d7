"""How long a sentence is held back before it begins, so that it does not run dry in its midst.

Speech that is synthesized no faster than it is played has nothing in hand against a late chunk but
what was here when it began. How late chunks come is the provider's and the machine's business, so
it is learned in each call: a gap that was heard is held ahead of the sentences after it, and
forgiven again while none is. A call without gaps waits for nothing.
"""

from __future__ import annotations

from typing import Final

from media.frames import samples_in

#: A longer gap is no jitter, and holding for as long as that would be worse. In samples.
LONGEST: Final = samples_in(120)
#: What a sentence without a gap takes off. In samples.
FORGIVEN: Final = samples_in(1)


class Hold:
    """One call's hold."""

    def __init__(self) -> None:
        #: How long a sentence waits from when it could begin. In samples.
        self.samples = 0

    def gap_heard(self, samples: int) -> None:
        """A sentence ran dry for so long, and went on."""
        self.samples = min(self.samples + samples, LONGEST)

    def sentence_heard(self) -> None:
        """A sentence was heard to its end, and never ran dry."""
        self.samples = max(0, self.samples - FORGIVEN)
