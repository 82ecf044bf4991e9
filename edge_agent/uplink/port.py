"""A connection to the hub's messages, as the uplink needs it. `edge_agent.uplink.nats` implements it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

Heard = Callable[[str, bytes], Awaitable[bytes | None]]
"""(last word of the subject: `desired`, `receipts`, `command`; raw body) → answer, where one is wanted."""


class Link(Protocol):
    """One connection. It never comes back by itself: when it has ended, make another."""

    ended: asyncio.Event

    async def publish(self, type_: str, body: bytes, message_id: str) -> None:
        """To the stream; returns when it is stored there.

        Raises:
            AgentError: `uplink.unavailable` (try again), `uplink.too_large` (never will be taken).
        """

    async def tell(self, type_: str, body: bytes) -> None:
        """Sends without asking for an acknowledgement (presence: only the newest counts)."""

    async def ask(self, name: str, body: bytes, timeout_s: float = 5.0) -> bytes:
        """Asks the hub. `uplink.unavailable` when nobody answers in time."""

    async def close(self) -> None:
        """Ends it; idempotent."""
