"""Who this agent is: its key, and what the hub said at enrolment. Kept in the data folder, mode 0600."""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_agent.errors import AgentError
from edge_agent.kit.files import write_private
from models.keys import SigningKey
from models.wire.agent_http import MessagingCredentials
from models.wire.base import Id, PublicKeyHex

KEY_FILE = "agent.key"
IDENTITY_FILE = "identity.json"


class Identity(BaseModel):
    """The outcome of an enrolment."""

    model_config = ConfigDict(frozen=True)

    hub_url: str
    agent_id: Id
    name: str
    hub_public_key: PublicKeyHex
    messaging: MessagingCredentials


def load_identity(data_dir: Path) -> Identity | None:
    """The identity of this data folder, or None before enrolment.

    Raises:
        AgentError: `identity.unreadable`.
    """
    try:
        return Identity.model_validate_json((data_dir / IDENTITY_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise AgentError("identity.unreadable", IDENTITY_FILE) from error


def save_identity(data_dir: Path, identity: Identity) -> None:
    """Writes the identity whole and synced."""
    write_private(data_dir / IDENTITY_FILE, identity.model_dump_json(indent=1))


def load_key(data_dir: Path) -> SigningKey:
    """The agent's key, made at first use."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return SigningKey.load_or_create(data_dir / KEY_FILE)
    except ValueError as error:
        raise AgentError("identity.key_unreadable", KEY_FILE) from error


def tidy_hub_url(text: str) -> str:
    """The hub's address as given by a person: scheme added where missing, no trailing slash.

    Raises:
        AgentError: `enrolment.hub_url_invalid`.
    """
    url = text.strip().rstrip("/")
    if "://" not in url:
        url = f"http://{url}"
    if not re.fullmatch(r"https?://([\w.-]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?(/[^\s?#]*)?", url):
        raise AgentError("enrolment.hub_url_invalid", "want http(s)://host[:port]")
    return url
