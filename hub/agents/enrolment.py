"""Enrolment: a short code, told to a person, makes one machine's key known, once and within ten minutes."""

import hashlib
import secrets
from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

import segno

from hub.agents import repository
from hub.agents.model import CODE_ALPHABET, CODE_LENGTH, CODE_LIFE, Agent, EnrolmentCode, plain_code
from hub.db.engine import Connection
from hub.errors import Conflict, Forbidden, Invalid, TooMany
from hub.identity.ledgering import draft
from hub.identity.model import Principal
from hub.kit.ids import new_id
from hub.ledger import service as ledger
from hub.ledger.model import Action, Draft
from models.keys import verify
from models.wire.agent_http import EnrolAsk, enrol_bytes

ATTEMPT_WINDOW = timedelta(minutes=10)
ATTEMPT_LIMIT = 10  # 39.6 bits, ten guesses an address and code life


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()


async def create_code(
    tx: Connection, who: Principal, *, label: str, village: str, now: datetime
) -> tuple[str, EnrolmentCode]:
    """A fresh code, told this once: (code, what is kept of it). A ledger row."""
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    kept = EnrolmentCode(new_id(), label, village, now, now + CODE_LIFE)
    await repository.add_code(tx, kept, _hash(code), who.user_id)
    detail = {"label": label, "village": village}
    entry = draft(who, Action.CODE_CREATED, subject_kind="enrolment_code", subject_id=kept.id, detail=detail)
    await ledger.record(tx, entry, now)
    return code, kept


async def recent_codes(tx: Connection) -> list[EnrolmentCode]:
    """The newest hundred."""
    return await repository.codes(tx, 100)


async def check_attempts(tx: Connection, address: str, now: datetime) -> None:
    """Guessing codes is slow.

    Raises:
        TooMany: `enrolment.too_many` with `retry_after_s`.
    """
    count, oldest_at = await repository.refused_attempts(tx, address, now - ATTEMPT_WINDOW)
    if count >= ATTEMPT_LIMIT and oldest_at is not None:
        wait_s = (oldest_at + ATTEMPT_WINDOW - now).total_seconds()
        raise TooMany("enrolment.too_many", retry_after_s=max(1, int(wait_s) + 1))


async def count_refusal(tx: Connection, address: str, now: datetime) -> None:
    """One more refused attempt from `address`."""
    await repository.add_refused_attempt(tx, address, now, now - ATTEMPT_WINDOW)


async def enrol(tx: Connection, ask: EnrolAsk, address: str, now: datetime) -> Agent:
    """Makes the key known under the code's label; a ledger row. The same machine asking again (its answer was lost)
    is answered the same within the code's life.

    Raises:
        Invalid: `enrolment.proof_invalid`. Forbidden: `enrolment.code_invalid`, `enrolment.code_expired`.
        Conflict: `enrolment.code_used`, `enrolment.key_known`.
    """
    if not verify(ask.public_key, bytes.fromhex(ask.proof), enrol_bytes(ask.code, ask.public_key)):
        raise Invalid("enrolment.proof_invalid")
    code_hash = _hash(plain_code(ask.code))
    agent_id = new_id()
    code = await repository.take_code(tx, code_hash, agent_id, now)
    if code is None:
        return await _again(tx, code_hash, ask.public_key, now)
    agent = Agent(agent_id, code.label, code.village, ask.public_key, ask.hostname, ask.version, now)
    if not await repository.add_agent(tx, agent):
        raise Conflict("enrolment.key_known")  # rolls back: the code is not used up by it
    await ledger.record(tx, _enrolled(agent, code.id, address), now)
    return agent


async def _again(tx: Connection, code_hash: bytes, public_key: str, now: datetime) -> Agent:
    code = await repository.code_by_hash(tx, code_hash)
    if code is None:
        raise Forbidden("enrolment.code_invalid")
    if code.agent_id is not None and now < code.expires_at:
        agent = await repository.agent(tx, code.agent_id)
        if agent is not None and agent.public_key == public_key and agent.revoked_at is None:
            return agent
    if code.used_at is not None:
        raise Conflict("enrolment.code_used")
    raise Forbidden("enrolment.code_expired")


def _enrolled(agent: Agent, code_id: UUID, address: str) -> Draft:
    return Draft(
        action=Action.AGENT_ENROLLED,
        actor_id=agent.id,
        actor_name=agent.name,
        actor_role="agent",
        subject_kind="agent",
        subject_id=agent.id,
        detail={"code_id": code_id, "public_key": agent.public_key, "hostname": agent.hostname, "address": address},
    )


def enrol_text(public_url: str, code: str) -> str:
    """What the QR picture holds."""
    return "qianshao://enrol?" + urlencode({"hub": public_url, "code": code})


def enrol_command(public_url: str, code: str) -> str:
    """What one types at the box."""
    return f"qianshao-edge enroll --hub {public_url} --code {code}"


def qr_svg(words: str) -> str:
    """`words` as a QR code (ISO/IEC 18004, level M): an `<svg>` element to put into the page."""
    svg: str = segno.make(words, error="m", micro=False).svg_inline(scale=4, border=2, dark="#000", light="#fff")
    return svg
