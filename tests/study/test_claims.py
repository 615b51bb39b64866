import numpy as np
import pandas as pd
import pytest

from ptycho.config.schema import StudyConfig
from ptycho.errors import InputError
from ptycho.study import claims, summary
from ptycho.study.claims import GUIDE, PUBLISHED, claims_section
from ptycho.study.statistics import study_statistics
from ptycho.study.tables import results_all_trials

SPREAD = (-0.02, -0.01, 0, 0.01, 0.02)  # of the trials around their median
NAMES = {"pinn": "PtychoPINN", "baseline": "Baseline"}
METRICS = {  # of an error v; amplitude and phase are equal
    "rmse": lambda v: v,
    "mae": lambda v: v,
    "ssim": lambda v: 1 - v,
    "psnr": lambda v: -20 * np.log10(v),
    "psnr_peak255": lambda v: 48.13 - 20 * np.log10(v),
}


def study(curves, trials=5, metrics=METRICS):
    """Return the wide table and the statistics of curves {model: {size: error}}.

    A number counts for every trial, a sequence has one for each; NaN is a failed trial.
    """
    rows = []
    for arm, curve in curves.items():
        for size, errors in curve.items():
            for trial in range(trials):
                error = errors[trial] if np.ndim(errors) else errors
                status = "failed" if np.isnan(error) else "ok"
                for metric, of in metrics.items():
                    value = of(error)
                    rows.append((size, trial + 1, "", arm, NAMES[arm], metric, value, value, np.nan, status))
    columns = ["train_size", "trial", "variant", "arm", "model", "metric", "amplitude", "phase", "value", "status"]
    wide = results_all_trials(pd.DataFrame(rows, columns=columns))
    return wide, study_statistics(wide, 0)


def around(median):
    return [median + step for step in SPREAD]


def find(words):
    (claim,) = [claim for claim in GUIDE + PUBLISHED if words in claim.text]
    return claim


def judged(words, curves):
    """Return the judgement of the metric of a claim: of the phase, or of the only part."""
    claim = find(words)
    tables = study(curves, metrics={claim.metric: METRICS[claim.metric]})
    return dict(claims.judgements(claim, *tables))[claim.metric, claim.parts[0]]


def sizes(*errors, first=512):
    return {first * 2**i: error for i, error in enumerate(errors)}


def both(pinn, baseline):
    return {"pinn": pinn, "baseline": baseline}


# the guide -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("curves", "verdict", "numbers"),
    [
        # 0.14 - 0.20 = -0.06 and 0.15 - 0.22 = -0.07: both fall
        (both(sizes(0.20, 0.14), sizes(0.22, 0.15)), "held", "PtychoPINN 0.2 with 512 images, 0.14 with 1024 (-0.06"),
        (both(sizes(0.20, 0.14), sizes(0.15, 0.16)), "did not hold", "0.16 with 1024 (+0.01 [+0.01, +0.01])"),
        # the median of Baseline stays at 0.22, the trials at 1024 images lie on both sides
        (both(sizes(0.20, 0.14), sizes(0.22, around(0.22))), "not resolved", "0.22 with 1024 (+0 [-0.02, +0.02])"),
        (both(sizes(0.20), sizes(0.22)), "cannot be checked (only 512 images for PtychoPINN and only", ""),
        ({"pinn": sizes(0.20, 0.14)}, "cannot be checked (no results of Baseline)", "(-0.06 [-0.06, -0.06])"),
        ({"pinn": sizes(0.20, 0.24)}, "did not hold", "(+0.04 [+0.04, +0.04])"),
        # every trial of Baseline with 1024 images failed, which is worse than any value
        (both(sizes(0.20, 0.14), sizes(0.2, np.nan)), "did not hold", "Baseline 0.2 with 512 images, failed with 1024"),
    ],
)
def test_both_models_improve(curves, verdict, numbers):
    found = judged("Both models improve", curves)
    assert str(found).startswith(verdict)
    assert numbers in found.numbers


