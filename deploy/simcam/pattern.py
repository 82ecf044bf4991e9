"""A test picture that needs nothing: a square that walks over a grey field, and the picture's number as a bar code."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from deploy.simcam.clips import Picture

SIZE = (640, 360)
MOVING_S = 4
QUIET_S = 2
BITS = 10
_BIT_WIDTH = 32


def pictures(rate: Fraction) -> Iterator[Picture]:
    """One round: MOVING_S seconds in which the square crosses, QUIET_S without it."""
    width, height = SIZE
    ground = np.full((height, width, 3), 96, np.uint8)
    ground[height // 2 :, :, 1] = 128
    moving, total = int(MOVING_S * rate), int((MOVING_S + QUIET_S) * rate)
    for number in range(total):
        picture = ground.copy()
        if number < moving:
            left = (width - 80) * number // moving
            picture[140:220, left : left + 80] = (245, 225, 60)
        for bit in range(BITS):
            picture[0:32, bit * _BIT_WIDTH : (bit + 1) * _BIT_WIDTH] = 235 if number >> bit & 1 else 16
        yield picture


def number_of(picture: Picture) -> int:
    """The number read from a (decoded, perhaps scaled) picture's bar code."""
    scale = picture.shape[1] / SIZE[0]
    number = 0
    for bit in range(BITS):
        row, column = int(16 * scale), int((bit + 0.5) * _BIT_WIDTH * scale)
        number |= int(picture[row, column].mean() > 128) << bit
    return number
