"""The dominant colour of a vehicle, a two-wheeler or a person's clothing, as a witness would name it.

Pixels are taken to OKLab (Ottosson, 2020), where distances and hues are near to what people see, and named by lightness,
chroma and hue. No colour is claimed when there is none to see: in the dark, in an infrared picture, under a
lamp that colours all.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.analytics.boxes import BoxF, Image
from models.vocabulary import TWO_WHEELERS, VEHICLES, Colour, ColourPart, ObjectClass
from models.wire.uplink import ColourShare

Lab = npt.NDArray[np.float32]

COLOURS = tuple(Colour)
_INDEX = {colour: index for index, colour in enumerate(COLOURS)}
MIN_PART_PIXELS = 6
MIN_SHARE = 0.33
MIN_SECOND_SHARE = 0.27
MIN_RAW_SHARE = 0.15
_ACHROMATIC = np.array([colour in {Colour.BLACK, Colour.GREY, Colour.WHITE} for colour in COLOURS])

_LINEAR = np.where(
    np.arange(256) / 255 <= 0.04045, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
).astype(np.float32)
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    dtype=np.float32,
)  # fmt: skip
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    dtype=np.float32,
)  # fmt: skip

# Where on a box a part is looked for: left, top, right, bottom in shares of the box. Heads, shoes, windows, wheels and most of
# what is behind stay outside.
_PLACES: dict[ColourPart, tuple[float, float, float, float]] = {
    ColourPart.UPPER: (0.28, 0.20, 0.72, 0.46),
    ColourPart.LOWER: (0.30, 0.54, 0.70, 0.84),
    ColourPart.BODY: (0.15, 0.32, 0.85, 0.78),
}


def oklab(bgr: Image) -> Lab:
    """BGR (…×3, uint8, sRGB) → OKLab (L 0…1, a, b)."""
    rgb = _LINEAR[bgr[..., ::-1]]
    return np.asarray(np.cbrt(rgb @ _TO_LMS.T) @ _TO_LAB.T, dtype=np.float32)


@dataclass(frozen=True)
class Light:
    """How much colour a whole picture can be trusted with, and how its light is tinted.

    `cast`: (a, b) of what should be grey, taken off every pixel; `gain`: lightness is multiplied by it (a dull day).
    """

    dark: bool
    colourless: bool
    tinted: bool
    cast: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0

    @property
    def shows_colour(self) -> bool:
        """False: claim nothing."""
        return not (self.dark or self.colourless or self.tinted)

    @classmethod
    def of(cls, image: Image) -> "Light":
        """Judges a BGR picture by a thumbnail of it."""
        lab = oklab(np.asarray(cv2.resize(image, (64, 36), interpolation=cv2.INTER_AREA), dtype=np.uint8)).reshape(
            -1, 3
        )
        light, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
        overall = float(np.hypot(np.median(lab[:, 1]), np.median(lab[:, 2])))
        greyish = lab[(chroma < 0.06) & (light > 0.2)]
        enough = len(greyish) >= 0.25 * len(lab)
        cast = (float(np.median(greyish[:, 1])), float(np.median(greyish[:, 2]))) if enough else (0.0, 0.0)
        return cls(
            dark=float(np.median(light)) < 0.25,
            # An infrared picture has no chroma anywhere; asphalt on a grey day has a little.
            colourless=float(np.percentile(chroma, 98)) < 0.006,
            # A sodium lamp turns everything into one hue.
            tinted=overall > 0.09 and float(chroma.std()) < 0.045,
            cast=cast,
            gain=min(1.15, max(1.0, 0.85 / max(0.1, float(np.percentile(light, 98))))),
        )

    def corrected(self, lab: Lab) -> Lab:
        """OKLab pixels (N×3) as in neutral light of ordinary strength. Only greys are made lighter: it is black, grey and
        white that are told apart by lightness alone, and a bright red must not become pink."""
        neutral = np.asarray(lab - np.array([0.0, *self.cast], np.float32), np.float32)
        grey = np.hypot(neutral[:, 1], neutral[:, 2]) < 0.05
        neutral[grey, 0] *= self.gain
        return neutral


def _hue_names() -> npt.NDArray[np.intp]:
    """Colour index by hue degree, for clear colours of middle lightness."""
    table = np.empty(360, dtype=np.intp)
    for colour, start, end in (
        (Colour.RED, 8, 42), (Colour.ORANGE, 42, 78), (Colour.YELLOW, 78, 117), (Colour.GREEN, 117, 192),
        (Colour.BLUE, 192, 287), (Colour.PURPLE, 287, 332), (Colour.PINK, 332, 368),
    ):  # fmt: skip
        table[np.arange(start, end) % 360] = _INDEX[colour]
    return table


_BY_HUE = _hue_names()


def name_pixels(lab: Lab) -> npt.NDArray[np.intp]:
    """OKLab pixels (N×3) → indexes into `COLOURS` (N)."""
    light, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    named = _BY_HUE[hue.astype(np.intp) % 360]
    red, orange, yellow = (named == _INDEX[c] for c in (Colour.RED, Colour.ORANGE, Colour.YELLOW))
    pink, purple = (named == _INDEX[c] for c in (Colour.PINK, Colour.PURPLE))
    named = np.where(red & (light > 0.70), _INDEX[Colour.PINK], named)
    named = np.where(red & (light < 0.46) & (chroma < 0.09), _INDEX[Colour.BROWN], named)
    named = np.where(orange & ((light < 0.60) | (chroma < 0.10)), _INDEX[Colour.BROWN], named)
    # Yellow paint in the shade stays far more colourful than anything brown of that hue; towards green it is olive.
    dull = yellow & (light < 0.66) & ((chroma < 0.085) | (light < 0.42) | (hue > 104))
    named = np.where(dull, np.where(hue > 104, _INDEX[Colour.GREEN], _INDEX[Colour.BROWN]), named)
    named = np.where(pink & (light < 0.52), np.where(hue < 200, _INDEX[Colour.RED], _INDEX[Colour.PURPLE]), named)
    named = np.where(purple & (light > 0.68) & (hue > 315), _INDEX[Colour.PINK], named)
    # Daylight and cheap sensors tint grey towards yellow and blue: these hues need more chroma to count. So do dark pixels.
    needed = np.where((hue > 50) & (hue < 115), 0.062, np.where((hue > 210) & (hue < 300), 0.05, 0.042))
    needed = np.where(light < 0.35, needed + 0.01, needed)
    grey = np.where(
        light < 0.36, _INDEX[Colour.BLACK], np.where(light > 0.77, _INDEX[Colour.WHITE], _INDEX[Colour.GREY])
    )
    return np.where((chroma < needed) | (light < 0.16), grey, named)


def parts_of(object_class: ObjectClass) -> tuple[ColourPart, ...]:
    """The parts of a class that colours are read from. None for animals."""
    if object_class is ObjectClass.PERSON:
        return (ColourPart.UPPER, ColourPart.LOWER)
    return (ColourPart.BODY,) if object_class in VEHICLES | TWO_WHEELERS else ()


def _part_pixels(image: Image, box: BoxF, part: ColourPart) -> Image | None:
    left, top, right, bottom = _PLACES[part]
    place = BoxF(box.x + box.w * left, box.y + box.h * top, box.w * (right - left), box.h * (bottom - top))
    x1, y1, x2, y2 = place.pixels(image.shape[1], image.shape[0])
    if x2 - x1 < MIN_PART_PIXELS or y2 - y1 < MIN_PART_PIXELS:
        return None
    crop = image[y1:y2, x1:x2]
    return np.asarray(cv2.resize(crop, (24, 24), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _without_background(lab: Lab, image: Image, box: BoxF, light: Light) -> Lab:
    """Of a two-wheeler's pixels those that differ from what lies to its left and right: one looks through its frame."""
    strips = []
    for left in (box.x - 0.1 * box.w, box.x + box.w):
        x1, y1, x2, y2 = BoxF(left, box.y + 0.5 * box.h, 0.1 * box.w, 0.4 * box.h).pixels(
            image.shape[1], image.shape[0]
        )
        if x2 > x1 and y2 > y1:
            strips.append(light.corrected(oklab(image[y1:y2, x1:x2]).reshape(-1, 3)))
    if not strips:
        return lab
    behind = np.median(np.concatenate(strips), axis=0)
    kept = lab[np.linalg.norm(lab - behind, axis=1) > 0.06]
    return kept if len(kept) >= 0.15 * len(lab) else lab


