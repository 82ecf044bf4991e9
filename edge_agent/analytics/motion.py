"""The motion gate: decides cheaply which frames are worth a detector.

Works on a small grey picture (about a millisecond a frame). Keeps a running background and, per pixel, how much it usually
flickers (leaves, rain, noise). A frame *moves* when a connected patch differs by more than that. When most of the
picture changes at once (a cloud, a lamp, the camera's exposure), that is light: the background is taken anew and nothing opens.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.analytics.boxes import BoxF, Floats, Image

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class MotionLimits:
    """Times in seconds, areas as shares of the picture, levels in grey levels of 255."""

    width: int = 256
    min_level: float = 14.0
    fresh_level: float = 8.0
    darkest: float = 0.35
    flicker_factor: float = 4.0
    min_patch: float = 0.0008
    sudden_patch: float = 0.01
    weather_patches: int = 6
    light_share: float = 0.55
    background_s: float = 12.0
    hold_s: float = 3.0
    idle_look_s: float = 30.0
    warm_up_frames: int = 6


@dataclass(frozen=True)
class MotionView:
    """What the gate saw in a frame. `mask`: 255 where something moves, in the gate's small size."""

    open: bool
    moving: bool
    light_change: bool
    mask: Mask

    def share_in(self, box: BoxF) -> float:
        """Share of a box that moves, 0…1."""
        height, width = self.mask.shape
        left, top, right, bottom = box.pixels(width, height)
        part = self.mask[top:bottom, left:right]
        return float(part.mean()) / 255.0 if part.size else 0.0


class MotionGate:
    """The gate of one camera. Frames are offered in order of time; `at_s` is their time in seconds."""

    def __init__(self, limits: MotionLimits | None = None) -> None:
        self._limits = limits or MotionLimits()
        self._background: Floats | None = None
        self._flicker: Floats | None = None
        self._before: Mask | None = None
        self._grey_before: Floats | None = None
        self._seen = 0
        self._dim = 1.0
        self._last_at = 0.0
        self._open_until = 0.0
        self._next_idle_look = 0.0

    def look(self, image: Image, at_s: float, tracking: bool = False) -> MotionView:
        """Judges a BGR frame. `tracking`: something is being followed, so the gate stays open."""
        grey = self._small(image)
        if self._background is None or self._background.shape != grey.shape or at_s < self._last_at - 1.0:
            self._begin(grey, at_s)
        elapsed = min(max(at_s - self._last_at, 0.02), 2.0)
        self._last_at, self._seen = at_s, self._seen + 1
        mask, light = self._difference(grey)
        fresh = self._fresh(grey, mask)
        moving = not light and self._patch(mask, fresh)
        self._learn(grey, mask, fresh, elapsed, light)
        self._before, self._grey_before = mask, grey
        if moving:
            self._open_until = at_s + self._limits.hold_s
        open_now = moving or tracking or at_s < self._open_until or self._seen <= self._limits.warm_up_frames
        if not open_now and at_s >= self._next_idle_look:
            open_now = True  # an unhurried look round: what stands there is learnt before something passes it
        if open_now:
            self._next_idle_look = at_s + self._limits.idle_look_s
        return MotionView(open_now, moving, light, mask)

    def _small(self, image: Image) -> Floats:
        height = max(8, round(image.shape[0] * self._limits.width / image.shape[1]))
        small = cv2.resize(image, (self._limits.width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (5, 5), 0), dtype=np.float32)

    def _begin(self, grey: Floats, at_s: float) -> None:
        self._background = grey.copy()
        self._flicker = np.full_like(grey, 3.0)
        self._before = None
        self._grey_before = grey
        self._seen = 0
        self._last_at = at_s
        self._open_until = 0.0
        self._next_idle_look = at_s

    def _difference(self, grey: Floats) -> tuple[Mask, bool]:
        assert self._background is not None
        assert self._flicker is not None
        limits = self._limits
        signed = grey - self._background
        # The median takes out a change of exposure that touches every pixel alike.
        drift = float(np.median(signed[::3, ::3]))
        # In the dark all contrasts shrink; the noise that remains is in the flicker.
        bright = float(np.percentile(self._background[::4, ::4], 95))
        self._dim = min(1.0, max(limits.darkest, bright / 120.0))
        level = np.maximum(limits.min_level * self._dim, limits.flicker_factor * self._flicker)
        mask = (np.abs(signed - drift) > level).astype(np.uint8) * 255
        mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), dtype=np.uint8)
        changed = float(mask.mean()) / 255.0
        return mask, changed > limits.light_share or abs(drift) > 3 * limits.min_level * self._dim

    def _fresh(self, grey: Floats, mask: Mask) -> Mask:
        """Of what differs from the background, what also differs from the frame before: a patch that just stays
        (something put down or taken away, a shadow that has moved on) is no motion."""
        assert self._grey_before is not None
        signed = grey - self._grey_before
        changed = np.abs(signed - float(np.median(signed[::3, ::3]))) > self._limits.fresh_level * self._dim
        return np.where(changed, mask, 0).astype(np.uint8)

    def _patch(self, mask: Mask, fresh: Mask) -> bool:
        """A patch in motion is large enough, or is there for the second frame running (a drop of rain is not)."""
        limits = self._limits
        count, labels = cv2.connectedComponents(cv2.dilate(mask, np.ones((5, 5), np.uint8)))
        if count <= 1:
            return False
        areas = np.bincount(labels[mask > 0], minlength=count) / mask.size
        moves = np.bincount(labels[fresh > 0], minlength=count) / mask.size >= np.maximum(
            areas * 0.04, limits.min_patch / 2
        )
        if bool((moves & (areas >= limits.sudden_patch))[1:].any()):
            return True
        if self._before is None:
            return False
        # Many small patches all over are weather: then only larger ones count.
        small = int(((areas > 0) & (areas < limits.sudden_patch))[1:].sum())
        least = limits.min_patch * (4 if small > limits.weather_patches else 1)
        near = cv2.dilate(self._before, np.ones((15, 15), np.uint8))
        stays = np.bincount(labels[near > 0], minlength=count) > 0
        return bool((moves & stays & (areas >= least))[1:].any())

    def _learn(self, grey: Floats, mask: Mask, fresh: Mask, elapsed: float, light: bool) -> None:
        assert self._background is not None
        assert self._flicker is not None
        assert self._grey_before is not None
        rate = 0.5 if light else min(0.5, elapsed / self._limits.background_s)
        if self._seen <= 3:
            rate = max(rate, 0.3)
        # Where something moves just now, the background is learnt ten times more slowly: it shall not soak up passers-by.
        moving = cv2.dilate(fresh, np.ones((9, 9), np.uint8)) > 0
        # What differs but has come to rest is learnt faster: it is scenery now, and its shape must not mark others as new.
        rates = np.where(moving, rate if light else rate * 0.1, np.where(mask > 0, rate * 3, rate)).astype(np.float32)
        np.minimum(rates, 0.5, out=rates)
        # Flicker is change from frame to frame; measured against the background, a shadow that stays would count as noise.
        signed = grey - self._grey_before
        deviation = np.abs(signed - float(np.median(signed[::3, ::3])))
        self._background += rates * (grey - self._background)
        calm = np.minimum(deviation, 30.0)
        self._flicker += np.minimum(rates * 2, 0.5) * (calm - self._flicker)
