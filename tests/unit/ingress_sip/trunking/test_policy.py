"""Who calls, how they prove it, and what they are told who may not."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.signalling.digest import Credentials, DigestClient
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import parse_uri
from ingress_sip.trunking.config import OPEN, Trunks
from ingress_sip.trunking.policy import Admitted, Policy, SilenceError

STRANGER = "203.0.113.99"
PHONES = {"realm": "example.com", "users": [{"name": "alice", "password_env": "ALICE"}]}
PBX = {"name": "pbx", "uri": "sip:pbx", "inbound_auth": {"user": "pbx", "password_env": "PBX"}}


def trunk(name: str, *allow: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "uri": f"sip:{name}.example", "allow": list(allow), **more}


class Gate:
    def __init__(
        self,
        *trunks: dict[str, Any],
        phones: dict[str, Any] | None = None,
        unknown: str = "reject",
        per_number: dict[str, int] | None = None,
    ) -> None:
        rules = {"unknown_callers": unknown, "max_calls_per_number": per_number or {}}
        config = Trunks.model_validate({"trunks": trunks, "phones": phones, "policy": rules})
        self.numbers = count()
        self.policy = Policy(config, lambda variable: f"password of {variable}", self.token)
        self.now = 0.0

    def token(self) -> str:
        return f"t{next(self.numbers)}"

    def call(
        self,
        host: str = STRANGER,
        *,
        number: str = "100",
        caller: str = "sip:+49@elsewhere.example",
        to: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        transport: Transport = Transport.UDP,
        method: str = "INVITE",
    ) -> Request:
        self.source = Hop(transport, host, 5060, 4)
        fields = [
            ("From", f"<{caller}>"),
            ("To", f"<{to or f'sip:{number}@us'}>"),
            ("Call-ID", self.token()),
            ("CSeq", f"1 {method}"),
            ("Contact", "<sip:phone@10.0.0.1>"),
            *headers,
        ]
        return Request(method, parse_uri(f"sip:{number}@us"), headers=Headers(fields))

    def admit(self, host: str = STRANGER, **what: Any) -> Admitted:
        return self.policy.admit(self.call(host, **what), self.source, self.now)

    def refused(self, host: str = STRANGER, **what: Any) -> SipError:
        with pytest.raises(SipError) as error:
            self.admit(host, **what)
        return error.value

    def prove(self, user: str, variable: str, host: str = STRANGER, **what: Any) -> Admitted:
        """Call, and answer the challenge."""
        client = DigestClient(Credentials(user, f"password of {variable}"), self.token)
        error = self.refused(host, **what)
        assert error.status == 401
        assert client.challenged(Headers(error.headers))
        return self.admit(host, **what, headers=client.headers("INVITE", "sip:100@us", b""))

    def register(self, to: str = "sip:alice@example.com", **what: Any) -> tuple[Any, ...]:
        request = self.call(to=to, method="REGISTER", **what)
        return self.policy.register(request, self.source, self.now)

    def registered(self, **what: Any) -> None:
        client = DigestClient(Credentials("alice", "password of ALICE"), self.token)
        with pytest.raises(SipError) as error:
            self.register(**what)
        client.challenged(Headers(error.value.headers))
        answer = self.register(**what, headers=client.headers("REGISTER", "sip:100@us", b""))
        assert answer == (("Contact", "<sip:phone@10.0.0.1>;expires=600"),)


def names(admitted: Admitted) -> tuple[str | None, str | None, str]:
    return (admitted.trunk and admitted.trunk.name, admitted.user, admitted.number)


def test_without_a_file_anybody_may_call_and_nobody_register() -> None:
    gate = Gate()
    gate.policy = Policy(OPEN, lambda _: None, gate.token)
    assert names(gate.admit()) == (None, None, "100")
    with pytest.raises(SipError) as error:
        gate.register()
    assert error.value.status == 405


def test_the_longest_network_says_which_trunk() -> None:
    gate = Gate(
        trunk("wide", "192.0.2.0/24"),
        trunk("narrow", "192.0.2.128/25"),
        trunk("six", "2001:db8::/32"),
    )
    gate.policy.addresses.resolved("wide", ["192.0.2.200"])
    for host, name in (
        ("192.0.2.1", "wide"),
        ("192.0.2.199", "narrow"),
        ("192.0.2.200", "wide"),
        ("2001:db8::7", "six"),
        ("::ffff:192.0.2.1", "wide"),
    ):
        assert names(gate.admit(host)) == (name, None, "100")
        assert gate.policy.is_trunk(host)
    for host in (STRANGER, "2001:db9::", "no address"):
        assert gate.refused(host).status == 403
        assert not gate.policy.is_trunk(host)
    gate.policy.addresses.resolved("wide", [])
    assert names(gate.admit("192.0.2.200")) == ("narrow", None, "100")


def test_of_trunks_at_one_address_the_registration_that_is_called() -> None:
    account = {"user": "100", "password_env": "A"}
    gate = Gate(trunk("a", "192.0.2.7"), trunk("b", "192.0.2.7", registration=account))
    assert names(gate.admit("192.0.2.7")) == ("b", None, "100")
    assert names(gate.admit("192.0.2.7", number="200")) == ("a", None, "200")


@pytest.mark.parametrize(
    ("where", "number"), [("request", "100"), ("to", "+4930"), ("p-called-party-id", "+4931")]
)
def test_each_trunk_names_the_number_in_its_own_way(where: str, number: str) -> None:
    gate = Gate(trunk("a", "192.0.2.7", called_in=where))
    headers = (("P-Called-Party-ID", "<sip:+4931@us>"),)
    assert gate.admit("192.0.2.7", to="tel:+4930", headers=headers).number == number
    if where == "p-called-party-id":
        assert gate.admit("192.0.2.7").number == "100"


def test_a_trunk_with_a_password_proves_itself_from_anywhere() -> None:
    gate = Gate(PBX)
    assert names(gate.prove("pbx", "PBX")) == ("pbx", None, "100")
    assert gate.refused("192.0.2.7").status == 401


def test_a_trunk_with_both_needs_both() -> None:
    gate = Gate({**PBX, "allow": ["192.0.2.7"]}, trunk("other", "192.0.2.8"), phones=PHONES)
    assert names(gate.prove("pbx", "PBX", "192.0.2.7")) == ("pbx", None, "100")
    with pytest.raises(SipError, match="403"):
        gate.prove("pbx", "PBX")
    with pytest.raises(SipError, match="403"):
        gate.prove("alice", "ALICE", "192.0.2.7")


def test_a_phone_proves_itself_by_its_password() -> None:
    gate = Gate(phones=PHONES)
    assert names(gate.prove("alice", "ALICE")) == (None, "alice", "100")
    with pytest.raises(SipError, match="401"):
        gate.prove("alice", "wrong")


def test_md5_alone_is_offered_unless_the_file_says_otherwise() -> None:
    gate = Gate(phones=PHONES)
    assert ["algorithm=MD5" in value for _, value in gate.refused().headers] == [True]
    rules = {"digest": ["SHA-256", "MD5"]}
    config = Trunks.model_validate({"phones": PHONES, "policy": rules})
    gate.policy = Policy(config, lambda _: "secret", gate.token)
    assert ["algorithm=MD5" in value for _, value in gate.refused().headers] == [False, True]


def test_a_connection_that_registered_is_proof_and_a_datagram_is_not() -> None:
    gate = Gate(phones=PHONES, unknown="accept")
    us = "sip:alice@10.0.0.9"
    gate.registered(transport=Transport.TCP)
    assert names(gate.admit(caller=us, transport=Transport.TCP)) == (None, "alice", "100")
    assert names(gate.admit(transport=Transport.TCP)) == (None, None, "100")
    gate.registered()
    assert gate.refused(caller=us).status == 401
    assert names(gate.prove("alice", "ALICE", caller=us)) == (None, "alice", "100")


def test_strangers_are_let_in_but_not_as_somebody_of_ours() -> None:
    gate = Gate(phones=PHONES, unknown="accept")
    assert names(gate.admit()) == (None, None, "100")
    assert names(gate.admit(caller="sip:alice@elsewhere.example")) == (None, None, "100")
    assert names(gate.prove("alice", "ALICE", caller="sip:alice@EXAMPLE.com")) == (
        None, "alice", "100",
    )  # fmt: skip


def test_who_does_not_know_our_name_hears_nothing() -> None:
    gate = Gate(phones={**PHONES, "domains": ["[2001:db8::1]"]}, unknown="silent")
    for caller in ("sip:alice@192.0.2.1", "sip:x@elsewhere.example", "tel:+49", "urn:x"):
        with pytest.raises(SilenceError):
            gate.admit(caller=caller)
        with pytest.raises(SilenceError):
            gate.register(to=caller)
    # Nor does an answer help that nothing was asked for.
    invented = 'Digest username="alice",realm="example.com",nonce="n",uri="sip:100@us",response="0"'
    with pytest.raises(SilenceError):
        gate.admit(headers=(("Authorization", invented),))
    # Whoever knows it learns nothing of our users.
    for caller in ("sip:alice@example.com", "sip:mallory@example.com", "sip:m@[2001:db8::1]"):
        assert gate.refused(caller=caller).status == 401
        with pytest.raises(SipError, match="401"):
            gate.register(to=caller)
    gate.registered()


def test_nobody_is_challenged_where_nobody_could_answer() -> None:
    assert Gate(unknown="reject").refused().status == 403
    with pytest.raises(SilenceError):
        Gate(unknown="silent").admit()


def test_a_trunk_cannot_register_as_a_phone() -> None:
    gate = Gate(PBX, phones=PHONES)
    client = DigestClient(Credentials("pbx", "password of PBX"), gate.token)
    with pytest.raises(SipError) as error:
        gate.register()
    client.challenged(Headers(error.value.headers))
    with pytest.raises(SipError, match="403"):
        gate.register(headers=client.headers("REGISTER", "sip:100@us", b""))


def test_a_full_trunk_says_when_to_come_again() -> None:
    gate = Gate(trunk("a", "192.0.2.7", max_calls=2))
    lines = gate.policy.lines
    admitted = gate.admit("192.0.2.7")
    lines.take(admitted.line)
    lines.take(admitted.line._replace(direction="outbound", number=""))
    error = gate.refused("192.0.2.7")
    assert (error.status, error.headers) == (503, (("Retry-After", "10"),))
    lines.free(admitted.line)
    gate.admit("192.0.2.7")


def test_a_number_that_is_full_is_busy() -> None:
    gate = Gate(unknown="accept", per_number={"10?": 1, "*": 2})
    gate.policy.lines.take(gate.admit().line)
    error = gate.refused(number="101")
    assert (error.status, error.headers) == (486, (("Retry-After", "10"),))
    gate.admit(number="200")


texts = st.text(st.characters(exclude_characters="\r\n"), max_size=60)


@given(texts, texts, texts.map("Digest ".__add__) | texts, st.sampled_from(["reject", "silent"]))
def test_whatever_is_sent_raises_only_the_peers_error(
    caller: str, called: str, credentials: str, unknown: str
) -> None:
    gate = Gate(
        trunk("a", STRANGER, called_in="p-called-party-id"), PBX, phones=PHONES, unknown=unknown
    )
    for host in (STRANGER, "192.0.2.7"):
        headers = (("P-Called-Party-ID", called), ("Authorization", credentials))
        for ask in (gate.admit, gate.register):
            with suppress(SipError):
                ask(host=host, caller=f"sip:{caller}", to=f"sip:{called}", headers=headers)
