"""What a simulated site consists of."""

import os
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

RENDERED = "rendered"  # the moving village made from ultralytics' pictures
PATTERN = "pattern"  # a drawn square that moves; needs nothing, made in a moment


class OnvifAuth(StrEnum):
    """What a camera takes as proof."""

    ANY = "any"  # WS-Security digest or HTTP digest
    WS_DIGEST = "ws_digest"
    WS_TEXT = "ws_text"  # plain-text UsernameToken only, as some old devices
    HTTP_DIGEST = "http_digest"  # no WS-Security; refuses with an HTML page and status 401


@dataclass(frozen=True)
class StreamSpec:
    """How a stream is encoded. Size is a bound: the picture keeps its proportions. `fps` None: as the source, at most 25."""

    max_width: int
    max_height: int
    fps: Fraction | None
    max_kbps: int
    gop_s: float = 1.0


MAIN = StreamSpec(1280, 720, None, 2500)
SUB = StreamSpec(640, 640, Fraction(12), 600)


@dataclass(frozen=True)
class CameraConfig:
    """One camera. `source`: a video file, "rendered" or "pattern"."""

    name: str
    source: Path | str = PATTERN
    main: StreamSpec = MAIN
    sub: StreamSpec = SUB
    max_source_s: float = 120.0
    start_s: float = 0.0  # where in the clip the camera begins, so that cameras of one clip differ
    onvif_auth: OnvifAuth = OnvifAuth.ANY
    announced_host: str | None = None  # what it calls itself in XAddrs and URIs; None: the address it was called by
    place: dict[str, object] = field(default_factory=dict)  # lon, lat, heading… passed through to the state file


@dataclass(frozen=True)
class SiteConfig:
    """All cameras of one process. `base_port` 0: free ports; else camera i has base+2i (ONVIF) and base+2i+1 (RTSP)."""

    cameras: tuple[CameraConfig, ...]
    username: str = "viewer"
    password: str = field(default="simcam-password", repr=False)
    host: str = "127.0.0.1"
    base_port: int = 0
    control_port: int | None = None  # None: no control server; 0: a free port
    cache_dir: Path | None = None
    discovery: bool = False  # answer WS-Discovery probes (multicast)

    @property
    def cache(self) -> Path:
        """Where prepared clips are kept."""
        return self.cache_dir or default_cache()


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/qianshao/simcam`, else below the home folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "qianshao" / "simcam"
