"""Digest both ways: published examples, what is refused and how, and a client against a server."""

from __future__ import annotations

import hmac
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingress_sip.signalling.digest import Credentials, DigestClient, DigestServer, passwords
from ingress_sip.signalling.digest_fields import Algorithm, Answer, Challenge, ha1_of
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.uri import parse_uri

HERE = "192.0.2.7"
URI = "sip:bob@example.com"
AUTH = {"qop": "auth", "nc": 1, "cnonce": "0a4f113b"}
SIP = ("bob", "biloxi.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "sip:bob@biloxi.com")
HTTP = ("Mufasa", "http-auth@example.org", "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v")
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("answer", "method", "password", "response"),
    [
        pytest.param(
            Answer(*HTTP, "/dir/index.html", algorithm=algorithm, qop="auth", nc=1, cnonce=CNONCE),
            "GET", "Circle of Life", response, id=f"RFC 7616 3.9.1 {algorithm}",
        )
        for algorithm, response in (
            (Algorithm.MD5, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                Algorithm.SHA_256,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        )
    ]
    + [
        pytest.param(
            Answer("Mufasa", "testrealm@host.com", SIP[2], "/dir/index.html", **AUTH),
            "GET", "Circle Of Life", "6629fae49393a05397450978507c4ef1", id="RFC 2617 3.5",
        ),
        # draft-smith-sipping-auth-examples-01, 3.1 to 3.5
        pytest.param(
            Answer(*SIP), "INVITE", "zanzibar", "bf57e4e0d0bffc0fbaedce64d59add5e", id="RFC 2069",
        ),
        pytest.param(
            Answer(*SIP, **AUTH),
            "INVITE", "zanzibar", "89eb0059246c02b2f6ee02c7961d5ea3", id="SIP qop=auth",
        ),
        pytest.param(
            Answer(*SIP, **AUTH, algorithm=Algorithm.MD5_SESS),
            "INVITE", "zanzibar", "e4e4ea61d186d07a92c9e1f6919902e9", id="SIP MD5-sess",
        ),
    ],
)  # fmt: skip
def test_published_examples(answer: Answer, method: str, password: str, response: str) -> None:
    ha1 = ha1_of(answer.algorithm.base, answer.username, answer.realm, password)
    assert answer.expected(ha1, method) == response


def test_auth_int_takes_in_the_body() -> None:
    answer = Answer(*SIP, qop="auth-int", nc=1, cnonce="0a4f113b")
    ha1 = ha1_of(Algorithm.MD5, "bob", "biloxi.com", "zanzibar")
    assert answer.expected(ha1, "INVITE", b"\xff") != answer.expected(ha1, "INVITE", b"")


def test_fields_are_read_as_they_are_written() -> None:
    challenge = Challenge('a "realm"\\', "n", Algorithm.SHA_256, ("auth", "auth-int"), "o", True)
    assert Challenge.parse(str(challenge)) == challenge
    answer = Answer('b"o\\b', "r", "n", URI, "0f", Algorithm.MD5_SESS, "auth", 10, "c", "o")
    assert Answer.parse(str(answer)) == answer
    assert "qop=auth, nc=0000000a" in str(answer)  # RFC 3261 22.4: these are not quoted


def test_careless_peers_are_understood() -> None:
    text = '  digest  NONCE=abc ,realm = "r" ,, Qop="auth,auth-int" , stale=TRUE,new="x,y=z"'
    assert Challenge.parse(text) == Challenge("r", "abc", qop=("auth", "auth-int"), stale=True)
    assert Challenge.parse('Digest realm="r", nonce="n"') == Challenge("r", "n", qop=())


@pytest.mark.parametrize(
    "text", ['Basic realm="r"', "", "Digest", 'Digest realm="r", nonce="n", algorithm=SHA-512-256']
)
def test_what_we_do_not_speak_is_nothing(text: str) -> None:
    assert Challenge.parse(text) is None


GOOD = 'Digest username="bob", realm="r", nonce="n", uri="sip:b@c", response="0"'


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("username", "user"),
        GOOD + ', realm="other"',
        GOOD + ", qop=auth, nc=00000001",
        GOOD + ", qop=auth, cnonce=c",
        GOOD + ", qop=auth, nc=1, cnonce=c",
        GOOD + ", qop=auth, nc=0000000g, cnonce=c",
        GOOD + ", algorithm=MD5-sess",
        GOOD + ', x="',
        GOOD + ', x=a"b',
        GOOD + ", x",
        GOOD + ", " + "x" * 5000 + "=1",
        GOOD + "".join(f", x{n}=1" for n in range(40)),
    ],
)
def test_malformed_answers_are_the_peers_mistake(text: str) -> None:
    assert Answer.parse(GOOD)
    with pytest.raises(SipError) as error:
        Answer.parse(text)
    assert error.value.status == 400


