"""What the words of a search mean, in Chinese and English."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.search.words import VOCABULARY, understand
from models.vocabulary import ANIMALS, VEHICLES, Colour, ObjectClass

PLACES = ["纳姑村口", "青山镇", "山羊村", "马岭小学", "人民路口", "Qingshan gate", "白色房子"]


@pytest.mark.parametrize(
    ("text", "classes", "colours"),
    [
        ("人", {"person"}, set()),
        ("行人", {"person"}, set()),
        ("people", {"person"}, set()),
        ("红色摩托车", {"motorcycle"}, {"red"}),
        ("一辆白色的轿车", {"car"}, {"white"}),
        ("电动车", {"motorcycle"}, set()),
        ("单车", {"bicycle"}, set()),
        ("公交车", {"bus"}, set()),
        ("大货车", {"truck"}, set()),
        ("黄牛", {"cow"}, set()),
        ("黄色牛", {"cow"}, {"yellow"}),
        ("狗 羊 马", {"dog", "sheep", "horse"}, set()),
        ("红 truck", {"truck"}, {"red"}),
        ("red truck", {"truck"}, {"red"}),
        ("Buses and TRUCKS", {"bus", "truck"}, set()),
        ("ＲＥＤ　ＣＡＲ", {"car"}, {"red"}),
        ("silver taxi", {"car"}, {"grey"}),
        ("穿红衣服的人", {"person"}, {"red"}),
        ("汽车", {one.value for one in VEHICLES}, set()),
        ("牲口", {one.value for one in ANIMALS}, set()),
    ],
)
def test_words_become_filters(text: str, classes: set[str], colours: set[str]) -> None:
    reading = understand(text, PLACES)
    assert reading.classes == classes
    assert reading.colours == colours
    assert reading.rest == []


def test_longest_word_wins() -> None:
    assert understand("自行车", []).classes == {ObjectClass.BICYCLE}
    assert understand("面包车", []).classes == {ObjectClass.CAR}


@pytest.mark.parametrize(
    ("text", "places", "classes"),
    [
        ("青山镇白色轿车", ["青山镇"], {"car"}),
        ("马岭 person", ["马岭"], {"person"}),  # not horses
        ("人民路", ["人民路"], set()),  # not persons
        ("山羊", [], {"sheep"}),  # a word of its own stays one, in spite of 山羊村
        ("山羊村的牛", ["山羊村"], {"cow"}),
        ("白色轿车", [], {"car"}),  # in spite of the camera 白色房子
        ("QINGSHAN bus", ["qingshan"], {"bus"}),
    ],
)
def test_pieces_of_place_names_are_places(text: str, places: list[str], classes: set[str]) -> None:
    reading = understand(text, PLACES)
    assert reading.places == places
    assert reading.classes == classes


def test_what_is_not_understood_is_told() -> None:
    reading = understand("紫气东来 frobnicate car", PLACES)
    assert "frobnicate" in reading.rest
    assert "气东来" in reading.rest
    assert reading.understood == {"紫": "colour:purple", "car": "class:car"}


def test_words_of_more_than_one_class_name_them_all() -> None:
    assert understand("vehicle", []).understood == {"vehicle": "class:bus,car,truck"}


def test_every_class_and_colour_can_be_said_by_its_own_name() -> None:
    assert {one.value for one in ObjectClass} | {one.value for one in Colour} <= VOCABULARY.keys()


@pytest.mark.parametrize(
    "text",
    [
        "'; drop table sightings; --",
        "%_\\",
        "\x00\ud7ff",
        "🚗🚗",
        "((((",
        "a" * 200,
        "人" * 200,
        "\u202e红",
        "NULL OR 1=1",
    ],
)
def test_hostile_text_is_only_text(text: str) -> None:
    understand(text, PLACES)


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    reading = understand(text, PLACES)
    assert all(word in "\n".join(PLACES).casefold() for word in reading.places)
