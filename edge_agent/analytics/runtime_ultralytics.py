"""Ultralytics with torch: the runtime for `.pt` files. Extra `ml`.

Takes the network's own output and leaves the suppression of doubles to `boxes.decode`: the package's own one would need
torchvision's compiled operators, which not every torch build has beside it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.analytics.boxes import Floats
from edge_agent.analytics.ultralytics_env import be_quiet
from edge_agent.analytics.weights import default_cache_dir
from edge_agent.errors import AgentError
from models.detectors.registry import OutputLayout


class UltralyticsRuntime:
    """A fused network on the CPU, loaded in safe mode."""

    def __init__(self, path: Path, layout: OutputLayout, threads: int = 1) -> None:
        be_quiet(default_cache_dir() / "ultralytics")
        import torch
        from ultralytics.models import YOLO

        torch.set_num_threads(threads)
        try:
            network: Any = YOLO(str(path), task="detect").model
        except (RuntimeError, TypeError, AttributeError, OSError, KeyError, EOFError) as error:
            raise AgentError("detector.broken_weights", f"ultralytics cannot read {path.name}") from error
        if getattr(network, "task", "") != "detect":
            raise AgentError("detector.wrong_output", f"{path.name} is no detection model")
        # YOLO26 has two heads: the one-to-one head answers without doubles, the other one needs suppression.
        network.model[-1].end2end = layout is OutputLayout.END_TO_END
        self._network: Any = network.fuse(verbose=False).float().eval()
        self._torch = torch

    def names(self) -> dict[int, str]:
        """Class names from the checkpoint."""
        return {int(index): str(name) for index, name in dict(self._network.names).items()}

    def infer(self, blob: Floats) -> Floats:
        """One forward pass."""
        with self._torch.inference_mode():
            answer = self._network(self._torch.from_numpy(np.ascontiguousarray(blob)))
        first = answer[0] if isinstance(answer, tuple | list) else answer
        return np.asarray(first.numpy(), dtype=np.float32)
