"""Schema of the spool (SQLite), by versions: `PRAGMA user_version` says how many of `STEPS` have been applied.

Times are integer microseconds since 1970 (`*_us`), spans half-open. A row of `clips` goes
open → planned → sealed → announced → uploaded → verified | refused, or to `void` with a code when there was
nothing to cut. Cutting and uploading are not states: they are repeatable acts between two of them.
"""

import sqlite3

from edge_agent.errors import AgentError

_FIRST = """
create table devices (
    address text primary key,              -- host:port of the ONVIF service
    username text not null,
    password text not null,                -- stays here: the file is 0600, and no message carries it
    added_us integer not null,
    known text not null default '[]'       -- what the last successful probe told (JSON list of KnownSource)
);
create table cameras (
    camera_id text primary key,            -- made once per device and source, kept when a device is removed
    address text not null,
    source text not null,
    made_us integer not null,
    unique (address, source)
);
create table desired (
    one integer primary key check (one = 1),
    version integer not null,
    body text not null,                    -- models.wire.downlink.DesiredState
    received_us integer not null
);
create table pauses (                      -- by the resident at the box; the hub cannot lift them
    camera_id text primary key,
    since_us integer not null,
    until_us integer                       -- null: until resumed
);
create table refusals (                    -- when consent did not allow clips, and why: bounds every cut
    id text primary key,
    camera_id text not null,
    code text not null,
    start_us integer not null,
    end_us integer                         -- null: still refused
);
create index refusals_span on refusals (camera_id, start_us);
create table outbox (
    seq integer primary key autoincrement,
    id text not null unique,               -- the message's id: Nats-Msg-Id
    camera_id text not null,
    type text not null,
    subject_id text,                       -- sighting or clip it is about
    body blob not null,
    size_bytes integer not null,
    has_picture integer not null default 0,
    attempts integer not null default 0,
    made_us integer not null
);
create index outbox_subject on outbox (subject_id);
create table clips (
    clip_id text primary key,
    camera_id text not null,
    status text not null check (status in
        ('open', 'planned', 'sealed', 'announced', 'uploaded', 'verified', 'refused', 'void')),
    start_us integer not null,             -- the event, without pre- and post-roll
    end_us integer not null,
    sighting_ids text not null default '[]',
    file text,                             -- name inside the clips folder; null: deleted or not yet cut
    sha256 text,
    size_bytes integer not null default 0,
    chain_seq integer,
    announcement text,                     -- models.wire.uplink.ClipSealed, as first said
    code text not null default '',         -- why refused or void
    changed_us integer not null,
    unique (camera_id, chain_seq)
);
create index clips_status on clips (status, start_us);
create table chain (
    camera_id text primary key,
    seq integer not null,
    head text not null                     -- seal_hash of the newest seal
);
create table open_sightings (              -- begun and not final: finished by recovery after a kill
    sighting_id text primary key,
    body text not null                     -- newest SightingSeen without its picture
);
create table losses (                      -- what was given up, by reason: never silently
    reason text primary key,
    count integer not null,
    last_us integer not null
);
create table totals (
    one integer primary key check (one = 1),
    outbox_count integer not null,
    outbox_bytes integer not null
);
insert into totals values (1, 0, 0);
create trigger outbox_in after insert on outbox begin
    update totals set outbox_count = outbox_count + 1, outbox_bytes = outbox_bytes + new.size_bytes;
end;
create trigger outbox_out after delete on outbox begin
    update totals set outbox_count = outbox_count - 1, outbox_bytes = outbox_bytes - old.size_bytes;
end;
create trigger outbox_resized after update of size_bytes on outbox begin
    update totals set outbox_bytes = outbox_bytes + new.size_bytes - old.size_bytes;
end;
"""

STEPS = (_FIRST,)


def migrate(db: sqlite3.Connection) -> None:
    """Brings the file to the newest version, each step in one transaction.

    Raises:
        AgentError: `spool.newer` when a newer agent wrote it.
    """
    (version,) = db.execute("pragma user_version").fetchone()
    if version > len(STEPS):
        raise AgentError("spool.newer", f"version {version}")
    for number, step in enumerate(STEPS[version:], version + 1):
        db.executescript(f"begin immediate;\n{step}\npragma user_version = {number};\ncommit;")
