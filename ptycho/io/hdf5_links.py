"""Names in HDF5 files: links within a file are followed; what lies in another file is never opened, and said so."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

HOPS = 32  # soft links in a row, after which they lead in a circle
NAME_SHOWN = 80  # characters of a name that comes from the file


@dataclass(frozen=True)
class Place:
    """Where a name leads: ``path`` of the data set or group without links, or the ``problem`` that it is not read for.

    ``problem`` continues the words "NAME is"; it is empty where the values can be read.
    """

    path: str = ""
    problem: str = ""

    def displayed(self, name: str) -> str:
        """Return the name that leads here, with the problem; not a name to look up."""
        return f"{name} ({self.problem}; not read)" if self.problem else name


def locate(file: Any, name: str) -> Place | None:
    """Return where a name leads, or None where the file has no such name.

    Parameters
    ----------
    file : open h5py file
    name : path of a data set or group from the root; soft links on the way are followed within the file
    """
    import h5py

    left, at, here = deque(name.split("/")), "", file
    hops, target, after_link = 0, "", 0
    while left:
        part = left.popleft()
        if part in ("", "."):
            continue
        link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
        if link is None:
            broken = target and len(left) >= after_link  # a part of the link's own path is missing
            return Place(problem=f"a link to {shown(target)}, which does not exist") if broken else None
        if isinstance(link, h5py.ExternalLink):
            return Place(problem=f"a link to {shown(link.path)} in another file, {shown(link.filename)}")
        if isinstance(link, h5py.HardLink):
            at, here = f"{at}/{part}", here[part]
            continue
        hops, target, after_link = hops + 1, link.path, len(left)
        if hops > HOPS:
            return Place(problem="a link that leads in a circle")
        at, here = ("", file) if target.startswith("/") else (at, here)
        left.extendleft(reversed(target.split("/")))
    return Place(at, _elsewhere(here))


def is_dataset(node: Any) -> bool:
    """Tell a data set from a group."""
    import h5py

    return isinstance(node, h5py.Dataset)


def _elsewhere(node: Any) -> str:
    """Return the problem of a data set whose values are not in the file itself; empty where they are."""
    if is_dataset(node) and node.is_virtual:
        return "a virtual data set, which only refers to the values of others"
    if is_dataset(node) and node.external:
        return f"stored in another file, {shown(node.external[0][0])}"
    return ""


def shown(name: str | bytes) -> str:
    """Return a name that comes from the file as one line of text."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= NAME_SHOWN else f"{text[:NAME_SHOWN]}..."


def hdf5_names(file: Any) -> dict[str, Place]:
    """Return the names of data sets, and of links that lead to none, with their places; groups are omitted."""
    visited: list[bytes] = []
    file.id.links.visit(visited.append)  # names alone: an error in a callback of h5py would be lost
    found = {}
    for name in (link.decode("utf-8", "replace") for link in visited):
        place = locate(file, name)
        if place is not None and (place.problem or is_dataset(file[place.path])):
            found[name] = place
    return found


def same_data(file: Any, places: Iterable[Place]) -> set[Any]:
    """Return the identities of data sets, equal for hard links to the same one."""
    return {file[place.path].id for place in places if not place.problem}
