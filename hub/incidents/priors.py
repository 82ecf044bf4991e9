"""What is worth looking at for each category of incident: classes, how far, how long before and after.

Chosen by reasoning from the cases in `domain.md`, not yet fitted to data: measure confirmed against rejected links
before changing a figure, and say so here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from models.vocabulary import IncidentCategory, ObjectClass

_PERSON, _BICYCLE, _MOTORCYCLE = ObjectClass.PERSON, ObjectClass.BICYCLE, ObjectClass.MOTORCYCLE
_CAR, _BUS, _TRUCK = ObjectClass.CAR, ObjectClass.BUS, ObjectClass.TRUCK
_COW, _HORSE, _SHEEP, _DOG = ObjectClass.COW, ObjectClass.HORSE, ObjectClass.SHEEP, ObjectClass.DOG


@dataclass(frozen=True)
class Prior:
    """`classes`: how telling each class is, 0 … 1 (others count `OTHER_CLASS`). Distances in metres."""

    classes: Mapping[ObjectClass, float]
    radius_m: float
    before: timedelta
    after: timedelta

    @property
    def half_distance_m(self) -> float:
        """Distance at which nearness counts half."""
        return self.radius_m / 5


OTHER_CLASS = 0.1

_PEOPLE = {_PERSON: 1.0, _MOTORCYCLE: 0.9, _CAR: 0.8, _BICYCLE: 0.6, _TRUCK: 0.6}
_WANDERING = {_COW: 1.0, _HORSE: 1.0, _SHEEP: 1.0, _DOG: 0.5, _PERSON: 0.4, _TRUCK: 0.3}


def _minutes(before: int, after: int) -> tuple[timedelta, timedelta]:
    return timedelta(minutes=before), timedelta(minutes=after)


PRIORS: dict[IncidentCategory, Prior] = {
    # A burglar walks or rides up, looks around before, and is gone soon after.
    IncidentCategory.THEFT_HOME: Prior(_PEOPLE, 1500, *_minutes(120, 60)),
    # The stolen vehicle itself leaves; its way is worth following far.
    IncidentCategory.THEFT_VEHICLE: Prior(
        {_MOTORCYCLE: 1.0, _CAR: 1.0, _TRUCK: 0.9, _BICYCLE: 0.8, _PERSON: 0.8}, 3000, *_minutes(60, 120)
    ),
    # Livestock is loaded on a truck or driven on foot, mostly at night, and missed late.
    IncidentCategory.THEFT_LIVESTOCK: Prior(
        {_COW: 1.0, _HORSE: 1.0, _SHEEP: 1.0, _TRUCK: 1.0, _CAR: 0.6, _PERSON: 0.7, _MOTORCYCLE: 0.5},
        3000,
        *_minutes(180, 180),
    ),
    IncidentCategory.ROBBERY: Prior(_PEOPLE, 1000, *_minutes(30, 45)),
    # What met at the place, and who came by as a witness.
    IncidentCategory.TRAFFIC_ACCIDENT: Prior(
        {_CAR: 1.0, _TRUCK: 1.0, _BUS: 1.0, _MOTORCYCLE: 1.0, _BICYCLE: 0.9, _PERSON: 0.7}, 500, *_minutes(10, 20)
    ),
    IncidentCategory.LOST_PROPERTY: Prior(
        {_PERSON: 1.0, _MOTORCYCLE: 0.6, _BICYCLE: 0.6, _CAR: 0.5, _BUS: 0.5}, 800, *_minutes(120, 120)
    ),
    # A stray animal walks slowly and for long.
    IncidentCategory.STRAY_LIVESTOCK: Prior(_WANDERING, 3000, *_minutes(360, 240)),
    IncidentCategory.DAMAGE: Prior(_PEOPLE | {_TRUCK: 0.8}, 500, *_minutes(60, 30)),
    IncidentCategory.OTHER: Prior(dict.fromkeys(ObjectClass, 0.6), 1000, *_minutes(60, 60)),
}
