"""From picture to model input, and from model output to boxes. Pure arithmetic on arrays, no model in sight."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.errors import AgentError
from models.detectors.registry import InputSpec, OutputLayout
from models.vocabulary import ANIMALS, TWO_WHEELERS, VEHICLES, ObjectClass

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Indexes = npt.NDArray[np.intp]

PAD_GREY = 114
NMS_IOU = 0.5
SAME_THING_IOU = 0.7
MAX_DETECTIONS = 100


@dataclass(frozen=True, slots=True)
class BoxF:
    """A rectangle in fractions of the picture: left, top, width, height, inside 0…1."""

    x: float
    y: float
    w: float
    h: float

    @property
    def cx(self) -> float:
        """Centre, horizontally."""
        return self.x + self.w / 2

    @property
    def cy(self) -> float:
        """Centre, vertically."""
        return self.y + self.h / 2

    @property
    def area(self) -> float:
        """Share of the picture that it covers."""
        return self.w * self.h

    def iou(self, other: "BoxF") -> float:
        """Intersection over union, 0…1."""
        wide = min(self.x + self.w, other.x + other.w) - max(self.x, other.x)
        high = min(self.y + self.h, other.y + other.h) - max(self.y, other.y)
        if wide <= 0 or high <= 0:
            return 0.0
        both = wide * high
        return both / (self.area + other.area - both)

    def grown(self, share: float) -> "BoxF":
        """The box with `share` of its size added on every side; it may leave the picture."""
        return BoxF(
            self.x - self.w * share, self.y - self.h * share, self.w * (1 + 2 * share), self.h * (1 + 2 * share)
        )

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in a picture of that size, whole pixels inside it."""
        left, top = int(self.x * width), int(self.y * height)
        right, bottom = round((self.x + self.w) * width), round((self.y + self.h) * height)
        return max(0, left), max(0, top), min(width, max(right, left + 1)), min(height, max(bottom, top + 1))


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing in one picture."""

    object_class: ObjectClass
    score: float
    box: BoxF


def kind_of(object_class: ObjectClass) -> str:
    """Classes that a detector confuses for one and the same thing share a kind."""
    for kind, members in (("vehicle", VEHICLES), ("two_wheeler", TWO_WHEELERS), ("animal", ANIMALS)):
        if object_class in members:
            return kind
    return object_class.value


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture was fitted into the model's input: `x_input = x_picture × scale + left`."""

    scale: float
    left: int
    top: int
    width: int
    height: int

    def undo(self, xyxy: Floats) -> npt.NDArray[np.float64]:
        """Corners in input pixels (M×4) → fractions of the picture, clipped."""
        corners = xyxy.astype(np.float64)
        corners[:, [0, 2]] = (corners[:, [0, 2]] - self.left) / (self.scale * self.width)
        corners[:, [1, 3]] = (corners[:, [1, 3]] - self.top) / (self.scale * self.height)
        return np.clip(corners, 0.0, 1.0)


def brightened(image: Image) -> Image:
    """A dark BGR picture stretched to ordinary brightness, at most threefold; others as they are. The models learnt from
    photographs by day: of our night yard's frames (two a second) 37 of 38 show the person so, 32 without."""
    highlight = float(np.percentile(image[::8, ::8], 99.5))
    if highlight >= 150:
        return image
    return cv2.convertScaleAbs(image, alpha=min(3.0, 220.0 / max(highlight, 1.0))).astype(np.uint8, copy=False)


def letterbox(image: Image, spec: InputSpec) -> tuple[Floats, Letterbox]:
    """A BGR picture (H×W×3) as the model's input (1×3×h×w, float32), its shape kept, the rest grey."""
    height, width = image.shape[:2]
    scale = min(spec.width / width, spec.height / height)
    new_w, new_h = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = (
        image if (new_w, new_h) == (width, height) else cv2.resize(image, (new_w, new_h), interpolation=interpolation)
    )
    left, top = (spec.width - new_w) // 2, (spec.height - new_h) // 2
    canvas = np.full((spec.height, spec.width, 3), PAD_GREY, dtype=np.uint8)
    canvas[top : top + new_h, left : left + new_w] = small
    factor = 1 / 255 if spec.scale == "unit" else 1.0
    blob = cv2.dnn.blobFromImage(canvas, factor, swapRB=spec.colour == "rgb")
    return np.asarray(blob, dtype=np.float32), Letterbox(scale, left, top, width, height)


