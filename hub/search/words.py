"""Free text of a search: which words mean a class or a colour; what is left may name a place.

No database here. Chinese is written without spaces, so the vocabulary is cut out of the text longest word first;
what remains between is left as it stands. Pieces of the names of cameras and villages are found first.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from models.vocabulary import ANIMALS, TWO_WHEELERS, VEHICLES, Colour, ObjectClass

_CLASS_WORDS: dict[ObjectClass, str] = {
    ObjectClass.PERSON: "人 行人 人员 路人 男人 女人 男子 女子 小孩 老人 person people pedestrian man woman men women child",
    ObjectClass.BICYCLE: "自行车 单车 脚踏车 bicycle bike cycle",
    ObjectClass.MOTORCYCLE: "摩托 摩托车 电动车 电瓶车 电单车 三轮车 三轮摩托 motorcycle motorbike scooter moped tricycle",
    ObjectClass.CAR: "轿车 小车 小轿车 小汽车 面包车 越野车 出租车 car sedan suv van taxi",
    ObjectClass.BUS: "公交 公交车 大巴 大巴车 客车 校车 中巴 bus coach minibus",
    ObjectClass.TRUCK: "货车 卡车 大货车 小货车 皮卡 皮卡车 拖拉机 truck lorry pickup tractor",
    ObjectClass.COW: "牛 黄牛 水牛 耕牛 奶牛 cow cattle ox oxen bull buffalo",
    ObjectClass.HORSE: "马 骡子 马匹 horse mule",
    ObjectClass.SHEEP: "羊 山羊 绵羊 sheep goat",
    ObjectClass.DOG: "狗 犬 土狗 dog",
    ObjectClass.CAT: "猫 cat",
    ObjectClass.BIRD: "鸟 鸡 鸭 鹅 bird chicken duck goose",
}
_GROUP_WORDS: dict[frozenset[ObjectClass], str] = {
    VEHICLES: "车 汽车 机动车 车辆 vehicle auto",
    TWO_WHEELERS: "两轮车 二轮车 two-wheeler twowheeler",
    ANIMALS: "牲口 牲畜 家畜 动物 livestock animal",
}
_COLOUR_WORDS: dict[Colour, str] = {
    Colour.BLACK: "黑 黑色 深色 black dark",
    Colour.GREY: "灰 灰色 银 银色 银灰 银灰色 grey gray silver",
    Colour.WHITE: "白 白色 white",
    Colour.RED: "红 红色 大红 red",
    Colour.ORANGE: "橙 橙色 橘色 橘黄 橘黄色 orange",
    Colour.YELLOW: "黄 黄色 金色 yellow gold",
    Colour.GREEN: "绿 绿色 green",
    Colour.BLUE: "蓝 蓝色 深蓝 浅蓝 blue navy",
    Colour.PURPLE: "紫 紫色 purple violet",
    Colour.PINK: "粉 粉色 粉红 粉红色 pink",
    Colour.BROWN: "棕 棕色 褐色 咖啡色 brown",
}
# Words that say nothing about what is looked for.
_NOTHING = (
    "的 了 一 个 辆 头 只 匹 条 名 位 在 和 与 或 有 穿 骑 开 着 衣服 上衣 裤子 一个 一辆 一头 一只 附近 里 "
    "a an the of in at on with and or near wearing shirt coat trousers clothes"
)
_EMPTY = frozenset(_NOTHING.split())
_MAX_WORDS = 24
_MAX_LETTERS = 40


@dataclass(frozen=True)
class Meaning:
    """What one word stands for."""

    classes: frozenset[ObjectClass] = frozenset()
    colours: frozenset[Colour] = frozenset()

    @property
    def label(self) -> str:
        """As told to the asker: `class:car,bus` or `colour:red`."""
        if self.classes:
            return "class:" + ",".join(sorted(self.classes))
        return "colour:" + ",".join(sorted(self.colours))


def _vocabulary() -> dict[str, Meaning]:
    words: dict[str, Meaning] = {}
    for one, text in _CLASS_WORDS.items():
        words |= dict.fromkeys([*text.split(), one.value], Meaning(classes=frozenset({one})))
    for group, text in _GROUP_WORDS.items():
        words |= dict.fromkeys(text.split(), Meaning(classes=group))
    for colour, text in _COLOUR_WORDS.items():
        words |= dict.fromkeys(text.split(), Meaning(colours=frozenset({colour})))
    return words


VOCABULARY = _vocabulary()
_CHINESE = sorted((word for word in [*VOCABULARY, *_EMPTY] if not word.isascii()), key=len, reverse=True)
_CHINESE_WORD = re.compile("|".join(map(re.escape, _CHINESE)))
_TOKEN = re.compile(r"[\u3400-\u9fff]+|[^\W_]+(?:-[^\W_]+)*")


@dataclass
class Reading:
    """A text as read: filters, each understood word with its label, pieces of place names, and what was not understood."""

    classes: set[ObjectClass] = field(default_factory=set)
    colours: set[Colour] = field(default_factory=set)
    understood: dict[str, str] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)


def tokens(text: str) -> list[str]:
    """Runs of Chinese characters and words of other letters, folded (full width, case), at most 24 of 40 characters."""
    return [token[:_MAX_LETTERS] for token in _TOKEN.findall(fold(text))[:_MAX_WORDS]]


def fold(text: str) -> str:
    """Text as it is compared: full width and case make no difference."""
    return unicodedata.normalize("NFKC", text).casefold()


def understand(text: str, places: Iterable[str]) -> Reading:
    """Reads a text. `places`: names of cameras and villages; a piece of a name is taken whole before it is read further.

    Without that, the 马 of 马岭 would become horses. A piece that is itself a word stays one: 山羊 finds sheep even
    where there is a 山羊村.
    """
    reading = Reading()
    names = "\n".join(fold(name) for name in places)
    for token in tokens(text):
        if _is_chinese(token):
            _read_chinese(reading, token, names)
        else:
            _read_word(reading, token)
    reading.places = [word for word in reading.rest if word in names]
    reading.rest = [word for word in reading.rest if word not in names]
    return reading


def _is_chinese(token: str) -> bool:
    return "\u3400" <= token[0] <= "\u9fff"


def _read_word(reading: Reading, word: str) -> None:
    if word in _EMPTY:
        return
    for form in (word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("ies") + "y"):
        if form in VOCABULARY:
            _take(reading, word, VOCABULARY[form])
            return
    reading.rest.append(word)


def _read_chinese(reading: Reading, token: str, names: str) -> None:
    place = _longest_piece(token, names)
    if place:
        head, _, tail = token.partition(place)
        for part in (head, tail):
            if part:
                _read_chinese(reading, part, names)
        _keep(reading, place)
        return
    end = 0
    for match in _CHINESE_WORD.finditer(token):
        _keep(reading, token[end : match.start()])
        if match.group() not in _EMPTY:
            _take(reading, match.group(), VOCABULARY[match.group()])
        end = match.end()
    _keep(reading, token[end:])


def _longest_piece(token: str, names: str) -> str:
    """The longest piece of `token`, two characters or more, that stands in a name and is not a word of its own."""
    for length in range(len(token), 1, -1):
        for start in range(len(token) - length + 1):
            piece = token[start : start + length]
            if piece in names and piece not in VOCABULARY:
                return piece
    return ""


def _keep(reading: Reading, fragment: str) -> None:
    if fragment and fragment not in reading.rest:
        reading.rest.append(fragment)


def _take(reading: Reading, word: str, meaning: Meaning) -> None:
    reading.classes |= meaning.classes
    reading.colours |= meaning.colours
    reading.understood[word] = meaning.label
