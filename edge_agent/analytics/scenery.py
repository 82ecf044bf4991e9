"""What stands still belongs to the scene: a parked car is not seen again and again."""

from dataclasses import dataclass, field

from edge_agent.analytics.boxes import BoxF, Detection, kind_of

SAME_PLACE_IOU = 0.55
FORGET_AFTER_MISSES = 120
MAX_PIECES = 100
SAME_DOUBT_IOU = 0.75
DOUBTS_UNTIL_SCENERY = 10


@dataclass
class _Piece:
    kind: str
    box: BoxF
    misses: int = 0


@dataclass
class _Doubt:
    kind: str
    box: BoxF
    hits: int = 1


@dataclass
class Scenery:
    """Places where something of a kind is known to stand. A piece is forgotten when it was not found in many frames that
    were looked at; it keeps its place, so that what drives off slowly leaves it."""

    pieces: list[_Piece] = field(default_factory=list)
    _doubts: list[_Doubt] = field(default_factory=list)

    def add(self, detection: Detection) -> None:
        """From now on what is seen there, of that kind, is scenery."""
        self.pieces.append(_Piece(kind_of(detection.object_class), detection.box))
        del self.pieces[:-MAX_PIECES]

    def doubt(self, detection: Detection) -> None:
        """A weak detection that nothing moving belongs to: a bin that looks a little like a person. When it stays, it is
        scenery, before somebody's track can slip onto it."""
        kind = kind_of(detection.object_class)
        for doubt in self._doubts:
            if doubt.kind == kind and doubt.box.iou(detection.box) >= SAME_DOUBT_IOU:
                doubt.hits += 1
                if doubt.hits >= DOUBTS_UNTIL_SCENERY:
                    self._doubts.remove(doubt)
                    self.add(detection)
                return
        self._doubts.append(_Doubt(kind, detection.box))
        del self._doubts[:-MAX_PIECES]

    def remove_from(self, detections: list[Detection]) -> list[Detection]:
        """The detections of a frame without the scenery. Each piece takes one."""
        left = list(detections)
        for piece in self.pieces:
            same = [d for d in left if kind_of(d.object_class) == piece.kind and d.box.iou(piece.box) >= SAME_PLACE_IOU]
            if same:
                left.remove(max(same, key=lambda d: d.box.iou(piece.box)))
                piece.misses = 0
            else:
                piece.misses += 1
        self.pieces = [piece for piece in self.pieces if piece.misses < FORGET_AFTER_MISSES]
        return left
