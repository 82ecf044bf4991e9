"""What a search looks for, after its words were read."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from models.vocabulary import Colour, ObjectClass

MAX_SPAN = timedelta(days=400)


@dataclass(frozen=True)
class Wanted:
    """Filters of a search, all of which must hold; None: any, an empty tuple: nothing does. The span is half-open."""

    from_at: datetime
    to_at: datetime
    camera_ids: tuple[UUID, ...] | None = None
    classes: tuple[ObjectClass, ...] | None = None
    colours: tuple[Colour, ...] | None = None
    area: tuple[tuple[float, float], ...] | None = None
    zone: str | None = None
    min_duration_ms: int | None = None
    min_score: float | None = None

    def narrowed(self, classes: set[ObjectClass], colours: set[Colour], cameras: set[UUID] | None) -> "Wanted":
        """With what the free text says: it narrows the filters that were set by hand."""
        return replace(
            self,
            classes=_both(self.classes, classes or None),
            colours=_both(self.colours, colours or None),
            camera_ids=_both(self.camera_ids, cameras),
        )


_Word = TypeVar("_Word", ObjectClass, Colour, UUID)


def _both(chosen: tuple[_Word, ...] | None, said: set[_Word] | None) -> tuple[_Word, ...] | None:
    if said is None:
        return chosen
    return tuple(sorted(said if chosen is None else said & set(chosen)))


@dataclass(frozen=True)
class Counts:
    """Figures over all that matches."""

    by_hour: dict[datetime, int]
    by_class: dict[str, int]
    by_camera: dict[UUID, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_hour.values())
