"""Messages as the hub needs them: uplink consumed at least once, downlink pushed, agents asked.

Adapters map their client's errors to `hub.errors.Unavailable("messages.unavailable")`.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

from models.wire.downlink import Command, CommandReply, Pushed

UplinkHandler = Callable[[UUID, str, bytes], Awaitable[None]]
"""(agent id and type, both from the subject; raw body). Returns: acknowledged. Raises `HubError`: final, terminated
after the handler has recorded the refusal itself, except `Unavailable` (database or store down), which like any
other exception means: redelivered with back-off."""

RequestHandler = Callable[[UUID, bytes], Awaitable[bytes]]
"""(agent id from the subject, raw body) → raw answer."""


class Bus(Protocol):
    """The hub's side of NATS."""

    async def push(self, agent_id: UUID, message: Pushed) -> None:
        """Sends to an agent if it is connected; one that is not asks when it comes back."""

    async def command(self, agent_id: UUID, command: Command, timeout_s: float = 5.0) -> CommandReply:
        """Asks an agent to do something. `Unavailable("agent.unreachable")` when no answer comes in time."""

    async def consume_uplink(self, handler: UplinkHandler, concurrency: int = 4) -> None:
        """Runs until cancelled: each uplink message to `handler`, shared among all workers (one durable consumer)."""

    async def serve_requests(self, handlers: dict[str, RequestHandler]) -> None:
        """Runs until cancelled: answers agents' requests by name, shared among all workers."""

    async def ping(self) -> None:
        """Raises `Unavailable` unless the server answers."""

    async def close(self) -> None:
        """Drains and closes."""
