"""What a request or a message has to work with. Built once in `hub.app`; adapters are handed in, never imported here."""

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from hub.db.engine import Database
from hub.kit.clock import Clock, utc_now
from hub.kit.tokens import TokenSigner
from hub.messages.port import Bus
from hub.storage.port import ObjectStore
from models.keys import SigningKey


@dataclass(frozen=True)
class Context:
    """The hub's ports and its few facts."""

    db: Database
    store: ObjectStore
    bus: Bus
    signer: TokenSigner
    hub_key: SigningKey  # the hub's own identity: signs ledger heads and exports
    account_key: SigningKey  # NATS account: signs agents' user JWTs
    nats_public_urls: list[str]  # where agents reach NATS
    public_url: str  # where people and agents reach the hub, no trailing slash
    cookie_secure: bool = False
    clock: Clock = field(default=utc_now)
    basemap_path: str | None = None  # GeoJSON drawn under the cameras; none: a plain grid


def get_context(connection: HTTPConnection) -> Context:
    """FastAPI dependency: the context of the app that serves this request."""
    context: Context = connection.app.state.context
    return context
