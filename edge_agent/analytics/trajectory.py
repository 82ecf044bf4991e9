"""The path of a sighting, kept short while it grows."""

from dataclasses import dataclass, field

from edge_agent.analytics.boxes import BoxF
from models.wire.base import Box
from models.wire.uplink import TrajectoryPoint

MAX_POINTS = 400


def wire_box(box: BoxF) -> Box:
    """A box for the wire: four decimals (a tenth of a pixel in 1000), inside the picture."""
    x, y = round(min(max(box.x, 0.0), 1.0), 4), round(min(max(box.y, 0.0), 1.0), 4)
    w, h = round(min(max(box.w, 0.0), 1.0 - x), 4), round(min(max(box.h, 0.0), 1.0 - y), 4)
    return Box(x=x, y=y, w=w, h=h)


@dataclass
class Trajectory:
    """Points (time in ms since the start, box). A point that lies on the straight line between its neighbours is
    left out; when there are still too many, the tolerance doubles and the line is thinned again."""

    tolerance: float = 0.004
    max_points: int = MAX_POINTS
    points: list[tuple[int, BoxF]] = field(default_factory=list)

    def add(self, t_ms: int, box: BoxF) -> None:
        """Appends a point; an earlier or equal time than the last one is ignored."""
        if self.points and t_ms <= self.points[-1][0]:
            return
        self.points.append((t_ms, box))
        if len(self.points) >= 3 and self._on_line(*self.points[-3:]):
            del self.points[-2]
        while len(self.points) > self.max_points:
            self.tolerance *= 2
            self._thin()

    def _on_line(self, a: tuple[int, BoxF], b: tuple[int, BoxF], c: tuple[int, BoxF]) -> bool:
        # A gap of more than 20 s between points would hide that it was seen at all in between.
        if c[0] - a[0] > 20_000:
            return False
        share = (b[0] - a[0]) / (c[0] - a[0])
        pairs = ((a[1].x, b[1].x, c[1].x), (a[1].y, b[1].y, c[1].y), (a[1].w, b[1].w, c[1].w), (a[1].h, b[1].h, c[1].h))
        return all(abs(first + share * (last - first) - middle) <= self.tolerance for first, middle, last in pairs)

    def _thin(self) -> None:
        if self.tolerance > 0.2:  # a wild path: every other point goes, first and last stay
            self.points = [*self.points[:-1:2], self.points[-1]]
            return
        kept = self.points[:2]
        for point in self.points[2:]:
            if self._on_line(kept[-2], kept[-1], point):
                kept[-1] = point
            else:
                kept.append(point)
        self.points = kept

    def wire(self) -> list[TrajectoryPoint]:
        """For a message."""
        return [TrajectoryPoint(t_ms=t_ms, box=wire_box(box)) for t_ms, box in self.points]
