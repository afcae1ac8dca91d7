"""`trunkline doctor`: look at everything that a start needs, and say how to mend what is found."""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from calls.agent import Agent, Agents, StageSpec
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import SipUri
from ingress_sip.sockets.resolver import ResolveError, Resolver
from ingress_sip.sockets.tls import TlsContexts, TlsError, read_certificate
from ingress_sip.trunking.config import Trunk, Trunks
from storage import migrate
from storage.errors import DatabaseUnavailableError, DatabaseUrlError
from trunkline import embedded_bus
from trunkline.addresses import cannot_bind, reachable
from trunkline.agents_file import load_agents
from trunkline.buses import open_bus
from trunkline.errors import UserError
from trunkline.finding import Finding
from trunkline.listen import HostPort
from trunkline.settings import Settings, config_file, did_you_mean, unknown_variables
from trunkline.sip_listeners import families, tls_files
from trunkline.trunks_file import load_trunks
from trunkline.web_findings import Reach, web_findings
from workers.ports import Ask, ProviderError
from workers.resilience.loading import (
    Breakers,
    load_responder,
    load_synthesizer,
    load_transcriber,
    name_of,
)

#: A call-hour in stereo is 115 MB; below this a busy day may fill the disk.
_FREE_BYTES: Final = 2 * 1024**3
#: Who renews by itself does so a month before.
_RENEW_DAYS: Final = 14
_LOADERS: Final = (("asr", load_transcriber), ("llm", load_responder), ("tts", load_synthesizer))
#: Of a name with many servers so many are shown.
_SHOWN_HOPS: Final = 3
_SIGNS: Final = {"ok": "ok", "warning": "!!", "bad": "XX"}

#: Finds who serves a URI, within some seconds. Raises ResolveError.
Resolve = Callable[[SipUri], Awaitable[Sequence[Hop]]]


async def examine(
    settings: Settings, resolve: Resolve | None = None, reach: Reach | None = None
) -> list[Finding]:
    """Look at everything; nothing is changed, but for a port that is bound for a moment.

    `resolve` finds the trunks' servers; without it DNS does, as for the ingress. `reach` looks for
    us behind the public URL; without it HTTP does.
    """
    trunks = _trunks(settings)
    findings = [
        *_settings(),
        await _bus(settings),
        await _database(settings),
        *_ports(settings, running=embedded_bus.running(settings.data_dir) is not None),
        *_certificates(settings, datetime.now(UTC)),
        _public_address(settings),
        *await web_findings(settings, reach),
    ]
    if isinstance(trunks, Finding):
        findings.append(trunks)
    else:
        resolve = resolve or Resolver(families=families(settings)).resolve
        findings.append(_callers(settings, trunks))
        findings += await asyncio.gather(*(_trunk(trunk, resolve) for trunk in trunks.trunks))
    agents = _agents(settings)
    if isinstance(agents, Finding):
        findings.append(agents)
    else:
        findings.append(Finding("agents", "ok", f"{len(agents.agents)} in {settings.agents}"))
        findings += [
            finding
            for agent in agents.agents
            for stage, load in _LOADERS
            for finding in [await _provider(settings, agent, stage, load)]
        ]
    findings.append(_disk(settings.data_dir))
    return findings


def as_text(findings: list[Finding]) -> str:
    """For people."""
    width = max(len(finding.what) for finding in findings)
    lines = [
        f"{_SIGNS[finding.level]}  {finding.what:<{width}}  {finding.says}" for finding in findings
    ]
    bad = sum(finding.bad for finding in findings)
    lines.append("" if bad else "\nAll is well.")
    return "\n".join(lines).rstrip() + (f"\n\n{bad} to mend." if bad else "")


def _settings() -> Iterator[Finding]:
    file = config_file()
    yield Finding("settings", "ok", str(file) if file else "environment and defaults")
    for name in unknown_variables():
        yield Finding("settings", "warning", f"{name} is no setting{did_you_mean(name)}")


