"""The one error that people see: a command prints its message, without a traceback, and exits 2."""

from __future__ import annotations


class UserError(Exception):
    """Whoever runs Trunkline can mend this, and the message says how.

    One line per finding, made to be read: what is wrong, where, and what to do. Raise it for a
    wrong setting, a missing program, a service that is down; let our own mistakes raise their own.
    """
