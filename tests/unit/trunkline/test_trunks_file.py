"""A wrong trunks' file is refused with file, line and mend; the example is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkline.trunks_file import TrunksFileError, load_trunks, parse_trunks

EXAMPLE = Path(__file__).parents[3] / "trunks.example.yaml"


def secret(variable: str) -> str | None:
    return None if variable.startswith("UNSET") else "secret"


def test_the_example_says_what_it_says() -> None:
    trunks = load_trunks(EXAMPLE, secret)
    acme, carrier, pbx = trunks.trunks
    assert acme.registration
    assert (acme.target.host, acme.target.is_secure, acme.caller) == (
        "sip.acme.example", True, "+4930123456",
    )  # fmt: skip
    assert acme.numbers.rewrite("+4930") == "004930"
    assert (carrier.account, carrier.dials("+1"), carrier.caller) == (None, True, "+15550100")
    assert pbx.account
    assert (pbx.account.digest_user, pbx.dials("201"), pbx.dials("2011")) == ("agent", True, False)
    assert trunks.phones
    assert [user.name for user in trunks.phones.users] == ["alice", "201"]
    assert trunks.policy.unknown_callers == "silent"


def test_without_a_file_anybody_may_call() -> None:
    trunks = load_trunks(None, secret)
    assert (trunks.policy.unknown_callers, trunks.phones, trunks.trunks) == ("accept", None, ())


TRUNK = "trunks:\n  - name: a\n    uri: sip:a.example\n"
PHONES = "phones:\n  realm: a\n  users:\n    - {name: bob, password_env: A}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f.yaml:1: the file is empty; write `trunks:` and a list, `phones:` or `policy:`"),
        (
            TRUNK + "    registration: {user: b, password: c}\n",
            "f.yaml:4: trunks[0].registration.password_env: field required; add it",
        ),
        (
            TRUNK + "    registration: {user: b, password_env: 'my secret!'}\n",
            "f.yaml:4: trunks[0].registration.password_env: write the name of the variable that"
            " holds it, like ACME_PASSWORD",
        ),
        (
            TRUNK + "    registration:\n      user: b\n      password_env: UNSET_A\n",
            "f.yaml:6: trunks[0].registration.password_env: the environment has no UNSET_A; set it"
            " to the password",
        ),
        (
            PHONES + "    - {name: eve, password_env: UNSET_B}\n",
            "f.yaml:5: phones.users[1].password_env: the environment has no UNSET_B",
        ),
        (
            "trunks:\n  - name: a\n    uri: a.example\n",
            "f.yaml:3: trunks[0].uri: write sip:HOST, sip:HOST:PORT or sip:HOST;transport=tls",
        ),
        (
            "trunks:\n  - name: a\n    uri: sip:b@a.example\n",
            "f.yaml:3: trunks[0].uri: write the server alone; users go under",
        ),
        (
            TRUNK + "    allow: [198.51.100.1/24]\n",
            "f.yaml:4: trunks[0].allow: '198.51.100.1/24' is no network (it has host bits set)",
        ),
        (TRUNK + "    options_s: 1\n", "f.yaml:4: trunks[0].options_s: at least 5, or 0"),
        (TRUNK + "    codecs: []\n", "f.yaml:4: trunks[0].codecs: add at least one"),
        (TRUNK + "    register: {}\n", "f.yaml:4: trunks[0].register: no such key; did you mean"),
        (
            TRUNK + "  - name: a\n    uri: sip:b\n",
            "f.yaml:4: a trunk on line 2 is named 'a' too; rename one",
        ),
        (
            PHONES + "    - {name: bob, password_env: A}\n",
            "f.yaml:5: a user on line 4 is named 'bob' too; rename one",
        ),
        (
            TRUNK + "    inbound_auth: {user: bob, password_env: A}\n" + PHONES,
            "f.yaml:1: the file: two may call as 'bob'; rename one",
        ),
        (PHONES + "  default_s: 10\n", "f.yaml:1: phones: min_s, default_s and max_s have to rise"),
        ("policy:\n  unknown_callers: ask\n", "f.yaml:2: policy.unknown_callers: input should be"),
        (
            "policy:\n  max_calls_per_number: {100: 2}\n",
            "f.yaml:2: policy.max_calls_per_number",
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_mend(text: str, expected: str) -> None:
    with pytest.raises(TrunksFileError) as refused:
        parse_trunks(text, secret, "f.yaml")
    assert str(refused.value).startswith(expected)


def test_a_password_written_into_the_file_is_not_shown() -> None:
    with pytest.raises(TrunksFileError) as refused:
        parse_trunks(
            TRUNK + "    registration: {user: b, password_env: 'my secret!', password: hush}\n",
            secret,
        )
    assert "my secret" not in str(refused.value)
    assert "hush" not in str(refused.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrunksFileError, match="no such file; name yours with TRUNKLINE_TRUNKS"):
        load_trunks(tmp_path / "absent.yaml", secret)