async def _bus(settings: Settings) -> Finding:
    if settings.bus_url is None and embedded_bus.running(settings.data_dir) is None:
        try:
            server = embedded_bus.find_server()
        except UserError as error:
            return Finding("bus", "bad", str(error))
        return Finding("bus", "ok", f"`trunkline up` will start {server}")
    try:
        async with asyncio.timeout(15), open_bus(settings) as bus:
            return Finding("bus", "ok", f"{bus.server} answers")
    except UserError as error:
        return Finding("bus", "bad", str(error))
    except TimeoutError:
        return Finding("bus", "bad", "it does not answer; start it, or mend TRUNKLINE_BUS_URL")


async def _database(settings: Settings) -> Finding:
    if _is_new_file(settings.database_url):
        return Finding("database", "ok", f"`trunkline up` will make {settings.database_url}")
    try:
        now = await migrate.revisions(settings.database_url)
    except (DatabaseUnavailableError, DatabaseUrlError) as error:
        return Finding("database", "bad", f"{error}; start it, or mend TRUNKLINE_DATABASE_URL")
    if now.current == now.head:
        return Finding("database", "ok", f"tables are at {now.head}")
    return Finding(
        "database",
        "bad",
        f"tables are at {now.current or 'nothing'}, {now.head} is needed: run `trunkline migrate`",
    )


def _is_new_file(url: str) -> bool:
    return url.startswith("sqlite") and not Path(url.partition(":///")[2]).exists()


def _ports(settings: Settings, *, running: bool) -> Iterator[Finding]:
    http = settings.http_listen
    wanted = [
        (f"SIP {sip.transport}", sip.kind, HostPort(sip.host, sip.port), "TRUNKLINE_SIP_LISTEN")
        for sip in settings.sip_listen
    ]
    wanted.append(("HTTP port", socket.SOCK_STREAM, http, "TRUNKLINE_HTTP_LISTEN"))
    if (web := settings.web_listen) is not None:
        wanted.append(("web port", socket.SOCK_STREAM, web, "TRUNKLINE_WEB_LISTEN"))
    for name, kind, where, variable in wanted:
        trouble = cannot_bind(kind, where.host, where.port)
        if trouble is None:
            yield Finding(name, "ok", f"{where} is free")
        elif running:
            yield Finding(name, "ok", f"{where} is taken; Trunkline runs")
        else:
            yield Finding(name, "bad", f"{where}: {trouble}; free it or set {variable}")
    ports = settings.rtp_ports
    trouble = cannot_bind(socket.SOCK_DGRAM, settings.sip_listen[0].host, ports.first)
    if trouble is not None and not running:
        yield Finding("RTP ports", "warning", f"{ports.first}: {trouble}; busy ports are left out")
    elif ports.pairs < settings.max_calls:
        yield Finding(
            "RTP ports",
            "warning",
            f"{ports} is enough for {ports.pairs} calls, TRUNKLINE_MAX_CALLS is "
            f"{settings.max_calls}: widen TRUNKLINE_RTP_PORTS",
        )
    else:
        yield Finding("RTP ports", "ok", f"{ports}, enough for {ports.pairs} calls")


def _certificates(settings: Settings, now: datetime) -> Iterator[Finding]:
    files = tls_files(settings)
    if not files.all:
        return
    try:
        TlsContexts(files)
        if files.certificate is None:
            yield Finding("SIP certificate", "ok", f"{files.ca} says whom to believe")
            return
        found = read_certificate(files.certificate)
    except TlsError as error:
        yield Finding("SIP certificate", "bad", f"{error}; mend it, or TRUNKLINE_SIP_TLS_*")
        return
    days = (found.not_after - now).days
    says = f"{files.certificate} for {', '.join(found.names) or 'no name'}"
    if days < 0:
        yield Finding("SIP certificate", "bad", f"{says} is over since {-days} days: renew it")
    elif days < _RENEW_DAYS:
        yield Finding("SIP certificate", "warning", f"{says} lasts {days} days still: renew it")
    else:
        yield Finding("SIP certificate", "ok", f"{says} lasts {days} days still")


