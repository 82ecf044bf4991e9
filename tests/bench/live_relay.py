"""The relay alone in a process, with just enough HTTP to reach it. Part of `tests.bench.live`."""

import asyncio
import gc
import json
import socket
import sys
import threading
from contextlib import suppress

import av
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.live.model import LiveConfig, PeerHandle
from hub.live.relay import Relay
from hub.live.sdp import checked_offer


async def main() -> None:
    """Serves until ended."""
    relay = Relay(LiveConfig(segmentation="--alone" not in sys.argv))
    fanout = relay.fanout()
    peers: set[PeerHandle] = set()

    async def whip(request: Request) -> Response:
        peer, answer = await relay.accept_publisher(fanout, checked_offer(await request.body()), lambda: None)
        peers.add(peer)
        return Response(answer, 201, {"Location": "/whip"}, media_type="application/sdp")

    async def whep(request: Request) -> Response:
        peer, answer = await relay.accept_viewer(fanout, checked_offer(await request.body()), lambda: None)
        peers.add(peer)
        return Response(answer, 201, media_type="application/sdp")

    async def gone(_: Request) -> Response:
        return Response(status_code=204)

    async def inside(_: Request) -> Response:
        """What this process is made of: no coder was made, no decoder thread runs."""
        coders = sum(isinstance(thing, av.CodecContext) for thing in gc.get_objects())
        threads = [thread.name for thread in threading.enumerate()]
        return JSONResponse(
            {"codec_contexts": coders, "threads": threads, "encoder_libs_used": coders > 0, "loop": str(type(loop))}
        )

    loop = asyncio.get_running_loop()
    app = Starlette(
        routes=[
            Route("/whip", whip, methods=["POST"]),
            Route("/whip", gone, methods=["DELETE"]),
            Route("/whep", whep, methods=["POST"]),
            Route("/inside", inside),
        ]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"url": f"http://127.0.0.1:{listening.getsockname()[1]}"}), flush=True)
    await uvicorn.Server(uvicorn.Config(app, log_config=None)).serve(sockets=[listening])


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        if "--uvloop" in sys.argv:
            import uvloop

            uvloop.run(main())
        else:
            asyncio.run(main())