@given(st.text(max_size=200).map("Digest ".__add__) | st.text(max_size=50))
@example('Digest a="\\')
@example('Digest "a"="b"')
@example("Digest <a=b")
def test_any_text_raises_only_the_peers_error(text: str) -> None:
    for parse in (Challenge.parse, Answer.parse):
        with suppress(SipError):
            parse(text)


names = st.text(st.characters(exclude_characters="\r\n"), max_size=20)


@given(names, names, names, st.sampled_from(Algorithm))
def test_what_is_written_is_read_again(
    user: str, realm: str, nonce: str, algorithm: Algorithm
) -> None:
    answer = Answer(user, realm, nonce, URI, "00", algorithm, "auth", 7, "c")
    assert Answer.parse(str(answer)) == answer


class Doors:
    """A server, and a client before it."""

    def __init__(self, password: str = "secret", **options: Any) -> None:
        self.numbers = count()
        users = passwords("example.com", [("bob", "secret"), ("eve", "other")])
        self.server = DigestServer(
            "example.com",
            users,
            key=b"k",
            tokens=self.token,
            **options,
        )
        self.client = DigestClient(Credentials("bob", password), self.token)

    def token(self) -> str:
        return f"t{next(self.numbers)}"

    def request(self, headers: tuple[tuple[str, str], ...] = (), uri: str = URI) -> Request:
        return Request("INVITE", parse_uri(uri), headers=Headers(headers))

    def ask(self, now: float = 0.0, source: str = HERE, uri: str = URI) -> str:
        return self.server.verify(
            self.request(self.client.headers("INVITE", uri, b""), uri), source, now
        )

    def refused(self, now: float = 0.0, source: str = HERE, uri: str = URI) -> Headers:
        with pytest.raises(SipError) as error:
            self.ask(now, source, uri)
        assert error.value.status == 401
        return Headers(error.value.headers)


def challenges(headers: Headers) -> list[Challenge]:
    found = [Challenge.parse(value) for value in headers.get_all("WWW-Authenticate")]
    return [each for each in found if each]


def test_a_client_is_let_in_by_the_strongest_algorithm() -> None:
    doors = Doors()
    headers = doors.refused()
    assert [(each.algorithm, each.qop, each.stale) for each in challenges(headers)] == [
        (Algorithm.SHA_256, ("auth",), False),
        (Algorithm.MD5, ("auth",), False),
    ]
    assert doors.client.challenged(headers)
    sent = dict(doors.client.headers("INVITE", URI, b""))
    assert "algorithm=SHA-256" in sent["Authorization"]
    assert doors.ask() == "bob"


def test_later_requests_carry_their_answer_at_once() -> None:
    doors = Doors()
    doors.client.challenged(doors.refused())
    assert [doors.ask(now=n) for n in range(5)] == ["bob"] * 5


@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_algorithm_is_taken(algorithm: Algorithm) -> None:
    doors = Doors()
    nonce = challenges(doors.refused())[0].nonce
    challenge = Challenge("example.com", nonce, algorithm)
    assert doors.client.challenged(Headers([("WWW-Authenticate", str(challenge))]))
    assert doors.ask() == "bob"


def test_an_answer_without_qop_is_good_once() -> None:
    doors = Doors()
    challenge = Challenge("example.com", challenges(doors.refused())[0].nonce, qop=())
    doors.client.challenged(Headers([("WWW-Authenticate", str(challenge))]))
    assert doors.ask() == "bob"
    assert challenges(doors.refused())[0].stale


def test_an_old_nonce_is_stale_and_the_client_takes_a_new_one() -> None:
    doors = Doors(life_s=10)
    doors.client.challenged(doors.refused(now=0))
    assert doors.ask(now=9.9) == "bob"
    headers = doors.refused(now=10)
    assert all(each.stale for each in challenges(headers))
    assert doors.client.challenged(headers)
    assert doors.ask(now=10) == "bob"


def test_a_wrong_password_is_refused_once_and_for_all() -> None:
    doors = Doors(password="wrong")
    assert doors.client.challenged(doors.refused())
    headers = doors.refused()
    assert not any(each.stale for each in challenges(headers))
    assert not doors.client.challenged(headers)
    assert doors.client.headers("INVITE", URI, b"") == ()  # a later attempt begins anew


def test_a_used_nonce_that_is_refused_without_stale_may_have_run_out() -> None:
    doors = Doors()
    client = doors.client
    for nonce, again in (("1", True), ("2", True), ("3", False)):
        headers = Headers([("Proxy-Authenticate", str(Challenge("r", nonce)))])
        assert client.challenged(headers) is again
        if nonce == "1":
            client.headers("INVITE", URI, b"")
        client.headers("INVITE", URI, b"")


