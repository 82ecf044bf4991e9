"""The hub over HTTP: enrolment, messaging credentials, plans of uploads. Each request is signed with the agent's key."""

from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from pydantic import BaseModel, ValidationError

from edge_agent.errors import AgentError, HubRefused
from models.keys import SigningKey
from models.wire.agent_http import (
    AUTH_SCHEME,
    EnrolAsk,
    EnrolReply,
    MessagingCredentials,
    UploadAsk,
    UploadComplete,
    UploadPlan,
    enrol_bytes,
    make_request_token,
)
from models.wire.downlink import Receipt

_A = TypeVar("_A", bound=BaseModel)

ANSWER_MAX_BYTES = 16 * 1024 * 1024
_TIMEOUT = httpx.Timeout(15.0, connect=5.0)


class HubClient:
    """One hub, one connection pool. Proxies of the environment are not used: what the agent sends goes where it was enrolled."""

    def __init__(self, hub_url: str, key: SigningKey, agent_id: UUID | None = None) -> None:
        self._base = hub_url
        self._prefix = urlsplit(hub_url).path
        self._key = key
        self._agent_id = agent_id
        self._http = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def enrol(self, code: str, hostname: str, version: str) -> EnrolReply:
        """Spends an enrolment code. Raises HubRefused with the hub's code (`enrolment.code_expired` …), AgentError
        `enrolment.code_malformed` for what cannot be a code."""
        public = self._key.public_hex
        proof = self._key.sign(enrol_bytes(code, public)).hex()
        try:
            ask = EnrolAsk(code=code, public_key=public, proof=proof, hostname=hostname, version=version)
        except ValidationError as error:
            raise AgentError("enrolment.code_malformed") from error
        return await self._ask("/api/v1/enrolments", ask, EnrolReply)

    async def credentials(self) -> MessagingCredentials:
        """Fresh messaging credentials. HubRefused 401 or 403 when the agent was revoked."""
        return await self._ask("/api/v1/agent/credentials", None, MessagingCredentials)

    async def plan_upload(self, ask: UploadAsk) -> UploadPlan:
        """Begins or resumes an upload: what is still missing, or the receipt when nothing is."""
        return await self._ask("/api/v1/agent/uploads", ask, UploadPlan)

    async def complete_upload(self, clip_id: UUID, complete: UploadComplete) -> Receipt:
        """All parts are there."""
        return await self._ask(f"/api/v1/agent/uploads/{clip_id}/complete", complete, Receipt)

    async def _ask(self, path: str, body: BaseModel | None, answer: type[_A]) -> _A:
        raw = await self._post(path, body)
        try:
            return answer.model_validate_json(raw)
        except ValidationError as error:
            raise AgentError("hub.answer_invalid", path) from error

    async def _post(self, path: str, body: BaseModel | None) -> bytes:
        raw = b"" if body is None else body.model_dump_json().encode()
        headers = {"content-type": "application/json"}
        if self._agent_id is not None:
            token = make_request_token(self._key, self._agent_id, "POST", self._prefix + path, raw)
            headers["authorization"] = f"{AUTH_SCHEME} {token}"
        try:
            async with self._http.stream("POST", self._base + path, content=raw, headers=headers) as reply:
                return _checked(reply, await _bounded(reply))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AgentError("hub.unreachable", type(error).__name__) from error


async def _bounded(reply: httpx.Response) -> bytes:
    taken = bytearray()
    async for chunk in reply.aiter_bytes():
        taken += chunk
        if len(taken) > ANSWER_MAX_BYTES:
            raise AgentError("hub.answer_invalid", "too long")
    return bytes(taken)


class _Problem(BaseModel):
    """What we read of an RFC 9457 body."""

    code: str = ""
    detail: str | None = None


def _checked(reply: httpx.Response, raw: bytes) -> bytes:
    if reply.is_success:
        return raw
    try:
        problem = _Problem.model_validate_json(raw)
    except ValidationError:
        problem = _Problem()
    # No code of ours: a proxy or a hub in trouble (5xx), or something that is no hub at all.
    stranger = "hub.in_trouble" if reply.status_code >= 500 else "hub.answer_invalid"
    detail = problem.detail or f"status {reply.status_code}"
    raise HubRefused(reply.status_code, problem.code or stranger, detail)
