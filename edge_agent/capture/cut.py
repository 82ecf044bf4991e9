"""Cutting a span out of the recordings: a remux into one MP4 whose clock is the wall clock.

The clip starts at the last key frame at or before the asked start. Inside it, presentation times are wall times less
the clip's start, so a missing stretch is a still picture of exactly its length, told as a gap, and a player's position
is always a time of day.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

from edge_agent.capture.index import Gap, Segment
from edge_agent.capture.muxing import INDEX_FIRST, Mp4Writer, ticks
from edge_agent.capture.nal import codec_string
from edge_agent.capture.port import CutClip, StreamParams
from edge_agent.capture.reading import RecordedPacket, read_packets
from edge_agent.errors import AgentError
from models.wire.uplink import MediaInfo, MissingSpan

CLIP_TIME_BASE = Fraction(1, 90000)  # as RTP video (RFC 6184)
_SHORTEST_FRAME_S = 0.02


@dataclass(frozen=True, slots=True)
class _Timed:
    params: StreamParams
    packet: RecordedPacket
    wall_s: float
    dts_lag_s: float  # how long before its presentation it is decoded (B-frames)


def cut_clip(segments: list[Segment], gaps: list[Gap], root: Path, start_us: int, end_us: int, path: Path) -> CutClip:
    """Writes [`start_us`, `end_us`), widened to the key frame before, to `path`.

    Raises:
        AgentError: `recording.none` when no readable packet lies in the span.
    """
    wanted = list(_between(_timed(segments, root), start_us / 1e6, end_us / 1e6))
    if not wanted:
        raise AgentError("recording.none", "nothing is recorded in the span")
    part = path.with_suffix(path.suffix + ".part")
    origin_s = wanted[0].wall_s
    params = StreamParams(
        wanted[0].params.codec,
        wanted[0].params.extradata,
        CLIP_TIME_BASE,
        wanted[0].params.width,
        wanted[0].params.height,
    )
    writer = Mp4Writer(part, params, wanted[0].packet.data, INDEX_FIRST)
    for item in wanted:
        pts = ticks(item.wall_s - origin_s, CLIP_TIME_BASE)
        dts = pts - ticks(item.dts_lag_s, CLIP_TIME_BASE)
        writer.write(item.packet.data, pts, dts, is_keyframe=item.packet.is_keyframe)
    writer.close()
    _sync(part)
    part.rename(path)
    return _described(wanted, writer, gaps, path)


def _described(wanted: list[_Timed], writer: Mp4Writer, gaps: list[Gap], path: Path) -> CutClip:
    start_s, last_s = wanted[0].wall_s, wanted[-1].wall_s
    frame_s = last_s - wanted[-2].wall_s if len(wanted) > 1 else _SHORTEST_FRAME_S
    end_s = last_s + max(min(frame_s, 1.0), _SHORTEST_FRAME_S)
    missing = [
        MissingSpan(start_at=_at(max(gap.start_us / 1e6, start_s)), end_at=_at(min(gap.end_us / 1e6, end_s)), reason=gap.reason)
        for gap in gaps
        if gap.start_us / 1e6 < end_s and gap.end_us / 1e6 > start_s
    ]  # fmt: skip
    lost_s = sum((span.end_at - span.start_at).total_seconds() for span in missing)
    first = wanted[0].params
    media = MediaInfo(
        codec=codec_string(first.extradata, first.codec),
        width=writer.width,
        height=writer.height,
        frames=len(wanted),
        fps_measured=round(len(wanted) / max(end_s - start_s - lost_s, _SHORTEST_FRAME_S), 3),
    )
    return CutClip(path=path, start_at=_at(start_s), end_at=_at(end_s), media=media, gaps=missing)


def _timed(segments: list[Segment], root: Path) -> Iterator[_Timed]:
    """Packets with wall times: the segment's start plus media time, stretched to the host's length of the segment."""
    for segment in segments:
        stretch = 1.0
        if segment.media_us > 0 and segment.end_us > segment.start_us:
            stretch = (segment.end_us - segment.start_us) / segment.media_us
            stretch = min(max(stretch, 0.9), 1.1)  # beyond that it is no drift but a fault: keep media time
        for params, packet in read_packets(root / segment.path):
            wall_s = segment.start_us / 1e6 + packet.pts_s * stretch
            yield _Timed(params, packet, wall_s, packet.pts_s - packet.dts_s)


def _between(packets: Iterator[_Timed], start_s: float, end_s: float) -> Iterator[_Timed]:
    """From the key frame at or before the start (or the first after it) up to the end."""
    held: list[_Timed] = []
    sets = b""
    started = False
    for item in packets:
        if item.wall_s >= end_s and (started or held):
            break
        if sets and item.params.extradata and item.params.extradata != sets:
            break  # another picture size cannot go into the same track: the clip ends here
        if not started and item.packet.is_keyframe:
            held = []
        if not started and item.wall_s >= start_s and (held or item.packet.is_keyframe):
            started = True
            sets = (held[0] if held else item).params.extradata
            yield from held
        if started:
            yield item
        elif held or item.packet.is_keyframe:
            held.append(item)
    if not started:
        yield from (item for item in held if item.wall_s >= start_s)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
