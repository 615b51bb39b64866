"""Merging of the logs of all jobs of a study."""

import re
from collections.abc import Mapping

STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")


def merge_logs(logs: Mapping[str, str]) -> str:
    """Return the lines of all logs in time order, each after the name of its log.

    Parameters
    ----------
    logs : text by name; lines start with ``YYYY-MM-DD HH:MM:SS,mmm``. A line without a time follows the one before
        it; lines before the first time of a log are placed at that time.
    """
    entries: list[tuple[str, str]] = []
    for name, text in logs.items():
        stamp = next((match[0] for match in map(STAMP.match, text.splitlines()) if match), "")
        for line in text.splitlines():
            match = STAMP.match(line)
            stamp = match[0] if match else stamp
            entries.append((stamp, f"{stamp}{name}: {line[len(stamp) if match else 0 :]}"))
    return "".join(f"{line}\n" for _, line in sorted(entries, key=lambda entry: entry[0]))
