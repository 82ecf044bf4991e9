"""Both ends of a live session are told TURN users of their own; a real TURN server, where there is one, takes them."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aioice.stun import TransactionFailed
from aioice.turn import create_turn_endpoint

from hub.context import Context
from hub.embedded.ports import choose
from hub.live.model import LiveConfig
from hub.live.turn import credentials, with_credentials
from models.wire.downlink import IceServer
from tests.integration.live_house import live_house
from tests.media.clips import encoded_clip
from tests.media.peers import eventually
from tests.media.source import ClipSource
from tests.servers import wait_until

SECRET = "shared-with-coturn"
TURNSERVER = shutil.which("turnserver")


async def test_viewer_and_agent_are_told_users_of_their_own(context: Context) -> None:
    config = LiveConfig(turn_secret=SECRET, ice_servers=(IceServer(urls=["turn:127.0.0.1:9?transport=udp"]),))
    params, clip = encoded_clip()
    with ClipSource(params, clip) as source:
        async with live_house(context, source, config) as house:
            session = await house.open()
            start = house.starts[0]
    viewer, agent = IceServer.model_validate(session["ice_servers"][0]), start.ice_servers[0]
    now = datetime.now(UTC).timestamp()
    for told, name, life_s in (
        (viewer, session["id"], config.token_life_s),
        (agent, str(start.session_id), config.whip_life_s),
    ):
        assert told.username is not None
        ends, _, whose = told.username.partition(":")
        assert whose == name
        assert 0 <= now + life_s - int(ends) < 30
        assert (told.username, told.credential) == credentials(SECRET, name, datetime.fromtimestamp(int(ends), UTC))


@asynccontextmanager
async def turnserver(folder: Path) -> AsyncIterator[int]:
    """Debian's coturn on loopback with the shared secret; its port."""
    assert TURNSERVER is not None
    port = choose(folder / "ports.json", ("turn",))["turn"]
    words = f"-n -L 127.0.0.1 -E 127.0.0.1 -p {port} --use-auth-secret --static-auth-secret={SECRET} -r test --no-cli"
    words += " --verbose --no-tls --no-dtls --allow-loopback-peers --simple-log"
    words += f" -l {folder / 'turn.log'} --pidfile {folder / 'pid'}"
    process = await asyncio.create_subprocess_exec(
        TURNSERVER, *words.split(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, cwd=folder
    )

    async def listens() -> bool:
        assert process.returncode is None
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await wait_until(listens)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def allocate(port: int, secret: str, life: timedelta) -> str:
    """An allocation with credentials of `secret`; the relayed host."""
    [server] = with_credentials([IceServer(urls=["turn:x"])], secret, "0190-a", datetime.now(UTC), life)
    transport, _ = await create_turn_endpoint(
        asyncio.DatagramProtocol, ("127.0.0.1", port), username=server.username, password=server.credential
    )
    try:
        return str(transport.get_extra_info("sockname")[0])
    finally:
        transport.close()


@pytest.mark.skipif(
    TURNSERVER is None, reason="no turnserver on the PATH (Debian: coturn); the forms are checked in unit tests"
)
async def test_a_turn_server_takes_them_until_they_end(tmp_path: Path) -> None:
    async with turnserver(tmp_path) as port:
        assert await allocate(port, SECRET, timedelta(seconds=60)) == "127.0.0.1"
        for secret, life in (("another", timedelta(seconds=60)), (SECRET, timedelta(seconds=-60))):
            with pytest.raises(TransactionFailed):
                await allocate(port, secret, life)


@pytest.mark.skipif(TURNSERVER is None, reason="no turnserver on the PATH (Debian: coturn)")
async def test_live_works_with_a_turn_server_named(context: Context, tmp_path: Path) -> None:
    params, clip = encoded_clip()
    async with turnserver(tmp_path) as port:
        config = LiveConfig(turn_secret=SECRET, ice_servers=(IceServer(urls=[f"turn:127.0.0.1:{port}?transport=udp"]),))
        with ClipSource(params, clip) as source:
            async with live_house(context, source, config) as house:
                received, pc = await house.watch(await house.open())
                await eventually(lambda: len(received.frames()) > 10, "frames")
                await pc.close()
                attempt = house.starts[0].session_id

        async def allocated() -> bool:  # by the agent: the viewer of this test names no server
            said = (tmp_path / "turn.log").read_text()
            return re.search(rf"{attempt}>[^\n]*: incoming packet ALLOCATE processed, success", said) is not None

        await wait_until(allocated)
