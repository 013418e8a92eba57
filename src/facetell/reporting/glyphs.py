"""Names in any script in a plot: in a font that has their signs where the machine has one, else escaped and readable."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["make_readable"]

_OWN = "DejaVu Sans"
_OTHERS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "Noto Sans Arabic",
    "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji", "WenQuanYi Zen Hei", "Arial Unicode MS",
    "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Segoe UI Symbol",
)  # fmt: skip


def make_readable(figure: Figure) -> None:
    """Have every text of the figure drawn with signs that there are: no boxes, and no warnings on standard error."""
    from matplotlib.text import Text

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            if not "".join(labels).replace("\N{MINUS SIGN}", "").isascii():  # names, which every drawing sets anew
                axis.set_ticklabels([_shown(label) for label in labels])
    for found in figure.findobj(Text):
        text: Any = found
        if not text.get_text().isascii():
            text.set_text(_shown(text.get_text()))
            text.set_fontfamily(list(_fonts()))


def _shown(text: str) -> str:
    if text.isascii():
        return text
    return "".join(sign if sign == "\n" or _drawn(sign) else ascii(sign).strip("'") for sign in text)


@cache
def _drawn(sign: str) -> bool:
    from matplotlib.font_manager import get_font

    return any(get_font(file).get_char_index(ord(sign)) for file in _fonts().values())


@cache
def _fonts() -> dict[str, str]:
    """Our font and those of `_OTHERS` that there are, by name, with their files."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    installed = {entry.name for entry in fontManager.ttflist}
    return {name: str(findfont(FontProperties(name))) for name in (_OWN, *_OTHERS) if name in installed}
