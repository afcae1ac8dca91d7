"""sipp, driven by scenario files that say only what they are about.

A line `@NAME` of a scenario stands for the file NAME of `tests/calls/sipp/fragments`: a whole call,
or the header fields that any request has. What stands in braces there is the default of its only
parameter: `@headers z9hG4bK-[pid]-one` gives a request a branch that others can name again.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.stack import free_port

SCENARIOS: Final = Path(__file__).parents[1] / "calls" / "sipp"
_FRAGMENTS: Final = {file.stem: file.read_text() for file in (SCENARIOS / "fragments").iterdir()}
_FRAGMENT: Final = re.compile(r"^[ \t]*@(\w+)(?:[ \t]+(\S+))?[ \t]*$", re.MULTILINE)
_DEFAULT: Final = re.compile(r"\{(.*?)\}")
_LOGGED: Final = re.compile(
    r"^-{40,} [^\n]*\n\w+ message (sent|received) [^\n]*:\n\n(.*?)(?=^-{40,} |\Z)",
    re.MULTILINE | re.DOTALL,
)
_TRANSPORTS: Final = {"udp": "u1", "tcp": "t1"}
#: How long a scenario waits for one message, ms, and a whole run may take, s.
_ANSWER_MS: Final = 6000
_RUN_S: Final = 20.0

available = shutil.which("sipp") is not None


@dataclass(frozen=True)
class Message:
    """What went over the wire, as sipp logged it."""

    sent: bool
    text: str

    @property
    def start(self) -> str:
        """The request line or status line."""
        return self.text.partition("\n")[0]

    @property
    def status(self) -> int | None:
        """A response's status."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else None

    @property
    def body(self) -> str:
        return self.text.partition("\n\n")[2]

    def header(self, name: str) -> str:
        """The first value of that name; "" where there is none."""
        head = self.text.partition("\n\n")[0]
        found = re.search(rf"^{re.escape(name)}\s*:[ \t]*(.*)$", head, re.MULTILINE | re.IGNORECASE)
        return found[1].strip() if found else ""


@dataclass(frozen=True)
class Sipp:
    """One call by one scenario. `folder` is made for it, and keeps its logs.

    `keys` are the values of the scenario's own `[keywords]`; `caller` is who calls, `service` who
    is called. A scenario that only answers listens on `port`.
    """

    scenario: str
    folder: Path
    service: str = "quick"
    caller: str = "sipp"
    transport: str = "udp"
    local: str = "127.0.0.1"
    port: int = 0
    keys: Mapping[str, str] = field(default_factory=dict)
    #: More of sipp's options, e.g. `-nr`: it repeats nothing, and sees what comes twice.
    options: tuple[str, ...] = ()
    timeout_s: float = _RUN_S

    def call(self, server_port: int, server: str = "127.0.0.1") -> list[Message]:
        """Run it to its end. What was sent and received; raises AssertionError when it fails."""
        with self._started(f"{server}:{server_port}") as process:
            self._finish(process)
        return self.messages

    @contextmanager
    def answering(self) -> Iterator[None]:
        """It waits for a call while the caller of this has one made; and is awaited at the end."""
        with self._started() as process:
            yield
            self._finish(process)

    @property
    def messages(self) -> list[Message]:
        """What was sent and received so far."""
        file = self.folder / "messages.log"
        log = file.read_text("utf-8", "replace") if file.exists() else ""
        log = log.replace("\r\n", "\n")
        return [Message(way == "sent", text) for way, text in _LOGGED.findall(log)]

    @property
    def received(self) -> list[Message]:
        return [message for message in self.messages if not message.sent]

    @contextmanager
    def _started(self, *server: str) -> Iterator[subprocess.Popen[str]]:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "scenario.xml").write_text(expanded(SCENARIOS / self.scenario))
        kind = socket.SOCK_STREAM if self.transport == "tcp" else socket.SOCK_DGRAM
        keys = {"caller": self.caller, **self.keys}
        process = subprocess.Popen(
            ["sipp", *server, "-sf", "scenario.xml", "-s", self.service,
             "-t", _TRANSPORTS[self.transport], "-i", self.local, "-bind_local",
             "-p", str(self.port or free_port(kind)),
             "-mi", self.local, "-mp", str(free_port(socket.SOCK_DGRAM) // 4 * 4),
             "-m", "1", "-nostdin", "-recv_timeout", str(_ANSWER_MS),
             "-timeout", str(int(self.timeout_s)), "-timeout_error",
             "-trace_err", "-error_file", "errors.log",
             "-trace_msg", "-message_file", "messages.log",
             *(part for key, value in keys.items() for part in ("-key", key, value)),
             *self.options],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def _finish(self, process: subprocess.Popen[str]) -> None:
        try:
            _, said = process.communicate(timeout=self.timeout_s + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
        errors = self.folder / "errors.log"
        why = errors.read_text("utf-8", "replace") if errors.exists() else ""
        log = "\n".join(f"{'>' if m.sent else '<'} {m.text}" for m in self.messages)
        assert process.returncode == 0, f"{self.scenario}: {why or said}\n{log}"


def expanded(file: Path) -> str:
    """The scenario as sipp takes it: fragments put in, and no variable left unread."""
    text = _expand(file.read_text())
    # sipp refuses a variable that is only assigned, as a check's is.
    assigned = sorted({name for names in re.findall(r'assign_to="([^"]+)"', text)
                       for name in names.split(",")})  # fmt: skip
    reference = f'<Reference variables="{",".join(assigned)}"/>' if assigned else ""
    return text.replace("</scenario>", f"{reference}\n</scenario>")


def _expand(text: str) -> str:
    def fragment(found: re.Match[str]) -> str:
        body = _FRAGMENTS[found[1]].rstrip("\n")
        return _expand(_DEFAULT.sub(lambda default: found[2] or default[1], body))

    return _FRAGMENT.sub(fragment, text)
