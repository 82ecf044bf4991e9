"""ONVIF devices seen from the box: find them, ask what they are, read their clock, take a snapshot.

All functions block, for at most some tens of seconds; call them in a thread of your own. Errors are `AgentError` with
onvif.bad_address, onvif.unreachable, onvif.auth_failed, onvif.bad_answer, onvif.clock_unreadable or onvif.no_profile.
"""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import numpy as np

from edge_agent.errors import AgentError
from edge_agent.onvif.addresses import Address, Reachable, announced_of
from edge_agent.onvif.discovery import discover_multicast, reachable_by_address
from edge_agent.onvif.model import DeviceDetails, FoundDevice, SourceDetails, StreamDetails
from edge_agent.onvif.services import Caller, Login
from edge_agent.onvif.transport import Answer, DeviceHttp
from models.wire.base import ClockReading
from models.wire.uplink import PICTURE_MAX_BYTES

CODECS = {"H264": "h264", "H265": "hevc"}
STREAM_SETUP = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
CLOCK_RESOLUTION_MS = 1000  # ONVIF tells whole seconds
MAX_SNAPSHOT_BYTES = 4 * 1024 * 1024
MAX_PROFILES = 64
SUB_PIXELS = 640 * 360  # what the detector wants; cameras often have a still smaller profile
MAX_TEXT = 200


def discover(timeout_s: float, addresses: list[str]) -> list[FoundDevice]:
    """Devices that answer a multicast probe within `timeout_s`, and those of `addresses` that answer there.

    Raises:
        AgentError: onvif.bad_address. Devices that do not answer are left out.
    """
    parsed = [Address.parse(address) for address in addresses]
    found = {device.address: device for device in discover_multicast(timeout_s)}
    for device in reachable_by_address(parsed, _answers):
        found.setdefault(device.address, device)
    return sorted(found.values(), key=lambda device: device.address)


def _answers(address: Address) -> bool:
    try:
        read_clock(str(address))
    except AgentError as error:
        return error.code in {"onvif.clock_unreadable", "onvif.auth_failed"}
    return True


def read_clock(address: str) -> ClockReading:
    """The device's clock against ours, read without a login (lesson 7).

    Raises:
        AgentError: onvif.clock_unreadable when it answers without a usable time; onvif.unreachable, onvif.bad_answer.
    """
    parsed = Address.parse(address)
    before = time.time()
    steady = time.monotonic()
    answer = Caller(None, timedelta()).call("devicemgmt", parsed.device_service, "GetSystemDateAndTime")
    trip_s = time.monotonic() - steady
    told = _time_of(answer)
    # The device cut its time to whole seconds: half a second later is the best guess of when it answered.
    offset_s = (told - datetime.fromtimestamp(before + trip_s / 2, UTC)).total_seconds() + 0.5
    uncertainty_ms = round(trip_s * 500) + CLOCK_RESOLUTION_MS
    return ClockReading(offset_ms=round(offset_s * 1000), uncertainty_ms=uncertainty_ms)


def _time_of(answer: Any) -> datetime:
    try:
        utc = answer.UTCDateTime
        return datetime(
            utc.Date.Year,
            utc.Date.Month,
            utc.Date.Day,
            utc.Time.Hour,
            utc.Time.Minute,
            min(utc.Time.Second, 59),
            tzinfo=UTC,
        )
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise AgentError("onvif.clock_unreadable", "no UTC time in the answer") from error


def probe(address: str, username: str, password: str) -> DeviceDetails:
    """Everything the agent needs to know of a device.

    A device whose clock cannot be read is asked all the same, with our time in the token.

    Raises:
        AgentError: any code of this module but onvif.clock_unreadable.
    """
    parsed = Address.parse(address)
    clock = clock_or_none(address)
    caller = Caller(Login(username, password), timedelta(milliseconds=clock.offset_ms or 0))
    device = caller.call("devicemgmt", parsed.device_service, "GetDeviceInformation")
    capabilities = caller.call("devicemgmt", parsed.device_service, "GetCapabilities", Category="All")
    reach = reachable_of(parsed, capabilities)
    media = reach.service(_text(capabilities, "Media", "XAddr"))
    sources = _sources(caller, reach, media)
    return DeviceDetails(
        address=str(parsed),
        manufacturer=_text(device, "Manufacturer", default=""),
        model=_text(device, "Model", default=""),
        serial=_text(device, "SerialNumber", default=""),
        firmware=_text(device, "FirmwareVersion", default=""),
        sources=sources,
        clock=clock,
        login=caller.mode,
    )


def reachable_of(address: Address, capabilities: Any) -> Reachable:
    """How this device's own URIs are turned into ones that can be reached."""
    return Reachable(address, announced_of(_text(capabilities, "Device", "XAddr", default="")))


def clock_or_none(address: str) -> ClockReading:
    """The clock where it can be read, an empty reading where not; onvif.unreachable is raised on."""
    try:
        return read_clock(address)
    except AgentError as error:
        if error.code not in {"onvif.clock_unreadable", "onvif.auth_failed", "onvif.bad_answer"}:
            raise
        return ClockReading()


