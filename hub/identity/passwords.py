"""Passwords: argon2id (RFC 9106) off the event loop, and generated ones that can be read aloud."""

import asyncio
import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher()  # argon2-cffi's defaults: RFC 9106, low-memory profile (64 MiB)
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no i l o 0 1


@cache
def _nobody() -> str:
    """A hash no password fits: what unknown and disabled accounts are checked against, so that they take as long."""
    return _HASHER.hash(secrets.token_urlsafe(24))


async def hashed(password: str) -> str:
    """The encoded argon2id hash."""
    return await asyncio.to_thread(_HASHER.hash, password)


async def fits(password_hash: str | None, password: str) -> bool:
    """Whether `password` is the one; None (no such account) takes as long and is False."""
    return await asyncio.to_thread(_fits, password_hash, password)


def _fits(password_hash: str | None, password: str) -> bool:
    try:
        _HASHER.verify(password_hash or _nobody(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def generated() -> str:
    """A fresh password: four groups of five, 99 bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
