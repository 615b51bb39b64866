"""What Snakemake says, as numbers."""


def jobs_of(plan: str) -> dict[str, int]:
    """Return how many jobs of each rule a dry run would start."""
    lines = (line.split() for line in plan.splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
