-- What guards the record: an append-only ledger with a head, alarms raised once, and attempts that are counted.

-- ledger: rows are added, never changed or removed, also not by a mistaken statement of our own --------------
create function ledger_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception using message = 'the ledger is append-only', errcode = 'insufficient_privilege';
end
$$;
create trigger ledger_no_change before update or delete on ledger
    for each row execute function ledger_is_append_only();
create trigger ledger_no_truncate before truncate on ledger
    for each statement execute function ledger_is_append_only();

-- The chain alone does not show that its newest rows were cut off; the head does.
create table ledger_head (
    one boolean primary key default true check (one),
    seq bigint not null,
    entry_hash text not null
);
insert into ledger_head (seq, entry_hash) values (0, repeat('0', 64));

create function ledger_head_only_rises() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.seq = old.seq + 1 then
        return new;
    end if;
    raise exception using message = 'the ledger head only rises, by one', errcode = 'insufficient_privilege';
end
$$;
create trigger ledger_head_rises before update or delete on ledger_head
    for each row execute function ledger_head_only_rises();
create trigger ledger_head_no_truncate before truncate on ledger_head
    for each statement execute function ledger_is_append_only();

create index ledger_actor on ledger (actor_id, seq desc);
create index ledger_action on ledger (action, seq desc);

-- alarms: one open alarm per code and thing ------------------------------------------------------------------
create unique index alarms_open on alarms (code, subject_id, agent_id, camera_id) nulls not distinct
    where acknowledged_at is null;

-- agents -----------------------------------------------------------------------------------------------------
alter table agents add column presence_at timestamptz; -- the agent's own time of its newest presence

create table enrolment_attempts (              -- refused ones, for the rate limit
    id bigint generated always as identity primary key,
    address text not null,
    at timestamptz not null
);
create index enrolment_attempts_recent on enrolment_attempts (address, at);

create table agent_requests (                  -- ids of signed requests already used: a replay finds itself here
    token_id text primary key,
    agent_id uuid not null,
    at timestamptz not null
);
create index agent_requests_at on agent_requests (at);