def _public_address(settings: Settings) -> Finding:
    public = settings.public_address
    if public is not None:
        try:
            address = ipaddress.ip_address(public)
        except ValueError:
            return Finding(
                "address",
                "warning",
                f"{public} is a name; SDP wants an address that callers can use: write the IP",
            )
        if address.is_loopback or address.is_unspecified:
            return Finding(
                "address", "bad", f"nobody reaches {public}; mend TRUNKLINE_PUBLIC_ADDRESS"
            )
        return Finding("address", "ok", f"callers are told {public}")
    here = reachable(settings.sip_listen[0].host)
    if not _is_global(here):
        is_loopback = here == "localhost" or here.startswith(("127.", "::1"))
        return Finding(
            "address",
            "ok" if is_loopback else "warning",
            f"{here}: callers from the internet need TRUNKLINE_PUBLIC_ADDRESS and open ports",
        )
    return Finding("address", "ok", f"callers are told {here}")


def _is_public(settings: Settings) -> bool:
    """Can the internet reach us, as far as can be seen from here?"""
    if settings.public_address is not None:
        return True
    return any(_is_global(reachable(listen.host)) for listen in settings.sip_listen)


def _is_global(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:  # a name: who listens by one knows where it leads
        return False


def _trunks(settings: Settings) -> Trunks | Finding:
    try:
        return load_trunks(settings.trunks, settings.secret)
    except UserError as error:
        return Finding("trunks", "bad", str(error))


def _callers(settings: Settings, trunks: Trunks) -> Finding:
    """Who may call."""
    phones = len(trunks.phones.users) if trunks.phones else 0
    if settings.trunks is not None:
        says = f"{len(trunks.trunks)} trunk(s) and {phones} phone user(s) in {settings.trunks}"
        if trunks.policy.unknown_callers != "accept":
            return Finding("trunks", "ok", f"{says}; nobody else may call")
        says += "; anybody else may call too"
    else:
        says = "no file, anybody may call"
    if not _is_public(settings):
        return Finding("trunks", "ok", says)
    mend = "say who may in a file (trunks.example.yaml), and name it in TRUNKLINE_TRUNKS"
    if settings.trunks is not None:
        mend = "write policy: {unknown_callers: reject}"
    return Finding("trunks", "warning", f"{says}, from the internet: {mend}")


async def _trunk(trunk: Trunk, resolve: Resolve) -> Finding:
    """Whether its name leads anywhere. It is not called: its own state is for `status` to tell."""
    what = f"trunk {trunk.name}"
    try:
        hops = await resolve(trunk.target)
    except ResolveError as error:
        return Finding(what, "bad", str(error))
    shown = ", ".join(map(str, hops[:_SHOWN_HOPS]))
    more = f" and {len(hops) - _SHOWN_HOPS} more" if len(hops) > _SHOWN_HOPS else ""
    return Finding(what, "ok", f"{trunk.uri} leads to {shown}{more}")


def _agents(settings: Settings) -> Agents | Finding:
    try:
        return load_agents(settings.agents)
    except UserError as error:
        return Finding("agents", "bad", str(error))


class _Closable(Protocol):
    async def close(self) -> None: ...


async def _provider(
    settings: Settings, agent: Agent, stage: str, load: Callable[[Ask, Breakers], _Closable]
) -> Finding:
    spec: StageSpec = getattr(agent, stage)
    what = f"{agent.name} {stage}"
    try:
        provider = load(Ask(agent=agent, options=spec.options, secret=settings.secret), Breakers())
    except ProviderError as error:
        return Finding(what, "bad", str(error))
    await provider.close()
    chain = ", then ".join(name_of(one) for one in (spec, *spec.fallback))
    takes = "take their" if spec.fallback else "takes its"
    return Finding(what, "ok", f"{chain} {takes} options")


def _disk(data_dir: Path) -> Finding:
    there = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    free = shutil.disk_usage(there).free
    says = f"{free / 1024**3:.1f} GiB free for {data_dir}"
    if free < _FREE_BYTES:
        return Finding("disk", "warning", f"{says}: an hour of recordings takes 0.1 GiB; make room")
    return Finding("disk", "ok", says)
