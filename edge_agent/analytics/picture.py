"""The one picture that stands for a sighting."""

from dataclasses import dataclass

import cv2
import numpy as np

from edge_agent.analytics.boxes import BoxF, Detection, Image

PICTURE_TARGET_BYTES = 80 * 1024
MAX_WIDTH = 1280
BETTER_BY = 1.12
"""A new picture must be this much better: else a passer-by would be encoded at every step."""


def worth(detection: Detection) -> float:
    """How well a detection shows its object: sure, large, and not cut by the edge of the picture."""
    box = detection.box
    edge = 0.004
    cut = box.x <= edge or box.y <= edge or box.x + box.w >= 1 - edge or box.y + box.h >= 1 - edge
    return float(detection.score * box.area**0.5 * (0.55 if cut else 1.0))


def jpeg(image: Image, max_bytes: int = PICTURE_TARGET_BYTES) -> bytes:
    """A BGR picture as JPEG of at most `max_bytes`: quality goes down first, then size."""
    width = min(image.shape[1], MAX_WIDTH)
    while True:
        height = max(1, round(image.shape[0] * width / image.shape[1]))
        scaled = image if width == image.shape[1] else cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        for quality in (82, 70, 55, 40):
            good, encoded = cv2.imencode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if good and encoded.size <= max_bytes:
                return bytes(encoded)
        if width <= 160:
            return bytes(encoded)
        width = int(width * 0.75)


@dataclass
class BestPicture:
    """The best frame so far. Holds the frame itself; it is encoded only when it is asked for."""

    worth: float
    score: float
    box: BoxF
    at_s: float
    _image: Image | None
    _encoded: bytes = b""
    sent: bool = False

    @classmethod
    def of(cls, image: Image, detection: Detection, at_s: float) -> "BestPicture":
        """A picture of that detection."""
        return cls(worth(detection), detection.score, detection.box, at_s, image)

    def beaten_by(self, detection: Detection) -> bool:
        """A detection that shows the object clearly better."""
        return worth(detection) > self.worth * BETTER_BY

    def encoded(self) -> bytes:
        """The JPEG."""
        if self._image is not None:
            self._encoded, self._image = jpeg(np.ascontiguousarray(self._image)), None
        return self._encoded
