"""The agent driven from outside, for tests: its command line and its process."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.simcam.site import Site
from tests.edge_house import House
from tests.servers import wait_until

PASSWORD = "camera-password"


@dataclass(frozen=True)
class Ran:
    """What a command said."""

    code: int
    out: str
    err: str


async def run_cli(*args: str, stdin: str = "") -> Ran:
    """Runs `qianshao-edge`."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from edge_agent.cli import main; main()",
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate(stdin.encode())
    return Ran(child.returncode or 0, out.decode(), err.decode())


async def cli(*args: str, stdin: str = "") -> str:
    """Runs `qianshao-edge` and returns what it printed; fails loudly."""
    ran = await run_cli(*args, stdin=stdin)
    assert ran.code == 0, ran.err
    return ran.out


@asynccontextmanager
async def agent_process(
    data: Path, log: Path, every_s: float = 3.0, settings: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The agent with happenings made up (`tests.edge_process`), until the end of the block (by SIGTERM, unless it was killed)."""
    async with _process(["-m", "tests.edge_process", str(data), str(every_s)], log, settings) as child:
        yield child


@asynccontextmanager
async def real_agent(
    data: Path, log: Path, settings: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`qianshao-edge run`, detector and all, until the end of the block."""
    run = ["-c", "from edge_agent.cli import main; main()", "run", "--data", str(data)]
    async with _process(run, log, {"QIANSHAO_EDGE_LOG_FORMAT": "json", **(settings or {})}) as child:
        yield child


@asynccontextmanager
async def _process(
    command: list[str], log: Path, settings: dict[str, str] | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("ab") as to:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            stdout=to,
            stderr=to,
            env={**os.environ, "QIANSHAO_EDGE_DEVICE_EVERY_S": "5", **(settings or {})},
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(child.wait(), 6) == 0, "a clean stop within five seconds"


async def enrolled(house: House, site: Site, data: Path) -> None:
    """Enrols the folder and enters the site's first camera."""
    await cli("enroll", "--hub", house.hub_url, "--code", await house.code(), "--data", str(data))
    address = site.cameras[0].onvif_address
    await cli(
        "device", "add", address, "--username", "viewer", "--password-stdin", "--data", str(data), stdin=f"{PASSWORD}\n"
    )


async def adopted(house: House) -> str:
    """Waits for the candidate and adopts it as `gate`; its id."""

    async def offered() -> bool:
        return bool(await house.candidates())

    await wait_until(offered, within_s=40)
    camera_id = str((await house.candidates())[0]["id"])
    await house.adopt(camera_id)
    return camera_id
