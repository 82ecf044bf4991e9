"""Settings of the agent: `QIANSHAO_EDGE_*`, read once in `cli`. Cameras and consent are data, not settings."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Frozen; built in `cli`, handed to `app`."""

    model_config = SettingsConfigDict(env_prefix="QIANSHAO_EDGE_", frozen=True, extra="ignore")

    data_dir: Path = Path("qianshao-edge-data")
    weights_dir: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("weights_dir", "QIANSHAO_WEIGHTS"),
        description="folder with detector weights",
    )
    weights_download: bool = Field(
        default=True, description="fetch missing detector weights (10 MB, once); false on a metered line"
    )
    detector: str = "yolo11n"
    detector_runtime: Literal["openvino", "onnxruntime", "ultralytics"] = "openvino"
    detector_threads: int = Field(default=1, ge=1, le=64)
    upload_concurrency: int = Field(default=2, ge=1, le=16)
    upload_bytes_per_s: int = Field(default=0, ge=0, description="0: as fast as the line allows")
    spool_max_bytes: int = Field(
        default=20 * 1024**3, ge=1024**2, description="clips waiting for the hub; then none is cut"
    )
    device_every_s: float = Field(default=600.0, ge=1.0, description="how often each device is asked again")
    log_format: Literal["console", "json"] = "console"
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="Prometheus on loopback; 0: any free port"
    )
