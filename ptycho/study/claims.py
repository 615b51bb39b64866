"""The claims of the study guide and of the published study, and the section of the summary that checks them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd

from ptycho.results.schema import PARTS, describe
from ptycho.study import claim_checks as checks
from ptycho.study.evidence import DID_NOT_HOLD, HELD, UNCHECKED, Evidence, Judgement
from ptycho.study.image_counts import SMALL_GAIN_DB
from ptycho.study.markdown import listed, table
from ptycho.study.paired import MIN_PAIRS, NOT_RESOLVED
from ptycho.study.tables import unscored

LIMITED = 1024  # training images up to which the guide calls data limited
ENOUGH = 2048  # training images after which the guide expects the gains to diminish
GOOD_MAE = 0.05  # upper end of the MAE that the guide calls typical of good reconstructions
READ_OFF = (512, 1024, 2048, 4096, 8192)  # sizes in the figure of the published study
LARGEST = 16384  # the size of its table
PEAK_255 = {"pinn": {"amp": 85.53, "phase": 70.54}, "baseline": {"amp": 84.83, "phase": 68.62}}  # dB


@dataclass(frozen=True)
class Claim:
    """A claim and how it is checked.

    Parameters
    ----------
    text : the claim, and where in its source it stands
    criterion : one sentence: what must be the case for it to hold
    judge : from the scores of one metric and part to a judgement; or why no study of this kind can check it
    metric : by which it is judged
    parts : the first gives the verdict
    second : metric by which the first part is judged, too, and whose verdict is given if it is another one
    """

    text: str
    criterion: str
    judge: Callable[[Evidence], Judgement] | str
    metric: str = "rmse"
    parts: tuple[str, ...] = ("phase", "amp")
    second: str = "ssim"


GUIDE = (
    Claim(
        "Both models improve with more training data (Expected Trends)",
        "The median of each model is lower at the largest size than at the smallest.",
        checks.improves,
    ),
    Claim(
        "Performance gains diminish after about 2,048 training images (Expected Trends)",
        "The median of each model falls by fewer dB (20 log10 of the ratio) per doubling of the images above the size "
        "next to 2,048 than from the smallest size up to there.",
        partial(checks.diminishes, about=ENOUGH),
    ),
    Claim(
        "PtychoPINN maintains its advantage in data-limited scenarios (Expected Trends)",
        "PtychoPINN is ahead in the paired differences at every size up to 1,024, as in the findings above.",
        partial(checks.ahead_up_to, most=LIMITED),
    ),
    Claim(
        "PtychoPINN: strong performance with limited data, 512 to 1,024 images (Typical Patterns)",
        f"At each of these sizes the median MAE is below {GOOD_MAE}, the upper end of what the guide calls typical of "
        "good reconstructions; it gives no unit, so this counts for the phase in radians, too.",
        partial(checks.reaches_between, level=GOOD_MAE, least=512, most=LIMITED),
        metric="mae",
        second="",
    ),
    Claim(
        "PtychoPINN: stable performance across training sizes (Typical Patterns)",
        f"Its highest and its lowest median differ by less than {SMALL_GAIN_DB} dB per doubling of the images, from "
        "the smallest size to the largest.",
        checks.stable,
    ),
    Claim(
        "PtychoPINN: leverages physics constraints effectively (Typical Patterns)",
        "No criterion: the two models differ in more than the physics of the loss.",
        "it needs PtychoPINN trained without the physics",
    ),
    Claim(
        "Baseline: requires more training data for competitive performance (Typical Patterns)",
        "For the median PSNR of PtychoPINN with each size but the largest it needs more images than PtychoPINN.",
        checks.needs_times,
        metric="psnr",
    ),
    Claim(
        "Baseline: shows larger improvement with increased data (Typical Patterns)",
        "From the smallest to the largest size its median falls more than that of PtychoPINN.",
        checks.baseline_gains_more,
    ),
    Claim(
        "Baseline: more traditional deep learning scaling behaviour (Typical Patterns)",
        "Its error falls with a larger power of the number of images than that of PtychoPINN.",
        checks.scales_faster,
    ),
)

OTHER_SSIM = (
    "No criterion: the published phase SSIM maps the phase to (phi + pi) / 2 pi with data range 1; here the range is "
    "that of the ground truth."
)


def _reaches_peak_255(evidence: Evidence, kind: str) -> Judgement:
    """Check the PSNR that the published study states for a model and part."""
    return checks.reaches(evidence, kind, PEAK_255[kind][evidence.part], (LARGEST,))


PUBLISHED = (
    Claim(
        "Phase SSIM of PtychoPINN is above that of the supervised model at each size (figure: 512 to 8,192 images; "
        "table: 16,384)",
        "PtychoPINN is ahead in the paired differences at each of these sizes, by the SSIM of this study.",
        partial(checks.ahead_at, wanted=(*READ_OFF, LARGEST)),
        metric="ssim",
        parts=("phase",),
        second="rmse",
    ),
    Claim(
        "The lead in phase SSIM falls from 0.265 with 512 images to 0.069 with 8,192 (figure)",
        "Between these sizes the median SSIM of this study rises more for Baseline than for PtychoPINN.",
        partial(checks.baseline_gains_more, wanted=(512, 8192)),
        metric="ssim",
        parts=("phase",),
        second="rmse",
    ),
    Claim(
        "The supervised model needs 2.4 times the images for the phase SSIM of PtychoPINN with 512 (figure, "
        "interpolated)",
        "The factor is above 2.4, by the SSIM of this study.",
        partial(checks.needs_times, factor=2.4, wanted=(512,)),
        metric="ssim",
        parts=("phase",),
        second="psnr",
    ),
    Claim(
        "The supervised model needs more than 8 times the images for the phase SSIM of PtychoPINN with 1,024 (figure)",
        "The factor is above 8, by the SSIM of this study.",
        partial(checks.needs_times, factor=8, wanted=(1024,)),
        metric="ssim",
        parts=("phase",),
        second="psnr",
    ),
    Claim(
        "With 16,384 images PtychoPINN is ahead in PSNR by 1.92 dB (phase) and 0.70 dB (amplitude) (table)",
        "PtychoPINN is ahead in the paired differences, by any amount.",
        partial(checks.ahead_at, wanted=(LARGEST,)),
        metric="psnr",
    ),
    *(
        Claim(
            f"{name} reaches a PSNR, peak 255, of {PEAK_255[kind]['phase']} dB (phase) and {PEAK_255[kind]['amp']} dB "
            "(amplitude) with 16,384 images (table)",
            "The median is above these values.",
            partial(_reaches_peak_255, kind=kind),
            metric="psnr_peak255",
            second="",
        )
        for kind, name in (("pinn", "PtychoPINN"), ("baseline", "The supervised model"))
    ),
    Claim(
        "Phase SSIM 0.72, 0.87, 0.90, 0.91, 0.925 (PtychoPINN) and 0.455, 0.68, 0.83, 0.845, 0.856 (supervised) with "
        "512 to 8,192 images (figure), 0.962 and 0.912 with 16,384 (table)",
        OTHER_SSIM,
        partial(checks.not_comparable, reason="another definition of SSIM", wanted=(*READ_OFF, LARGEST)),
        metric="ssim",
        parts=("phase",),
        second="",
    ),
    Claim(
        "Amplitude SSIM 0.955 (PtychoPINN) and 0.930 (supervised) with 16,384 images (table)",
        "No criterion: the data range of these values is not stated.",
        partial(checks.not_comparable, reason="its data range is not stated", wanted=(LARGEST,)),
        metric="ssim",
        parts=("amp",),
        second="",
    ),
    Claim(
        "Phase SSIM of PtychoPINN is above 0.95 from 512 images on (one version), above 0.85 from 1,024 (another)",
        OTHER_SSIM,
        "another definition of SSIM; the two versions disagree",
    ),
    Claim(
        "On another object Baseline is ahead in phase PSNR, by 4.5, 7.7 and 10.0 dB with 1,024, 2,048 and 4,096 images "
        "(own study of the group)",
        "No criterion: another object than that of the other claims.",
        partial(checks.not_comparable, reason="it needs a study of that object", wanted=(1024, 2048, 4096)),
        metric="psnr",
        parts=("phase",),
        second="",
    ),
    Claim(
        "Amplitude SSIM 0.620 and 0.904 with single patterns (ideal and measured probe), 0.952 and 0.968 with groups "
        "of four",
        "No criterion: one study has one gridsize and one probe.",
        "it needs studies with pinn.gridsize 1 and 2, each with an ideal and a measured probe",
    ),
    Claim(
        "A Poisson loss at about 10,000 photons reaches the FRC50 of a mean absolute error at ten times the dose",
        "No criterion: one study has one dose.",
        "it needs studies with two values of simulation.n_photons, and variants with either loss",
    ),
    Claim(
        "6,100 patterns per second through the network, 184 with stitching, 52 end to end, on a GPU",
        "No criterion: these are properties of another machine.",
        "the GPU is not stated; see the section on time to reconstruction",
    ),
    Claim(
        "Single-shot reconstruction: SSIM 0.943, against 0.005 of HIO/ER",
        "No criterion: the workflow has no HIO/ER.",
        "it needs a reconstruction with HIO/ER, which compare_models.py can read (--recon)",
    ),
)

SETS = {"guide": ("Study guide", GUIDE), "published": ("arXiv 2602.21361", PUBLISHED)}


def claims_section(trials_wide: pd.DataFrame, statistics: pd.DataFrame, sets: Collection[str] = ()) -> str:
    """Return the table of the claims and their verdicts, with the criteria, in Markdown.

    Parameters
    ----------
    trials_wide : as :func:`ptycho.study.tables.results_all_trials` makes it
    statistics : as :func:`ptycho.study.statistics.study_statistics` makes it
    sets : of :data:`SETS`; the claims of the guide are always checked
    """
    if unscored(trials_wide):
        return "The test data holds no ground truth, so no claim can be checked."
    parts, count = [], 0
    for name in dict.fromkeys(["guide", *sets]):
        title, claims = SETS[name]
        rows = [_row(claim, trials_wide, statistics) for claim in claims]
        numbered = [(n, *row.cells) for n, row in enumerate(rows, count + 1)]
        criteria = "\n".join(f"{n}. {claim.criterion}" for n, claim in enumerate(claims, count + 1))
        against = [str(n) for n, row in enumerate(rows, count + 1) if row.contradicted]
        told = (
            f" Two metrics contradict each other in claim{'s' * (len(against) > 1)} {listed(against)}."
            if against
            else ""
        )
        parts.append(
            f"### {title}\n\n{_tally([row.verdict for row in rows])}{told}\n\n"
            f"{table(['', 'claim', 'verdict', 'phase', 'amplitude'], numbered)}\n\nCriteria:\n\n{criteria}"
        )
        count += len(claims)
    return "\n\n".join([*parts, _explained()])


def _explained() -> str:
    """Return how to read the verdicts."""
    return (
        "The verdict is that of the phase where a claim is about both parts, by RMSE unless the numbers name another "
        "metric. *Held*, *did not hold*: the 95 % interval lies on one side of the criterion; paired differences are "
        "judged as in the findings, by any of their grades. "
        f"With fewer than {MIN_PAIRS} trials of a size every claim is *{NOT_RESOLVED}*. "
        "A claim about several sizes or models did not hold if one of them contradicts it. "
        "Intervals are not corrected for the number of claims."
    )


def _tally(verdicts: list[str]) -> str:
    """Return e.g. ``Of 9 claims 2 held, 1 did not hold, 5 are not resolved and 1 cannot be checked.``"""
    counts = Counter(verdicts)
    words = {HELD: ("held",) * 2, DID_NOT_HOLD: ("did not hold",) * 2}
    words |= {NOT_RESOLVED: ("is not resolved", "are not resolved"), UNCHECKED: (UNCHECKED,) * 2}
    told = [f"{counts[verdict]} {words[verdict][counts[verdict] > 1]}" for verdict in words if counts[verdict]]
    return f"Of {len(verdicts)} claims {listed(told)}."


@dataclass(frozen=True)
class _Row:
    """A row of the table: its cells, its verdict, and whether a second metric contradicts it."""

    cells: tuple[str, ...]
    verdict: str
    contradicted: bool = False


def _row(claim: Claim, trials_wide: pd.DataFrame, statistics: pd.DataFrame) -> _Row:
    """Return the row of a claim."""
    if isinstance(claim.judge, str):
        return _Row((claim.text, f"**{UNCHECKED}** ({claim.judge})", "", ""), UNCHECKED)
    judged = dict(judgements(claim, trials_wide, statistics))
    first = (claim.metric, claim.parts[0])
    main, verdict = judged[first], _bold(judged[first])
    cells = {part: _numbers(claim.metric, part, judged[claim.metric, part]) for part in claim.parts}
    if "amp" in claim.parts[1:]:
        cells["amp"] = f"{_bold(judged[claim.metric, 'amp'])}. {cells['amp']}".removesuffix(". ")
    other = judged.get((claim.second, first[1]), main)
    if other.verdict != main.verdict and other.verdict != UNCHECKED:
        verdict += f"; by {describe(claim.second).label}: {other}"
        cells[first[1]] += f". {_numbers(claim.second, first[1], other)}"
    contradicted = {main.verdict, other.verdict} == {HELD, DID_NOT_HOLD}
    return _Row((claim.text, verdict, cells.get("phase", ""), cells.get("amp", "")), main.verdict, contradicted)


def judgements(
    claim: Claim, trials_wide: pd.DataFrame, statistics: pd.DataFrame
) -> Iterator[tuple[tuple[str, str], Judgement]]:
    """Yield ((metric, part), judgement) of a claim: of each of its parts, and of the second metric.

    Parameters
    ----------
    claim : one that has a function to judge it
    trials_wide, statistics : as :func:`claims_section` takes them
    """
    assert not isinstance(claim.judge, str)
    pairs = [(claim.metric, part) for part in claim.parts]
    for metric, part in pairs + ([(claim.second, claim.parts[0])] if claim.second else []):
        evidence = Evidence.of(trials_wide, statistics, metric, part)
        if evidence.tables:
            yield (metric, part), claim.judge(evidence)
        else:
            reason = f"no {PARTS[part].lower()} {describe(metric).label} in the tables"
            yield (metric, part), Judgement(UNCHECKED, reason)


def _bold(judged: Judgement) -> str:
    """Return a verdict in bold, with its reason."""
    return f"**{judged.verdict}**" + (f" ({judged.reason})" if judged.reason else "")


def _numbers(metric: str, part: str, judged: Judgement) -> str:
    """Return the numbers of a judgement behind the name and the unit of the metric; nothing where there are none."""
    name = describe(metric).axis_label(part).removeprefix(f"{PARTS[part]} ")
    return f"{name}: {judged.numbers}" if judged.numbers else ""