@pytest.mark.parametrize(
    ("errors", "verdict", "numbers"),
    [
        # sizes 512, 1024, 2048, 4096, 8192: 20 log10(0.20 / 0.16) / 2 doublings = 0.97, then 20 log10(0.16 / 0.15) / 2
        (
            sizes(0.20, 0.18, 0.16, 0.155, 0.15),
            "held",
            "doubling +0.97 dB up to 2048 images, +0.28 dB above (difference -0.69 dB",
        ),
        # 20 log10(0.20 / 0.19) / 2, then 20 log10(0.19 / 0.15) / 2
        (
            sizes(0.20, 0.2, 0.19, 0.17, 0.15),
            "did not hold",
            "+0.22 dB up to 2048 images, +1.03 dB above (difference +0.80 dB",
        ),
        # a power of the number of images: the error is halved by two doublings, 3.01 dB each
        (sizes(0.80, 0.57, 0.40, 0.28, around(0.20)), "not resolved", "+3.01 dB above (difference +0.00 dB"),
        (sizes(0.20, 0.18), "cannot be checked (no results of PtychoPINN with about 2048 images", ""),
        (sizes(0.20, 0.18, 0.16), "cannot be checked (no results of PtychoPINN with more than 2048 images", ""),
        (sizes(0.20, 0.18, first=2000), "cannot be checked (no results of PtychoPINN with fewer than 2000 images", ""),
    ],
)
def test_gains_diminish(errors, verdict, numbers):
    found = judged("gains diminish", both(errors, errors))
    assert str(found).startswith(verdict)
    assert numbers in found.numbers


@pytest.mark.parametrize(
    ("curves", "verdict", "numbers"),
    [
        # ahead at 512 and 1024; what happens at 2048 does not matter
        (both(sizes(0.2, 0.17, 0.2), sizes(0.22, 0.2, 0.1)), "held", "-0.02 with 512 images; -0.03"),
        (both(sizes(0.2, 0.17), sizes(0.22, 0.16)), "did not hold", "+0.01 with 1024 images"),
        (both(sizes(0.2, around(0.2)), sizes(0.22, 0.2)), "not resolved", "with 1024 images"),
        (both(sizes(0.2, first=2048), sizes(0.3, first=2048)), "cannot be checked (no results with 1024 images or", ""),
        ({"baseline": sizes(0.2)}, "cannot be checked (no results of PtychoPINN)", ""),
    ],
)
def test_an_advantage_where_data_are_limited(curves, verdict, numbers):
    found = judged("maintains its advantage", curves)
    assert str(found).startswith(verdict)
    assert numbers in found.numbers


@pytest.mark.parametrize(
    ("pinn", "verdict", "numbers"),
    [
        (sizes(0.04, 0.03, 0.2), "held", "PtychoPINN 0.04 [0.04, 0.04] with 512 images; 0.03"),  # the limit is 0.05
        (sizes(0.06, 0.03), "did not hold", "0.06 [0.06, 0.06] with 512 images"),
        (sizes(around(0.05), 0.03), "not resolved", "0.05 [0.03, 0.07] with 512 images"),
        (sizes(0.04, first=256), "cannot be checked (no results with 512 to 1024 images)", ""),
    ],
)
def test_strong_performance_with_limited_data(pinn, verdict, numbers):
    found = judged("strong performance", {"pinn": pinn})
    assert str(found) == verdict
    assert numbers in found.numbers


@pytest.mark.parametrize(
    ("pinn", "verdict", "numbers"),
    [
        (sizes(0.20, 0.19), "held", "0.19 to 0.2: 0.45 dB per doubling"),  # 20 log10(0.20 / 0.19) = 0.446 dB
        (sizes(0.20, 0.18), "did not hold", "0.18 to 0.2: 0.92 dB per doubling"),  # 20 log10(0.20 / 0.18) = 0.915 dB
        (sizes(0.20, 0.15, 0.20), "did not hold", "1.25 dB per doubling"),  # 20 log10(0.20 / 0.15) / 2 = 1.249 dB
        (sizes(0.20, around(0.19)), "not resolved", "0.45 dB per doubling"),
        (sizes(0.20, np.nan), "did not hold", "0.2 to failed: failed at a size"),
        (sizes(0.20), "cannot be checked (only 512 images for PtychoPINN)", ""),
    ],
)
def test_stable_performance(pinn, verdict, numbers):
    found = judged("stable performance", {"pinn": pinn})
    assert str(found) == verdict
    assert numbers in found.numbers


@pytest.mark.parametrize(
    ("curves", "verdict", "numbers"),
    [
        # with 1024 images Baseline has what PtychoPINN has with 512: twice as many
        (
            both(sizes(0.20, 0.15), sizes(0.25, 0.20)),
            "held",
            "Baseline needs 2 times the 512 images of PtychoPINN [2, 2]",
        ),
        # never reached: more than 2048 / 512 and 2048 / 1024
        (both(sizes(0.2, 0.2, 0.2), sizes(0.3, 0.3, 0.3)), "held", "needs over 4 times the 512 images of PtychoPINN"),
        (both(sizes(0.25, 0.20), sizes(0.20, 0.15)), "did not hold", "needs under 1 times the 512 images"),
        (both(sizes(0.20, 0.1), sizes(around(0.20), 0.15)), "not resolved", "1 times the 512 images"),
        (both(sizes(0.20), sizes(0.25)), "cannot be checked (only 512 images for PtychoPINN and Baseline)", ""),
    ],
)
def test_the_baseline_needs_more_images(curves, verdict, numbers):
    found = judged("requires more training data", curves)
    assert str(found) == verdict
    assert numbers in found.numbers


