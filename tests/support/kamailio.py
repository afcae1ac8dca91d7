"""kamailio, as a trunk has it: registrar with passwords, and proxy that stays in the way.

Users of `PASSWORDS` may register and call. A call to one of them is forwarded to where it
registered; a call to `trunk-NUMBER` goes to NUMBER at the registered user `trunkline`; any other
number is the user `beyond`, for whom the test has somebody answer.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.certificates import Authority
from tests.support.exchange import PASSWORDS, REGISTRAR, free_both

BEYOND: Final = "127.0.0.6"
_START_S: Final = 20.0
_PROGRAM: Final = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin")
available: Final = _PROGRAM is not None

_CONFIG: Final = """\
#!KAMAILIO
debug=2
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
enable_tls=yes
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
listen=tls:{host}:{tls_port}
tcp_accept_no_cl=yes
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "tls.so"
modparam("usrloc", "db_mode", 0)
modparam("registrar", "max_expires", 120)
modparam("registrar", "min_expires", 30)
modparam("auth", "nonce_count", 1)
modparam("auth", "qop", "auth")
modparam("auth", "algorithm", "{algorithm}")
modparam("tls", "config", "{folder}/tls.cfg")

request_route {{
  if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
  if (has_totag()) {{
    if (loose_route()) {{ t_relay(); exit; }}
    if (is_method("ACK") && t_check_trans()) {{ t_relay(); exit; }}
    sl_send_reply("404", "Not Here");
    exit;
  }}
  if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
  if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
  t_check_trans();
  if (is_method("REGISTER")) {{
    if (!pv_www_authenticate("{host}", "{password}", "0")) {{
      www_challenge("{host}", "1");
      exit;
    }}
    save("location");
    exit;
  }}
  if (is_method("INVITE") && $fU == "trunkline") {{
    if (!pv_proxy_authenticate("{host}", "{password}", "0")) {{
      proxy_challenge("{host}", "1");
      exit;
    }}
    consume_credentials();
  }}
  record_route();
  if ($rU =~ "^trunk-") {{
    $var(number) = $(rU{{s.substr,6,0}});
    $rU = "trunkline";
    if (!lookup("location")) {{ sl_send_reply("480", "Nobody Registered"); exit; }}
    $rU = $var(number);
    t_relay();
    exit;
  }}
  $rU = "beyond";
  $du = "sip:{beyond}:{beyond_port}";
  t_relay();
}}
"""
_TLS: Final = """\
[server:default]
method = TLSv1.2+
verify_certificate = no
private_key = {key}
certificate = {certificate}

[client:default]
method = TLSv1.2+
verify_certificate = yes
ca_list = {ca}
"""


@dataclass(frozen=True)
class Kamailio:
    """A running one. What is neither a user nor a trunk number is forwarded to `beyond_port`."""

    port: int
    tls_port: int
    beyond_port: int
    authority: Authority
    log: Path


@contextmanager
def started(folder: Path, algorithm: str = "SHA-256") -> Iterator[Kamailio]:
    """As a child, on loopback. `algorithm` is what its digest asks for: MD5 or SHA-256."""
    assert _PROGRAM is not None
    authority = Authority(folder / "certificates")
    ours = authority.issue("kamailio", REGISTRAR)
    kamailio = Kamailio(
        free_both(REGISTRAR), free_both(REGISTRAR), free_both(BEYOND), authority, folder / "log"
    )
    config = _CONFIG.format(
        host=REGISTRAR, port=kamailio.port, tls_port=kamailio.tls_port, folder=folder,
        password=PASSWORDS["REGISTRAR_PASSWORD"], algorithm=algorithm,
        beyond=BEYOND, beyond_port=kamailio.beyond_port,
    )  # fmt: skip
    (folder / "kamailio.cfg").write_text(config)
    (folder / "tls.cfg").write_text(
        _TLS.format(key=ours.key, certificate=ours.certificate, ca=authority.file)
    )
    (folder / "run").mkdir()
    with kamailio.log.open("wb") as log:
        process = subprocess.Popen(
            [_PROGRAM, "-DD", "-E", "-m", "32", "-M", "8", "-f", str(folder / "kamailio.cfg"),
             "-Y", str(folder / "run"), "-w", str(folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait(kamailio, process)
        yield kamailio
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(kamailio: Kamailio, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection((REGISTRAR, kamailio.tls_port), 1).close()
        except OSError:
            alive = process.poll() is None and time.monotonic() < deadline
            assert alive, kamailio.log.read_text("utf-8", "replace")[-3000:]
            time.sleep(0.05)
        else:
            return
