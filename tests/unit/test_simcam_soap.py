"""The simulated device's SOAP side: requests are read safely, proofs of the password cannot be reused."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.simcam.clock import CameraClock
from deploy.simcam.soap import SoapFault, duration_s, parse
from deploy.simcam.wsdiscovery import MAX_PROBE_BYTES, Announced, probe_id, probe_match
from deploy.simcam.wsse import MAX_AGE_S, TokenGate

SOAP = Path(__file__).parents[1] / "fixtures" / "soap"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PROBE = """<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><s:Header><a:MessageID>urn:uuid:1</a:MessageID></s:Header>
 <s:Body><d:Probe>{types}</d:Probe></s:Body></s:Envelope>"""


@pytest.mark.parametrize(
    "name", ["entity_bomb.xml", "outside_entity.xml", "truncated.xml", "empty_body.xml", "page.html"]
)
def test_a_hostile_request_is_a_fault(name: str) -> None:
    with pytest.raises(SoapFault, match=r".") as refused:
        parse((SOAP / name).read_bytes())
    assert refused.value.subcode == "ter:WellFormed"


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_any_bytes_are_a_call_or_a_fault(body: bytes) -> None:
    with pytest.raises(SoapFault):
        parse(body)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT1M", 60), ("PT5S", 5), ("PT0.5S", 0.5), ("P1D", 86_400), ("P0Y0M0DT0H1M0S", 60), ("PT600S", 600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "1M", "-PT5S", "PT5", "PT5S5S", "P1W", "PT99999999999999999999S"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SoapFault):
        duration_s(text)


def _header(
    password: str, created: datetime, nonce: bytes = b"0123456789abcdef", kind: str = "#PasswordDigest"
) -> bytes:
    stamp = created.isoformat().replace("+00:00", "Z")
    proof = base64.b64encode(hashlib.sha1(nonce + stamp.encode() + password.encode()).digest()).decode()
    shown = proof if kind.endswith("Digest") else password
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:w="urn:w"><s:Header><w:Security><w:UsernameToken>'
        f'<w:Username>viewer</w:Username><w:Password Type="urn:x{kind}">{shown}</w:Password>'
        f"<w:Nonce>{base64.b64encode(nonce).decode()}</w:Nonce><w:Created>{stamp}</w:Created>"
        "</w:UsernameToken></w:Security></s:Header><s:Body><x/></s:Body></s:Envelope>"
    ).encode()


def test_a_fresh_token_passes_once() -> None:
    gate = TokenGate()
    header = parse(_header("secret", NOW)).header
    assert gate.refusal(header, "viewer", "secret", NOW) == ""
    assert gate.refusal(header, "viewer", "secret", NOW) == "replayed"


def test_a_token_dated_by_another_clock_is_stale() -> None:
    for wrong in (timedelta(seconds=MAX_AGE_S + 1), -timedelta(seconds=MAX_AGE_S + 1)):
        assert TokenGate().refusal(parse(_header("secret", NOW + wrong)).header, "viewer", "secret", NOW) == "stale"


def test_wrong_and_missing_tokens() -> None:
    assert TokenGate().refusal(parse(_header("guess", NOW)).header, "viewer", "secret", NOW) == "wrong"
    assert TokenGate().refusal(None, "viewer", "secret", NOW) == "missing"
    text = parse(_header("secret", NOW, kind="#PasswordText")).header
    assert TokenGate().refusal(text, "viewer", "secret", NOW) == "wrong"
    assert TokenGate(text_only=True).refusal(text, "viewer", "secret", NOW) == ""


def test_a_clock_goes_wrong_drifts_and_is_set() -> None:
    host, steady = [1_000_000.0], [0.0]
    clock = CameraClock(lambda: host[0], lambda: steady[0])
    clock.go_wrong(-3600.0, drift_ppm=1000.0)
    host[0] += 100
    steady[0] += 100
    assert clock.unix_s() == pytest.approx(1_000_000 + 100 - 3600 + 0.1)
    clock.set(datetime.fromtimestamp(5_000_000, UTC))
    steady[0] += 10
    assert clock.offset_s == pytest.approx(5_000_000 - 1_000_100 + 0.01)


def test_a_probe_for_cameras_or_for_anything_is_answered() -> None:
    assert probe_id(PROBE.format(types="<d:Types>dn:NetworkVideoTransmitter</d:Types>").encode()) == "urn:uuid:1"
    assert probe_id(PROBE.format(types="").encode()) == "urn:uuid:1"
    assert probe_id(PROBE.format(types="<d:Types>dn:Printer</d:Types>").encode()) is None


@pytest.mark.parametrize("name", ["entity_bomb.xml", "truncated.xml", "page.html", "other_answer.xml"])
def test_other_datagrams_are_not_answered(name: str) -> None:
    assert probe_id((SOAP / name).read_bytes()) is None
    assert probe_id(b" " * MAX_PROBE_BYTES + PROBE.format(types="").encode()) is None


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_datagram_is_survived(data: bytes) -> None:
    assert probe_id(data) is None


def test_a_match_escapes_what_the_probe_said() -> None:
    device = Announced(
        "urn:uuid:2", ("onvif://www.onvif.org/name/a",), lambda ip: f"http://{ip}:80/onvif/device_service"
    )
    match = probe_match(device, "<evil/>", "10.0.0.1").decode()
    assert "<evil/>" not in match
    assert "http://10.0.0.1:80/onvif/device_service" in match
