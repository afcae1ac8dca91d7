"""The trunks' file: YAML in, `ingress_sip.trunking.config.Trunks` out, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ingress_sip.trunking.config import OPEN, Trunks
from trunkline.errors import UserError
from trunkline.yaml_file import YamlFile, written

#: Looks up a password by the environment variable that holds it; None if unset.
Secret = Callable[[str], str | None]


class TrunksFileError(UserError):
    """The trunks' file is wrong. Each line of the message reads `file:line: what; mend`."""


_FILE = YamlFile(
    Trunks,
    TrunksFileError,
    setting="TRUNKLINE_TRUNKS",
    mend_empty="write `trunks:` and a list, `phones:` or `policy:`",
    named=((("trunks",), "a trunk"), (("phones", "users"), "a user")),
)


def load_trunks(file: Path | None, secret: Secret) -> Trunks:
    """Read the trunks' file; without one anybody may call, and nobody can register.

    Raises:
        TrunksFileError: it is not there, not YAML, says something no trunk has, or names a
            password that is not set.
    """
    return OPEN if file is None else parse_trunks(_FILE.read(file), secret, str(file))


def parse_trunks(text: str, secret: Secret, name: str = "trunks.yaml") -> Trunks:
    """Read the text of a trunks' file; `name` stands in the messages.

    Raises:
        TrunksFileError
    """
    parsed = _FILE.parse(text, name)
    if findings := [
        f"{name}:{parsed.line_of(place)}: {written(place)}: the environment has no {variable};"
        " set it to the password"
        for place, variable in parsed.value.secrets()
        if not secret(variable)
    ]:
        raise TrunksFileError("\n".join(findings))
    return parsed.value
