"""Sites described in TOML: which cameras a village has, where they stand and what they film."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.simcam.config import PATTERN, RENDERED, CameraConfig, OnvifAuth
from deploy.simcam.prepare import SourceError

SCENE_STEP_S = 14.0  # between cameras of one drawn scene, so that they do not all show the same
FOLDER = Path(__file__).parent
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".m4v", ".ts"})


class VillageCamera(BaseModel):
    """A camera as a village's file lists it. `footage`: file names, the first that is there is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    name_en: str = Field(default="", max_length=100)
    lon: float = Field(ge=-180, le=180)
    lat: float = Field(ge=-90, le=90)
    heading_deg: float = Field(ge=0, lt=360)
    fov_deg: float = Field(gt=0, le=360)
    range_m: float = Field(gt=0, le=1000)
    footage: list[str] = Field(default_factory=list)
    start_s: float = 0.0
    onvif_auth: OnvifAuth = OnvifAuth.ANY


class Village(BaseModel):
    """A site's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    name_en: str = ""
    camera: list[VillageCamera] = Field(min_length=1)


def load_village(name_or_path: str) -> Village:
    """`village` (or another name shipped here) or the path of a TOML file.

    Raises:
        SourceError: not there, or not a village.
    """
    shipped = re.fullmatch(r"[a-z0-9_-]+", name_or_path) is not None
    path = FOLDER / f"{name_or_path}.toml" if shipped else Path(name_or_path)
    try:
        return Village.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise SourceError(f"{path} is not a village: {error}") from error


def camera_configs(
    village: Village, count: int | None, footage: Path | None, *, pattern: bool = False
) -> list[CameraConfig]:
    """The first `count` cameras; more than the village has are repeated with a number, each filming from another moment.

    With `footage`, each takes its first file that is there, else any video in the folder; without it, the rendered scene
    (or the test picture, with `pattern`), each from another moment of it.

    Raises:
        SourceError: a footage folder without videos.
    """
    videos = sorted(_videos(footage)) if footage else []
    if footage and not videos:
        raise SourceError(f"{footage} holds no videos ({', '.join(sorted(VIDEO_SUFFIXES))})")
    out = []
    for index in range(len(village.camera) if count is None else count):
        camera, round_ = village.camera[index % len(village.camera)], index // len(village.camera)
        source = _source(camera, index, videos) if videos else (PATTERN if pattern else RENDERED)
        out.append(
            CameraConfig(
                name=f"{camera.name} {round_ + 1}" if round_ else camera.name,
                source=source,
                start_s=camera.start_s + (7.0 * round_ if videos else SCENE_STEP_S * index),
                onvif_auth=camera.onvif_auth,
                place=_place(camera),
            )
        )
    return out


def _videos(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise SourceError(f"no such folder: {folder}")
    for path in folder.iterdir():
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            yield path


def _source(camera: VillageCamera, index: int, videos: list[Path]) -> Path:
    by_name = {path.name: path for path in videos}
    return next((by_name[name] for name in camera.footage if name in by_name), videos[index % len(videos)])


def _place(camera: VillageCamera) -> dict[str, Any]:
    keep = {"name_en", "lon", "lat", "heading_deg", "fov_deg", "range_m"}
    return {"place": camera.model_dump(include=keep)}
