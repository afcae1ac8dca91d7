from __future__ import annotations

import pytest

from ingress_web.forms import MAX_BODY, MAX_FIELDS, FormError, check_type, is_plain, read_form


def test_a_form_is_read_with_blanks_and_repetitions() -> None:
    form = read_form(b"A=1&B=&A=%2B2+3&C=%C3%A9")
    assert form.getall("A") == ["1", "+2 3"]
    assert form["B"] == ""
    assert form["C"] == "é"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"A=%FF", 400),
        (b"A=%ED%A0%80", 400),  # half of a surrogate pair
        (b"A=\xc3\xa9", 400),
        (b"&".join(b"a=1" for _ in range(MAX_FIELDS + 1)), 400),
        (b"A=" + b"x" * MAX_BODY, 413),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(FormError) as refused:
        read_form(body)
    assert refused.value.status == status


@pytest.mark.parametrize(
    "written",
    [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        'Application/X-WWW-Form-URLEncoded;charset="utf-8"',
    ],
)
def test_forms_are_read_in_utf_8(written: str) -> None:
    check_type(written)


@pytest.mark.parametrize(
    "written", ["", "application/json", "application/x-www-form-urlencoded; charset=utf-16"]
)
def test_other_types_are_not(written: str) -> None:
    with pytest.raises(FormError) as refused:
        check_type(written)
    assert refused.value.status == 415


@pytest.mark.parametrize("text", ["a\r\nb", "\x00", "\x7f", "\x85", "\ufffe"])
def test_control_characters_are_not_plain(text: str) -> None:
    assert not is_plain(text)
    assert is_plain("Zoë <b>&\"'")
