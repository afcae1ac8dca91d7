"""Bindings of phones: added, refreshed, removed; refused whole where RFC 3261 10.3 says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.registrar import Limits, Registrar
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri

SOURCE = Hop(Transport.UDP, "192.0.2.7", 40000, flow=1)
DESK = "<sip:alice@10.0.0.5:5060>"
SOFT = "<sip:alice@10.0.0.6:5060;transport=tcp>"


class Office:
    def __init__(self, **limits: int) -> None:
        self.registrar = Registrar(("alice", "bob"), Limits(**limits))
        self.now = 1000.0
        self.cseq = 0

    def register(
        self,
        *contacts: str,
        expires: str | None = None,
        cseq: int | None = None,
        call_id: str = "c",
        to: str = "alice",
        user: str = "alice",
        source: Hop = SOURCE,
        extra: tuple[tuple[str, str], ...] = (),
    ) -> list[str]:
        self.cseq = self.cseq + 1 if cseq is None else cseq
        headers = [
            ("To", f"<sip:{to}@example.com>"),
            ("Call-ID", call_id),
            ("CSeq", f"{self.cseq} REGISTER"),
            *(("Contact", each) for each in contacts),
            *([("Expires", expires)] if expires is not None else []),
            *extra,
        ]
        request = Request("REGISTER", SipUri.of("example.com"), headers=Headers(headers))
        answer = self.registrar.register(request, user, source, self.now)
        assert {name for name, _ in answer} <= {"Contact"}
        return [value for _, value in answer]

    def refused(self, *contacts: str, **what: Any) -> SipError:
        before = self.registrar.bindings("alice", self.now)
        with pytest.raises(SipError) as error:
            self.register(*contacts, **what)
        assert self.registrar.bindings("alice", self.now) == before  # all or nothing
        return error.value

    def contacts(self, user: str = "alice") -> list[str]:
        return [f"<{each.contact}>" for each in self.registrar.bindings(user, self.now)]


def test_a_phone_is_reached_where_its_register_came_from() -> None:
    office = Office()
    assert office.register(DESK) == [f"{DESK};expires=600"]
    (binding,) = office.registrar.bindings("alice", office.now)
    assert (str(binding.contact), binding.hop) == (DESK.strip("<>"), SOURCE)
    assert office.registrar.is_from("alice", SOURCE, office.now)
    assert not office.registrar.is_from("alice", SOURCE._replace(port=1), office.now)
    assert office.contacts("bob") == office.contacts("mallory") == []


def test_it_is_gone_when_its_time_is_over() -> None:
    office = Office()
    office.register(DESK, expires="60")
    office.now += 59
    assert office.contacts() == [DESK]
    office.now += 1
    assert office.contacts() == []
    assert not office.registrar.is_from("alice", SOURCE, office.now)
    assert office.register() == []


def test_several_phones_the_newest_first() -> None:
    office = Office()
    office.register(DESK)
    office.register(SOFT)
    assert office.contacts() == [SOFT, DESK]
    office.register(DESK)
    assert office.contacts() == [DESK, SOFT]
    assert len(office.register()) == 2  # a question: nothing changes


def test_removing_one_and_all() -> None:
    office = Office()
    office.register(DESK, SOFT)
    assert office.register(f"{DESK};expires=0") == [f"{SOFT};expires=600"]
    office.register(DESK)
    assert office.register("*", expires="0") == []
    assert not office.registrar.is_from("alice", SOURCE, office.now)


@pytest.mark.parametrize(
    ("contacts", "expires"), [(["*"], None), (["*"], "60"), (["*"], "x"), (["*", DESK], "0")]
)
def test_the_star_stands_alone_with_expires_0(contacts: list[str], expires: str | None) -> None:
    office = Office()
    office.register(DESK)
    assert office.refused(*contacts, expires=expires).status == 400


@pytest.mark.parametrize(
    ("params", "expires", "granted"),
    [
        ("", None, 600),
        ("", "120", 120),
        (";expires=90", "120", 90),
        (";expires=99999", None, 3600),
        (";expires=soon", None, 3600),
        (";q=0.5;expires=90", None, 90),
    ],
)
def test_for_how_long(params: str, expires: str | None, granted: int) -> None:
    assert Office().register(DESK + params, expires=expires) == [f"{DESK};expires={granted}"]


def test_too_short_a_time_is_refused_whole() -> None:
    error = Office().refused(SOFT, f"{DESK};expires=59")
    assert (error.status, error.headers) == (423, (("Min-Expires", "60"),))


def test_what_was_overtaken_fails() -> None:
    office = Office()
    office.register(DESK, cseq=5)
    assert office.refused(DESK, cseq=4).status == 400
    assert office.refused("*", expires="0", cseq=4).status == 400
    office.register(DESK, cseq=4, call_id="after a restart")
    assert office.contacts() == [DESK]


def test_a_copy_changes_nothing() -> None:
    office = Office()
    office.register(DESK, cseq=5)
    office.now += 10
    assert office.register(DESK, cseq=5) == [f"{DESK};expires=590"]


def test_the_same_contact_differently_written_is_one() -> None:
    office = Office()
    office.register("<sip:alice@EXAMPLE.com;transport=TCP>")
    office.register("<sip:alice@example.com;transport=tcp;line=2>")
    assert len(office.contacts()) == 1


def test_one_phone_too_many_takes_the_oldest_ones_place() -> None:
    office = Office(max_contacts=2)
    office.register(DESK)
    office.register(SOFT)
    office.register("<sip:alice@10.0.0.7>")
    assert office.contacts() == ["<sip:alice@10.0.0.7>", SOFT]
    assert office.refused(DESK, SOFT, "<sip:a@b>").status == 400


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ({"to": "bob"}, 403),
        ({"to": "mallory"}, 404),
        ({"extra": (("Path", "<sip:p.example.com;lr>"),)}, 420),
    ],
)
def test_who_may_not_register(what: dict[str, Any], status: int) -> None:
    assert Office().refused(DESK, **what).status == status


@pytest.mark.parametrize("contact", ["<tel:+4930>", "<http://x>", "<sip:", 'sip:a@b, "'])
def test_a_contact_that_cannot_be_called(contact: str) -> None:
    assert Office().refused(contact).status == 400


def test_a_connection_is_told_by_its_flow() -> None:
    office = Office()
    source = Hop(Transport.TLS, "192.0.2.7", 40000, flow=8)
    office.register(DESK, source=source)
    assert office.registrar.is_from("alice", source, office.now)
    assert not office.registrar.is_from("alice", source._replace(flow=9), office.now)


def test_a_phone_that_moves_is_no_longer_where_it_was() -> None:
    office = Office()
    office.register(DESK)
    office.register(DESK, source=SOURCE._replace(port=40001))
    assert not office.registrar.is_from("alice", SOURCE, office.now)


def test_bindings_outlast_a_restart() -> None:
    office = Office()
    office.register(DESK, expires="100")
    office.register(SOFT, expires="300")
    kept = json.loads(json.dumps(office.registrar.snapshot(office.now)))
    after = Office()
    after.now = 5.0
    after.registrar.restore(kept, after.now, age_s=150)
    assert after.contacts() == [SOFT]
    (binding,) = after.registrar.bindings("alice", after.now)
    assert binding.hop == SOURCE._replace(flow=0)
    assert binding.expires_at == 5 + 150
    nobody = Registrar(("carol",))
    nobody.restore(kept, 0, 0)
    assert nobody.bindings("alice", 0) == ()


@pytest.mark.parametrize("wrong", [[{}], [3], [{"user": "alice", "hop": [1], "contact": "x"}]])
def test_what_is_no_snapshot_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="no snapshot"):
        Registrar(("alice",)).restore(wrong, 0, 0)


contact_texts = st.sampled_from([DESK, SOFT, "*", f"{DESK};expires=0", "<sip:x>", '"', "<tel:1>"])


@given(st.lists(st.tuples(st.lists(contact_texts, max_size=3), st.integers(0, 5))))
def test_any_order_of_requests_leaves_sane_bindings(
    requests: list[tuple[list[str], int]],
) -> None:
    office = Office(max_contacts=2)
    for contacts, cseq in requests:
        try:
            answer = office.register(*contacts, cseq=cseq, expires="0" if "*" in contacts else None)
        except SipError:
            continue
        assert len(answer) == len({*office.contacts()}) == len(office.contacts()) <= 2
