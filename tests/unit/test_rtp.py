"""RTP packets carry every NAL unit whole, and reports tie them to the camera's clock."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.simcam.clips import ClipError, parse_avcc, split_nals
from deploy.simcam.rtp import MAX_PAYLOAD_BYTES, RtpStream, interleaved, payloads_of


def _reassembled(payloads: list[bytes]) -> list[bytes]:
    nals: list[bytes] = []
    for payload in payloads:
        if payload[0] & 0x1F != 28:
            nals.append(payload)
        elif payload[1] & 0x80:
            nals.append(bytes(((payload[0] & 0xE0) | (payload[1] & 0x1F),)) + payload[2:])
        else:
            nals[-1] += payload[2:]
    return nals


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=6), header=st.sampled_from([0x65, 0x41, 0x67, 0x06]))
def test_every_nal_arrives_whole_and_no_packet_is_too_large(sizes: list[int], header: int) -> None:
    nals = [bytes((header,)) + bytes(number % 251 for number in range(size)) for size in sizes]
    payloads = list(payloads_of(nals))
    assert all(len(payload) <= MAX_PAYLOAD_BYTES for payload in payloads)
    assert _reassembled(payloads) == nals


def test_fragments_begin_and_end_once() -> None:
    payloads = list(payloads_of([b"\x65" + bytes(4000)]))
    assert [payload[1] >> 6 for payload in payloads] == [2, 0, 1]


def test_sequence_rises_over_its_wrap_and_the_marker_ends_the_picture() -> None:
    stream = RtpStream(7, 0xFFFF, 0xFFFFFFF0)
    packets = stream.packets([b"\x67abc", b"\x65" + bytes(2000)], 0x20)
    heads = [struct.unpack(">BBHII", packet[:12]) for packet in packets]
    assert [head[2] for head in heads] == [0xFFFF, 0, 1]
    assert [head[1] >> 7 for head in heads] == [0, 0, 1]
    assert {head[3] for head in heads} == {0x10}


def test_a_report_tells_the_cameras_time_of_a_timestamp() -> None:
    stream = RtpStream(7, 0, 1000)
    stream.packets([b"\x65" + bytes(99)], 0)
    report = stream.sender_report(90_000, 1_700_000_000.5, "camera0")
    _, kind, words, ssrc, ntp, stamp, packets, octets = struct.unpack(">BBHIQIII", report[:28])
    assert (kind, words, ssrc, stamp, packets, octets) == (200, 6, 7, 91_000, 1, 100)
    assert ntp / 2**32 - 2_208_988_800 == pytest.approx(1_700_000_000.5)
    assert len(report) % 4 == 0
    assert b"camera0" in report


def test_framing_names_channel_and_length() -> None:
    assert interleaved(3, b"abcd") == b"$\x03\x00\x04abcd"


AVCC = b"\x01\x42\xc0\x1f\xff\xe1\x00\x03\x67\x42\xc0\x01\x00\x02\x68\xce"


def test_parameter_sets_are_read_from_avcc() -> None:
    assert parse_avcc(AVCC) == (b"\x67\x42\xc0", b"\x68\xce", 4)


@settings(deadline=None)
@given(st.integers(0, len(AVCC) - 1))
def test_a_cut_off_avcc_is_refused(size: int) -> None:
    with pytest.raises(ClipError):
        parse_avcc(AVCC[:size])


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_damaged_samples_are_refused_or_split_whole(sample: bytes) -> None:
    try:
        nals = list(split_nals(sample, 4))
    except ClipError:
        return
    assert sum(len(nal) + 4 for nal in nals) == len(sample)
