"""ONNX Runtime: the second light runtime, for machines that OpenVINO does not know."""

from pathlib import Path

import numpy as np

from edge_agent.analytics.boxes import Floats
from edge_agent.analytics.runtime_openvino import parse_names
from edge_agent.errors import AgentError


class OnnxRuntime:
    """One session on the CPU."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise AgentError("detector.runtime_missing", f"onnxruntime: {error}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle threads that spin would take the core from the other cameras' work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        errors = onnxruntime.capi.onnxruntime_pybind11_state
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except (
            errors.Fail,
            errors.InvalidGraph,
            errors.InvalidProtobuf,
            errors.NoSuchFile,
            errors.InvalidArgument,
        ) as error:
            raise AgentError("detector.broken_weights", f"onnxruntime cannot read {path.name}") from error
        self._input = self._session.get_inputs()[0].name

    def names(self) -> dict[int, str]:
        """Class names from the file's metadata."""
        return parse_names(self._session.get_modelmeta().custom_metadata_map.get("names", ""))

    def infer(self, blob: Floats) -> Floats:
        """One forward pass."""
        return np.asarray(self._session.run(None, {self._input: blob})[0], dtype=np.float32)
