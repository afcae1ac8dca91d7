"""What storage raises."""

from __future__ import annotations


class DatabaseUnavailableError(Exception):
    """The database cannot be used now: it is down, refuses us, or was never migrated.

    Its text is meant for people: it names the database without its password and says what to do.
    Retry later (a recorder hands the call back), or show it (the dashboard answers 503).
    """


class DatabaseUrlError(ValueError):
    """A database URL of a kind that Trunkline does not speak. Correct the setting."""
