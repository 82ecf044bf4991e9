"""The simulated camera's RTSP parser takes requests in any pieces and nothing else; its transport and login rules hold."""

import hashlib
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.simcam.digest import DigestGate, parse_digest
from deploy.simcam.rtsp_parser import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    BadRequest,
    InterleavedFrame,
    Request,
    RtspParser,
)
from deploy.simcam.rtsp_server import interleaved_channels

HOSTILE = sorted((Path(__file__).parents[1] / "fixtures" / "rtsp").glob("*.bin"))
SETUP = (
    b"SETUP rtsp://127.0.0.1:554/main/trackID=0 RTSP/1.0\r\nCSeq: 3\r\n"
    b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
)


def test_a_request_is_read_with_headers_in_lower_case() -> None:
    (request,) = RtspParser().feed(SETUP)
    assert isinstance(request, Request)
    assert (request.method, request.url) == ("SETUP", "rtsp://127.0.0.1:554/main/trackID=0")
    assert request.headers == {"cseq": "3", "transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 3 * len(SETUP)), max_size=8))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    frame = b"$\x01\x00\x04\x80\xc9\x00\x01"
    body = b"GET_PARAMETER rtsp://127.0.0.1/main RTSP/1.0\r\nCSeq: 4\r\nContent-Length: 4\r\n\r\n\r\n\r\n"
    stream = SETUP + frame + b"\r\n" + body
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parser, messages = RtspParser(), []
    for begin, end in itertools.pairwise(edges):
        messages += parser.feed(stream[begin:end])
    assert [type(message) for message in messages] == [Request, InterleavedFrame, Request]
    assert messages[1] == InterleavedFrame(1, b"\x80\xc9\x00\x01")
    assert isinstance(messages[2], Request)
    assert messages[2].body == b"\r\n\r\n"


@pytest.mark.parametrize("sample", HOSTILE, ids=lambda path: path.stem)
def test_what_is_not_a_request_is_refused(sample: Path) -> None:
    with pytest.raises(BadRequest) as refused:
        RtspParser().feed(sample.read_bytes())
    assert refused.value.status in {400, 413, 505}


def test_there_are_hostile_samples() -> None:
    assert len(HOSTILE) >= 14


def test_a_head_without_end_is_refused_at_its_bound() -> None:
    parser = RtspParser()
    parser.feed(b"X-Long: " + b"a" * (MAX_HEAD_BYTES - 8))
    with pytest.raises(BadRequest) as refused:
        parser.feed(b"a")
    assert refused.value.status == 413


def test_too_many_headers_and_too_large_bodies_are_refused() -> None:
    head = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n"
    for more in (
        b"".join(b"A%d: 1\r\n" % number for number in range(80)),
        b"Content-Length: %d\r\n" % (MAX_BODY_BYTES + 1),
    ):
        with pytest.raises(BadRequest) as refused:
            RtspParser().feed(head + more + b"\r\n")
        assert refused.value.status == 413


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_give_messages_or_a_refusal(data: bytes) -> None:
    try:
        outcome: object = RtspParser().feed(data)
    except BadRequest as refused:
        outcome = refused.status
    if isinstance(outcome, list):
        assert all(isinstance(message, Request | InterleavedFrame) for message in outcome)
    else:
        assert outcome in {400, 413, 414, 505}


@settings(deadline=None)
@given(data=st.binary(max_size=60), at=st.integers(0, len(SETUP)))
def test_a_damaged_request_never_yields_control_characters(data: bytes, at: int) -> None:
    try:
        messages = RtspParser().feed(SETUP[:at] + data + SETUP[at:])
    except BadRequest:
        return
    for message in messages:
        if isinstance(message, Request):
            told = [message.method, message.url, *message.headers, *message.headers.values()]
            assert not re.search(r"[\r\n\x00]", "".join(told))


@pytest.mark.parametrize(
    ("transport", "channels"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=0-1", (0, 1)),
        ('RTP/AVP/TCP;unicast;interleaved=4-5;mode="PLAY"', (4, 5)),
        ("RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;interleaved=2-3", (2, 3)),
        ("RTP/AVP/TCP;unicast", (0, 1)),
        ("RTP/AVP;unicast;client_port=5000-5001", None),
        ("RTP/AVP/UDP;unicast;client_port=5000-5001", None),
        ("RTP/AVP/TCP;interleaved=300-301", None),
        ("RTP/AVP/TCP;interleaved=-1-0", None),
        ("RTP/AVP/TCP;interleaved=255-256", None),
        ("RTP/AVP/TCP;interleaved=0-1;mode=record", None),
        ("", None),
    ],
)
def test_only_tcp_interleaved_is_agreed_to(transport: str, channels: tuple[int, int] | None) -> None:
    assert interleaved_channels(transport) == channels


def _answer(challenge: str, method: str, uri: str, password: str, nc: str = "") -> str:
    told = parse_digest(challenge)
    assert told is not None

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    secret, act = md5(f"viewer:{told['realm']}:{password}"), md5(f"{method}:{uri}")
    middle = f"{told['nonce']}:{nc}:abc:auth" if nc else told["nonce"]
    extra = f', qop=auth, nc={nc}, cnonce="abc"' if nc else ""
    response = md5(f"{secret}:{middle}:{act}")
    who = f'Digest username="viewer", realm="{told["realm"]}", nonce="{told["nonce"]}"'
    return f'{who}, uri="{uri}", response="{response}"{extra}'


def test_the_right_password_passes_and_only_for_its_request() -> None:
    gate = DigestGate("simcam", qop=False)
    header = _answer(gate.challenge(), "DESCRIBE", "rtsp://h/main", "secret")
    assert gate.refusal(header, "DESCRIBE", "rtsp://h/main", "viewer", "secret") == ""
    assert gate.refusal(header, "SETUP", "rtsp://h/main", "viewer", "secret") == "wrong"
    assert gate.refusal(header, "DESCRIBE", "rtsp://h/sub", "viewer", "secret") == "wrong"
    assert gate.refusal(header, "DESCRIBE", "rtsp://h/main", "viewer", "changed") == "wrong"
    assert gate.refusal(header, "DESCRIBE", "rtsp://h/main", "other", "secret") == "wrong"


def test_a_count_is_taken_once() -> None:
    gate = DigestGate("simcam", qop=True)
    header = _answer(gate.challenge(), "GET", "/snapshot", "secret", nc="00000001")
    assert gate.refusal(header, "GET", "/snapshot", "viewer", "secret") == ""
    assert gate.refusal(header, "GET", "/snapshot", "viewer", "secret") == "stale"


def test_nonces_are_ours_and_grow_old() -> None:
    now = [0.0]
    gate = DigestGate("simcam", qop=False, nonce_life_s=10, steady_s=lambda: now[0])
    header = _answer(gate.challenge(), "PLAY", "rtsp://h/main", "secret")
    now[0] = 11.0
    assert gate.refusal(header, "PLAY", "rtsp://h/main", "viewer", "secret") == "stale"
    foreign = _answer('Digest realm="simcam", nonce="00"', "PLAY", "rtsp://h/main", "secret")
    assert gate.refusal(foreign, "PLAY", "rtsp://h/main", "viewer", "secret") == "stale"


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_authorization_header_is_survived(header: str) -> None:
    assert DigestGate("simcam", qop=True).refusal(header, "GET", "/", "viewer", "secret") in {"missing", "stale"}