def _centres_to_corners(boxes: Floats) -> Floats:
    half = boxes[:, 2:4] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _yolox_grid(width: int, height: int) -> tuple[Floats, Floats]:
    cells, strides = [], []
    for stride in (8, 16, 32):
        xs, ys = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        cells.append(np.stack([xs.ravel(), ys.ravel()], axis=1))
        strides.append(np.full((xs.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def check_output(shape: tuple[int, ...], layout: OutputLayout, outputs: int) -> None:
    """Refuses an answer that is not boxes with `outputs` class scores: a model that computes anything else.

    Raises:
        AgentError: `detector.wrong_output`.
    """
    fits = len(shape) == 3 and shape[0] == 1
    if fits and layout is OutputLayout.YOLO:
        fits = shape[1] == 4 + outputs
    elif fits and layout is OutputLayout.END_TO_END:
        fits = shape[2] == 6
    elif fits:
        fits = shape[2] == 5 + outputs
    if not fits:
        raise AgentError(
            "detector.wrong_output", f"{layout.value} with {outputs} classes cannot have the shape {shape}"
        )


def _rows(raw: Floats, layout: OutputLayout, spec: InputSpec, wanted: Indexes) -> tuple[Floats, Floats, Indexes]:
    """Corners (N×4), best score and its class index among the wanted ones (N each)."""
    if layout is OutputLayout.END_TO_END:
        rows = raw[0]
        kept = rows[np.isin(rows[:, 5].astype(np.intp), wanted)]
        return kept[:, :4], kept[:, 4], kept[:, 5].astype(np.intp)
    if layout is OutputLayout.YOLO:
        rows = raw[0].T
        corners, scores = _centres_to_corners(rows[:, :4]), rows[:, 4:][:, wanted]
    else:
        rows = raw[0]
        cells, strides = _yolox_grid(spec.width, spec.height)
        sized = np.concatenate([(rows[:, :2] + cells) * strides, np.exp(rows[:, 2:4]) * strides], axis=1)
        corners, scores = _centres_to_corners(sized), rows[:, 5:][:, wanted] * rows[:, 4:5]
    best = scores.argmax(axis=1)
    return corners, scores[np.arange(len(best)), best], wanted[best]


def decode(
    raw: Floats,
    layout: OutputLayout,
    spec: InputSpec,
    classes: dict[int, ObjectClass],
    box: Letterbox,
    min_score: float,
) -> list[Detection]:
    """A model's raw answer as detections, best first: threshold, suppression of doubles per class, then across the
    classes of one kind (a van is a car or a truck, not both)."""
    wanted = np.array(sorted(classes), dtype=np.intp)
    corners, scores, indexes = _rows(raw, layout, spec, wanted)
    keep = (scores >= min_score) & np.isfinite(corners).all(axis=1)
    corners, scores, indexes = corners[keep], scores[keep], indexes[keep]
    found: list[Detection] = []
    fractions = box.undo(corners) if len(corners) else np.zeros((0, 4))
    for index in np.unique(indexes):
        mine = np.flatnonzero(indexes == index)
        sizes = np.concatenate([corners[mine, :2], corners[mine, 2:] - corners[mine, :2]], axis=1)
        chosen = cv2.dnn.NMSBoxes(sizes.tolist(), scores[mine].tolist(), min_score, NMS_IOU)
        for which in np.asarray(chosen, dtype=np.intp).ravel():
            x1, y1, x2, y2 = fractions[mine[which]]
            if x2 - x1 > 0.002 and y2 - y1 > 0.002:
                area = BoxF(float(x1), float(y1), float(x2 - x1), float(y2 - y1))
                found.append(Detection(classes[int(index)], float(min(1.0, scores[mine[which]])), area))
    return _one_per_thing(found)


def _one_per_thing(found: list[Detection]) -> list[Detection]:
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda d: -d.score)[: 2 * MAX_DETECTIONS]:
        kind = kind_of(detection.object_class)
        if not any(kind_of(k.object_class) == kind and k.box.iou(detection.box) > SAME_THING_IOU for k in kept):
            kept.append(detection)
    return kept[:MAX_DETECTIONS]
