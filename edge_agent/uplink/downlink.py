"""What the hub says, checked before anything acts on it. A message that is not in order is counted and changes nothing."""

from dataclasses import dataclass, field

import structlog
from pydantic import ValidationError

from models.wire.downlink import COMMAND, PUSHED, Command, DesiredState, Pushed, Receipts

BODY_MAX_BYTES = 4 * 1024 * 1024

log = structlog.get_logger()


@dataclass
class Refused:
    """How many messages of the hub were not in order, by kind."""

    by_kind: dict[str, int] = field(default_factory=dict)

    def count(self, kind: str) -> None:
        """One more."""
        self.by_kind[kind] = self.by_kind.get(kind, 0) + 1
        log.warning("downlink.refused", kind=kind)


def read_pushed(raw: bytes, kind: str, refused: Refused) -> Pushed | None:
    """The desired state or receipts in `raw`; None if it is not a message of `kind` in order."""
    try:
        message = PUSHED.validate_json(raw[: BODY_MAX_BYTES + 1]) if len(raw) <= BODY_MAX_BYTES else None
    except ValidationError:
        message = None
    if message is None or message.type != kind or not _consistent(message):
        refused.count(kind)
        return None
    return message


def read_command(raw: bytes, refused: Refused) -> Command | None:
    """The command in `raw`, or None."""
    try:
        if len(raw) <= BODY_MAX_BYTES:
            return COMMAND.validate_json(raw)
    except ValidationError:
        pass
    refused.count("command")
    return None


def _consistent(message: DesiredState | Receipts) -> bool:
    """Twice the same camera, perhaps with two consents, is no state to act on."""
    if isinstance(message, Receipts):
        return True
    ids = [camera.camera_id for camera in message.cameras]
    return len(ids) == len(set(ids))