def _sources(caller: Caller, reach: Reachable, media: str) -> tuple[SourceDetails, ...]:
    profiles = caller.call("media", media, "GetProfiles")
    if not isinstance(profiles, list):
        raise AgentError("onvif.bad_answer", "GetProfiles: not a list")
    by_source: dict[str, list[Any]] = {}
    for profile in profiles[:MAX_PROFILES]:
        if profile is not None and _has_video(profile):
            by_source.setdefault(_text(profile, "VideoSourceConfiguration", "SourceToken", default=""), []).append(
                profile
            )
    if not by_source:
        raise AgentError("onvif.no_profile", "no profile with H.264 or H.265")
    return tuple(_source(caller, reach, media, token, listed) for token, listed in by_source.items())


def _has_video(profile: Any) -> bool:
    encoder = getattr(profile, "VideoEncoderConfiguration", None)
    return str(getattr(encoder, "Encoding", "")).upper() in CODECS and bool(getattr(profile, "token", None))


def _source(caller: Caller, reach: Reachable, media: str, token: str, profiles: list[Any]) -> SourceDetails:
    main, sub = main_and_sub(profiles)
    return SourceDetails(
        token=token,
        main=_stream(caller, reach, media, main),
        sub=_stream(caller, reach, media, sub) if sub is not None else None,
        snapshot_uri=_snapshot_uri(caller, reach, media, _text(main, "token")),
    )


def main_and_sub(profiles: list[Any]) -> tuple[Any, Any]:
    """The largest profile for evidence, and of the others the one nearest to SUB_PIXELS, None when there is no other."""
    main, *others = sorted(profiles, key=_pixels, reverse=True)
    return main, min(others, key=lambda profile: abs(_pixels(profile) - SUB_PIXELS), default=None)


def _pixels(profile: Any) -> int:
    return _size(profile, "Width") * _size(profile, "Height")


def _size(profile: Any, side: str) -> int:
    value = getattr(getattr(profile.VideoEncoderConfiguration, "Resolution", None), side, None)
    return value if isinstance(value, int) and 0 <= value <= 32_768 else 0


def _stream(caller: Caller, reach: Reachable, media: str, profile: Any) -> StreamDetails:
    token = _text(profile, "token")
    told = caller.call("media", media, "GetStreamUri", StreamSetup=STREAM_SETUP, ProfileToken=token)
    rate = getattr(getattr(profile.VideoEncoderConfiguration, "RateControl", None), "FrameRateLimit", None)
    return StreamDetails(
        token=token,
        codec=CODECS[str(profile.VideoEncoderConfiguration.Encoding).upper()],
        width=_size(profile, "Width"),
        height=_size(profile, "Height"),
        fps_declared=float(rate) if isinstance(rate, int | float) and 0 < rate <= 1000 else None,
        uri=reach.stream(_text(told, "Uri")),
    )


def _snapshot_uri(caller: Caller, reach: Reachable, media: str, profile: str) -> str | None:
    """None where the device has no snapshots, or none that can be reached."""
    try:
        return reach.service(_text(caller.call("media", media, "GetSnapshotUri", ProfileToken=profile), "Uri"))
    except AgentError as error:
        if error.code != "onvif.bad_answer":
            raise
        return None


def _text(value: Any, *path: str, default: str | None = None) -> str:
    for name in path:
        value = getattr(value, name, None)
    if isinstance(value, str) and value.strip():
        return re.sub(r"[\x00-\x1f\x7f]", " ", value.strip())[: 1000 if "Uri" in path or "XAddr" in path else MAX_TEXT]
    if default is None:
        raise AgentError("onvif.bad_answer", f"no {'.'.join(path)}")
    return default


def snapshot(source: SourceDetails, username: str, password: str) -> bytes | None:
    """A JPEG of the source, at most PICTURE_MAX_BYTES (larger ones are made smaller); None where the device has none.

    Raises:
        AgentError: onvif.unreachable, onvif.auth_failed, onvif.bad_answer.
    """
    if source.snapshot_uri is None:
        return None
    with DeviceHttp((username, password)) as http:
        answer: Answer = http.fetch("GET", source.snapshot_uri, max_bytes=MAX_SNAPSHOT_BYTES)
    if answer.status_code in {401, 403}:
        raise AgentError("onvif.auth_failed", "snapshot")
    if answer.status_code != 200:
        return None
    if not answer.content.startswith(b"\xff\xd8\xff"):
        raise AgentError("onvif.bad_answer", "the snapshot is no JPEG")
    return answer.content if len(answer.content) <= PICTURE_MAX_BYTES else _smaller(answer.content)


def _smaller(jpeg: bytes) -> bytes:
    for reduce, quality in ((cv2.IMREAD_COLOR, 70), (cv2.IMREAD_REDUCED_COLOR_2, 80), (cv2.IMREAD_REDUCED_COLOR_4, 80)):
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), reduce)
        if picture is None:
            raise AgentError("onvif.bad_answer", "the snapshot cannot be decoded")
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done and data.size <= PICTURE_MAX_BYTES:
            return data.tobytes()
    raise AgentError("onvif.bad_answer", "the snapshot is too large")
