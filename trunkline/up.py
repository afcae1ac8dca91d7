"""`trunkline up`: check, migrate, start the stack, say where it is, and stop it when told to."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Mapping

from bus.broker import BusUnavailableError, check
from calls.agent import Agents
from storage import migrate
from storage.errors import DatabaseUnavailableError, DatabaseUrlError
from telemetry.log import configure, get_logger
from trunkline import embedded_bus
from trunkline.addresses import cannot_bind, reachable
from trunkline.agents_file import load_agents
from trunkline.children import Announcement
from trunkline.data_dir import keep_private, prepare
from trunkline.errors import UserError
from trunkline.listen import HostPort, SipListen, parse_sip_listen
from trunkline.settings import Settings, did_you_mean, unknown_variables
from trunkline.stack import Stack

_WAIT_S = 1.0

log = get_logger(__name__)


async def run_up(settings: Settings, sizes: Mapping[str, int], *, as_json: bool) -> int:
    """Run the stack until SIGINT or SIGTERM; a second one ends everything at once.

    Args:
        settings: As read.
        sizes: How many processes in each pool.
        as_json: Print one JSON line on stdout when all are ready, and nothing else there.

    Returns:
        The exit status: 0 when it was told to stop.

    Raises:
        UserError: something must be mended first; nothing runs then.
    """
    keep_private()
    configure("up", level=settings.log_level, fmt=settings.log_format)
    agents = load_agents(settings.agents)
    for name in unknown_variables():
        log.warning("settings.unknown_variable", name=name, hint=did_you_mean(name).lstrip("; "))
    prepare(settings.data_dir)
    _check_ports(settings)
    if settings.bus_url is None:
        embedded_bus.find_server()
    stopping = asyncio.Event()
    stack = Stack(
        settings, sizes=sizes, progress=lambda role: log.debug("up.role_ready", ready=role)
    )

    def on_signal() -> None:
        if stopping.is_set():
            stack.kill()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)

    starting = asyncio.create_task(_start(settings, stack), name="start")
    told_to_stop = asyncio.create_task(stopping.wait(), name="told to stop")
    await asyncio.wait((starting, told_to_stop), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        _tell(starting.result(), agents, settings, as_json=as_json)
        await told_to_stop
        log.info("up.stopping")
        await stack.stop()
    else:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    return 0


async def _start(settings: Settings, stack: Stack) -> Announcement:
    await _wait_for_bus(settings)
    await _migrate(settings)
    return await stack.start()


def _check_ports(settings: Settings) -> None:
    """Refuse in one line, before anything runs, what a role would refuse among all the others'.

    Raises:
        UserError
    """
    wanted: list[tuple[socket.SocketKind, SipListen | HostPort, str]] = [
        *((sip.kind, sip, "TRUNKLINE_SIP_LISTEN") for sip in settings.sip_listen),
        (socket.SOCK_STREAM, settings.http_listen, "TRUNKLINE_HTTP_LISTEN"),
    ]
    for kind, where, variable in wanted:
        if trouble := cannot_bind(kind, where.host, where.port):
            raise UserError(f"cannot listen on {where}: {trouble}; free it, or set {variable}")
    metrics = settings.metrics_listen
    if metrics is not None and metrics.port != 0:
        raise UserError(
            f"TRUNKLINE_METRICS_LISTEN={metrics}: six processes on one machine want six ports; "
            f"write {metrics._replace(port=0)}, and `trunkline status` shows them"
        )


def _tell(announcement: Announcement, agents: Agents, settings: Settings, *, as_json: bool) -> None:
    password = announcement.pop("password", None)
    if as_json:
        sys.stdout.write(json.dumps(announcement) + "\n")
        if password is not None:
            sys.stderr.write(f"dashboard password: {password} (made now, shown only this once)\n")
    else:
        sys.stdout.write(as_text(announcement, agents, settings, password) + "\n")
    sys.stdout.flush()


async def _wait_for_bus(settings: Settings) -> None:
    """A bus that is named is somebody else's: it may come up after us."""
    if settings.bus_url is None:
        return
    while True:
        try:
            await check(settings.bus_url)
        except BusUnavailableError as error:
            log.warning("up.waiting_for_bus", reason=str(error))
            await asyncio.sleep(_WAIT_S)
        else:
            return


async def _migrate(settings: Settings) -> None:
    while True:
        try:
            await migrate.upgrade(settings.database_url)
        except DatabaseUrlError as error:
            raise UserError(f"TRUNKLINE_DATABASE_URL: {error}") from error
        except DatabaseUnavailableError as error:
            log.warning("up.waiting_for_database", reason=str(error))
            await asyncio.sleep(_WAIT_S)
        else:
            return


def as_text(
    announcement: Announcement, agents: Agents, settings: Settings, password: str | None
) -> str:
    """Tell people which number to dial, from what, and where the dashboard is."""
    listeners = parse_sip_listen(announcement["sip"])
    listen = next((each for each in listeners if each.transport == "udp"), listeners[0])
    host = reachable(listen.host, settings.public_address)
    user = _a_number(agents)
    port = "" if listen.port == 5060 else f":{listen.port}"
    by = "" if listen.transport == "udp" else f";transport={listen.transport}"
    uri = f"sip:{user}@{f'[{host}]' if ':' in host else host}{port}{by}"
    public = uri if settings.public_address else f"sip:{user}@YOUR-PUBLIC-ADDRESS{port}{by}"
    lines = [
        "Trunkline is up.",
        "",
        f"  Dial       {uri}",
        f'  baresip    baresip -e "/dial {uri}"',
        f"  linphone   call {uri}   (in linphonec; in the app: dial it)",
        f"  Twilio     <Dial><Sip>{public}</Sip></Dial>, or a SIP trunk with that origination URI",
        f"  Dashboard  {announcement['http']}",
    ]
    if password is not None:
        lines.append(f"  Password   {password}   (made now, shown only this once)")
    elif settings.admin_password is None:
        lines.append("  Password   as shown on the first start; if it is lost, remove")
        lines.append(f"             {settings.data_dir}/admin-password.hash and start anew")
    lines += ["", f"  Agents     {settings.agents}", "  Ctrl-C stops it."]
    return "\n".join(lines)


def _a_number(agents: Agents) -> str:
    """Something to dial that the first agent answers."""
    first = agents.agents[0]
    plain = [number for number in first.numbers if not set(number) & set("*?[")]
    return plain[0] if plain else first.name