@pytest.mark.parametrize(
    ("curves", "verdict", "gains", "exponents"),
    [
        # gains 0.04 and 0.10; log2(0.20 / 0.16) = 0.322, log2(0.25 / 0.15) = 0.737, in one doubling
        (
            both(sizes(0.20, 0.16), sizes(0.25, 0.15)),
            "held",
            "PtychoPINN +0.04, Baseline +0.1 (Baseline - PtychoPINN +0.06",
            "exponents PtychoPINN 0.32, Baseline 0.74 (Baseline - PtychoPINN +0.42",  # 0.737 - 0.322 = 0.415
        ),
        (
            both(sizes(0.25, 0.15), sizes(0.20, 0.16)),
            "did not hold",
            "(Baseline - PtychoPINN -0.06",
            "(Baseline - PtychoPINN -0.42",
        ),
        (both(sizes(0.20, 0.16), sizes(0.20, around(0.16))), "not resolved", "Baseline +0.04 (", "Baseline 0.32 ("),
        ({"pinn": sizes(0.20, 0.16)}, "cannot be checked (no results of Baseline)", "", ""),
        (both(sizes(0.2), sizes(0.2)), "cannot be checked (only 512 images for PtychoPINN and Baseline)", "", ""),
    ],
)
def test_the_baseline_gains_more(curves, verdict, gains, exponents):
    for words, numbers in (("larger improvement", gains), ("traditional deep learning", exponents)):
        found = judged(words, curves)
        assert str(found) == verdict
        assert numbers in found.numbers


# the published study -------------------------------------------------------------------------------------

SIX = (0.3, 0.2, 0.15, 0.12, 0.1, 0.05)  # 512 to 16,384 images
BENT = [0.14, 0.2, 0.28, 0.29, 0.29]


