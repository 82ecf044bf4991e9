"""`python -m deploy.simcam`: a village of simulated ONVIF cameras."""

import asyncio
import json
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from deploy.simcam.config import SiteConfig, default_cache
from deploy.simcam.prepare import SourceError
from deploy.simcam.site import Site
from deploy.simcam.villages import camera_configs, load_village


def main(
    site: Annotated[
        str, typer.Option(help="A village shipped here, or the path of a village's TOML file.")
    ] = "village",
    cameras: Annotated[int | None, typer.Option(min=1, max=64, help="How many; default: all the village has.")] = None,
    footage: Annotated[Path | None, typer.Option(help="Folder of video files to film from.")] = None,
    rendered: Annotated[
        bool, typer.Option("--rendered", help="The drawn scene with real photographs (default).")
    ] = False,
    pattern: Annotated[bool, typer.Option("--pattern", help="A plain test picture: needs nothing.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    base_port: Annotated[
        int, typer.Option(min=0, max=65_000, help="0: free ports; else two per camera from here.")
    ] = 0,
    control_port: Annotated[int, typer.Option(min=0, max=65_535, help="Faults on command, on loopback.")] = 0,
    username: Annotated[str, typer.Option(help="The cameras' user.")] = "viewer",
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password in its first line; else one is made.")
    ] = None,
    discovery: Annotated[bool, typer.Option("--discovery", help="Answer WS-Discovery on --host's network.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Where encoded clips are kept.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Written once all cameras answer: pid, control, addresses.")
    ] = None,
) -> None:
    """Serves a village of cameras: RTSP (main and sub, H.264, TCP, digest) and ONVIF, until Ctrl-C or SIGTERM."""
    if sum((footage is not None, rendered, pattern)) > 1:
        raise typer.BadParameter("give one of --footage, --rendered and --pattern")
    try:
        configs = camera_configs(load_village(site), cameras, footage, pattern=pattern)
        config = SiteConfig(
            cameras=tuple(configs),
            username=username,
            password=_password(password_file),
            host=host,
            base_port=base_port,
            control_port=control_port,
            cache_dir=cache or default_cache(),
            discovery=discovery,
        )
        asyncio.run(_serve(config, state))
    except (SourceError, OSError) as error:
        print(f"simcam: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def _password(file: Path | None) -> str:
    if file is None:
        password = secrets.token_urlsafe(12)
        _say(f"password of the cameras, made for this run: {password}")
        return password
    password = file.read_text("utf-8").split("\n", 1)[0].strip()
    if not password:
        raise SourceError(f"{file} holds no password")
    return password


async def _serve(config: SiteConfig, state: Path | None) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with Site(config, _say) as site:
        if state is not None:
            _write(state, json.dumps(site.state(), ensure_ascii=False, indent=1))
        for camera in site.cameras:
            _say(f"{camera.name}: ONVIF {camera.onvif_address}, {camera.main_url}, {camera.sub_url}")
        _say(f"ready: {len(site.cameras)} cameras, control {site.state()['control']}")
        await ended.wait()


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a reader never sees half a file."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    Path(file.name).replace(path)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    typer.run(main)
