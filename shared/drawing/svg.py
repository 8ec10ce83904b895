"""Direct SVG: elements as escaped strings, numbers with one decimal, the same bytes every time.

Colours and strokes come from the page's style sheet by class, so that one palette serves screen, print and greyscale;
no inline style is written, which the page's Content-Security-Policy would refuse.
"""

from collections.abc import Iterable
from typing import Literal

from markupsafe import Markup, escape

Anchor = Literal["start", "middle", "end"]

_WIDE = frozenset("mwMWABCDGHKNOPQRSUVXYZ%@ρ")
_THIN = frozenset("iljtfrI.,:;'|!()[] ")
_WIDE_EM, _THIN_EM, _OTHER_EM = 0.72, 0.34, 0.56


def number(value: float) -> str:
    """Return a coordinate with at most one decimal.

    >>> number(3.0), number(3.14), number(-0.01)
    ('3', '3.1', '0')
    """
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def element(name: str, content: Iterable[Markup] | Markup | str = (), **attributes: str | float | None) -> Markup:
    """Return an element; attributes that are None are left out, ``class_`` is class and ``_`` in names is ``-``.

    >>> element("text", "a < b", x=1.25, class_="label")
    Markup('<text x="1.2" class="label">a &lt; b</text>')
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"), number(value) if isinstance(value, int | float) else value
        )
        for key, value in attributes.items()
        if value is not None
    )
    inner = escape(content) if isinstance(content, str) else Markup("").join(content)
    tag = Markup(name)  # noqa: S704 - an element's name is a literal of this package
    return Markup("<{}{}>{}</{}>").format(tag, written, inner, tag) if inner else Markup("<{}{}/>").format(tag, written)


def group(content: Iterable[Markup], **attributes: str | float | None) -> Markup:
    """Return a ``g`` element."""
    return element("g", content, **attributes)


def text(x: float, y: float, content: str, *, class_: str = "", anchor: Anchor = "start") -> Markup:
    """Return a line of text with its baseline at ``y``."""
    return element("text", content, x=x, y=y, class_=class_ or None, text_anchor=None if anchor == "start" else anchor)


def line(x1: float, y1: float, x2: float, y2: float, *, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rectangle(x: float, y: float, width: float, height: float, *, class_: str) -> Markup:
    """Return a rectangle; a negative size is drawn as none."""
    return element("rect", x=x, y=y, width=max(width, 0), height=max(height, 0), class_=class_)


def drawing(
    identifier: str,
    *,
    width: float,
    height: float,
    title: str,
    description: str,
    content: Iterable[Markup],
    class_: str = "",
) -> Markup:
    """Return a complete figure: an image to a reader of screens, with title and description."""
    title_id, description_id = f"drawing-{identifier}-title", f"drawing-{identifier}-desc"
    return element(
        "svg",
        [
            element("title", title, id=title_id),
            element("desc", description, id=description_id),
            *content,
        ],
        id=f"drawing-{identifier}",
        role="img",
        aria_labelledby=f"{title_id} {description_id}",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        class_=class_ or None,
    )


def text_width(content: str, size: float) -> float:
    """Return about how wide a text is in a sans-serif face, on the safe side.

    >>> text_width("ill", 10) < text_width("WWW", 10)
    True
    """
    ems = sum(_WIDE_EM if c in _WIDE else _THIN_EM if c in _THIN else _OTHER_EM for c in content)
    return ems * size


def shortened(content: str, size: float, room: float) -> str:
    """Return ``content``, cut with an ellipsis where it is wider than ``room``.

    >>> shortened("CD14 Monocytes", 10, 200), shortened("CD14 Monocytes", 10, 40)
    ('CD14 Monocytes', 'CD14 …')
    """
    if text_width(content, size) <= room:
        return content
    kept = content
    while kept and text_width(kept + "…", size) > room:
        kept = kept[:-1]
    return f"{kept}…"
