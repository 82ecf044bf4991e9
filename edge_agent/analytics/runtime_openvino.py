"""OpenVINO: reads the ONNX file itself; the default, because a village box then needs no torch."""

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.analytics.boxes import Floats
from edge_agent.errors import AgentError
from models.detectors.registry import InputSpec


class OpenVinoRuntime:
    """One compiled model and one inference request, on the CPU."""

    def __init__(self, path: Path, spec: InputSpec, threads: int = 1) -> None:
        # Merely importing openvino reports to an analytics service, unless this package is not to be had.
        modules: dict[str, Any] = sys.modules
        modules.setdefault("openvino_telemetry", None)  # None: its import fails
        try:
            import openvino
        except ImportError as error:
            raise AgentError("detector.runtime_missing", f"openvino: {error}") from error
        core = openvino.Core()
        try:
            model = core.read_model(path)
            # A fixed shape lets the plugin lay out memory once; the dynamic one costs up to twice the time.
            model.reshape([1, 3, spec.height, spec.width])
            self._names = _names_of(model)
            compiled = core.compile_model(
                model, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
            )
        except RuntimeError as error:
            raise AgentError("detector.broken_weights", f"openvino cannot read {path.name}") from error
        self._request = compiled.create_infer_request()

    def names(self) -> dict[int, str]:
        """Class names from the file's metadata."""
        return self._names

    def infer(self, blob: Floats) -> Floats:
        """One forward pass."""
        self._request.infer([blob])
        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)


def _names_of(model: Any) -> dict[int, str]:
    try:
        said = model.get_rt_info(["framework", "names"]).astype(str)
    except RuntimeError:  # the file carries no names
        return {}
    return parse_names(said)


def parse_names(text: str) -> dict[int, str]:
    """Ultralytics writes `{0: 'person', …}` into its ONNX files. Anything else counts as no names at all."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {k: v for k, v in value.items() if isinstance(k, int) and isinstance(v, str)}
