"""The plan of a run, as Snakemake prints it."""

import re


def jobs_of(plan: str) -> dict[str, int]:
    """Return the number of jobs per rule, from the table that Snakemake prints."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", plan, re.MULTILINE)}
