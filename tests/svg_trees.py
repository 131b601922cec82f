"""Look into a drawing: its groups, what they tell, and the text in it."""

from __future__ import annotations

from xml.etree import ElementTree

from raft_threads.diagrams.space_time import SpaceTime
from raft_threads.diagrams.svg import draw_svg

SVG = "{http://www.w3.org/2000/svg}"


def parsed(picture: SpaceTime, title: str = "a run") -> ElementTree.Element:
    """Return the drawing as an XML tree."""
    return ElementTree.fromstring(draw_svg(picture, title))


def groups(tree: ElementTree.Element, *classes: str) -> list[ElementTree.Element]:
    """Return the groups with a title that have all these classes; the legend's samples have no title."""
    found = [group for group in tree.iter(f"{SVG}g") if set(classes) <= set(group.get("class", "").split())]
    return [group for group in found if group.find(f"{SVG}title") is not None]


def title_of(group: ElementTree.Element) -> str:
    """Return what is told to whoever points at the group."""
    return group.findtext(f"{SVG}title") or ""


def words_in(tree: ElementTree.Element) -> list[str]:
    """Return all text in the drawing."""
    return [text.text or "" for text in tree.iter(f"{SVG}text")]