@pytest.mark.parametrize(
    ("words", "curves", "verdict", "numbers"),
    [
        # SSIM = 1 - error, so PtychoPINN - Baseline = +0.1 at each size
        (
            "is above that",
            both(sizes(*SIX), sizes(*(e + 0.1 for e in SIX))),
            "held",
            "+0.100 with 512",
        ),
        ("is above that", both(sizes(*SIX), sizes(0.4, 0.3, 0.1, 0.2, 0.2, 0.2)), "did not hold", "-0.050"),
        ("is above that", both(sizes(*SIX), sizes(*SIX[:5], around(0.05))), "not resolved", "with 16384 images"),
        (
            "is above that",
            both(sizes(*SIX[:4]), sizes(*(e + 0.1 for e in SIX[:4]))),
            "no results with 8192 and 16384",
            "+",
        ),
        # PtychoPINN 0.3 - 0.1 = 0.2, Baseline 0.5 - 0.2 = 0.3
        ("The lead in", both(sizes(*SIX), sizes(0.5, 0.4, 0.3, 0.3, 0.2)), "held", "(Baseline - PtychoPINN +0.100"),
        ("The lead in", both(sizes(*SIX), sizes(0.3, 0.2, 0.2, 0.2, 0.2)), "did not hold", "-0.100"),
        ("The lead in", both(sizes(*SIX), sizes(*SIX[:4], around(0.1))), "not resolved", "Baseline +0.200"),
        ("The lead in", both(sizes(*SIX[:3]), sizes(*SIX[:3])), "no results with 8192 images", ""),
        # BENT: 0.3 lies at (0.34 - 0.3) / (0.34 - 0.14) = 0.2 to 0.04 / (0.34 - 0.29) = 0.8 of the doubling from 1024
        # to 2048 images: 2 * 2**0.2 = 2.3 to 2 * 2**0.8 = 3.5 times 512
        # 0.3 is reached with 2048 images: 4 times 512
        ("2.4 times", both(sizes(0.3, 0.2, 0.1), sizes(0.5, 0.4, 0.3)), "held", "needs 4 times the 512"),
        ("2.4 times", both(sizes(0.3, 0.2, 0.1), sizes(0.5, 0.3, 0.3)), "did not hold", "needs 2 times the 512"),
        ("2.4 times", both(sizes(0.3, 0.2, 0.1), sizes(0.5, 0.34, BENT)), "not resolved", "[2.3, 3.5]"),
        ("2.4 times", both({1024: 0.3}, {1024: 0.3}), "no results with 512 images", ""),
        # not reached with 8192 images: more than 8 times 1024; with sizes up to 4096: more than 4, which is not enough
        ("than 8 times", both(sizes(*SIX[:5]), sizes(*[0.3] * 5)), "held", "needs over 8 times the 1024 images"),
        (
            "than 8 times",
            both(sizes(*SIX[:4]), sizes(*[0.3] * 4)),
            "not resolved",
            "needs over 4 times the 1024 images",
        ),
        ("than 8 times", both(sizes(*SIX[:3]), sizes(0.4, 0.3, 0.2)), "did not hold", "needs 2 times the 1024 images"),
        ("than 8 times", both({512: 0.3}, {512: 0.3}), "no results with 1024 images", ""),
        # 20 log10(2) = 6.02 dB
        ("With 16,384", both({16384: 0.1}, {16384: 0.2}), "held", "+6.02 with 16384 images"),
        ("With 16,384", both({16384: 0.2}, {16384: 0.1}), "did not hold", "-6.02"),
        ("With 16,384", both({16384: around(0.1)}, {16384: 0.1}), "not resolved", "with 16384"),
        ("With 16,384", both({512: 0.1}, {512: 0.1}), "no results with 16384 images", ""),
        # 48.13 - 20 log10(0.01) = 88.13 dB; of 0.1: 68.13 dB, below the 70.54 and 68.62 dB of the phase
        ("PtychoPINN reaches", {"pinn": {16384: 0.01}}, "held", "PtychoPINN 88.13"),
        ("PtychoPINN reaches", {"pinn": {16384: 0.1}}, "did not hold", "PtychoPINN 68.13"),
        ("PtychoPINN reaches", {"pinn": {16384: around(0.076)}}, "not resolved", "70.51"),  # -20 log10(0.076) = 22.38
        ("PtychoPINN reaches", {"baseline": {16384: 0.01}}, "no results of PtychoPINN", ""),
        ("supervised model reaches", {"baseline": {16384: 0.01}}, "held", "Baseline 88.13"),
        ("supervised model reaches", {"baseline": {16384: 0.1}}, "did not hold", "Baseline 68.13"),
        # never compared, the numbers are given
        (
            "Phase SSIM 0.72",
            both(sizes(0.3, 0.2), sizes(0.4)),
            "another definition of SSIM",
            "0.700 (512 images), 0.800",
        ),
        ("On another object", both(sizes(*SIX), sizes(*SIX)), "it needs a study of that object", "(1024 images)"),
        ("Amplitude SSIM 0.955", both(sizes(*SIX), sizes(*SIX)), "data range is not stated", "0.950 (16384 images)"),
    ],
)
def test_published_claims(words, curves, verdict, numbers):
    found = judged(words, curves)
    reason = f"cannot be checked ({verdict})"
    assert str(found) == verdict or str(found).startswith(reason[:-1]) or verdict in found.reason
    assert numbers in found.numbers


def test_amplitude_and_phase_have_thresholds_of_their_own():
    claim = find("PtychoPINN reaches")
    found = dict(claims.judgements(claim, *study({"pinn": {16384: 0.05}})))
    # 48.13 - 20 log10(0.05) = 74.15 dB: above the 70.54 dB of the phase, below the 85.53 dB of the amplitude
    assert {part: judgement.verdict for (_, part), judgement in found.items()} == {
        "phase": "held",
        "amp": "did not hold",
    }


# the section ---------------------------------------------------------------------------------------------

GOOD = both(sizes(0.20, 0.14), sizes(0.30, 0.15))


def row(text, number):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {number} |")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_one_trial_resolves_nothing_and_says_so():
    text = claims_section(*study(GOOD, trials=1))
    assert "Of 9 claims 7 are not resolved and 2 cannot be checked." in text
    assert row(text, 1)[2] == "**not resolved** (one trial)"
    assert row(text, 1)[3] == (
        "RMSE (rad): PtychoPINN 0.2 with 512 images, 0.14 with 1024 (-0.06); "
        "Baseline 0.3 with 512 images, 0.15 with 1024 (-0.15)"
    )
    assert row(text, 2)[2].startswith("**cannot be checked** (no results of PtychoPINN with about 2048 images and no")
    for words in ("nan", "inf", "**held**", "**did not hold**"):
        assert words not in text


