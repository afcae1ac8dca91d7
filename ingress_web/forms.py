"""A webhook's form, read strictly: a carrier's own requests are well formed. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

from multidict import MultiDict

#: The largest body that is read, bytes. Twilio's are of about 1 KB.
MAX_BODY: Final = 65_536
#: Twilio sends about 30 fields, and one more for each SIP header.
MAX_FIELDS: Final = 200
_TYPE: Final = re.compile(
    r"application/x-www-form-urlencoded(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE
)
#: What no field of a carrier holds, and no log and no XML should (XML 1.0 2.2).
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]")


class FormError(ValueError):
    """The body is no form: answer `status`."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def check_type(content_type: str, encoding: str = "") -> None:
    """Is a body of this type read? One that is packed (Content-Encoding) is not.

    Raises:
        FormError: it is not.
    """
    if encoding or not _TYPE.fullmatch(content_type.strip()):
        raise FormError(415, "the body is no plain application/x-www-form-urlencoded")


def read_form(body: bytes) -> MultiDict[str]:
    """The fields of a body, or of a query; a name may be there several times.

    Raises:
        FormError: there are too many, or some are no UTF-8.
    """
    if len(body) > MAX_BODY:
        raise FormError(413, f"the body has more than {MAX_BODY} bytes")
    try:
        # What is not escaped has to be ASCII (WHATWG URL 5.1); blank fields are signed too.
        text = body.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise FormError(400, "the form is not in UTF-8") from None
    except ValueError:
        raise FormError(400, f"the form has more than {MAX_FIELDS} fields") from None
    return MultiDict(fields)


def is_plain(text: str) -> bool:
    """Has it no control characters, and nothing else that XML and log lines cannot hold?"""
    return not _CONTROLS.search(text)
