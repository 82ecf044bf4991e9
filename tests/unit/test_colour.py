"""Colours are named as a witness would, and none is claimed where none can be seen."""

import cv2
import numpy as np
import pytest

from edge_agent.analytics.boxes import BoxF, Image
from edge_agent.analytics.colour import COLOURS, ColourVotes, Light, name_pixels, oklab
from models.vocabulary import Colour, ColourPart, ObjectClass
from tests.detector_material import asset

DAY = Light(dark=False, colourless=False, tinted=False)
WHOLE = BoxF(0.0, 0.0, 1.0, 1.0)


def named(rgb: tuple[int, int, int]) -> Colour:
    pixel = np.array([[rgb[::-1]]], np.uint8)
    return COLOURS[int(name_pixels(oklab(pixel).reshape(-1, 3))[0])]


def test_oklab_of_known_colours() -> None:
    white, red = (oklab(np.array([[c]], np.uint8))[0, 0] for c in ((255, 255, 255), (0, 0, 255)))
    assert white == pytest.approx([1.0, 0.0, 0.0], abs=1e-3)
    assert red == pytest.approx([0.628, 0.225, 0.126], abs=2e-3)  # Ottosson's table


@pytest.mark.parametrize(
    ("rgb", "colour"),
    [
        ((10, 10, 12), Colour.BLACK), ((40, 40, 42), Colour.BLACK), ((25, 26, 34), Colour.BLACK),
        ((110, 110, 112), Colour.GREY), ((150, 152, 155), Colour.GREY), ((128, 125, 118), Colour.GREY),
        ((240, 240, 240), Colour.WHITE), ((215, 216, 212), Colour.WHITE), ((235, 232, 220), Colour.WHITE),
        ((200, 20, 20), Colour.RED), ((150, 20, 25), Colour.RED), ((220, 50, 45), Colour.RED), ((120, 15, 20), Colour.RED),
        ((255, 140, 0), Colour.ORANGE), ((240, 120, 30), Colour.ORANGE),
        ((250, 220, 30), Colour.YELLOW), ((225, 200, 40), Colour.YELLOW),
        ((30, 140, 50), Colour.GREEN), ((60, 200, 80), Colour.GREEN), ((40, 80, 40), Colour.GREEN),
        ((30, 60, 200), Colour.BLUE), ((90, 150, 220), Colour.BLUE), ((30, 45, 95), Colour.BLUE), ((15, 115, 135), Colour.BLUE),
        ((110, 40, 150), Colour.PURPLE), ((90, 50, 160), Colour.PURPLE),
        ((255, 170, 190), Colour.PINK), ((240, 110, 170), Colour.PINK),
        ((120, 70, 30), Colour.BROWN), ((90, 55, 35), Colour.BROWN), ((139, 90, 43), Colour.BROWN),
    ],
)  # fmt: skip
def test_patches_are_named_as_people_name_them(rgb: tuple[int, int, int], colour: Colour) -> None:
    assert named(rgb) is colour


def street(seed: int = 3) -> Image:
    """A day's background with some colour in it."""
    rng = np.random.default_rng(seed)
    image = np.full((360, 640, 3), (140, 145, 140), np.uint8)
    image[:120] = (190, 150, 110)  # sky
    image[300:] = (60, 120, 70)  # grass
    return np.clip(image.astype(np.int16) + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def painted(upper: tuple[int, int, int], lower: tuple[int, int, int]) -> tuple[Image, BoxF]:
    """A person-like figure, clothes in RGB."""
    image = street()
    image[100:125, 310:330] = (120, 150, 190)
    image[125:200, 300:340] = upper[::-1]
    image[200:270, 303:337] = lower[::-1]
    return image, BoxF(296 / 640, 98 / 360, 48 / 640, 174 / 360)


def test_upper_and_lower_clothing_are_told_apart() -> None:
    image, box = painted((200, 30, 30), (30, 50, 160))
    votes = ColourVotes()
    votes.add(image, Light.of(image), box, ObjectClass.PERSON)
    shares = votes.dominant(ObjectClass.PERSON)
    assert [(s.part, s.colour) for s in shares] == [(ColourPart.UPPER, Colour.RED), (ColourPart.LOWER, Colour.BLUE)]
    assert all(s.share > 0.7 for s in shares)


def test_a_vehicle_has_a_body_and_an_animal_no_colour() -> None:
    image = street()
    image[150:260, 200:400] = (40, 40, 200)
    box = BoxF(200 / 640, 150 / 360, 200 / 640, 110 / 360)
    votes = ColourVotes()
    votes.add(image, Light.of(image), box, ObjectClass.CAR)
    assert [(s.part, s.colour) for s in votes.dominant(ObjectClass.CAR)] == [(ColourPart.BODY, Colour.RED)]
    animal = ColourVotes()
    animal.add(image, Light.of(image), box, ObjectClass.COW)
    assert animal.dominant(ObjectClass.COW) == []


def test_no_colour_is_claimed_in_the_dark() -> None:
    image, box = painted((200, 30, 30), (30, 50, 160))
    dark = (image * 0.12).astype(np.uint8)
    assert Light.of(dark).dark
    votes = ColourVotes()
    votes.add(dark, Light.of(dark), box, ObjectClass.PERSON)
    assert votes.dominant(ObjectClass.PERSON) == []


def test_no_colour_is_claimed_in_an_infrared_picture() -> None:
    image, box = painted((200, 30, 30), (30, 50, 160))
    infrared = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.uint8)
    good, packed = cv2.imencode(".jpg", infrared)
    assert good
    light = Light.of(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), dtype=np.uint8))
    assert light.colourless
    votes = ColourVotes()
    votes.add(infrared, light, box, ObjectClass.PERSON)
    assert votes.dominant(ObjectClass.PERSON) == []


