"""docs/settings.md, from the Settings class."""

from __future__ import annotations

from typing import Any

from trunkline.settings import CONFIG_FILE, CONFIG_VARIABLE, PREFIX, Settings

_HEAD = f"""\
<!-- Generated from trunkline/settings.py by `make docs`; `make check` fails when out of date. -->
# Settings

Each has a variable, and the same name in lower case without `{PREFIX}` in `{CONFIG_FILE}` (in the
working directory, or where `{CONFIG_VARIABLE}` says). The environment wins over the file. A wrong
value stops the start with a line that names it. Providers' keys are not settings: `agents.yaml`
names the variable that holds each.
"""

#: Defaults that are worked out, or that would show this machine's paths.
_WORKED_OUT = {
    "data_dir": "`var` in the working directory",
    "database_url": "`sqlite:///` + DATA_DIR + `/trunkline.db`",
    "agents": "`agents.yaml` here, else the worked example",
}


def settings_markdown() -> str:
    """Write the page."""
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        description = " ".join((field.description or "").split())
        default = _WORKED_OUT.get(name) or (
            "none" if field.default is None else f"`{_as_written(field.default)}`"
        )
        lines = [f"## {PREFIX}{name.upper()}", "", description, "", f"Default: {default}."]
        if field.examples:
            lines[-1] += f" Example: `{field.examples[0]}`."
        if limits := _limits(field):
            lines[-1] += f" {limits}"
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _as_written(value: Any) -> str:
    # A named tuple writes itself; a plain one is several of them.
    return ",".join(map(str, value)) if type(value) is tuple else str(value)


def _limits(field: Any) -> str:
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return f"One of {', '.join(f'`{choice}`' for choice in choices)}."
    least = next((m.ge for m in field.metadata if hasattr(m, "ge")), None)
    most = next((m.le for m in field.metadata if hasattr(m, "le")), None)
    return f"From {least} to {most}." if least is not None else ""
