"""The parts of forwarding by themselves: the packet store, a viewer's leg, losses, datagrams, packetising."""

import socket
from collections.abc import Callable
from itertools import pairwise

from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.live.packetise import nal_units as edge_nal_units
from edge_agent.live.packetise import rtp_payloads, with_parameter_sets
from edge_agent.live.session import _Times
from hub.live.datagrams import DatagramSender
from hub.live.fanout import Fanout
from hub.live.leg import BURST_PACKETS, LAG_PACKETS, ViewerLeg
from hub.live.losses import TRIES, LossList
from hub.live.rtp import HEADER, PacketStore, begins_key_frame, read_rtp

KEY = bytes([0x7C, 0x85]) + b"k" * 50  # FU-A, start, IDR
MIDDLE = bytes([0x7C, 0x05]) + b"m" * 50
PLAIN = bytes([0x41]) + b"p" * 50  # non-IDR slice


class Clockwork:
    """A loop's clock moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> "Call":
        call = Call(callback)
        self._due.append((self.now + delay, call))
        return call

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while due := sorted((entry for entry in self._due if entry[0] <= until), key=lambda entry: entry[0]):
            self._due.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][1]()
        self.now = until


class Call:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def __call__(self) -> None:
        if self._callback is not None:
            self._callback()

    def cancel(self) -> None:
        self._callback = None


class Viewer:
    """A leg with a socket that can be full."""

    def __init__(self, fanout: Fanout, clock: Clockwork) -> None:
        self.got: list[tuple[int, int, bytes]] = []  # (sequence, timestamp, payload)
        self.full = False
        self.leg = ViewerLeg(fanout.store, self._send, clock, 102, 4711)
        fanout.attach(self.leg)

    def _send(self, packets: list[bytes]) -> int:
        if self.full:
            return 0
        for packet in packets:
            _, _, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
            assert ssrc == 4711
            self.got.append((sequence, timestamp, packet[12:]))
        return len(packets)

    @property
    def contiguous(self) -> bool:
        return all((b[0] - a[0]) & 0xFFFF == 1 for a, b in pairwise(self.got))


class Camera:
    """Numbers packets as an agent does."""

    def __init__(self, fanout: Fanout, clock: Clockwork, sequence: int = 65_500, timestamp: int = 0xFFFFF000) -> None:
        self._fanout = fanout
        self._clock = clock
        self.sequence = sequence
        self.timestamp = timestamp

    def packet(self, payload: bytes, *, marker: bool = True) -> int:
        self._fanout.take(self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, marker, payload)
        self.sequence += 1
        return (self.sequence - 1) & 0xFFFF

    def frames(self, count: int, *, key_every: int = 25, packets: int = 3) -> None:
        for number in range(count):
            first = KEY if number % key_every == 0 else PLAIN
            for place in range(packets):
                self.packet(first if place == 0 else (MIDDLE if first is KEY else PLAIN), marker=place == packets - 1)
            self.timestamp += 3600
            self._clock.run(0.04)


def house() -> tuple[Clockwork, Fanout, Camera]:
    clock = Clockwork()
    fanout = Fanout(clock)
    return clock, fanout, Camera(fanout, clock)


def test_key_frames_are_seen_in_every_packing() -> None:
    assert begins_key_frame(bytes([0x67, 1, 2]))  # SPS alone
    assert begins_key_frame(bytes([0x65, 1, 2]))  # IDR alone
    assert begins_key_frame(bytes([0x78, 0, 2, 0x09, 0x10, 0, 3, 0x67, 1, 2]))  # delimiter and SPS together
    assert begins_key_frame(KEY)
    assert not begins_key_frame(MIDDLE)
    assert not begins_key_frame(PLAIN)


@given(st.binary(max_size=40))
def test_no_payload_however_broken_confuses_the_key_frame_test(payload: bytes) -> None:
    assert begins_key_frame(payload) in {True, False}


@given(
    st.binary(max_size=1200),
    st.lists(st.integers(0, 2**32 - 1), max_size=15),
    st.one_of(st.none(), st.lists(st.integers(0, 255), min_size=4, max_size=4)),
    st.integers(0, 255),
)
def test_packets_are_read_as_aiortc_reads_them(
    payload: bytes, sources: list[int], extension: list[int] | None, padding: int
) -> None:
    first = 0x80 | (0x20 if padding else 0) | (0x10 if extension else 0) | len(sources)
    data = HEADER.pack(first, 0x80 | 102, 65_535, 2**32 - 1, 4711)
    data += b"".join(source.to_bytes(4, "big") for source in sources)
    if extension:
        data += b"\x12\x34\x00\x01" + bytes(extension)
    data += payload + (bytes(padding - 1) + bytes([padding]) if padding else b"")
    ours, theirs = read_rtp(data), RtpPacket.parse(data)
    assert ours is not None
    assert (ours.payload, ours.sequence_number, ours.timestamp) == (payload, 65_535, 2**32 - 1)
    assert (ours.payload, ours.marker, ours.payload_type) == (theirs.payload, theirs.marker == 1, theirs.payload_type)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reading_of_packets(data: bytes) -> None:
    read = read_rtp(data)
    assert read is None or len(read.payload) <= len(data) - HEADER.size


def test_sequence_and_timestamp_wrap_without_a_seam() -> None:
    clock, fanout, camera = house()
    viewer = Viewer(fanout, clock)
    camera.frames(100)
    assert len(viewer.got) == 300
    assert viewer.contiguous
    steps = [(b[1] - a[1]) & 0xFFFFFFFF for a, b in pairwise(viewer.got)]
    assert set(steps) == {0, 3600}


def test_a_viewer_that_comes_before_any_key_frame_waits_for_one() -> None:
    clock, fanout, camera = house()
    viewer = Viewer(fanout, clock)
    for _ in range(5):
        camera.packet(PLAIN)
    assert not viewer.got
    camera.frames(1)
    assert begins_key_frame(viewer.got[0][2])


def test_a_burst_is_paced() -> None:
    clock, fanout, camera = house()
    camera.frames(20)
    viewer = Viewer(fanout, clock)
    assert len(viewer.got) == BURST_PACKETS
    clock.run(0.0041)
    assert len(viewer.got) == 2 * BURST_PACKETS
    clock.run(1)
    assert len(viewer.got) == 60
    assert viewer.contiguous


def test_a_slow_viewer_drops_to_the_next_key_frame_counted_and_holds_nobody() -> None:
    clock, fanout, camera = house()
    slow, quick = Viewer(fanout, clock), Viewer(fanout, clock)
    camera.frames(10)
    before = len(slow.got)
    slow.full = True
    camera.frames(LAG_PACKETS // 3 + 40, key_every=1000)
    assert len(quick.got) == 30 + (LAG_PACKETS // 3 + 40) * 3
    assert slow.leg.counters.dropped > 0
    slow.full = False
    camera.frames(5)
    assert begins_key_frame(slow.got[before][2])
    assert slow.contiguous  # it is not asked to miss what it was never sent
    assert quick.contiguous


def test_a_full_socket_loses_nothing_if_it_empties_soon() -> None:
    clock, fanout, camera = house()
    viewer = Viewer(fanout, clock)
    camera.frames(2)
    viewer.full = True
    camera.frames(3)
    viewer.full = False
    clock.run(1)
    assert len(viewer.got) == 15
    assert viewer.contiguous
    assert viewer.leg.counters.dropped == 0


def test_retransmission_is_the_same_packet_again() -> None:
    clock, fanout, camera = house()
    viewer = Viewer(fanout, clock)
    camera.frames(10)
    wanted = viewer.got[7]
    viewer.leg.nack([wanted[0], 9_999])
    assert viewer.got[-1] == wanted
    assert viewer.leg.counters.retransmitted == 1


def test_a_flood_of_nacks_is_bounded() -> None:
    clock, fanout, camera = house()
    viewer = Viewer(fanout, clock)
    camera.frames(100)
    known = [sequence for sequence, _, _ in viewer.got]
    for _ in range(1000):
        viewer.leg.nack(known * 10)
    assert viewer.leg.counters.retransmitted <= 1000


def test_a_lost_picture_is_mended_from_the_cache_but_not_too_often() -> None:
    clock, fanout, camera = house()
    viewer = Viewer(fanout, clock)
    camera.frames(30)
    before = len(viewer.got)
    viewer.leg.picture_lost()
    viewer.leg.picture_lost()
    clock.run(0.5)
    assert viewer.leg.counters.resyncs == 1
    assert begins_key_frame(viewer.got[before][2])
    assert viewer.contiguous


def test_out_of_order_packets_take_their_place() -> None:
    clock, fanout, _ = house()
    viewer = Viewer(fanout, clock)
    for sequence, payload in ((10, KEY), (11, MIDDLE), (13, PLAIN), (12, PLAIN), (12, PLAIN)):
        fanout.take(sequence, 0, True, payload)
    first = viewer.got[0][0]
    assert [(sequence - first) & 0xFFFF for sequence, _, _ in viewer.got] == [0, 1, 3, 2]


def test_a_gop_too_big_for_the_cache_makes_newcomers_wait() -> None:
    store = PacketStore(capacity=64)
    for sequence in range(60):
        store.add(sequence, sequence // 3, True, KEY if sequence == 0 else PLAIN)
    assert store.gop_start is None
    assert store.gop_overflows == 1
    store.add(60, 1000, True, KEY)
    assert store.gop_start == 60


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 3), st.booleans()), max_size=300))
def test_any_order_of_any_packets_keeps_the_store_bounded_and_the_viewer_alive(
    packets: list[tuple[int, int, bool]],
) -> None:
    clock = Clockwork()
    fanout = Fanout(clock, PacketStore(capacity=64, max_gop_bytes=2000))
    viewer = Viewer(fanout, clock)
    for sequence, timestamp, key in packets:
        fanout.take(sequence, timestamp, True, KEY if key else PLAIN)
        clock.run(0.01)
    assert sum(packet is not None for packet in fanout.store._slots) <= 64
    viewer.leg.nack([sequence for sequence, _, _ in viewer.got])


def test_oversized_payloads_are_refused() -> None:
    clock, fanout, _ = house()
    Viewer(fanout, clock)
    fanout.take(1, 0, True, KEY + bytes(1400))
    assert (fanout.packets, fanout.refused) == (0, 1)


def test_losses_are_asked_for_a_few_times_and_then_given_up() -> None:
    losses = LossList()
    for sequence in (65_534, 65_535, 2, 3):
        losses.arrived(sequence)
    assert losses.due(0.0) == [0, 1]
    assert losses.due(0.05) == []
    losses.arrived(1)
    assert losses.recovered == 1
    asked = sum(losses.due(1.0 + number) == [0] for number in range(20))
    assert asked == TRIES - 1
    assert losses.given_up == 1


def test_datagrams_arrive_whole_in_order_with_and_without_segmentation() -> None:
    for segmentation in (True, False):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taking,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as giving,
        ):
            taking.bind(("127.0.0.1", 0))
            taking.settimeout(2)
            giving.bind(("127.0.0.1", 0))
            sender = DatagramSender(giving.fileno(), taking.getsockname(), segmentation=segmentation)
            sizes = [1200] * 7 + [300] + [900] + [1200] * 3 + [1] + [40]
            given_ = [bytes([number]) * size for number, size in enumerate(sizes)]
            assert sender.send(given_) == len(given_)
            assert [taking.recv(2000) for _ in given_] == given_
            sender.close()
            assert sender.send(given_) == 0


@given(
    st.lists(st.binary(min_size=2, max_size=5000).filter(lambda unit: unit[-1] != 0), min_size=1, max_size=6),
    st.integers(100, 1300),
)
def test_packetising_keeps_every_byte(units: list[bytes], limit: int) -> None:
    whole = [bytes([unit[0] & 0x60 | 1 + unit[0] % 23]) + unit[1:] for unit in units]
    payloads = rtp_payloads(whole, limit)
    assert max(map(len, payloads)) <= limit
    assert _unpacked(payloads) == whole


def _unpacked(payloads: list[bytes]) -> list[bytes]:
    """RFC 6184 read backwards, written apart from what it checks."""
    units: list[bytes] = []
    for payload in payloads:
        kind = payload[0] & 0x1F
        if kind == 24:
            at = 1
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                units.append(payload[at + 2 : at + 2 + size])
                at += 2 + size
        elif kind == 28:
            if payload[1] & 0x80:
                units.append(bytes([payload[0] & 0xE0 | payload[1] & 0x1F]))
            units[-1] += payload[2:]
        else:
            units.append(payload)
    return units


def test_fragments_of_a_frame_have_one_size_but_the_last() -> None:
    sizes = [len(payload) for payload in rtp_payloads([bytes([0x65]) + bytes(range(1, 200)) * 50])]
    assert set(sizes[:-1]) == {1200}
    assert sizes[-1] <= 1200


def test_a_key_frame_without_parameter_sets_gets_them() -> None:
    extradata = b"\x00\x00\x00\x01\x67\x42\x00\x01\x68\xce"
    assert with_parameter_sets([b"\x65\x01"], b"\x00\x00\x00\x01\x67\x42\x00\x00\x01\x68\xce") == [
        b"\x67\x42",
        b"\x68\xce",
        b"\x65\x01",
    ]
    assert with_parameter_sets([b"\x67\x01", b"\x65\x01"], extradata) == [b"\x67\x01", b"\x65\x01"]


@given(st.binary(max_size=200))
def test_no_byte_stream_breaks_the_splitting(data: bytes) -> None:
    assert all(edge_nal_units(data))


def test_what_waited_is_squeezed_and_a_new_epoch_goes_on_by_the_clock() -> None:
    times = _Times()
    assert [times.map(1000 + number * 3600, 1, 10.0) for number in range(3)] == [0, 90, 180]
    times.backlog_is_over()
    assert times.map(1000 + 3 * 3600, 1, 10.04) == 180 + 3600
    assert times.map(1000 + 4 * 3600, 1, 10.08) == 180 + 7200
    assert times.map(5, 2, 12.08) == 180 + 7200 + 2 * 90_000  # camera reconnected with other timestamps
    assert times.map(3605, 2, 12.12) == 180 + 7200 + 2 * 90_000 + 3600