def test_no_colour_is_claimed_under_a_sodium_lamp() -> None:
    grey = cv2.cvtColor(street(), cv2.COLOR_BGR2GRAY)[:, :, None] / 255.0
    lamp = (grey * np.array([30, 130, 230])).astype(np.uint8)
    assert Light.of(lamp).tinted


def test_a_blue_dusk_does_not_turn_a_white_van_blue() -> None:
    image = np.full((360, 640, 3), (118, 105, 98), np.uint8)
    image[100:250, 250:400] = (205, 185, 175)
    votes = ColourVotes()
    votes.add(image, Light.of(image), BoxF(250 / 640, 100 / 360, 150 / 640, 150 / 360), ObjectClass.TRUCK)
    assert votes.dominant(ObjectClass.TRUCK)[0].colour in {Colour.WHITE, Colour.GREY}


def test_a_yellow_motorcycle_is_yellow_although_most_of_it_is_tyres_and_rider() -> None:
    image = street()
    image[150:270, 250:400] = (35, 35, 38)
    image[205:245, 280:370] = (35, 205, 235)
    votes = ColourVotes()
    votes.add(image, DAY, BoxF(250 / 640, 150 / 360, 150 / 640, 120 / 360), ObjectClass.MOTORCYCLE)
    assert votes.dominant(ObjectClass.MOTORCYCLE)[0].colour is Colour.YELLOW


def test_a_white_bicycle_is_not_the_colour_of_the_road_behind_it() -> None:
    image = np.full((360, 640, 3), (120, 118, 120), np.uint8)
    box = BoxF(250 / 640, 150 / 360, 150 / 640, 120 / 360)
    for x in range(255, 400, 30):
        image[155:268, x : x + 8] = (235, 238, 236)
    votes = ColourVotes()
    votes.add(image, DAY, box, ObjectClass.BICYCLE)
    assert votes.dominant(ObjectClass.BICYCLE)[0].colour is Colour.WHITE


def test_rear_lights_do_not_make_a_grey_car_red() -> None:
    image = street()
    image[150:260, 200:400] = (120, 122, 121)
    image[190:215, 200:240] = image[190:215, 360:400] = (40, 40, 220)
    votes = ColourVotes()
    votes.add(image, DAY, BoxF(200 / 640, 150 / 360, 200 / 640, 110 / 360), ObjectClass.CAR)
    assert [s.colour for s in votes.dominant(ObjectClass.CAR)] == [Colour.GREY]


def test_a_speck_is_too_small_for_a_colour() -> None:
    votes = ColourVotes()
    votes.add(street(), DAY, BoxF(0.5, 0.5, 0.01, 0.03), ObjectClass.PERSON)
    assert votes.dominant(ObjectClass.PERSON) == []


def test_pictures_of_one_sighting_vote() -> None:
    red, box = painted((200, 30, 30), (30, 30, 30))
    green, _ = painted((30, 140, 50), (30, 30, 30))
    votes = ColourVotes()
    for image, weight in ((red, 0.9), (red, 0.9), (green, 0.3)):
        votes.add(image, DAY, box, ObjectClass.PERSON, weight)
    assert votes.dominant(ObjectClass.PERSON)[0].colour is Colour.RED


def test_the_bus_of_the_asset_picture_is_mostly_blue_or_white_and_the_coats_dark() -> None:
    image = asset("bus.jpg")
    light = Light.of(image)
    assert light.shows_colour
    man = ColourVotes()
    man.add(image, light, BoxF(0.27, 0.38, 0.16, 0.42), ObjectClass.PERSON)
    assert {s.colour for s in man.dominant(ObjectClass.PERSON)} <= {
        Colour.BLACK,
        Colour.GREY,
        Colour.BLUE,
        Colour.BROWN,
    }
    bus = ColourVotes()
    bus.add(image, light, BoxF(0.02, 0.21, 0.97, 0.47), ObjectClass.BUS)
    assert all(s.part is ColourPart.BODY for s in bus.dominant(ObjectClass.BUS))
