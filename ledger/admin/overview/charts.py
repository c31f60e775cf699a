"""The overview's charts, as SVG made on the server by pygal, an optional extra.

They need no script and no inline style: ``overview.css`` draws them, the series of a chart as
``.color-0``, ``.color-1``, …. Without pygal a chart is empty; its figures stand in tables as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.safestring import SafeString, mark_safe

try:
    import pygal
except ImportError:
    INSTALLED = False
else:
    INSTALLED = True

LABELS = 8
"""About how many bars of a chart have a label below them."""


def bars(
    title: str, labels: Sequence[str], series: dict[str, list[int]], *, half: bool = False
) -> SafeString:
    """A stacked bar chart of the series by name; a bar tells its figure when it is pointed at.
    ``half`` a page wide, or the whole."""
    if not INSTALLED:
        return SafeString()
    chart = pygal.StackedBar(
        width=470 if half else 960,
        height=180 if half else 240,
        margin=4,
        show_legend=False,
        show_minor_x_labels=False,
        max_scale=6,
        truncate_label=-1,
        order_min=0,  # counts: no line between 0 and 1
        value_formatter=lambda number: f"{number:,.0f}",
        no_data_text="",
        x_labels=labels,
        x_labels_major=labels[:: -(-len(labels) // (LABELS // 2 if half else LABELS))],
    )
    for name, numbers in series.items():
        told = [f"{label}, {name}: {n:,}" for label, n in zip(labels, numbers, strict=True)]
        chart.add(name, [{"value": n, "tooltip": t} for n, t in zip(numbers, told, strict=True)])
    return _render(chart, title)


def sparkline(title: str, numbers: Sequence[int]) -> SafeString:
    """A line of a word's size."""
    if not INSTALLED:
        return SafeString()
    chart = pygal.Line(
        width=100,
        height=24,
        margin=2,
        spacing=0,
        explicit_size=True,
        show_dots=False,
        show_legend=False,
        show_x_labels=False,
        show_y_labels=False,
        min_scale=1,
        max_scale=2,
        include_x_axis=True,
    )
    chart.add("", numbers)
    return _render(chart, title)


def _render(chart: Any, title: str) -> SafeString:
    def plain(root: Any) -> Any:
        """Without what pygal brings for its own script and style."""
        root.attrib.pop("id", None)
        root.set("role", "img")
        root.set("aria-label", title)
        for parent in list(root.iter()):
            for child in list(parent):
                told = child.tag == "title" and parent.get("class") == "bar"
                drawn = child.tag in ("g", "path", "rect", "text")
                if not (told or drawn) or "tooltip-overlay" in child.get("class", ""):
                    parent.remove(child)
        return root

    chart.add_xml_filter(plain)
    svg: str = chart.render(is_unicode=True, disable_xml_declaration=True)
    return mark_safe(svg)  # noqa: S308  pygal escapes what it is given
