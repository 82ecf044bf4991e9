-- Schema of the hub, first revision. Times are timestamptz; spans half-open; units in names.
-- The database is split by feature; a feature's tables are touched by its own repository only.

-- identity -------------------------------------------------------------------------------------------------
create table users (
    id uuid primary key,
    username text not null unique check (username = lower(username)),
    display_name text not null,
    role text not null check (role in ('resident', 'monitor', 'investigator', 'supervisor', 'auditor', 'admin')),
    password_hash text not null,
    locale text not null default 'zh-CN',
    created_at timestamptz not null,
    disabled_at timestamptz
);

create table sessions (
    token_hash bytea primary key,          -- SHA-256 of the cookie: a stolen table opens nothing
    user_id uuid not null references users on delete cascade,
    csrf_token text not null,
    created_at timestamptz not null,
    seen_at timestamptz not null,
    expires_at timestamptz not null,
    purpose_kind text check (purpose_kind in ('incident', 'duty', 'test')),
    purpose_incident_id uuid,
    purpose_note text not null default '',
    purpose_set_at timestamptz
);
create index sessions_user on sessions (user_id);

create table login_attempts (
    id bigint generated always as identity primary key,
    username text not null,
    address text not null,
    at timestamptz not null,
    succeeded boolean not null
);
create index login_attempts_recent on login_attempts (at, username, address);

-- ledger ---------------------------------------------------------------------------------------------------
create table ledger (
    seq bigint primary key,                -- gapless from 1, given under an advisory lock
    at timestamptz not null,
    actor_id uuid,
    actor_name text not null,
    actor_role text not null,
    action text not null,                  -- see hub.ledger.model.Action
    purpose_kind text,
    purpose_incident_id uuid,
    purpose_note text not null default '',
    camera_ids uuid[] not null default '{}',
    subject_kind text,
    subject_id uuid,
    detail jsonb not null default '{}',
    prev_hash text not null,
    entry_hash text not null
);
create index ledger_at on ledger (at desc);
create index ledger_cameras on ledger using gin (camera_ids);

-- agents ---------------------------------------------------------------------------------------------------
create table enrolment_codes (
    id uuid primary key,
    code_hash bytea not null unique,       -- SHA-256 of the code
    label text not null,                   -- becomes the agent's name
    village text not null default '',
    created_by uuid references users,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    agent_id uuid
);

create table agents (
    id uuid primary key,
    name text not null,
    village text not null default '',
    public_key text not null unique,
    hostname text not null,
    version text not null,
    enrolled_at timestamptz not null,
    revoked_at timestamptz,
    desired_version int not null default 1, -- rises with each change of a camera of this agent
    -- the newest presence, as observed
    seen_at timestamptz,
    started_at timestamptz,
    applied_version int not null default 0,
    outbox_messages int not null default 0,
    outbox_files int not null default 0,
    disk_free_bytes bigint,
    clock_skew_ms int                      -- agent minus hub, at the newest presence
);

-- cameras --------------------------------------------------------------------------------------------------
create table cameras (
    id uuid primary key,                   -- made at the edge
    agent_id uuid not null references agents,
    adopted_at timestamptz,                -- null: a candidate
    retired_at timestamptz,
    name text not null,
    village text not null default '',
    lon double precision,                  -- WGS-84
    lat double precision,
    heading_deg double precision,          -- clockwise from north
    fov_deg double precision not null default 70,
    range_m double precision not null default 40,
    zones jsonb not null default '[]',     -- [{"name": str, "points": [[x, y], …]}] fractions of the picture
    device jsonb not null,                 -- DeviceFound without the snapshot
    analytics jsonb not null default '{}', -- AnalyticsWish
    snapshot_key text,                     -- object in bucket "pictures"
    snapshot_at timestamptz,
    -- consent, as wanted now (hub.cameras writes it; older versions in camera_consents)
    consent jsonb not null default '{}',   -- models.wire.downlink.Consent
    -- the newest report, as observed
    report jsonb,                          -- CameraReport
    reported_at timestamptz,
    found_at timestamptz not null
);
create index cameras_agent on cameras (agent_id);

