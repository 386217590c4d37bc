"""The classes of drawn objects: names in both languages, usual colours, how far they are turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.datagen.scene import household, outdoors
from vary.datagen.scene.sketch import Sketch, Tones

__all__ = ["CLASSES", "COLOURS", "COLOUR_NAMES", "ObjectClass", "tones_of"]

COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "red": (208, 40, 38),
        "orange": (240, 136, 24),
        "yellow": (246, 214, 44),
        "green": (46, 148, 62),
        "blue": (36, 92, 204),
        "purple": (126, 58, 168),
        "pink": (244, 142, 182),
        "brown": (124, 78, 44),
        "black": (34, 34, 38),
        "white": (246, 246, 244),
        "gray": (136, 138, 142),
    }
)
"""RGB in the middle of what a colour's name covers; objects differ a little from it."""

COLOUR_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "red": "红色",
        "orange": "橙色",
        "yellow": "黄色",
        "green": "绿色",
        "blue": "蓝色",
        "purple": "紫色",
        "pink": "粉色",
        "brown": "棕色",
        "black": "黑色",
        "white": "白色",
        "gray": "灰色",
    }
)
"""The colours in Chinese."""

_FIXED: Tones = {
    "black": (30, 30, 34),
    "white": (250, 250, 248),
    "glass": (190, 222, 236),
    "metal": (170, 174, 180),
    "wood": (150, 108, 66),
    "skin": (236, 208, 168),
    "leaf": (70, 142, 60),
    "flame": (250, 196, 50),
    "brick": (172, 78, 60),
}
_JITTER = 12
"""How far an object's colour is from its name's, per channel."""


@dataclass(frozen=True)
class ObjectClass:
    """A class: names, what draws it, the colours it usually has (none: any), degrees it may be turned."""

    name: str
    chinese: str
    drawing: Callable[[Sketch, np.random.Generator], None]
    colours: tuple[str, ...]
    turn: float

    def in_language(self, language: str) -> str:
        """Its name in `en` or `zh`."""
        return self.chinese if language == "zh" else self.name


_NAMES = (
    "cup=杯子, key=钥匙, clock=时钟, lamp=台灯, chair=椅子, table=桌子, door=门, window=窗户, umbrella=雨伞, "
    "hat=帽子, shirt=衬衫, handbag=手提包, envelope=信封, pencil=铅笔, hammer=锤子, phone=手机, "
    "television=电视机, camera=相机, bell=铃铛, gift=礼物盒, book=书, bottle=瓶子, wine glass=酒杯, "
    "spoon=勺子, fork=叉子, candle=蜡烛, ladder=梯子, drum=鼓, flag=旗子, house=房子, tree=树, sun=太阳, "
    "moon=月亮, cloud=云, flower=花, leaf=叶子, apple=苹果, pear=梨, banana=香蕉, carrot=胡萝卜, "
    "mushroom=蘑菇, ice cream=冰淇淋, cake=蛋糕, cherry=樱桃, fish=鱼, bird=鸟, cat=猫, butterfly=蝴蝶, "
    "snail=蜗牛, car=汽车, bus=公共汽车, truck=卡车, bicycle=自行车, sailing boat=帆船, rocket=火箭, "
    "balloon=气球, kite=风筝, ball=球, mountain=山, heart=心形, star=星星, circle=圆形, triangle=三角形, "
    "square=正方形, arrow=箭头"
)
_CHINESE = dict(pair.split("=") for pair in _NAMES.split(", "))
_USUAL = {
    "tree": ("green",),
    "sun": ("yellow", "orange"),
    "moon": ("yellow", "white"),
    "cloud": ("white", "gray"),
    "leaf": ("green", "brown", "red", "yellow"),
    "apple": ("red", "green", "yellow"),
    "pear": ("green", "yellow"),
    "banana": ("yellow", "green"),
    "carrot": ("orange",),
    "mushroom": ("red", "brown"),
    "cherry": ("red",),
    "heart": ("red", "pink", "purple"),
    "mountain": ("gray", "brown", "blue"),
    "cat": ("black", "gray", "orange", "white", "brown"),
    "snail": ("brown", "orange", "pink"),
    "key": ("gray", "yellow", "brown", "black"),
    "spoon": ("gray", "yellow", "blue", "red"),
    "fork": ("gray", "yellow", "blue", "red"),
    "ladder": ("brown", "gray", "yellow", "red"),
    "envelope": ("white", "yellow", "pink", "blue", "brown"),
}
_TURNED = {
    "key": 180.0,
    "pencil": 180.0,
    "spoon": 180.0,
    "fork": 180.0,
    "hammer": 180.0,
    "leaf": 180.0,
    "arrow": 180.0,
}
_UPRIGHT = {
    "house",
    "table",
    "door",
    "window",
    "mountain",
    "square",
    "triangle",
    "television",
    "candle",
    "cake",
    "lamp",
}

CLASSES: Mapping[str, ObjectClass] = MappingProxyType(
    {
        name: ObjectClass(
            name,
            _CHINESE[name],
            drawing,
            _USUAL.get(name, ()),
            _TURNED.get(name, 0.0 if name in _UPRIGHT else 18.0),
        )
        for name, drawing in {**household.DRAWINGS, **outdoors.DRAWINGS}.items()
    }
)
"""Every class by its English name."""


def tones_of(colour: str, rng: np.random.Generator) -> Tones:
    """The tones of an object whose colour has this name."""
    jitter = rng.integers(-_JITTER, _JITTER + 1, 3)
    if colour in ("gray", "white", "black"):
        jitter = jitter[[0, 0, 0]]  # these have no hue
    main = np.clip(np.array(COLOURS[colour]) + jitter, 0, 255)
    dark_is_lighter = colour == "black"
    dark = main * 0.62 if not dark_is_lighter else main + 34
    light = main + (255 - main) * (0.45 if not dark_is_lighter else 0.32)
    accent = (214, 176, 72) if colour not in ("yellow", "orange", "brown") else (92, 96, 108)
    return {**_FIXED, "main": _rgb(main), "dark": _rgb(dark), "light": _rgb(light), "accent": accent}


def _rgb(values: NDArray[Any]) -> tuple[int, int, int]:
    red, green, blue = (round(min(max(value, 0.0), 255.0)) for value in values.tolist())
    return red, green, blue
