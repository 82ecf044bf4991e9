"""Turns a `.pt` model into ONNX for the light runtimes. Needs the extra `ml`.

`python -m edge_agent.analytics.export yolov8n yolov8n.onnx` takes a model of the registry (its pinned file) and prints the
SHA-256 of what came out. An export is not byte-identical between versions of the tool: its hash is pinned in a manifest of its
own before any agent runs it.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from edge_agent.analytics.ultralytics_env import be_quiet
from edge_agent.analytics.weights import default_cache_dir, default_weights_dir, resolve_weights, sha256_of
from edge_agent.errors import AgentError
from models.detectors.registry import Manifest, ModelRefused, OutputLayout, Registry, WeightsFormat


def export_onnx(manifest: Manifest, weights: Path, target: Path) -> str:
    """Writes the model as ONNX with a dynamic shape to `target` (in one step) and returns its SHA-256.

    Raises:
        AgentError: `detector.weights_refused` (hash not pinned), `detector.wrong_runtime` (not a `.pt`),
            `detector.runtime_missing`, `detector.export_failed`.
    """
    if manifest.format is not WeightsFormat.TORCH:
        raise AgentError("detector.wrong_runtime", f"{manifest.name} is {manifest.format.value} already")
    if sha256_of(weights) not in manifest.hashes:
        raise AgentError("detector.weights_refused", f"{weights.name} is not pinned for {manifest.name}")
    with tempfile.TemporaryDirectory(prefix="qianshao-export-") as scratch:
        be_quiet(default_cache_dir() / "ultralytics")
        from ultralytics.models import YOLO

        copy = Path(scratch) / f"{manifest.name}.pt"
        shutil.copyfile(weights, copy)
        # nms=False asks YOLO26 for its NMS-free head; None leaves the raw output of the others.
        nms = False if manifest.layout is OutputLayout.END_TO_END else None
        size = [manifest.input.height, manifest.input.width]
        try:
            made = YOLO(str(copy), task="detect").export(
                format="onnx", imgsz=size, dynamic=True, simplify=False, nms=nms, device="cpu", verbose=False
            )
        except (RuntimeError, ImportError, ValueError, AssertionError, OSError) as error:
            raise AgentError("detector.export_failed", f"{manifest.name}: {error}") from error
        part = target.with_name(target.name + ".part")
        shutil.copyfile(made, part)
    part.replace(target)
    return sha256_of(target)


def main(arguments: list[str] | None = None) -> int:
    """Exports a model of the registry. Prints the file and its SHA-256; exit status 1 with the reason when it cannot."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.analytics.export", description=main.__doc__)
    parser.add_argument("name", help="model of the registry, with a .pt")
    parser.add_argument("target", type=Path, help="the .onnx file to write")
    parser.add_argument("--weights", type=Path, default=default_weights_dir(), help="local folder (QIANSHAO_WEIGHTS)")
    options = parser.parse_args(arguments)
    try:
        manifest = Registry().manifest(options.name)
        digest = export_onnx(manifest, resolve_weights(manifest, options.weights), options.target)
    except (AgentError, ModelRefused) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{options.target} {digest}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
