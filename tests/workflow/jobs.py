"""What Snakemake says, as numbers."""

import re


def jobs_of(plan: str) -> dict[str, int]:
    """Return how many jobs of each rule Snakemake's table names."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", plan, re.MULTILINE)}
