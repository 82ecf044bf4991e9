"""SDP from strangers: what is taken, what is refused with which code, and that nothing hostile makes the hub fail otherwise."""

import random
import re

import pytest

from hub.errors import Invalid
from hub.live.model import LiveConfig
from hub.live.relay import Relay
from hub.live.sdp import MAX_SDP_BYTES, checked_offer
from tests.media.peers import Received, viewer_offer

CHROMIUM_OFFER = """v=0
o=- 8214231221870129131 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 106 107
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2113937151 0b0a4d0a-9a2f-4c0c-a1b2-000000000000.local 51234 typ host generation 0 network-cost 999
a=candidate:2 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active generation 0
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=ice-options:trickle
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
a=mid:0
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=recvonly
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:102 H264/90000
a=rtcp-fb:102 nack
a=rtcp-fb:102 nack pli
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=rtpmap:106 H264/90000
a=rtcp-fb:106 nack
a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:107 rtx/90000
a=fmtp:107 apt=106
""".replace("{fingerprint}", ":".join(["AB"] * 32)).replace("\n", "\r\n")


async def answer(offer: str) -> str:
    relay = Relay(LiveConfig())
    peer, answered = await relay.accept_viewer(relay.fanout(), checked_offer(offer.encode()), lambda: None)
    await peer.close()
    return answered


async def outcome(offer: str) -> str:
    """`answered`, or the code of the refusal; any other error goes on."""
    try:
        await answer(offer)
    except Invalid as refused:
        return refused.code
    return "answered"


async def test_a_browsers_offer_is_answered_with_h264_of_constrained_baseline_on_our_address() -> None:
    answered = await answer(CHROMIUM_OFFER)
    assert "m=video" in answered
    assert "a=rtpmap:106 H264/90000" in answered
    assert "VP8" not in answered
    assert "rtx" not in answered
    assert answered.index("106") < answered.index("102")
    assert "a=sendonly" in answered
    candidates = [line.split() for line in answered.splitlines() if line.startswith("a=candidate:")]
    assert [(line[2], line[4]) for line in candidates] == [("udp", "127.0.0.1")]


REFUSED = {
    "empty": b"",
    "not text": b"\xff\xfe\x00\x01" * 50,
    "nul bytes": b"v=0\r\n\x00",
    "json": b'{"type": "offer"}',
    "too big": b"v=0\r\n" + b"a=x\r\n" * MAX_SDP_BYTES,
    "endless line": b"v=0\r\na=" + b"x" * 20_000,
    "too many lines": b"v=0\r\n" + b"a=b\r\n" * 1000,
    "no media": CHROMIUM_OFFER.split("m=video")[0].encode(),
    "two videos": (CHROMIUM_OFFER + "m=video" + CHROMIUM_OFFER.split("m=video")[1]).encode(),
    "data channel": CHROMIUM_OFFER.replace("m=video 9 UDP/TLS/RTP/SAVPF", "m=application 9 UDP/DTLS/SCTP").encode(),
    "audio beside": (CHROMIUM_OFFER + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n").encode(),
    "no ICE": "".join(line for line in CHROMIUM_OFFER.splitlines(True) if "ice-" not in line).encode(),
    "no DTLS": "".join(line for line in CHROMIUM_OFFER.splitlines(True) if "fingerprint" not in line).encode(),
    "candidate flood": CHROMIUM_OFFER.replace(
        "a=ice-ufrag", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 100 + "a=ice-ufrag"
    ).encode(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_offer_is_refused_before_any_library_sees_it(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked_offer(REFUSED[name])
    assert refused.value.code == "live.sdp_invalid"


BROKEN = {
    "payload type 75": CHROMIUM_OFFER.replace("SAVPF 96", "SAVPF 75"),
    "payload type is a word": CHROMIUM_OFFER.replace("SAVPF 96", "SAVPF vier"),
    "setup is a word": CHROMIUM_OFFER.replace("setup:actpass", "setup:please"),
    "fingerprint without value": CHROMIUM_OFFER.replace("sha-256 ", "sha-256"),
    "fmtp for nothing": CHROMIUM_OFFER.replace("a=fmtp:107", "a=fmtp:99"),
    "short candidate": CHROMIUM_OFFER.replace("a=candidate:1 1 udp", "a=candidate:1\r\na=x-"),
    "huge port": CHROMIUM_OFFER.replace("51234", "5123444444444444444444"),
    "bad extmap": CHROMIUM_OFFER.replace("extmap:2 ", "extmap:zwei "),
    "bad rtpmap": CHROMIUM_OFFER.replace("rtpmap:96 VP8/90000", "rtpmap:96 VP8"),
    "ice password of one sign": CHROMIUM_OFFER.replace("ice-pwd:abcdefghijklmnopqrstuvwx", "ice-pwd:"),
    "bad connection line": CHROMIUM_OFFER.replace("c=IN IP4 0.0.0.0", "c=IN IP9 x y z"),
    "fingerprint of a strange kind": CHROMIUM_OFFER.replace("sha-256 ", "md2 "),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_offers_end_in_a_refusal_or_an_answer_never_in_another_error(name: str) -> None:
    assert await outcome(BROKEN[name]) in {"answered", "live.sdp_invalid", "live.no_h264"}


async def test_offers_with_random_damage_never_break_the_hub() -> None:
    _, good = await _aiortc_offer()
    dice = random.Random(20261122)
    for _ in range(150):
        text = list(dice.choice([CHROMIUM_OFFER, good]))
        for _ in range(dice.randrange(1, 8)):
            at = dice.randrange(len(text))
            text[at : at + dice.randrange(3)] = dice.choice(["", "\r\n", " ", "9", ":", "=", "a", "\x7f", "%s"])
        assert await outcome("".join(text)) in {"answered", "live.sdp_invalid", "live.no_h264"}


async def _aiortc_offer() -> tuple[None, str]:
    pc, offer = await viewer_offer(Received())
    await pc.close()
    return None, offer


@pytest.mark.parametrize("mode", ["packetization-mode=0", "profile-level-id=640c1f"])
async def test_h264_that_we_cannot_send_is_named_as_such(mode: str) -> None:
    offer = re.sub(mode.partition("=")[0] + "=[0-9a-f]+", mode, CHROMIUM_OFFER)
    with pytest.raises(Invalid) as refused:
        await answer(offer)
    assert refused.value.code == "live.no_h264"


def test_an_offer_without_h264_says_so() -> None:
    with pytest.raises(Invalid) as refused:
        checked_offer(CHROMIUM_OFFER.replace("H264", "AV1").encode())
    assert refused.value.code == "live.no_h264"