create table camera_consents (
    camera_id uuid not null references cameras,
    version int not null,
    consent jsonb not null,
    set_by uuid references users,
    set_at timestamptz not null,
    primary key (camera_id, version)
);

create table camera_gaps (
    id uuid primary key,
    camera_id uuid not null references cameras,
    start_at timestamptz not null,
    end_at timestamptz not null,
    reason text not null
);
create index camera_gaps_span on camera_gaps (camera_id, start_at);

-- clips ----------------------------------------------------------------------------------------------------
create table clips (
    id uuid primary key,
    camera_id uuid not null references cameras,
    agent_id uuid not null references agents,
    status text not null check (status in ('announced', 'uploaded', 'verified', 'refused')),
    refusal_code text,
    refusal_detail text not null default '',
    start_at timestamptz not null,
    end_at timestamptz not null,
    size_bytes bigint not null,
    sha256 text not null,
    seal jsonb not null,                   -- models.wire.seal.Seal
    seal_hash text not null,
    chain_seq int not null,
    chain_prev text not null,
    chain_ok boolean,                      -- null: the seal before this one is not here yet
    media jsonb not null,
    gaps jsonb not null default '[]',
    sighting_ids uuid[] not null default '{}',
    object_key text not null,              -- in bucket "clips"
    upload_id text,
    announced_at timestamptz not null,
    verified_at timestamptz
);
create index clips_span on clips (camera_id, start_at);
create index clips_chain on clips (camera_id, chain_seq);

-- sightings ------------------------------------------------------------------------------------------------
-- Partitioned by UTC day of start_at; hub.sightings makes partitions ahead and on demand.
create table sightings (
    id uuid not null,
    camera_id uuid not null,
    agent_id uuid not null,
    revision int not null,
    final boolean not null,
    object_class text not null,
    start_at timestamptz not null,
    end_at timestamptz not null,
    duration_ms int generated always as (
        (extract(epoch from (end_at - start_at)) * 1000)::int) stored,
    best_at timestamptz not null,
    best_score real not null,
    best_box jsonb not null,
    trajectory jsonb not null,
    colours jsonb not null,
    colour_names text[] not null,
    zones text[] not null default '{}',
    detector jsonb not null,
    clock jsonb not null,
    clip_id uuid,
    picture_key text,                      -- object in bucket "pictures"
    received_at timestamptz not null,
    primary key (start_at, id)
) partition by range (start_at);
create index sightings_camera on sightings (camera_id, start_at desc);
create index sightings_class on sightings (object_class, start_at desc);

-- incidents ------------------------------------------------------------------------------------------------
create table incidents (
    id uuid primary key,
    number text not null unique,           -- JQ-20261122-0001
    category text not null,
    title text not null,
    note text not null default '',
    lon double precision not null,
    lat double precision not null,
    occurred_from timestamptz not null,
    occurred_to timestamptz not null,
    status text not null default 'open' check (status in ('open', 'closed')),
    created_by uuid not null references users,
    created_at timestamptz not null,
    closed_at timestamptz
);

create table incident_links (
    incident_id uuid not null references incidents on delete cascade,
    target_kind text not null check (target_kind in ('clip', 'sighting')),
    target_id uuid not null,
    target_start_at timestamptz not null,  -- finds a sighting's partition
    decision text not null check (decision in ('confirmed', 'rejected')),
    score real not null,
    reasons jsonb not null default '[]',
    decided_by uuid not null references users,
    decided_at timestamptz not null,
    primary key (incident_id, target_kind, target_id)
);

-- alarms ---------------------------------------------------------------------------------------------------
create table alarms (
    id uuid primary key,
    at timestamptz not null,
    code text not null,                    -- e.g. ingest.hash_mismatch
    severity text not null check (severity in ('info', 'warning', 'critical')),
    agent_id uuid,
    camera_id uuid,
    subject_id uuid,
    detail text not null default '',
    acknowledged_by uuid references users,
    acknowledged_at timestamptz
);
create index alarms_at on alarms (at desc);
