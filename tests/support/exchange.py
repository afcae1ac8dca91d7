"""An installation with all that telephony is: trunks, phones, every transport, agents that act.

Peers have loopback addresses of their own, since a trunk is known by its address:

| address | who |
|---|---|
| 127.0.0.1 | the installation, and callers that nobody knows |
| 127.0.0.3 | the trunk `carrier`, and one for each way that a call may be answered: sipp |
| 127.0.0.4 | the trunk `spare`: sipp |
| 127.0.0.5 | the trunk `registrar`: kamailio, where the installation registers |
| 127.0.0.7 | a phone that the agent `quick` transfers to |
| 127.0.0.8 | the trunk `wideband`: phones with better codecs than G.711 |
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.certificates import Authority
from tests.support.sipp import SCENARIOS
from tests.support.stack import PATIENCE_S, ROOT, Installation, started_by_up

CARRIER: Final = "127.0.0.3"
SPARE: Final = "127.0.0.4"
REGISTRAR: Final = "127.0.0.5"
DESK: Final = "127.0.0.7"
WIDEBAND: Final = "127.0.0.8"
#: Users of ours, and what we are called at the trunks.
PASSWORDS: Final = {
    "ALICE_PASSWORD": "secret-of-alice",
    "BOB_PASSWORD": "secret-of-bob",
    "DESK_PASSWORD": "secret-of-desk",
    "CARRIER_PASSWORD": "secret-of-carrier",
    "REGISTRAR_PASSWORD": "secret-of-registrar",
}
#: What the agent `quick` does when one of its keys is pressed.
TRANSFER_KEY: Final = "1"
ATTENDED_KEY: Final = "2"
DIGITS_KEY: Final = "3"
DESK_KEY: Final = "4"
HANG_UP_KEY: Final = "9"
COLLEAGUE: Final = "4711"
DIGITS: Final = "12#"

#: Ways that a call may be answered, each a scenario and a trunk of its own; and its number.
NUMBERS: Final = {
    file.stem: f"77{index:02}"
    for index, file in enumerate(sorted((SCENARIOS / "outbound").glob("*.xml")))
}

_SPELLED: Final = {
    TRANSFER_KEY: "W AH N", ATTENDED_KEY: "T UW", DIGITS_KEY: "TH R IY", DESK_KEY: "F AO R",
    HANG_UP_KEY: "N AY N",
}  # fmt: skip


@dataclass(frozen=True)
class Exchange:
    """The running installation, and where its peers have to be."""

    installation: Installation
    sip_port: int
    tls_port: int
    authority: Authority
    #: By the trunk's name.
    ports: dict[str, int]

    def call(
        self, number: str, *, agent: str = "quick", trunk: str = "carrier", timeout_s: int = 8
    ) -> subprocess.Popen[str]:
        """Have an agent call a number."""
        trunk_option = ["--trunk", trunk] if trunk else []
        return subprocess.Popen(
            [sys.executable, "-m", "trunkline", "call", number, "--agent", agent, *trunk_option,
             "--caller-id", "+15550100", "--timeout", str(timeout_s), "--json"],
            env=self.installation.environment, cwd=self.installation.data,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """Every call, as a list has it."""
        return list(self.installation.ask("calls", "list", "--limit", "500"))

    def row(self, **fields: str) -> dict[str, Any]:
        """The only call with these fields, once it is over and kept, as a list has it."""
        deadline = time.monotonic() + PATIENCE_S
        found: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            found = [call for call in self.rows() if has(call, fields)]
            if found and all(call["ended_at"] and not call["live"] for call in found):
                [call] = found
                return dict(call)
            time.sleep(0.3)
        raise AssertionError(f"no such call was recorded: {fields}; {found}")

    def recorded(self, **fields: str) -> dict[str, Any]:
        """The same, with its turns and its recording."""
        return dict(self.installation.ask("calls", "show", self.row(**fields)["id"]))

    def log(self, call: dict[str, Any], kind: str) -> list[dict[str, Any]]:
        """What its log holds of a kind."""
        events = self.installation.ask("calls", "events", call["id"])
        return [event["payload"] for event in events if event["kind"] == kind]


def has(call: dict[str, Any], fields: dict[str, str]) -> bool:
    return all(call.get(name) == value for name, value in fields.items())


def finished(call: subprocess.Popen[str], within_s: float = 40) -> tuple[int, str]:
    """Exit status of a `trunkline call`, and what it said."""
    out, err = call.communicate(timeout=within_s)
    return call.returncode, out + err


@contextmanager
def exchange(
    folder: Path,
    authority: Authority | None = None,
    registrar_port: int = 0,
    registrar_tls: int = 0,
) -> Iterator[Exchange]:
    """Start one. Ports of 0: there is no kamailio, whose certificate is by the same authority."""
    sip_port, tls_port = free_both(), free_both()
    hosts = {"carrier": CARRIER, "spare": SPARE, "desk": DESK}
    hosts |= dict.fromkeys(NUMBERS, CARRIER)
    ports = {name: free_both(host) for name, host in hosts.items()}
    authority = authority or Authority(folder / "certificates")
    certificate = authority.issue("localhost", "127.0.0.1", "::1")
    (folder / "agents.yaml").write_text(yaml.safe_dump({"agents": agents(ports["desk"])}))
    listed = trunks(ports, registrar_port, registrar_tls)
    (folder / "trunks.yaml").write_text(yaml.safe_dump(listed))
    with started_by_up(
        folder,
        TRUNKLINE_SIP_LISTEN=f"udp:127.0.0.1:{sip_port},tcp:127.0.0.1:{sip_port},"
        f"tls:127.0.0.1:{tls_port}",
        TRUNKLINE_SIP_TLS_CERTIFICATE=str(certificate.certificate),
        TRUNKLINE_SIP_TLS_KEY=str(certificate.key),
        TRUNKLINE_SIP_TLS_CA=str(authority.file),
        TRUNKLINE_AGENTS=str(folder / "agents.yaml"),
        TRUNKLINE_TRUNKS=str(folder / "trunks.yaml"),
        TRUNKLINE_DRAIN_SECONDS="1",
        **PASSWORDS,
    ) as installation:
        ours = replace(installation, sip_port=sip_port)
        yield Exchange(ours, sip_port, tls_port, authority, ports)


@contextmanager
def guarded(folder: Path) -> Iterator[Exchange]:
    """One that is silent to whom it does not know, and takes one call at a time by `carrier`."""
    sip_port = free_both()
    (folder / "agents.yaml").write_text(yaml.safe_dump({"agents": agents()}))
    carrier = {
        "name": "carrier", "uri": f"sip:{CARRIER}:5060", "max_calls": 1, "options_s": 0,
    }  # fmt: skip
    listed = {"trunks": [carrier], "phones": phones(), "policy": {"unknown_callers": "silent"}}
    (folder / "trunks.yaml").write_text(yaml.safe_dump(listed))
    with started_by_up(
        folder,
        TRUNKLINE_SIP_LISTEN=f"udp:127.0.0.1:{sip_port}",
        TRUNKLINE_AGENTS=str(folder / "agents.yaml"),
        TRUNKLINE_TRUNKS=str(folder / "trunks.yaml"),
        TRUNKLINE_DRAIN_SECONDS="1",
        **PASSWORDS,
    ) as installation:
        ours = replace(installation, sip_port=sip_port)
        yield Exchange(ours, sip_port, 0, Authority(folder / "certificates"), {})


def agents(desk_port: int = 5060) -> list[dict[str, Any]]:
    """`quick` does what its keys say and else nothing; `brief` hangs up on whoever says nothing;
    for all other numbers there is the shipped receptionist."""
    [clinic] = yaml.safe_load((ROOT / "agents.example.yaml").read_text())["agents"]
    colleague = {"target": COLLEAGUE, "mode": "blind"}
    destinations = {
        "colleague": colleague,
        "attended": {**colleague, "mode": "attended"},
        "desk": {"target": f"sip:desk@{DESK}:{desk_port}"},
    }
    intents = {
        "blind": {"phrases": [TRANSFER_KEY], "then": "transfer", "to": "colleague"},
        "attended": {"phrases": [ATTENDED_KEY], "then": "transfer", "to": "attended"},
        "desk": {"phrases": [DESK_KEY], "then": "transfer", "to": "desk"},
        "keys": {"phrases": [DIGITS_KEY], "then": "send_digits", "digits": DIGITS},
        "over": {"phrases": [HANG_UP_KEY], "then": "hangup"},
    }
    says = {"blind": "One.", "desk": "Four.", "attended": "Two.", "keys": "Three.", "over": "Bye."}
    quick = {
        "name": "quick",
        "numbers": ["quick"],
        "voice": "en-us",
        "asr": {"provider": "pocketsphinx", "options": {"pronunciations": _SPELLED}},
        "llm": {
            "provider": "rules",
            "options": {"intents": {n: {**i, "say": says[n]} for n, i in intents.items()}},
        },
        "tts": {"provider": "espeak", "options": {"rate": 190}},
        "transfer": {"destinations": destinations},
        "keypad": {"max_digits": 1, "terminator": ""},
        "silence": {"reprompt_after_ms": 0},
        "waiting": {"filler_after_ms": 0, "trouble_after_ms": 0},
    }
    brief = {
        **quick,
        "name": "brief",
        "numbers": ["brief"],
        "silence": {"reprompt_after_ms": 1000, "reprompts": [], "goodbye": "Bye."},
    }
    return [quick, brief, clinic]


def phones() -> dict[str, Any]:
    return {
        "realm": "127.0.0.1",
        "users": [
            {"name": name, "password_env": f"{name.upper()}_PASSWORD"}
            for name in ("alice", "bob", "desk")
        ],
    }


def trunks(ports: dict[str, int], registrar_port: int, registrar_tls: int) -> dict[str, Any]:
    account = {"user": "carrier", "password_env": "CARRIER_PASSWORD"}
    listed: list[dict[str, Any]] = [
        {
            "name": "carrier",
            "uri": f"sip:{CARRIER}:{ports['carrier']}",
            "auth": account,
            "options_s": 0,
        },
        {
            "name": "spare",
            "uri": f"sip:{SPARE}:{ports['spare']}",
            "dial": ["55*"],
            "options_s": 0,
        },
        {
            "name": "wideband",
            "uri": f"sip:{WIDEBAND}",
            "dial": ["99*"],
            "options_s": 0,
            "codecs": ["opus", "G722", "PCMU"],
        },
    ]
    for name, number in NUMBERS.items():
        listed.append(
            {
                "name": name.replace("_", "-"),
                "uri": f"sip:{CARRIER}:{ports[name]}",
                "auth": account,
                "dial": [number],
                "options_s": 0,
            }
        )
    ours = {"user": "trunkline", "password_env": "REGISTRAR_PASSWORD"}
    if registrar_port:
        listed.append(
            {
                "name": "registrar",
                "uri": f"sip:{REGISTRAR}:{registrar_port}",
                "registration": {**ours, "expires_s": 60},
                "dial": ["88*"],
                "options_s": 5,
            }
        )
    if registrar_tls:
        listed.append(
            {
                "name": "registrar-tls",
                "uri": f"sip:{REGISTRAR}:{registrar_tls};transport=tls",
                "auth": ours,
                "dial": ["89*"],
                "options_s": 0,
                "srtp": "allowed",
            }
        )
    return {"trunks": listed, "phones": phones(), "policy": {"unknown_callers": "accept"}}


def free_both(host: str = "127.0.0.1") -> int:
    """A port that is free for UDP and for TCP."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        ):
            datagrams.bind((host, 0))
            port = int(datagrams.getsockname()[1])
            try:
                stream.bind((host, port))
            except OSError:
                continue
            return port
