"""`qianshao-hub nats-seed` and `nats-config`: a NATS server of one's own starts on what they print and lets the right ones in."""

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import nats
import nats.errors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nats.aio.client import Client

from hub.embedded.ports import choose
from hub.embedded.seaweed import installed
from hub.messages.credentials import agent_inbox, mint_user_jwt
from hub.messages.nats import NatsBus
from hub.settings import nats_key_from_seed
from models.keys import NKEY_ACCOUNT, SigningKey
from tests.servers import wait_until


def cli(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QIANSHAO_")}
    return subprocess.run(
        [sys.executable, "-m", "hub.cli", *words],
        env={**clean, **env}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def printed(seed: str, folder: Path, *words: str) -> str:
    done = cli("nats-config", "--data", str(folder / "data"), *words, QIANSHAO_NATS_ACCOUNT_SEED=seed)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def seed() -> str:
    done = cli("nats-seed")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@asynccontextmanager
async def server(folder: Path, config: str, port: int) -> AsyncIterator[None]:
    path = folder / "nats.conf"
    path.write_text(config)
    with (folder / "nats.log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            str(installed("nats-server")), "-c", str(path), stdout=out, stderr=out
        )

    async def listens() -> bool:
        assert process.returncode is None, (folder / "nats.log").read_text()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await wait_until(listens)
        yield
    finally:
        process.terminate()
        await process.wait()


def options(folder: Path) -> tuple[int, tuple[str, ...]]:
    ports = choose(folder / "ports.json", ("client", "monitor"))
    words = ("--host", "127.0.0.1", "--port", str(ports["client"]), "--store-dir", str(folder / "store"))
    return ports["client"], (*words, "--monitor", f"127.0.0.1:{ports['monitor']}")


async def agent(url: str, account: SigningKey, agent_id: UUID) -> Client:
    """As an enrolled agent connects, with a JWT of `account`."""
    key = SigningKey.generate()
    jwt, _ = mint_user_jwt(account, key.public_raw, agent_id, timedelta(minutes=5))
    return await nats.connect(
        url,
        user_jwt_cb=jwt.encode,
        signature_cb=lambda nonce: base64.b64encode(key.sign(nonce.encode())),
        inbox_prefix=agent_inbox(agent_id).encode(),
        allow_reconnect=False,
        connect_timeout=5,
    )


def test_a_seed_is_an_accounts_and_new_each_time(seed: str) -> None:
    assert nats_key_from_seed(seed, NKEY_ACCOUNT).nkey_public(NKEY_ACCOUNT).startswith("A")
    assert cli("nats-seed").stdout.strip() != seed


async def test_the_server_takes_the_hub_and_agents_of_the_account_and_nobody_else(seed: str, tmp_path: Path) -> None:
    account, (port, words) = nats_key_from_seed(seed), options(tmp_path)
    url = f"nats://127.0.0.1:{port}"
    async with server(tmp_path, printed(seed, tmp_path, *words), port):
        bus = await NatsBus.connect([url], account)  # makes its stream: JetStream is on
        agent_id = uuid4()
        client = await agent(url, account, agent_id)
        stored = await client.jetstream().publish(f"qs.up.{agent_id}.presence", b"{}", timeout=5)
        assert stored.stream == "UPLINK"
        await client.close()
        await bus.close()
        with pytest.raises(nats.errors.Error):
            await agent(url, SigningKey.generate(), agent_id)


async def test_printed_again_the_server_knows_its_streams(seed: str, tmp_path: Path) -> None:
    account, (port, words) = nats_key_from_seed(seed), options(tmp_path)
    for _ in range(2):
        async with server(tmp_path, printed(seed, tmp_path, *words), port):
            bus = await NatsBus.connect([f"nats://127.0.0.1:{port}"], account)
            client = await agent(f"nats://127.0.0.1:{port}", account, agent_id := uuid4())
            kept = await client.jetstream().publish(f"qs.up.{agent_id}.presence", b"{}", timeout=5)
            await client.close()
            await bus.close()
    assert kept.seq == 2


async def test_with_a_certificate_agents_come_over_tls(seed: str, tmp_path: Path) -> None:
    import ssl

    port, words = options(tmp_path)
    cert, key = certificate(tmp_path)
    config = printed(seed, tmp_path, *words, "--tls-cert", str(cert), "--tls-key", str(key))
    async with server(tmp_path, config, port):
        account = nats_key_from_seed(seed)
        bus = await NatsBus.connect([f"nats://127.0.0.1:{port}"], account)  # the hub beside it
        await bus.close()
        trust = ssl.create_default_context(cafile=str(cert))
        user = SigningKey.generate()
        jwt, _ = mint_user_jwt(account, user.public_raw, uuid4(), timedelta(minutes=5))
        client = await nats.connect(
            f"tls://localhost:{port}",
            tls=trust,
            user_jwt_cb=jwt.encode,
            signature_cb=lambda nonce: base64.b64encode(user.sign(nonce.encode())),
            allow_reconnect=False,
        )
        assert client.is_connected
        await client.close()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed one for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_it_holds_no_private_key_and_needs_a_seed(seed: str, tmp_path: Path) -> None:
    text = printed(seed, tmp_path)
    assert "port: 4222" in text
    assert 'store_dir: "/data"' in text
    secrets = [path.read_text() for path in (tmp_path / "data" / "secrets").iterdir()]
    assert [secret for secret in [*secrets, seed] if secret in text] == []
    without = cli("nats-config", "--data", str(tmp_path / "data"))
    assert (without.returncode, without.stdout) == (2, "")
    assert "QIANSHAO_NATS_ACCOUNT_SEED" in without.stderr
    one = cli("nats-config", "--data", str(tmp_path), "--tls-cert", "/c", QIANSHAO_NATS_ACCOUNT_SEED=seed)
    assert one.returncode == 2
