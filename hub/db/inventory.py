"""Which objects the rows say there are: what `qianshao-hub check` compares with the store."""

from dataclasses import dataclass

from sqlalchemy import text

from hub.db.engine import Connection

_CLIPS = text("select object_key, status in ('uploaded', 'verified') as needed from clips")
_PICTURES = text("""
    select picture_key as key from sightings where picture_key is not null
    union select snapshot_key from cameras where snapshot_key is not null
""")


@dataclass(frozen=True)
class Wanted:
    """Keys of one bucket: `needed` must be there; `allowed` may be (an upload under way, a refused clip kept as found)."""

    needed: frozenset[str]
    allowed: frozenset[str]


async def clip_objects(tx: Connection) -> Wanted:
    """Objects of clips: one that was uploaded must be there."""
    rows = (await tx.execute(_CLIPS)).all()
    return Wanted(frozenset(key for key, needed in rows if needed), frozenset(key for key, _ in rows))


async def picture_objects(tx: Connection) -> Wanted:
    """Pictures of sightings and stills of cameras."""
    keys = frozenset((await tx.execute(_PICTURES)).scalars())
    return Wanted(keys, keys)