@pytest.mark.parametrize(
    ("trials", "verdict"), [(2, "**not resolved** (2 trials)"), (4, "**not resolved** (4 trials)")]
)
def test_few_trials_resolve_nothing(trials, verdict):
    text = claims_section(*study(GOOD, trials=trials))
    assert {row(text, n)[2] for n in (1, 3, 4, 5, 7, 8, 9)} == {verdict}


def test_a_study_of_one_model_and_size():
    text = claims_section(*study({"pinn": {512: 0.2}}, trials=1))
    assert "Of 9 claims 1 is not resolved and 8 cannot be checked." in text
    assert row(text, 3)[2] == "**cannot be checked** (no results of Baseline)"
    assert row(text, 4)[2:] == [
        "**not resolved** (one trial)",
        "MAE (rad): PtychoPINN 0.2 with 512 images",
        "**not resolved** (one trial). MAE: PtychoPINN 0.2 with 512 images",
    ]


def test_a_second_metric_that_contradicts_is_told():
    wide, statistics = study(GOOD, metrics=METRICS | {"ssim": lambda v: v})  # more images, lower SSIM
    text = claims_section(wide, statistics)
    assert row(text, 1)[2] == "**held**; by SSIM: did not hold"
    assert "SSIM: PtychoPINN 0.200 with 512 images, 0.140 with 1024 (-0.060 [-0.060, -0.060])" in row(text, 1)[3]
    assert "Two metrics contradict each other in claims 1, 3, 7, 8 and 9." in text
    assert "Two metrics" not in claims_section(*study(GOOD))


def test_amplitude_has_a_verdict_of_its_own():
    wide, _ = study(GOOD)
    wide["rmse_amp"] = 0.3 - wide["rmse_amp"]  # rises as the phase error falls
    text = claims_section(wide, study_statistics(wide, 0))
    assert row(text, 1)[2] == "**held**"
    assert row(text, 1)[4].startswith("**did not hold**. RMSE: PtychoPINN 0.1 with 512 images, 0.16 with 1024 (+0.06")


def test_tables_without_rmse_leave_its_claims_unchecked():
    wide, statistics = study(GOOD)
    text = claims_section(wide.drop(columns=["rmse_phase", "rmse_amp"]), statistics)
    assert row(text, 1)[2] == "**cannot be checked** (no phase RMSE in the tables); by SSIM: held"


def test_variants_are_no_part_of_the_claims():
    wide, statistics = study(GOOD)
    variant = wide.assign(variant="wide", model_type=wide["model_type"] + "_wide", rmse_phase=9.0)
    assert claims_section(pd.concat([wide, variant]), statistics) == claims_section(wide, statistics)


def test_the_published_claims_are_checked_where_the_study_says_so():
    tables = study(GOOD)
    assert "arXiv" not in claims_section(*tables, ("guide",))
    text = claims_section(*tables, ("published",))  # the guide's always
    assert text.index("### Study guide") < text.index("### arXiv 2602.21361")
    assert row(text, 10)[2] == "**cannot be checked** (no results with 2048, 4096, 8192 and 16384 images)"
    assert f"| {len(GUIDE + PUBLISHED)} | Single-shot reconstruction" in text
    assert [line for line in text.splitlines() if line.startswith("24. No criterion: ")]


def test_every_claim_has_a_criterion_of_one_sentence():
    for claim in GUIDE + PUBLISHED:
        assert claim.criterion.endswith(".")
        assert ". " not in claim.criterion


def test_the_section_follows_the_findings():
    wide, statistics = study(GOOD)
    results = pd.DataFrame({"train_size": [], "model_type": [], "n_trials": []})
    text = summary.study_summary({"claims": ("guide", "published")}, results, statistics, wide, [], {})
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads[:3] == ["## Findings", "## Claims", "## Results"]
    assert "### arXiv 2602.21361" in text


def test_without_ground_truth_no_claim_is_checked():
    wide, statistics = study(both({512: np.nan}, {512: np.nan}))
    wide["status"] = "no_truth"
    assert claims_section(wide, statistics) == "The test data holds no ground truth, so no claim can be checked."


# the key -------------------------------------------------------------------------------------------------


def test_the_key_claims():
    assert StudyConfig().claims == ("guide",)
    assert StudyConfig.from_mapping({"claims": ["guide", "published"]}).claims == ("guide", "published")
    for value, words in (
        (["guide", "guide"], "more than once"),
        (["paper"], "claims"),
        ([], "claims"),
        ("all", "claims"),
    ):
        with pytest.raises(InputError) as error:
            StudyConfig.from_mapping({"claims": value})
        assert words in str(error.value)
        assert "\n" not in str(error.value)
