"""Every word that crosses the wire or the API, once.

Labels for people (zh-CN, en) live in the page's locale files under the same keys.
"""

from enum import StrEnum


class ObjectClass(StrEnum):
    """Things that may be searched for. Persons are a class only: never an identity."""

    PERSON = "person"
    BICYCLE = "bicycle"
    MOTORCYCLE = "motorcycle"
    CAR = "car"
    BUS = "bus"
    TRUCK = "truck"
    COW = "cow"
    HORSE = "horse"
    SHEEP = "sheep"
    DOG = "dog"
    CAT = "cat"
    BIRD = "bird"


TWO_WHEELERS = frozenset({ObjectClass.BICYCLE, ObjectClass.MOTORCYCLE})
VEHICLES = frozenset({ObjectClass.CAR, ObjectClass.BUS, ObjectClass.TRUCK})
ANIMALS = frozenset(
    {
        ObjectClass.COW,
        ObjectClass.HORSE,
        ObjectClass.SHEEP,
        ObjectClass.DOG,
        ObjectClass.CAT,
        ObjectClass.BIRD,
    }
)


class Colour(StrEnum):
    """Basic colour terms, as a witness would say them."""

    BLACK = "black"
    GREY = "grey"
    WHITE = "white"
    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    BLUE = "blue"
    PURPLE = "purple"
    PINK = "pink"
    BROWN = "brown"


class ColourPart(StrEnum):
    """Which part of a sighting a colour was read from."""

    BODY = "body"  # vehicle or two-wheeler
    UPPER = "upper"  # clothing, upper half of a person
    LOWER = "lower"  # clothing, lower half of a person


class StreamName(StrEnum):
    """The two streams of a camera (ONVIF media profiles, by resolution)."""

    MAIN = "main"
    SUB = "sub"


class CameraState(StrEnum):
    """What is observed of a camera, never what was announced."""

    LIVE = "live"  # packets arrive
    LATE = "late"  # no packet for more than 3 s
    OFFLINE = "offline"  # cannot be reached
    AUTH_FAILED = "auth_failed"  # reachable, refuses the credentials
    PAUSED = "paused"  # the owner paused it
    DISABLED = "disabled"  # not in the desired state


class GapReason(StrEnum):
    """Why a second of footage is missing. Every missing second has one."""

    CAMERA_OFFLINE = "camera_offline"
    AUTH_FAILED = "auth_failed"
    STREAM_ERROR = "stream_error"
    STREAM_STALLED = "stream_stalled"
    AGENT_STOPPED = "agent_stopped"
    AGENT_KILLED = "agent_killed"
    PAUSED = "paused"
    CONSENT = "consent"
    DISK_FULL = "disk_full"
    SLOW_STORAGE = "slow_storage"
    CLOCK_STEP = "clock_step"


class ConsentPurpose(StrEnum):
    """What a resident allows footage to be used for."""

    EMERGENCY = "emergency"
    THEFT_LOSS = "theft_loss"
    TRAFFIC = "traffic"
    ALARMS = "alarms"


class IncidentCategory(StrEnum):
    """What an incident (警情) is about."""

    THEFT_HOME = "theft_home"
    THEFT_VEHICLE = "theft_vehicle"
    THEFT_LIVESTOCK = "theft_livestock"
    ROBBERY = "robbery"
    TRAFFIC_ACCIDENT = "traffic_accident"
    LOST_PROPERTY = "lost_property"
    STRAY_LIVESTOCK = "stray_livestock"
    DAMAGE = "damage"
    OTHER = "other"


class RefusalCode(StrEnum):
    """Why the hub refuses what an agent sent. Also the alarm's and the receipt's code."""

    MESSAGE_INVALID = "ingest.message_invalid"
    WRONG_AGENT = "ingest.wrong_agent"
    UNKNOWN_CAMERA = "ingest.unknown_camera"
    CONSENT_DENIED = "ingest.consent_denied"
    OBJECT_MISSING = "ingest.object_missing"
    SIZE_MISMATCH = "ingest.size_mismatch"
    HASH_MISMATCH = "ingest.hash_mismatch"
    SEAL_INVALID = "ingest.seal_invalid"
    CHAIN_BROKEN = "ingest.chain_broken"


class DetectorPurpose(StrEnum):
    """What a detection model may be for. The registry refuses everything else."""

    OBJECTS = "objects"  # find things of a class
    BLUR = "blur"  # find faces or plates only in order to hide them
