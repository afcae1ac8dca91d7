"""What `trunkline up` tells people once everything runs: what to dial, and who may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from calls.agent import Agents
from ingress_sip.signalling.routing import Transport
from ingress_sip.trunking.config import Trunks
from ingress_web.carriers.twiml import VOICE
from trunkline.addresses import reachable
from trunkline.children import Announcement
from trunkline.listen import HostPort, SipListen, parse_sip_listen
from trunkline.settings import Settings

#: A house may have hundreds of phones.
_SHOWN: Final = 6
#: A phone's audio is safe only if its signalling is; TCP lives through most NATs.
_BEST_FOR_PHONES: Final = ("tls", "tcp", "udp")


def as_text(
    announcement: Announcement,
    agents: Agents,
    trunks: Trunks,
    settings: Settings,
    password: str | None,
) -> str:
    """All of it; `password` is the dashboard's, if it was made just now."""
    listeners = parse_sip_listen(announcement["sip"])
    lines = [
        "Trunkline is up.",
        "",
        *_dialling(listeners, agents, trunks, settings),
        f"  Dashboard  {announcement['http']}",
        *_password(settings, password),
        *_web(announcement, settings),
        "",
        f"  Agents     {settings.agents}",
        f"  Listens    {', '.join(map(str, listeners))}",
        *_lines(listeners, trunks, settings),
        "  Ctrl-C stops it.",
    ]
    return "\n".join(lines)


def _dialling(
    listeners: tuple[SipListen, ...], agents: Agents, trunks: Trunks, settings: Settings
) -> Iterator[str]:
    """Which number to dial, and how, where whoever reads this may."""
    listen = next((each for each in listeners if each.transport == "udp"), listeners[0])
    user = f"{_a_number(agents)}@"
    uri = _uri(listen, _host(listen, settings), user)
    if trunks.policy.unknown_callers != "accept":
        yield f"  Dial       {uri}   (from a trunk, or a phone that is registered here)"
        return
    public = uri if settings.public_address else _uri(listen, "YOUR-PUBLIC-ADDRESS", user)
    yield f"  Dial       {uri}"
    yield f'  baresip    baresip -e "/dial {uri}"'
    yield f"  linphone   call {uri}   (in linphonec; in the app: dial it)"
    yield f"  Twilio     <Dial><Sip>{public}</Sip></Dial>, or a SIP trunk with that origination URI"


def _web(announcement: Announcement, settings: Settings) -> Iterator[str]:
    """What to write into a carrier's console, if carriers are listened for."""
    web = announcement.get("web")
    if web is None:
        return
    if settings.public_url is not None:
        yield f"  Twilio     the number's webhook: {settings.public_url}{VOICE}   (HTTP POST)"
    else:
        yield f"  Twilio     {web} needs a public name: start a tunnel or a proxy to it, and set"
        yield "             TRUNKLINE_PUBLIC_URL to that (docs/twilio.md)"
    if settings.twilio_auth_token is None and settings.stream_key is None:
        unsigned = settings.twilio_unsigned
        without = "unsigned webhooks from nearby are taken" if unsigned else "webhooks are refused"
        yield f"             without TRUNKLINE_TWILIO_AUTH_TOKEN {without}"


def _lines(listeners: tuple[SipListen, ...], trunks: Trunks, settings: Settings) -> Iterator[str]:
    """By which trunks and for which phones; and who else may call."""
    if trunks.trunks:
        names = _some(trunk.name for trunk in trunks.trunks)
        yield f"  Trunks     {names}   (`trunkline status` says how they are)"
    if trunks.phones is not None:
        listen = min(listeners, key=lambda each: _BEST_FOR_PHONES.index(each.transport))
        users = _some(user.name for user in trunks.phones.users)
        proxy = _uri(listen, _host(listen, settings))
        yield f"  Phones     {users}: register at {trunks.phones.realm}, by the proxy {proxy}"
    match trunks.policy.unknown_callers:
        case "accept" if settings.trunks is None:
            yield "  Callers    anybody; a file that TRUNKLINE_TRUNKS names would say who may"
        case "accept":
            yield f"  Callers    these, and anybody else, by {settings.trunks}"
        case _:
            yield f"  Callers    these alone, by {settings.trunks}"


def _password(settings: Settings, made: str | None) -> Iterator[str]:
    if made is not None:
        yield f"  Password   {made}   (made now, shown only this once)"
    elif settings.admin_password is None:
        yield "  Password   as shown on the first start; if it is lost, remove"
        yield f"             {settings.data_dir}/admin-password.hash and start anew"


def _a_number(agents: Agents) -> str:
    """Something to dial that the first agent answers."""
    first = agents.agents[0]
    plain = [number for number in first.numbers if not set(number) & set("*?[")]
    return plain[0] if plain else first.name


def _host(listen: SipListen, settings: Settings) -> str:
    return reachable(listen.host, settings.public_address)


def _uri(listen: SipListen, host: str, user: str = "") -> str:
    """What to dial, or to register at, for `listen` to be reached; `user` ends in an @."""
    transport = Transport(listen.transport)
    where = str(HostPort(host, listen.port)).removesuffix(f":{transport.default_port}")
    by = "" if transport is Transport.UDP else f";transport={transport}"
    return f"sip:{user}{where}{by}"


def _some(names: Iterable[str]) -> str:
    named = list(names)
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return ", ".join(named[:_SHOWN]) + more
