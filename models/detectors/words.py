"""Words by which a forbidden model gives itself away, in English and Chinese.

Second line only: the closed lists in `registry` already leave no room for such models.
"""

import re
from itertools import pairwise

_STEMS = (
    # who someone is
    "facerec", "facenet", "arcface", "cosface", "sphereface", "insightface", "adaface", "faceid", "faceverif",
    "faceembed", "facematch", "identif", "reidentif", "personreid", "osnet", "fastreid", "gait", "biometr", "watchlist",
    "blacklist", "whoiswho", "embedding", "fingerprint", "voiceprint",
    # what kind of person
    "ethnic", "racial", "minorit", "uyghur", "uighur", "tibetan", "hanchinese", "nationality", "religio", "muslim",
    "hijab", "skintone", "skincolo", "emotion", "sentiment", "facialexpression", "affectnet", "fer2013", "gender",
    "agegender", "ageestim", "fairface", "utkface", "celeba", "pedestrianattribute", "personattribute",
    "humanattribute", "rapattribute", "attractive", "disab", "pregnan", "sexual", "drunk",
)  # fmt: skip
_WHOLE_WORDS = frozenset(
    (
        "reid", "race", "age", "sex", "male", "female", "man", "woman", "boy", "girl", "child", "elderly", "kyc", "mood",
        "iris", "peta",
    )
)  # fmt: skip
_CHINESE = (
    "人脸识别", "人脸比对", "人脸特征", "身份识别", "重识别", "行人再识别", "步态", "民族", "种族", "族裔", "维族", "藏族",
    "宗教", "信仰", "情绪", "表情识别", "情感", "性别", "年龄", "人体属性", "行人属性", "黑名单", "布控", "声纹", "虹膜",
    "残疾", "孕妇", "肤色",
)  # fmt: skip
_FALSE_FRIENDS = re.compile(r"identifier")


def denied_word(text: str) -> str | None:
    """The first forbidden word in `text`, or None. Case, separators and digits between letters do not hide it."""
    lowered = text.lower()
    for chinese in _CHINESE:
        if chinese in lowered:
            return chinese
    # camelCase, dots, dashes and underscores are all ways of writing a space
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    words: list[str] = re.findall(r"[a-z0-9]+", spaced.lower())
    for word in [*words, *(first + second for first, second in pairwise(words) if first == "re")]:
        if word in _WHOLE_WORDS or word.rstrip("0123456789") in _WHOLE_WORDS:
            return word
    joined = _FALSE_FRIENDS.sub("", "".join(words))
    return next((stem for stem in _STEMS if stem in joined), None)
