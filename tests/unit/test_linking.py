"""How footage is ranked for an incident."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.incidents.priors import PRIORS
from hub.incidents.ranking import Event, Place, Scored, Seen, View, bearing_deg, distance_m, in_view, rank, score
from hub.kit.ids import new_id
from models.vocabulary import IncidentCategory, ObjectClass

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOME = Place(104.9, 25.09)
THEFT = PRIORS[IncidentCategory.THEFT_HOME]
CAMERA = UUID(int=7)


def north_of(place: Place, metres: float) -> Place:
    return Place(place.lon, place.lat + metres / 111_195)


def view_at(metres: float, heading: float | None = None) -> View:
    return View(north_of(HOME, metres), heading, 70, 60)


def scored(
    *,
    metres: float | None = 50,
    minutes: float = 0,
    object_class: ObjectClass | None = ObjectClass.PERSON,
    heading: float | None = None,
) -> Scored:
    start = AT + timedelta(minutes=minutes)
    return score(
        HOME,
        AT,
        AT,
        THEFT,
        view=None if metres is None else view_at(metres, heading),
        start_at=start,
        end_at=start,
        object_class=object_class,
        best_score=0.8,
    )


def test_distance_of_one_degree_of_latitude() -> None:
    assert distance_m(Place(104, 25), Place(104, 26)) == pytest.approx(111_195, rel=1e-3)
    assert distance_m(Place(179.999, 0), Place(-179.999, 0)) == pytest.approx(222, rel=0.01)


def test_bearing_is_clockwise_from_north() -> None:
    assert bearing_deg(HOME, north_of(HOME, 100)) == pytest.approx(0, abs=0.1)
    assert bearing_deg(HOME, Place(HOME.lon + 0.001, HOME.lat)) == pytest.approx(90, abs=0.1)


def test_nearer_is_better() -> None:
    assert scored(metres=20).score > scored(metres=200).score > scored(metres=1000).score


def test_sooner_is_better_and_before_and_after_have_their_own_windows() -> None:
    assert scored().score > scored(minutes=10).score > scored(minutes=50).score
    # Theft at home looks back further than ahead, so the same distance in time weighs more before.
    assert scored(minutes=-20).score > scored(minutes=20).score


def test_a_telling_class_is_better() -> None:
    assert scored(object_class=ObjectClass.PERSON).score > scored(object_class=ObjectClass.BIRD).score


def test_a_camera_that_looks_at_the_place_raises() -> None:
    looking = scored(metres=50, heading=180)  # it stands north of the place and looks south
    away = scored(metres=50, heading=0)
    assert looking.score > away.score
    assert "link.in_view" in [why.code for why in looking.reasons]
    assert "link.in_view" not in [why.code for why in away.reasons]


def test_the_sector_ends_at_its_angle_and_range() -> None:
    assert in_view(view_at(50, 180), HOME)
    assert in_view(view_at(50, 180 - 34), HOME)
    assert not in_view(view_at(50, 180 - 36), HOME)
    assert not in_view(view_at(61, 180), HOME)
    assert not in_view(view_at(50, None), HOME)
    assert in_view(View(HOME, 90, 10, 60), HOME)


def test_heading_north_wraps_around() -> None:
    south = View(north_of(HOME, -50), 350, 30, 60)
    assert in_view(south, HOME)


def test_an_unknown_place_is_said_and_counts_nothing() -> None:
    result = scored(metres=None)
    assert result.distance_m is None
    assert "link.distance_unknown" in [why.code for why in result.reasons]


def test_reasons_add_up_to_the_score() -> None:
    for result in (scored(), scored(metres=400, minutes=-30), scored(heading=180), scored(object_class=None)):
        assert sum(why.weight for why in result.reasons) == pytest.approx(result.score, abs=0.001)


@given(st.floats(0, 20_000), st.floats(-2_000, 2_000), st.sampled_from([None, *ObjectClass]), st.floats(0, 359.9))
def test_a_score_is_between_0_and_1(
    metres: float, minutes: float, object_class: ObjectClass | None, heading: float
) -> None:
    result = scored(metres=metres, minutes=minutes, object_class=object_class, heading=heading)
    assert 0 <= result.score <= 1


def seen(clip: UUID | None, best: float, camera: UUID = CAMERA) -> Seen:
    return Seen(
        new_id(),
        camera,
        "c",
        ObjectClass.PERSON,
        AT,
        AT,
        best,
        {"x": 0, "y": 0, "w": 1, "h": 1},
        "k",
        clip,
        view_at(50),
    )


def event(clip: UUID) -> Event:
    return Event(clip, CAMERA, "c", "verified", AT, AT + timedelta(seconds=20), view_at(50))


def test_an_event_is_one_item_a_clip_with_its_best_sighting() -> None:
    clip = new_id()
    weak, strong, alone = seen(clip, 0.5), seen(clip, 0.9), seen(None, 0.7)
    items = rank(HOME, AT, AT, THEFT, [weak, strong, alone], [event(clip)])
    assert len(items) == 2
    assert items[0].clip is not None
    assert items[0].clip.id == clip
    assert items[0].sighting == strong
    assert items[0].sightings == 2
    assert items[1].sighting == alone


def test_a_clip_without_sightings_comes_last_and_a_clip_of_another_camera_is_not_joined() -> None:
    clip = new_id()
    stranger = seen(clip, 0.9, camera=UUID(int=8))
    items = rank(HOME, AT, AT, THEFT, [stranger], [event(clip)])
    assert [item.sighting for item in items] == [stranger, None]


def test_every_category_has_a_prior() -> None:
    assert set(PRIORS) == set(IncidentCategory)
    for prior in PRIORS.values():
        assert prior.radius_m > 0
        assert prior.before > timedelta(0)
        assert prior.after > timedelta(0)
        assert all(0 < weight <= 1 for weight in prior.classes.values())
