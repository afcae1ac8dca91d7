"""Is a webhook Twilio's own? Its signature is checked by Twilio's library.

https://www.twilio.com/docs/usage/security#validating-requests: the signature is over the URL as
Twilio was given it, and the form. So whatever changes the URL on the way breaks it, and what is
said of a refusal names the URL that was checked, and the one that would have been right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import structlog
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from ingress_web.proxies import guesses
from ingress_web.webhooks import Request

_log = structlog.get_logger(__name__)
SIGNATURE: Final = "X-Twilio-Signature"
#: Sent along where a webhook is signed with a shared key, and not with the auth token.
_SHARED_KEY: Final = "X-Twilio-Webhooks-Signature-Settings"

Fault = Literal["unsigned", "wrong_signature", "no_auth_token", "other_account", "replay"]


class ForbiddenError(Exception):
    """The request is not Twilio's, or not of now: answer 403. `hint` is for the log."""

    def __init__(self, fault: Fault, hint: str = "") -> None:
        super().__init__(fault)
        self.fault: Fault = fault
        self.hint = hint


class TwilioCheck:
    """Lets Twilio's requests pass, and on request unsigned ones from nearby."""

    def __init__(
        self,
        auth_token: str | None,
        account_sid: str | None = None,
        *,
        unsigned: bool = False,
        trusts: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`unsigned` lets requests without a signature pass where `trusts(source)`: development."""
        self._validator = RequestValidator(auth_token) if auth_token else None
        self._account = account_sid
        self._unsigned = unsigned
        self._trusts = trusts
        if unsigned:
            _log.warning(
                "twilio.unsigned_is_allowed",
                hint="TRUNKLINE_TWILIO_UNSIGNED is for development: whoever is nearby can call",
            )

    def allows_unsigned(self, source: str) -> bool:
        """Does what comes from this address need no signature, and no token?"""
        return self._unsigned and self._trusts(source)

    def check(self, request: Request) -> bool:
        """Is it signed? False for one that passes without.

        Raises:
            ForbiddenError
        """
        signature = request.headers.get(SIGNATURE, "")
        if not signature:
            if self.allows_unsigned(request.source):
                return False
            hint = "not Twilio, or a proxy that drops X-Twilio-Signature"
            raise ForbiddenError("unsigned", hint)
        if self._validator is None:
            raise ForbiddenError("no_auth_token", "set TRUNKLINE_TWILIO_AUTH_TOKEN")
        if not self._is_right(str(request.url), request.form, signature):
            raise ForbiddenError("wrong_signature", self._explain(request, signature))
        account = request.form.get("AccountSid", "")
        if self._account is not None and account != self._account:
            hint = "AccountSid is not TRUNKLINE_TWILIO_ACCOUNT_SID"
            raise ForbiddenError("other_account", hint)
        return True

    def _is_right(self, url: str, form: MultiDict[str], signature: str) -> bool:
        return self._validator is not None and bool(self._validator.validate(url, form, signature))

    def _explain(self, request: Request, signature: str) -> str:
        for url in guesses(request.headers, request.url.target):
            if url != str(request.url) and self._is_right(url, request.form, signature):
                base = url.removesuffix(request.url.target)
                return f"it is signed for {url}: set TRUNKLINE_PUBLIC_URL={base}"
        if _SHARED_KEY in request.headers:
            return "it is signed with a shared key: let Twilio sign with the auth token"
        return (
            "the auth token is another account's or was changed, or TRUNKLINE_PUBLIC_URL is not "
            "what Twilio was given"
        )
