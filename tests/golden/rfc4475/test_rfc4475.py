"""RFC 4475: every message of *SIP Torture Test Messages* is read and answered as its text asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingress_sip.signalling.digest import DigestServer, new_key, passwords
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.parse import MalformedRequestError, parse_datagram
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.stream import StreamReader
from tests.support.torture import Torture, check, register, torture_messages

PEER = Hop(Transport.UDP, "192.0.2.99", 5060)
MESSAGES = torture_messages(Path(__file__).parent)
DATA = {torture.name: torture.data for torture in MESSAGES}
REGISTERS = [torture for torture in MESSAGES if torture.registrar is not None]


@pytest.mark.parametrize("torture", MESSAGES, ids=lambda torture: torture.name)
def test_a_torture_message_is_answered_as_the_rfc_asks(torture: Torture) -> None:
    check(torture, PEER)


@pytest.mark.parametrize("torture", REGISTERS, ids=lambda torture: torture.name)
def test_a_registrar_does_as_the_rfc_asks(torture: Torture) -> None:
    wanted = torture.registrar
    assert register(torture, PEER) == (sorted(wanted) if isinstance(wanted, list) else wanted)


def test_an_authorization_of_an_unknown_scheme_is_none() -> None:
    """3.3.7: "reject [it] with a 401, issuing a new challenge with a scheme it understands"."""
    request = parse_datagram(DATA["regaut01"])
    assert isinstance(request, Request)
    users = passwords("example.com", [("j.user", "secret")])
    server = DigestServer("example.com", users, key=new_key(lambda: "k"), tokens=lambda: "t")
    with pytest.raises(SipError) as caught:
        server.verify(request, PEER.host, 0.0)
    assert caught.value.status == 401
    challenges = dict(caught.value.headers)
    assert challenges["WWW-Authenticate"].startswith("Digest ")


def test_a_body_that_is_too_short_is_waited_for_on_a_stream() -> None:
    """3.1.2.2: "not much the receiving party could do but wait for more data"."""
    reader = StreamReader()
    assert list(reader.feed(DATA["clerr"])) == []
    assert reader.is_mid_message
    body = DATA["clerr"].partition(b"\r\n\r\n")[2]
    [message] = reader.feed(bytes(9999 - len(body)))
    assert isinstance(message, bytes)
    assert message.startswith(DATA["clerr"])


@pytest.mark.parametrize("name", ["ncl", "mcl01"])
def test_a_stream_that_cannot_be_framed_is_over(name: str) -> None:
    """3.1.2.3, 3.3.9: "the framing error is not recoverable"; the 400 goes before."""
    reader = StreamReader()
    for data in (DATA[name], DATA["zeromf"]):
        with pytest.raises(MalformedRequestError) as caught:
            list(reader.feed(data))
        assert caught.value.status == 400
