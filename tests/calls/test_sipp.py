"""sipp and sipsak: flows and probes by the book."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from media.g711 import pcm_to_ulaw
from media.wav import read_mono
from tests.calls.conftest import CALLERS
from tests.support.stack import Installation, free_port, normal

pytestmark = pytest.mark.peers

_SCENARIO = Path(__file__).parent / "sipp" / "uac_audio.xml"


def run_sipp(folder: Path, installation: Installation, scenario: str, service: str) -> Any:
    if shutil.which("sipp") is None:
        pytest.skip("sipp is not installed (Debian: sip-tester)")
    folder.mkdir(exist_ok=True)
    (folder / "scenario.xml").write_text(scenario)
    media_port = free_port(socket.SOCK_DGRAM) // 4 * 4
    return subprocess.run(
        ["sipp", f"127.0.0.1:{installation.sip_port}", "-sf", "scenario.xml", "-s", service,
         "-i", "127.0.0.1", "-p", str(free_port(socket.SOCK_DGRAM)), "-mi", "127.0.0.1",
         "-mp", str(media_port), "-m", "1", "-r", "1", "-nostdin", "-trace_err",
         "-timeout", "40", "-timeout_error"],
        cwd=folder, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def with_audio(folder: Path, wav: str, pause_ms: int) -> str:
    folder.mkdir(exist_ok=True)
    with (CALLERS / wav).open("rb") as file:
        speech = read_mono(file)
    quiet = bytes(2 * 8000 * 4)
    (folder / "say.ul").write_bytes(pcm_to_ulaw(quiet + speech + quiet))
    scenario = _SCENARIO.read_text().replace("[file]", "say.ul,1,0")
    return scenario.replace("[pause]", str(pause_ms))


def test_a_call_with_audio(installation: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "sipp"
    scenario = with_audio(folder, "rms-what-are-your-opening-hours.wav", 12_000)
    done = run_sipp(folder, installation, scenario, "clinic")
    assert done.returncode == 0, done.stderr[-2000:]
    call = installation.recorded_call("sipp")
    assert [normal(t["caller_text"]) for t in call["turns"] if t["caller_text"]] == [
        "what are your opening hours"
    ]
    assert call["ending"] == "caller_hung_up"
    assert call["quality"]["packets"] > 500


def test_a_codec_nobody_has_is_refused_with_488(installation: Installation, tmp_path: Path) -> None:
    offer = _SCENARIO.read_text().split("<recv", 1)[0]
    offer = offer.replace("RTP/AVP 0 101", "RTP/AVP 3").replace("rtpmap:0 PCMU", "rtpmap:3 GSM")
    scenario = offer + _UNTIL_488
    done = run_sipp(tmp_path / "sipp", installation, scenario, "clinic")
    assert done.returncode == 0, done.stderr[-2000:]


def test_options_are_answered(installation: Installation) -> None:
    if shutil.which("sipsak") is None:
        pytest.skip("sipsak is not installed")
    uri = f"sip:clinic@127.0.0.1:{installation.sip_port}"
    done = subprocess.run(
        ["sipsak", "-s", uri, "-v"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


_UNTIL_488 = """
  <recv response="100" optional="true"/>
  <recv response="488"/>
  <send>
    <![CDATA[
      ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: "sipp" <sip:sipp@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
      To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
      Call-ID: [call_id]
      CSeq: 1 ACK
      Max-Forwards: 70
      Content-Length: 0

    ]]>
  </send>
</scenario>
"""
