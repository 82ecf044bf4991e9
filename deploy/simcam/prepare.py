"""Any source becomes a main and a sub clip: H.264 constrained baseline, constant rate, no B-frames; cached by content."""

import fcntl
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from deploy.simcam import pattern, scene
from deploy.simcam.clips import EncodedClip, Picture, load_clip
from deploy.simcam.config import PATTERN, RENDERED, CameraConfig, StreamSpec

PREPARE_VERSION = 3  # raise it when what is made from the same source changes
MAX_FPS = Fraction(25)
MOTION_LEVEL = 24  # change, 0–255, of any pixel of a 64×36 grey picture over 0.2 s that counts as motion
MOTION_JOIN_S = 1.0

TimedFrame = tuple[float, av.VideoFrame]
Progress = Callable[[str], None]


class SourceError(Exception):
    """A source that cannot be read or made; the message says what to do."""


@dataclass(frozen=True)
class PreparedCamera:
    """The two streams of one camera."""

    main: EncodedClip
    sub: EncodedClip


def prepare(config: CameraConfig, cache: Path, progress: Progress = lambda _: None) -> PreparedCamera:
    """Encodes the camera's source, or takes it from the cache. Blocking; safe in several processes at once.

    Raises:
        SourceError: the file is missing or holds no video, or the rendered scene lacks its pictures.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / _key(config)
    with _locked(cache / f"{folder.name}.lock"):
        if not (folder / "info.json").exists():
            progress(f"{config.name}: preparing {_source_name(config)}")
            _make(config, cache, folder, progress)
    motion = tuple((float(a), float(b)) for a, b in json.loads((folder / "info.json").read_text())["motion"])
    return PreparedCamera(load_clip(folder / "main.mp4", motion), load_clip(folder / "sub.mp4", motion))


def still_clip(picture: Picture, like: EncodedClip) -> EncodedClip:
    """One second of the same picture, encoded as `like` was: for a frozen or a black camera."""
    frames = max(2, round(like.fps))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "still.mp4"
        writer = _Writer(path, (like.width, like.height), like.fps, StreamSpec(like.width, like.height, like.fps, 2500))
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        for _ in range(frames):
            writer.write(frame)
        writer.close()
        return load_clip(path)


def _source_name(config: CameraConfig) -> str:
    return config.source.name if isinstance(config.source, Path) else f"the {config.source} scene"


def _key(config: CameraConfig) -> str:
    digest = hashlib.sha256()
    if isinstance(config.source, Path):
        if not config.source.is_file():
            raise SourceError(f"no such video file: {config.source}")
        with config.source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    else:
        digest.update(config.source.encode())
    shape = [PREPARE_VERSION, asdict(config.main), asdict(config.sub), config.max_source_s]
    digest.update(json.dumps(shape, default=str).encode())
    return digest.hexdigest()[:24]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(config: CameraConfig, cache: Path, folder: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as name:
        work = Path(name) / "clip"
        work.mkdir()
        if isinstance(config.source, Path):
            motion = _from_file(config, work, progress)
        else:
            motion = _encode(config, *_drawn(config, cache, progress), work, progress)
        (work / "info.json").write_text(json.dumps({"motion": motion}))
        work.rename(folder)


def _drawn(
    config: CameraConfig, cache: Path, progress: Progress
) -> tuple[Iterator[TimedFrame], tuple[int, int], Fraction]:
    if config.source == PATTERN:
        rate = config.main.fps or MAX_FPS
        return _timed(pattern.pictures(rate), rate), pattern.SIZE, rate
    if config.source == RENDERED:
        try:
            pictures = scene.load_pictures(cache, progress)
        except scene.PicturesMissing as error:
            raise SourceError(str(error)) from error
        return _timed(scene.pictures(pictures), scene.FPS), scene.SIZE, scene.FPS
    raise SourceError(f"unknown source {config.source!r}: give a video file, {RENDERED!r} or {PATTERN!r}")


def _timed(pictures: Iterator[Picture], rate: Fraction) -> Iterator[TimedFrame]:
    for index, picture in enumerate(pictures):
        yield float(index / rate), av.VideoFrame.from_ndarray(picture, format="rgb24")


def _from_file(config: CameraConfig, work: Path, progress: Progress) -> list[tuple[float, float]]:
    assert isinstance(config.source, Path)
    try:
        with av.open(str(config.source)) as container:
            if not container.streams.video:
                raise SourceError(f"{config.source} holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = min(Fraction(stream.average_rate or MAX_FPS), MAX_FPS).limit_denominator(1001)
            size = (stream.codec_context.width, stream.codec_context.height)
            frames = _file_frames(container.decode(stream), config.max_source_s)
            return _encode(config, frames, size, rate, work, progress)
    except av.FFmpegError as error:
        raise SourceError(f"{config.source} cannot be read as video: {error}") from error


def _file_frames(decoded: Iterator[av.VideoFrame], max_s: float) -> Iterator[TimedFrame]:
    first: float | None = None
    for frame in decoded:
        if frame.time is None:
            continue
        first = frame.time if first is None else first
        if frame.time - first >= max_s:
            return
        yield frame.time - first, frame


def _encode(
    config: CameraConfig,
    frames: Iterator[TimedFrame],
    size: tuple[int, int],
    rate: Fraction,
    work: Path,
    progress: Progress,
) -> list[tuple[float, float]]:
    main_rate, sub_rate = config.main.fps or rate, min(config.sub.fps or rate, rate)
    main = _Writer(work / "main.mp4", fit(size, config.main), main_rate, config.main)
    sub = _Writer(work / "sub.mp4", fit(size, config.sub), sub_rate, config.sub)
    motion = _MotionMeter()
    said_s = 0.0
    for at, frame in frames:
        main.write_until(at, frame)
        sub.write_until(at, frame)
        motion.see(at, frame)
        if at - said_s >= 20:
            said_s = at
            progress(f"{config.name}: {at:.0f} s encoded")
    main.close()
    sub.close()
    if not main.frames or not sub.frames:
        raise SourceError(f"{config.name}: its source has no pictures")
    return motion.spans()


def fit(size: tuple[int, int], spec: StreamSpec) -> tuple[int, int]:
    """The largest even size of the same proportions within the bounds, never larger than the source."""
    scale = min(1.0, spec.max_width / size[0], spec.max_height / size[1])
    return max(16, int(size[0] * scale) // 2 * 2), max(16, int(size[1] * scale) // 2 * 2)


class _Writer:
    """An MP4 of one constant-rate stream."""

    def __init__(self, path: Path, size: tuple[int, int], fps: Fraction, spec: StreamSpec) -> None:
        self.frames = 0
        self._fps = fps
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=fps)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        gop = max(1, round(fps * Fraction(spec.gop_s)))
        self._stream.options = {
            "preset": "veryfast",
            "profile": "baseline",
            "crf": "24",
            "maxrate": f"{spec.max_kbps}k",
            "bufsize": f"{spec.max_kbps}k",
            "g": str(gop),
            "keyint_min": str(gop),
            "sc_threshold": "0",
            "bf": "0",
        }

    def write_until(self, at_s: float, frame: av.VideoFrame) -> None:
        """Shows `frame`, which was taken at `at_s`, at every output instant up to then that is still empty."""
        while self.frames / self._fps <= at_s + 1e-6:
            self.write(frame)

    def write(self, frame: av.VideoFrame) -> None:
        """Appends one picture."""
        small = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
        small.pts, small.time_base = self.frames, 1 / self._fps
        small.pict_type = av.video.frame.PictureType.NONE
        self._container.mux(self._stream.encode(small))
        self.frames += 1

    def close(self) -> None:
        """Flushes the encoder and ends the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


class _MotionMeter:
    """Where the picture changes, as spans in seconds."""

    def __init__(self) -> None:
        self._last: npt.NDArray[np.int16] | None = None
        self._last_s = -1.0
        self._moving: list[float] = []

    def see(self, at_s: float, frame: av.VideoFrame) -> None:
        """Looks at a frame every 0.2 s."""
        if at_s - self._last_s < 0.2:
            return
        # Without the top sixth: cameras draw their clocks there, and our test picture its number.
        grey = frame.reformat(64, 36, "gray").to_ndarray()[6:].astype(np.int16)
        if self._last is not None and float(np.abs(grey - self._last).max(initial=0)) > MOTION_LEVEL:
            self._moving.append(at_s)
        self._last, self._last_s = grey, at_s

    def spans(self) -> list[tuple[float, float]]:
        """Moments of motion joined over pauses shorter than MOTION_JOIN_S."""
        out: list[tuple[float, float]] = []
        for at_s in self._moving:
            if out and at_s - out[-1][1] <= MOTION_JOIN_S:
                out[-1] = (out[-1][0], at_s)
            else:
                out.append((at_s, at_s))
        return out