@dataclass
class ColourVotes:
    """Votes of the pictures of one sighting; each picture counts by the detection's score."""

    votes: dict[ColourPart, npt.NDArray[np.float64]] = field(default_factory=dict)
    pictures: int = 0

    def add(self, image: Image, light: Light, box: BoxF, object_class: ObjectClass, weight: float = 1.0) -> None:
        """Reads the colours in one BGR picture, if it shows any."""
        if not light.shows_colour:
            return
        for part in parts_of(object_class):
            pixels = _part_pixels(image, box, part)
            if pixels is None:
                continue
            lab = light.corrected(oklab(pixels).reshape(-1, 3))
            if object_class in TWO_WHEELERS:
                lab = _without_background(lab, image, box, light)
            names = name_pixels(lab)
            counted = np.bincount(names, minlength=len(COLOURS)) / names.size
            self.votes[part] = self.votes.get(part, np.zeros(len(COLOURS))) + weight * counted
            self.pictures += 1

    def dominant(self, object_class: ObjectClass) -> list[ColourShare]:
        """At most two colours for each part of that class, the most telling first; none when nothing dominates."""
        shares: list[ColourShare] = []
        for part in parts_of(object_class):
            votes = self.votes.get(part)
            if votes is None or votes.sum() <= 0:
                continue
            raw = votes / votes.sum()
            telling = raw * np.where(_ACHROMATIC, 1.0, _chroma_weight(object_class))
            telling = telling / telling.sum()
            for place, index in enumerate(np.argsort(-telling)[:2]):
                if telling[index] < (MIN_SHARE if place == 0 else MIN_SECOND_SHARE) or raw[index] < MIN_RAW_SHARE:
                    break
                share = min(1.0, round(float(raw[index]), 3))
                shares.append(ColourShare(part=part, colour=COLOURS[int(index)], share=share))
        return shares


def _chroma_weight(object_class: ObjectClass) -> float:
    """Tyres, windows, shadow and the rider are black or grey on every vehicle: a witness says “the yellow one”."""
    if object_class in TWO_WHEELERS:
        return 2.5
    return 1.8 if object_class in VEHICLES else 1.0
