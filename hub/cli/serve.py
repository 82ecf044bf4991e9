"""The processes themselves: the HTTP server with the live relay, and the worker."""

import asyncio
import signal
from pathlib import Path

import uvicorn

from hub import worker
from hub.app import create_app
from hub.cli.parts import open_context, open_live
from hub.observability import metrics_on
from hub.settings import Settings

GRACE_S = 5


async def serve(settings: Settings) -> None:
    """Serves API, page and live until SIGTERM or Ctrl-C."""
    async with open_context(settings) as context:
        live = open_live(settings, context)
        config = uvicorn.Config(
            create_app(context, live=live),  # starts and ends `live` with the app
            host=settings.http_host,
            port=settings.http_port,
            log_config=None,  # ours
            access_log=False,  # who looked at what stands in the ledger
            server_header=False,
            forwarded_allow_ips=settings.http_trusted_proxies,
            timeout_graceful_shutdown=GRACE_S,
        )
        await uvicorn.Server(config).serve()


async def work(settings: Settings, ready_file: Path | None) -> None:
    """Runs the worker until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_context(settings) as context:
        with metrics_on(settings.worker_metrics_port):
            working = asyncio.create_task(worker.run(context, ready_file), name="worker")
            stopping = asyncio.create_task(stop.wait(), name="stop")
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if working.done():
                working.result()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
