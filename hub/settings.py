"""What an installation decides: `QIANSHAO_*` variables, and secrets that are made when they are missing.

Built in `hub.cli` only, handed on as values. With `database_url`, `s3_endpoint` and `nats_urls` set, nothing is embedded.
"""

import base64
import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.keys import NKEY_ACCOUNT, NKEY_OPERATOR, NKEY_USER, SigningKey
from models.wire.downlink import IceServer

_DATABASE_SCHEME = "postgresql+psycopg://"
_SEED_KINDS = (NKEY_ACCOUNT, NKEY_OPERATOR, NKEY_USER)
OUTSIDE = ("database_url", "s3_endpoint", "nats_urls")


class Settings(BaseSettings):
    """Frozen settings of one hub process. Lists and objects are JSON in the environment."""

    model_config = SettingsConfigDict(env_prefix="QIANSHAO_", frozen=True, extra="ignore")

    data_dir: Path = Field(default=Path("qianshao-data"), description="embedded servers, secrets and logs live here")
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8420, ge=0, le=65535, description="0: a free port, remembered in the data folder")
    http_trusted_proxies: list[str] = Field(
        default_factory=lambda: ["127.0.0.1"],
        description="addresses and networks whose X-Forwarded-For is believed; sign-in is slowed per address",
    )
    public_url: str = Field(default="", description="where people and agents reach the hub; empty: from host and port")
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    database_url: SecretStr | None = Field(default=None, description="postgresql+psycopg://user:password@host/database")
    database_pool: int = Field(default=10, ge=1, le=200)
    s3_endpoint: str = Field(default="", description="http(s)://host:port of the object store, as the hub reaches it")
    s3_public_endpoint: str = Field(default="", description="the same, as agents reach it; empty: s3_endpoint")
    s3_region: str = "us-east-1"
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    s3_bucket_prefix: str = Field(default="qianshao-", pattern=r"^[a-z0-9][a-z0-9-]{0,30}$|^$")
    nats_urls: list[str] = Field(default_factory=list, description="as the hub reaches them")
    nats_public_urls: list[str] = Field(default_factory=list, description="as agents reach them; empty: nats_urls")
    nats_account_seed: SecretStr | None = Field(
        default=None, description="NATS account seed (SA…), for outside servers"
    )
    nats_replicas: int = Field(default=1, ge=1, le=5, description="copies of the uplink stream in a NATS cluster")
    token_secret_file: Path | None = Field(default=None, description="shared by replicas; default: in the data folder")
    hub_key_file: Path | None = Field(default=None, description="shared by replicas; default: in the data folder")

    live_ice_addresses: list[str] = Field(default_factory=list, description="local addresses offered to viewers")
    live_ice_servers: list[IceServer] = Field(default_factory=list, description="STUN/TURN for both ends")
    live_turn_secret: SecretStr | None = Field(
        default=None, description="shared with the TURN servers (coturn: static-auth-secret); signs short-lived users"
    )
    live_lease_s: int = Field(default=20, gt=1, le=600)

    worker_metrics_port: int = Field(
        default=0, ge=0, le=65535, description="the worker's Prometheus figures on 127.0.0.1, at /metrics; 0: none"
    )

    basemap_path: Path | None = Field(default=None, description="GeoJSON drawn under the cameras")

    @field_validator("public_url", "s3_endpoint", "s3_public_endpoint")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        value = value.rstrip("/")
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value

    @field_validator("database_url")
    @classmethod
    def _of_our_driver(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(_DATABASE_SCHEME):
            raise ValueError(f"must begin with {_DATABASE_SCHEME}")
        return value

    @field_validator("nats_account_seed")
    @classmethod
    def _of_an_account(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            nats_key_from_seed(value.get_secret_value(), NKEY_ACCOUNT)
        return value

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        named = [name for name in OUTSIDE if getattr(self, name)]
        if named and len(named) < len(OUTSIDE):
            missing = ", ".join(f"QIANSHAO_{name.upper()}" for name in OUTSIDE if name not in named)
            raise ValueError(f"outside servers are named in part; also set {missing}")
        if named and not (self.s3_access_key and self.s3_secret_key and self.nats_account_seed):
            raise ValueError(
                "outside servers need QIANSHAO_S3_ACCESS_KEY, QIANSHAO_S3_SECRET_KEY and QIANSHAO_NATS_ACCOUNT_SEED"
            )
        return self

    @model_validator(mode="after")
    def _turn_needs_users(self) -> Self:
        nameless = [url for one in self.live_ice_servers if one.username is None for url in one.urls]
        if self.live_turn_secret is None and any(url.startswith(("turn:", "turns:")) for url in nameless):
            raise ValueError("a TURN server needs a username and a credential, or QIANSHAO_LIVE_TURN_SECRET for all")
        return self

    @property
    def embedded(self) -> bool:
        """Whether the servers are our own children."""
        return self.database_url is None

    def on(self, servers: Mapping[str, Any]) -> "Settings":
        """These settings with `servers` named in them, as outside ones would be."""
        return Settings(**{**self.model_dump(exclude_unset=True), **servers})

    def environment(self) -> dict[str, str]:
        """The variables that give another process these settings. Holds secrets in the clear: only for a child's environment."""
        return {
            f"QIANSHAO_{name.upper()}": _variable(value)
            for name, value in self.model_dump(exclude_unset=True).items()
            if value is not None
        }


def _variable(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, list):
        return json.dumps(value)
    return str(value)


def text_secret(path: Path, length_bytes: int) -> str:
    """The hex secret kept at `path`, made there first (mode 0600) if there is none; safe against a second maker."""
    if not path.exists():
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(secrets.token_hex(length_bytes))
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its secret is the one
            path.hardlink_to(part)
        part.unlink()
    return path.read_text().strip()


def nats_key_from_seed(seed: str, kind: int | None = None) -> SigningKey:
    """The signing key inside a NATS seed (`SA…`, `SO…`, `SU…`); of `kind` only, where one is given.

    Raises:
        ValueError: it is no NATS seed, or one of another kind.
    """
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except ValueError:
        raise ValueError("not a NATS seed") from None
    if len(raw) != 36 or raw[0] & 0xF8 != 18 << 3:
        raise ValueError("not a NATS seed")
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(raw[2:34]))
    # The whole text, checksum too: a seed copied with a slip would be another account.
    if not any(key.nkey_seed(one).decode() == seed for one in ([kind] if kind is not None else _SEED_KINDS)):
        raise ValueError("not a NATS seed of that kind")
    return key


@dataclass(frozen=True, repr=False)
class Secrets:
    """Everything secret of one data folder. Never logged; `repr` hides it."""

    folder: Path
    token_secret: bytes
    hub_key: SigningKey
    operator_key: SigningKey
    system_key: SigningKey  # account of the NATS server itself; nobody signs in to it
    account_key: SigningKey
    postgres_password: str
    s3_access_key: str
    s3_secret_key: str
    store_key: str  # the object server's own, between its parts

    @classmethod
    def load(cls, data_dir: Path) -> "Secrets":
        """The secrets of `data_dir`, each made (mode 0600, in a folder of mode 0700) where it is missing."""
        folder = data_dir / "secrets"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)

        def key(name: str) -> SigningKey:
            return SigningKey.from_seed_hex(text_secret(folder / name, 32))

        return cls(
            folder=folder,
            token_secret=bytes.fromhex(text_secret(folder / "token.secret", 32)),
            hub_key=key("hub.key"),
            operator_key=key("nats-operator.key"),
            system_key=key("nats-system.key"),
            account_key=key("nats-account.key"),
            postgres_password=text_secret(folder / "postgres.password", 24),
            s3_access_key=text_secret(folder / "s3.access", 10),
            s3_secret_key=text_secret(folder / "s3.secret", 24),
            store_key=text_secret(folder / "store.key", 32),
        )

    @property
    def account_seed(self) -> str:
        """The NATS account's key as a seed (`SA…`)."""
        return self.account_key.nkey_seed(NKEY_ACCOUNT).decode()

    def __repr__(self) -> str:
        return f"Secrets({self.folder})"
