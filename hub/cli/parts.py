"""From settings to a context on concrete adapters. Nothing else names them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.context import Context
from hub.db.engine import Database
from hub.kit.clock import Clock, utc_now
from hub.kit.tokens import TokenSigner
from hub.live.gate import DatabaseGate
from hub.live.model import LiveConfig
from hub.live.relay import Relay
from hub.live.service import LiveHub
from hub.messages.nats import NatsBus
from hub.settings import Settings, nats_key_from_seed, text_secret
from hub.storage.minio import MinioStore
from models.keys import SigningKey
from models.wire.downlink import IceServer


@dataclass(frozen=True, repr=False)
class _Identity:
    """What all replicas of one hub share besides their servers."""

    token_secret: bytes
    hub_key: SigningKey


def _identity(settings: Settings) -> _Identity:
    folder = settings.data_dir / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token_file = settings.token_secret_file or folder / "token.secret"
    key_file = settings.hub_key_file or folder / "hub.key"
    return _Identity(bytes.fromhex(text_secret(token_file, 32)), SigningKey.from_seed_hex(text_secret(key_file, 32)))


def public_url(settings: Settings) -> str:
    """Where people and agents reach the hub."""
    return settings.public_url or f"http://{settings.http_host}:{settings.http_port}"


def account_key(settings: Settings) -> SigningKey:
    """The NATS account's key."""
    assert settings.nats_account_seed is not None  # settings say so when servers are named
    return nats_key_from_seed(settings.nats_account_seed.get_secret_value())


def open_store(settings: Settings) -> MinioStore:
    """The object store of `settings`."""
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    return MinioStore(
        settings.s3_endpoint,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        region=settings.s3_region,
        bucket_prefix=settings.s3_bucket_prefix,
        public_endpoint=settings.s3_public_endpoint,
    )


def database_url(settings: Settings) -> str:
    """The database of `settings`, as a SQLAlchemy URL with its password."""
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


async def open_bus(settings: Settings) -> NatsBus:
    """A connection to the messages of `settings`."""
    return await NatsBus.connect(settings.nats_urls, account_key(settings), replicas=settings.nats_replicas)


@asynccontextmanager
async def open_context(settings: Settings, clock: Clock = utc_now) -> AsyncIterator[Context]:
    """A context on the servers that `settings` name.

    Raises:
        Unavailable: `messages.unavailable`. Database and store are first asked when they are needed.
    """
    identity = _identity(settings)
    database = Database(database_url(settings), pool_size=settings.database_pool)
    store = open_store(settings)
    url = public_url(settings)
    try:
        bus = await open_bus(settings)
        try:
            yield Context(
                db=database,
                store=store,
                bus=bus,
                signer=TokenSigner(identity.token_secret, clock),
                hub_key=identity.hub_key,
                account_key=account_key(settings),
                nats_public_urls=settings.nats_public_urls or settings.nats_urls,
                public_url=url,
                cookie_secure=url.startswith("https://"),
                clock=clock,
                basemap_path=_text(settings.basemap_path),
            )
        finally:
            await bus.close()
    finally:
        await store.close()
        await database.close()


def offline_context() -> Context:
    """A context whose parts exist and connect to nothing: to describe the app, not to run it."""
    key = SigningKey.generate()
    return Context(
        db=Database("postgresql+psycopg://nobody@127.0.0.1:1/none"),
        store=MinioStore("http://127.0.0.1:1", "none", "none"),
        bus=NatsBus([], key, 1),
        signer=TokenSigner(key.raw_seed),
        hub_key=key,
        account_key=key,
        nats_public_urls=[],
        public_url="http://127.0.0.1",
    )


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def ice_servers(settings: Settings) -> tuple[IceServer, ...]:
    """STUN and TURN servers told to both ends."""
    return tuple(settings.live_ice_servers)


def open_live(settings: Settings, context: Context) -> LiveHub:
    """The live relay of one hub process; `await start()` it on the serving loop, `await close()` it there."""
    named: dict[str, Any] = {"ice_servers": ice_servers(settings), "lease_s": settings.live_lease_s}
    if settings.live_turn_secret is not None:
        named["turn_secret"] = settings.live_turn_secret.get_secret_value()
    if settings.live_ice_addresses:
        named["ice_hosts"] = tuple(settings.live_ice_addresses)
    config = LiveConfig(**named)
    return LiveHub(context, Relay(config), DatabaseGate(context), config)