def test_a_server_that_finds_all_stale_is_given_up() -> None:
    client = Doors().client
    headers = Headers([("WWW-Authenticate", str(Challenge("r", "n", stale=True)))])
    tries = 0
    while tries < 10 and client.challenged(headers):
        client.headers("INVITE", URI, b"")
        tries += 1
    assert 1 < tries < 6


def test_proxy_and_server_are_both_answered() -> None:
    client = Doors().client
    assert client.challenged(Headers([("Proxy-Authenticate", str(Challenge("p", "1")))]))
    client.headers("INVITE", URI, b"")
    assert client.challenged(Headers([("WWW-Authenticate", str(Challenge("s", "2")))]))
    sent = dict(client.headers("INVITE", URI, b""))
    assert 'realm="p"' in sent["Proxy-Authorization"]
    assert "nc=00000002" in sent["Proxy-Authorization"]
    assert 'realm="s"' in sent["Authorization"]


def test_only_the_realm_that_the_credentials_name_is_answered() -> None:
    client = DigestClient(Credentials("bob", "secret", "mine"), lambda: "c")
    assert not client.challenged(Headers([("WWW-Authenticate", str(Challenge("r", "n")))]))
    assert client.challenged(Headers([("WWW-Authenticate", str(Challenge("mine", "n")))]))


@pytest.mark.parametrize(
    "value", ["Basic x", 'Digest realm="r"', str(Challenge("r", "n", qop=("x",)))]
)
def test_a_challenge_that_cannot_be_answered(value: str) -> None:
    assert not Doors().client.challenged(Headers([("WWW-Authenticate", value)]))
    good = ("WWW-Authenticate", str(Challenge("r", "n")))
    assert Doors().client.challenged(Headers([("WWW-Authenticate", value), good]))


def test_auth_int_is_answered_where_nothing_else_is_offered() -> None:
    client = Doors().client
    client.challenged(Headers([("WWW-Authenticate", str(Challenge("r", "n", qop=("auth-int",))))]))
    first = dict(client.headers("INVITE", URI, b"a"))["Authorization"]
    assert "qop=auth-int" in first


def test_a_copy_is_not_taken_again_and_disorder_is() -> None:
    doors = Doors()
    doors.client.challenged(doors.refused())
    sent = [doors.client.headers("INVITE", URI, b"") for _ in range(70)]

    def verify(index: int) -> str:
        return doors.server.verify(doors.request(sent[index]), HERE, 0)

    assert verify(2) == verify(0) == verify(1) == "bob"
    for index in (0, 1, 2):
        with pytest.raises(SipError):
            verify(index)
    assert verify(69) == "bob"
    assert verify(6) == "bob"
    with pytest.raises(SipError):
        verify(5)  # 64 back: no longer known


def test_a_count_that_leaps_costs_nothing() -> None:
    doors = Doors()
    nonce = challenges(doors.refused())[0].nonce

    def verify(nc: int) -> str:
        answer = Answer("bob", "example.com", nonce, URI, qop="auth", nc=nc, cnonce="c")
        response = answer.expected(ha1_of(Algorithm.MD5, "bob", "example.com", "secret"), "INVITE")
        field = str(answer).replace('response=""', f'response="{response}"')
        return doors.server.verify(doors.request((("Authorization", field),)), HERE, 0)

    assert verify(0xFFFFFFFF) == "bob"
    for nc in (1, 0):
        with pytest.raises(SipError):
            verify(nc)


def test_nonces_are_of_one_source_and_of_ours() -> None:
    doors = Doors()
    doors.client.challenged(doors.refused())
    assert challenges(doors.refused(source="192.0.2.8"))[0].stale
    forged = Headers([("WWW-Authenticate", str(Challenge("example.com", "0.t0.00")))])
    client = doors.client = DigestClient(Credentials("bob", "secret"), doors.token)
    client.challenged(forged)
    assert challenges(doors.refused())[0].stale


def test_whoever_makes_up_nonces_cannot_guess() -> None:
    """Nor with those of others, or with old ones: the answer says nothing of the password."""
    said = []
    for name, password in (("bob", "secret"), ("bob", "wrong"), ("mallory", "secret")):
        doors = Doors(life_s=10)
        for nonce_of, asked_at in ((None, 0.0), ("192.0.2.8", 0.0), (HERE, 10.0)):
            doors.client = DigestClient(Credentials(name, password), doors.token)
            if nonce_of is None:
                forged = str(Challenge("example.com", "0.t0.00"))
                doors.client.challenged(Headers([("WWW-Authenticate", forged)]))
            else:
                doors.client.challenged(doors.refused(source=nonce_of))
            with pytest.raises(SipError) as error:
                doors.ask(now=asked_at)
            assert type(error.value) is SipError  # no guess to be counted
            headers = Headers(error.value.headers)
            said.append([(each.algorithm, each.stale) for each in challenges(headers)])
    assert said == [[(Algorithm.SHA_256, True), (Algorithm.MD5, True)]] * 9


