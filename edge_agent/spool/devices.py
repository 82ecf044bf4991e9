"""Cameras the resident entered at this box, and the ids made for their video sources.

Passwords are kept here and nowhere else (the file is 0600); no message, log line or status carries them.
"""

import sqlite3
from dataclasses import dataclass, field
from uuid import UUID

from pydantic import BaseModel, ConfigDict, TypeAdapter

from edge_agent.kit.clock import to_us, utc_now
from edge_agent.kit.ids import new_id
from models.wire.uplink import StreamInfo


class KnownSource(BaseModel):
    """One video source of a device, as the last successful probe told it. URLs without credentials."""

    model_config = ConfigDict(frozen=True)

    token: str
    main_url: str
    sub_url: str | None
    main: StreamInfo
    sub: StreamInfo | None
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""


_KNOWN: TypeAdapter[tuple[KnownSource, ...]] = TypeAdapter(tuple[KnownSource, ...])


@dataclass(frozen=True)
class Device:
    """One device: where, as whom, and what is known of it (empty until it has been reached once)."""

    address: str
    username: str
    password: str = field(repr=False)
    known: tuple[KnownSource, ...] = ()


def add(db: sqlite3.Connection, address: str, username: str, password: str) -> bool:
    """Enters a device or changes its credentials. True if it is new."""
    before = db.execute("select 1 from devices where address = ?", (address,)).fetchone()
    db.execute(
        "insert into devices (address, username, password, added_us) values (?, ?, ?, ?)"
        " on conflict (address) do update set username = excluded.username, password = excluded.password",
        (address, username, password, to_us(utc_now())),
    )
    return before is None


def remove(db: sqlite3.Connection, address: str) -> bool:
    """Forgets a device and its credentials (its camera ids stay, so that adding it again finds them). Whether it was there."""
    return db.execute("delete from devices where address = ?", (address,)).rowcount > 0


def all_devices(db: sqlite3.Connection) -> list[Device]:
    """Every device, in the order they were entered."""
    return [
        Device(row["address"], row["username"], row["password"], _KNOWN.validate_json(row["known"]))
        for row in db.execute("select * from devices order by added_us")
    ]


def remember(db: sqlite3.Connection, address: str, known: tuple[KnownSource, ...]) -> dict[str, UUID]:
    """Stores what a probe told; the camera id of each source, made now for new ones."""
    db.execute("update devices set known = ? where address = ?", (_KNOWN.dump_json(known).decode(), address))
    for source in known:
        db.execute(
            "insert or ignore into cameras values (?, ?, ?, ?)",
            (str(new_id()), address, source.token, to_us(utc_now())),
        )
    return camera_ids(db, address)


def camera_ids(db: sqlite3.Connection, address: str) -> dict[str, UUID]:
    """Camera id by source token of one device."""
    rows = db.execute("select source, camera_id from cameras where address = ?", (address,))
    return {row["source"]: UUID(row["camera_id"]) for row in rows}
