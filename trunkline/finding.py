"""What `trunkline doctor` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `says` holds the mend where there is one to make."""

    what: str
    level: Level
    says: str

    @property
    def bad(self) -> bool:
        """Whether a start would fail, or calls would."""
        return self.level == "bad"

    def as_json(self) -> dict[str, str]:
        """For `trunkline doctor --json`."""
        return asdict(self)
