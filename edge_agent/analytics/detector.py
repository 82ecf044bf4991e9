"""The object detector behind its port: picture in, boxes with classes out.

`load_detector` puts together a manifest that the registry lets in, weights with a pinned hash and one of three runtimes:
OpenVINO (default, no torch), ONNX Runtime, or Ultralytics with torch for `.pt` files (extra `ml`).
"""

from pathlib import Path
from typing import Literal, Protocol

from edge_agent.analytics.boxes import Detection, Floats, Image, brightened, check_output, decode, letterbox
from edge_agent.analytics.weights import resolve_weights, sha256_of
from edge_agent.errors import AgentError
from models.detectors.registry import Manifest, ModelRefused, Registry, WeightsFormat
from models.wire.uplink import DetectorName

RuntimeName = Literal["openvino", "onnxruntime", "ultralytics"]
FLOOR_SCORE = 0.15
"""Weaker detections are not even given to the tracker, which uses weak ones to carry on what it already follows."""


class Detector(Protocol):
    """Finds objects in pictures. One thread at a time."""

    @property
    def name(self) -> DetectorName:
        """Which model, and the hash of its weights."""

    def detect(self, image: Image) -> list[Detection]:
        """Objects in a BGR picture (H×W×3, uint8), best first, with scores of at least `FLOOR_SCORE`."""


class Runtime(Protocol):
    """Computes a model: 1×3×h×w float32 in, one array out."""

    def names(self) -> dict[int, str]:
        """Class names that the file itself carries; empty when it carries none."""

    def infer(self, blob: Floats) -> Floats:
        """One forward pass."""


class ModelDetector:
    """A `Detector` made of a manifest and a runtime."""

    def __init__(self, manifest: Manifest, runtime: Runtime, sha256: str, min_score: float = FLOOR_SCORE) -> None:
        self._manifest = manifest
        self._classes = manifest.object_classes()
        self._runtime = runtime
        self._min_score = min_score
        self._checked = False
        self.name = DetectorName(name=manifest.name, sha256=sha256)
        own = runtime.names()
        strange = [i for i, said in manifest.classes.items() if own and own.get(i) != said]
        if strange:
            raise AgentError(
                "detector.wrong_classes", f"{manifest.name}: class {strange[0]} is {own.get(strange[0])!r}"
            )

    def detect(self, image: Image) -> list[Detection]:
        """See `Detector.detect`.

        Raises:
            AgentError: `detector.wrong_output` when the model answers anything but boxes with the declared classes.
        """
        spec = self._manifest.input
        blob, fitted = letterbox(brightened(image), spec)
        raw = self._runtime.infer(blob)
        if not self._checked:
            check_output(raw.shape, self._manifest.layout, self._manifest.outputs)
            self._checked = True
        return decode(raw, self._manifest.layout, spec, self._classes, fitted, self._min_score)


def _runtime(kind: RuntimeName, manifest: Manifest, path: Path, threads: int) -> Runtime:
    needs: RuntimeName | None = "ultralytics" if manifest.format is WeightsFormat.TORCH else None
    if (kind == "ultralytics") != (needs == "ultralytics"):
        raise AgentError("detector.wrong_runtime", f"{manifest.name} is {manifest.format.value}: not for {kind}")
    if kind == "openvino":
        from edge_agent.analytics.runtime_openvino import OpenVinoRuntime

        return OpenVinoRuntime(path, manifest.input, threads)
    if kind == "onnxruntime":
        from edge_agent.analytics.runtime_onnx import OnnxRuntime

        return OnnxRuntime(path, threads)
    from edge_agent.analytics.runtime_ultralytics import UltralyticsRuntime

    return UltralyticsRuntime(path, manifest.layout, threads)


def open_detector(manifest: Manifest, path: Path, runtime: RuntimeName = "openvino", threads: int = 1) -> ModelDetector:
    """A detector from a file that is at hand, its hash checked against the manifest first.

    Raises:
        AgentError: `detector.weights_refused`, `detector.wrong_runtime`, `detector.runtime_missing`,
            `detector.wrong_classes`, `detector.broken_weights`.
    """
    sha256 = sha256_of(path)
    if sha256 not in manifest.hashes:
        raise AgentError("detector.weights_refused", f"{path.name} is not pinned for {manifest.name}")
    return ModelDetector(manifest, _runtime(runtime, manifest, path, threads), sha256)


def load_detector(
    name: str = "yolo11n",
    weights_dir: Path | None = None,
    runtime: RuntimeName = "openvino",
    threads: int = 1,
    cache_dir: Path | None = None,
    *,
    download: bool = True,
) -> ModelDetector:
    """The detector of that name from the project's registry; fetches weights where needed (blocking, may take minutes) and
    allowed (`download`).

    Raises:
        AgentError: `detector.refused` when the registry does not let the model in, `detector.no_weights` when no source
            has it, and as `open_detector`.
    """
    try:
        manifest = Registry().manifest(name)
        manifest.object_classes()
    except ModelRefused as error:
        raise AgentError("detector.refused", str(error)) from error
    return open_detector(
        manifest, resolve_weights(manifest, weights_dir, cache_dir, download=download), runtime, threads
    )
