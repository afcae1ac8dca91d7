from __future__ import annotations

import pytest
from multidict import CIMultiDict

from ingress_web.proxies import Proxies, UrlError, stream_url

TRUSTED = ("127.0.0.0/8", "::1/128", "10.0.0.0/8")
PROXY, STRANGER = "10.0.0.9", "203.0.113.5"
FORWARDED = {"Host": "inner:8088", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "out.example"}


def _url(headers: dict[str, str], source: str, public: str | None = None) -> str:
    proxies = Proxies(public, TRUSTED)
    return str(proxies.url("http", "/twilio/voice?a=b", CIMultiDict(headers), source))


@pytest.mark.parametrize(
    ("headers", "source", "expected"),
    [
        (FORWARDED, PROXY, "https://out.example/twilio/voice?a=b"),
        (FORWARDED, "::ffff:10.0.0.9", "https://out.example/twilio/voice?a=b"),
        (FORWARDED, STRANGER, "http://inner:8088/twilio/voice?a=b"),
        ({"Host": "in.example"}, PROXY, "http://in.example/twilio/voice?a=b"),
        (
            {"Host": "in", "X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "a, b"},
            PROXY,
            "https://a/twilio/voice?a=b",
        ),
        ({"Host": "[::1]:80", "X-Forwarded-Proto": "WSS"}, PROXY, "https://[::1]:80/twilio/voice?a=b"),
    ],
)  # fmt: skip
def test_the_url_is_what_the_sender_wrote(
    headers: dict[str, str], source: str, expected: str
) -> None:
    assert _url(headers, source) == expected


def test_the_setting_wins_over_all_headers() -> None:
    for source in (PROXY, STRANGER):
        url = _url(FORWARDED, source, "https://voice.example.com/tl/")
        assert url == "https://voice.example.com/tl/twilio/voice?a=b"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": ""},
        {"Host": "a b"},
        {"Host": "user@host"},
        {"Host": "host:port"},
        {"Host": "host:0"},
        {"Host": "host:65536"},
        {"Host": 'a"><Evil'},
        {"Host": "a/b"},
        {"Host": "ok", "X-Forwarded-Host": "a\r\nb"},
        {"Host": "ok", "X-Forwarded-Proto": "file"},
    ],
)
def test_a_host_that_is_none_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(UrlError):
        _url(headers, PROXY)


@pytest.mark.parametrize("target", ["", "*", "http://x/", "/a b", "/\r\nX: y", "/é", "/" * 5000])
def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    with pytest.raises(UrlError):
        Proxies("https://x.example").url("http", target, {"Host": "x"}, STRANGER)


@pytest.mark.parametrize(
    ("forwarded", "source", "expected"),
    [
        ("198.51.100.1", PROXY, "198.51.100.1"),
        ("198.51.100.1", STRANGER, STRANGER),
        ("6.6.6.6, 198.51.100.1, 10.0.0.2", PROXY, "198.51.100.1"),
        ("6.6.6.6, nonsense, 10.0.0.2", PROXY, "10.0.0.2"),
        ("", PROXY, PROXY),
        ("10.0.0.1", PROXY, "10.0.0.1"),
    ],
)
def test_a_sender_is_who_a_proxy_of_ours_saw(forwarded: str, source: str, expected: str) -> None:
    headers = CIMultiDict({"X-Forwarded-For": forwarded})
    assert Proxies(None, TRUSTED).client(headers, source) == expected


def test_a_url_has_its_parts() -> None:
    url = Proxies("https://x.example/p").url("http", "/twilio/voice?a=b?c", {}, STRANGER)
    assert (url.base, url.path, url.query) == ("https://x.example/p", "/twilio/voice", "a=b?c")
    assert stream_url(url.base, "/twilio/media") == "wss://x.example/p/twilio/media"
    assert stream_url("http://127.0.0.1:1", "/m") == "ws://127.0.0.1:1/m"