@pytest.mark.parametrize("nonce", ["", ".", "..", "x.y.z", "\udcff.é.\udcff"])
def test_a_nonce_may_be_anything(nonce: str) -> None:
    doors = Doors()
    doors.client.challenged(Headers([("WWW-Authenticate", str(Challenge("example.com", nonce)))]))
    doors.refused()


def test_memory_is_bounded_and_what_is_forgotten_is_stale() -> None:
    doors = Doors(max_nonces=2)
    clients = []
    for now in (1, 2, 3):
        doors.client = DigestClient(Credentials("bob", "secret"), doors.token)
        doors.client.challenged(doors.refused(now))
        assert doors.ask(now) == "bob"
        clients.append(doors.client)
    doors.client = clients[0]
    assert challenges(doors.refused(3))[0].stale
    doors.client = clients[2]
    assert doors.ask(3) == "bob"


def test_strangers_and_wrong_passwords_are_told_the_same() -> None:
    said = []
    for name, password in (("bob", "wrong"), ("mallory", "secret")):
        doors = Doors()
        doors.client = DigestClient(Credentials(name, password), doors.token)
        doors.client.challenged(doors.refused())
        said.append([(each.algorithm, each.stale) for each in challenges(doors.refused())])
    assert said[0] == said[1]


@pytest.mark.parametrize("algorithm", [Algorithm.MD5, Algorithm.SHA_256])
def test_strangers_and_wrong_passwords_cost_the_same(
    algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is computed and compared, whole and in constant time: a clock would prove little."""
    done: list[list[tuple[str, int]]] = []
    hash_of, same = Algorithm.hash, hmac.compare_digest

    def hashed(self: Algorithm, text: str) -> str:
        done[-1].append((self.name, len(text)))
        return hash_of(self, text)

    def compared(one: bytes, other: bytes) -> bool:
        done[-1].append(("compared", len(one)))
        return same(one, other)

    for name in ("bob", "ann"):  # of a length, which the sender chose; there is no ann
        doors = Doors(algorithms=(algorithm,))
        doors.client = DigestClient(Credentials(name, "wrong"), doors.token)
        doors.client.challenged(doors.refused())
        with monkeypatch.context() as patched:
            done.append([])
            patched.setattr(Algorithm, "hash", hashed)
            patched.setattr(hmac, "compare_digest", compared)
            doors.refused()
    assert done[0] == done[1]
    assert [kind for kind, _ in done[0]].count("compared") == 2


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ("sip:bob@EXAMPLE.com:5060;transport=udp", None),
        ("sips:bob@example.com", None),
        ("sip:b%6Fb@example.com", None),
        ("sip:alice@example.com", 400),
        ("sip:bob@example.org", 400),
        ("sip:example.com", 400),
        ("nonsense", 400),
    ],
)
def test_the_answer_is_for_this_uri(written: str, status: int | None) -> None:
    doors = Doors()
    doors.client.challenged(doors.refused())
    request = doors.request(doors.client.headers("INVITE", written, b""))
    if status is None:
        assert doors.server.verify(request, HERE, 0) == "bob"
        return
    with pytest.raises(SipError) as error:
        doors.server.verify(request, HERE, 0)
    assert error.value.status == status


def test_the_answer_is_for_this_method() -> None:
    doors = Doors()
    doors.client.challenged(doors.refused())
    request = doors.request(doors.client.headers("REGISTER", URI, b""))
    with pytest.raises(SipError) as error:
        doors.server.verify(request, HERE, 0)
    assert error.value.status == 401


def test_what_was_not_offered_is_not_taken() -> None:
    doors = Doors(algorithms=(Algorithm.SHA_256,))
    (challenge,) = challenges(doors.refused())
    weaker = Challenge("example.com", challenge.nonce, Algorithm.MD5)
    doors.client.challenged(Headers([("WWW-Authenticate", str(weaker))]))
    doors.refused()


def test_our_realm_is_found_among_others() -> None:
    doors = Doors()
    doors.client.challenged(doors.refused())
    ours = doors.client.headers("INVITE", URI, b"")
    others = (("Authorization", "Bearer x"), ("Authorization", GOOD), *ours)
    assert doors.server.verify(doors.request(others), HERE, 0) == "bob"
    with pytest.raises(SipError) as error:
        doors.server.verify(doors.request(others * 10), HERE, 0)
    assert error.value.status == 400


def test_credentials_do_not_show_their_password() -> None:
    assert "secret" not in repr(Credentials("bob", "secret"))
