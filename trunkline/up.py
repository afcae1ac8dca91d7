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
from ingress_sip.sockets.tls import TlsContexts, TlsError
from ingress_sip.trunking.config import Trunks
from storage import migrate
from storage.errors import DatabaseUnavailableError, DatabaseUrlError
from telemetry.log import configure, get_logger
from trunkline import embedded_bus
from trunkline.addresses import cannot_bind
from trunkline.agents_file import load_agents
from trunkline.children import Announcement
from trunkline.data_dir import keep_private, prepare
from trunkline.errors import UserError
from trunkline.listen import HostPort, SipListen
from trunkline.settings import Settings, did_you_mean, unknown_variables
from trunkline.sip_listeners import tls_files
from trunkline.stack import Stack
from trunkline.trunks_file import load_trunks
from trunkline.welcome import as_text

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
    trunks = load_trunks(settings.trunks, settings.secret)
    for name in unknown_variables():
        log.warning("settings.unknown_variable", name=name, hint=did_you_mean(name).lstrip("; "))
    prepare(settings.data_dir)
    _check_ports(settings)
    _check_certificates(settings)
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
        _tell(starting.result(), agents, trunks, settings, as_json=as_json)
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
    if settings.web_listen is not None:
        wanted.append((socket.SOCK_STREAM, settings.web_listen, "TRUNKLINE_WEB_LISTEN"))
    for kind, where, variable in wanted:
        if trouble := cannot_bind(kind, where.host, where.port):
            raise UserError(f"cannot listen on {where}: {trouble}; free it, or set {variable}")
    metrics = settings.metrics_listen
    if metrics is not None and metrics.port != 0:
        raise UserError(
            f"TRUNKLINE_METRICS_LISTEN={metrics}: the processes on one machine want a port each; "
            f"write {metrics._replace(port=0)}, and `trunkline status` shows them"
        )


def _check_certificates(settings: Settings) -> None:
    """Raises UserError."""
    try:
        TlsContexts(tls_files(settings))
    except TlsError as error:
        raise UserError(f"{error}; mend it, or TRUNKLINE_SIP_TLS_*") from error


def _tell(
    announcement: Announcement,
    agents: Agents,
    trunks: Trunks,
    settings: Settings,
    *,
    as_json: bool,
) -> None:
    password = announcement.pop("password", None)
    if as_json:
        sys.stdout.write(json.dumps(announcement) + "\n")
        if password is not None:
            sys.stderr.write(f"dashboard password: {password} (made now, shown only this once)\n")
    else:
        sys.stdout.write(as_text(announcement, agents, trunks, settings, password) + "\n")
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
