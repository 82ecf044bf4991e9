"""Ed25519 keys (RFC 8032) of agents and hub: make, load, sign, verify, and their NATS form.

One key is an agent's whole identity: it signs seals, HTTP requests and the NATS nonce. The private half
never leaves the machine that made it.
"""

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NKEY_USER = 20 << 3
NKEY_ACCOUNT = 0
NKEY_OPERATOR = 14 << 3
NKEY_SEED = 18 << 3


class SigningKey:
    """A private key. `public_hex` is how every message names it."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.raw_seed = private.private_bytes_raw()
        self.public_raw = private.public_key().public_bytes_raw()
        self.public_hex = self.public_raw.hex()

    @classmethod
    def generate(cls) -> "SigningKey":
        """A fresh random key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed_hex(cls, seed_hex: str) -> "SigningKey":
        """The key of a 32-byte seed in hex."""
        return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed_hex)))

    @classmethod
    def load_or_create(cls, path: Path) -> "SigningKey":
        """The key kept at `path` (hex seed, mode 0600), made there first if there is none."""
        if path.exists():
            return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip())))
        key = cls.generate()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(key.raw_seed.hex())
            out.flush()
            os.fsync(out.fileno())
        part.rename(path)
        return key

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over `message`."""
        return self._private.sign(message)

    def nkey_seed(self, kind: int = NKEY_USER) -> bytes:
        """This key as a NATS seed (`SU…`, `SA…`, `SO…`)."""
        head = bytes([NKEY_SEED | (kind >> 5), (kind & 31) << 3])
        return _nkey_text(head + self.raw_seed)

    def nkey_public(self, kind: int = NKEY_USER) -> str:
        """This key as a NATS public key (`U…`, `A…`, `O…`)."""
        return nkey_public(self.public_raw, kind)


def verify(public_hex: str, signature: bytes, message: bytes) -> bool:
    """Whether `signature` over `message` is of the key `public_hex` (64 hex digits)."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def nkey_public(public_raw: bytes, kind: int = NKEY_USER) -> str:
    """A raw 32-byte public key in NATS' base-32 form."""
    return _nkey_text(bytes([kind]) + public_raw).decode()


def _nkey_text(payload: bytes) -> bytes:
    # NATS nkeys: CRC-16/XMODEM, little endian, appended; base 32 without padding.
    crc = 0
    for byte in payload:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else (crc << 1) & 0xFFFF
    return base64.b32encode(payload + crc.to_bytes(2, "little")).rstrip(b"=")
