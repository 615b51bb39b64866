"""The mean of several reconstructions of one object, their spread, and how well the spread predicts the error.

Each trial reconstructs the same test data with a network that was trained with another seed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ptycho.data.dataset import ComplexArray
from ptycho.evaluation.alignment import DARK
from ptycho.evaluation.phase_plane import wrapped

LEAST_TRIALS = 3  # the spread of two is their difference alone
BINS = 10  # of pixels, with as many each
SIGMAS = (1, 2)


@dataclass(frozen=True, eq=False)
class Part:
    """Amplitude or phase of all trials of a model, per pixel; rad for the phase.

    Parameters
    ----------
    error : (h, w) float64, the arithmetic mean over the trials minus the ground truth
    spread : (h, w) float64, sample standard deviation over the trials, with n - 1 in the denominator
    trial_error : (h, w) float64, root mean square over the trials of the error of each
    used : (h, w) bool, the pixels that count; elsewhere the arrays hold 0
    """

    error: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    trial_error: npt.NDArray[np.float64]
    used: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Spread:
    """The trials of one model together.

    Parameters
    ----------
    trials : number of trials used, n
    not_finite : number of trials left out because they hold NaN or infinite values on a covered pixel
    mean : (h, w) complex128, with the mean amplitude and the mean phase; 0 where the scan does not cover
    parts : ``amplitude`` and ``phase``; empty with fewer than :data:`LEAST_TRIALS` trials
    """

    trials: int
    not_finite: int
    mean: npt.NDArray[np.complex128]
    parts: dict[str, Part]

    @property
    def identical(self) -> bool:
        """Whether all trials are one and the same reconstruction, so that there is no spread to speak of."""
        return bool(self.parts) and not any(part.spread.any() for part in self.parts.values())


@dataclass(frozen=True)
class Bin:
    """Pixels of similar spread: root mean squares over them.

    Parameters
    ----------
    spread : of the standard deviation over the trials; its square is an unbiased estimate of the mean variance
    rmse_mean : of the error of the mean over the trials
    rmse_trial : of the errors of the single trials
    pixels : their number
    """

    spread: float
    rmse_mean: float
    rmse_trial: float
    pixels: int


def spread(trials: Iterable[ComplexArray], truth: ComplexArray, covered: npt.NDArray[np.bool_]) -> Spread:
    """Return mean, error and spread per pixel over the trials of a model.

    Parameters
    ----------
    trials : (h, w) complex each, aligned: as :func:`ptycho.evaluation.alignment.align` returns a prediction, without
        the shift, amplitude scale, constant phase and phase plane that ptychography leaves undetermined. They are read
        once and held one at a time
    truth : (h, w) complex, the ground truth that they were aligned to
    covered : (h, w) bool, the pixels that are compared; the phase only where the truth transmits light

    Notes
    -----
    Amplitudes and phases are averaged separately: the mean of complex values would lower the amplitude by
    exp(-sigma²/2) where phases differ. The sums of squares are those of B. P. Welford, Technometrics 4, 419 (1962).
    """
    amplitude, phase = _Moments(truth.shape), _Phases(truth.shape)
    not_finite = 0
    for trial in trials:
        if not np.isfinite(trial[covered]).all():
            not_finite += 1
            continue
        amplitude.add(np.where(covered, np.abs(trial).astype(np.float64) - np.abs(truth), 0.0))
        phase.add(np.where(covered, _phase_error(trial, truth), 0.0))
    if amplitude.count < LEAST_TRIALS:
        return Spread(amplitude.count, not_finite, np.zeros(truth.shape, np.complex128), {})
    parts = {"amplitude": amplitude.part(covered), "phase": phase.part(_lit(truth, covered))}
    mean = (np.abs(truth) + parts["amplitude"].error) * np.exp(1j * (np.angle(truth) + parts["phase"].error))
    return Spread(amplitude.count, not_finite, np.where(covered, mean, 0), parts)


def _phase_error(trial: ComplexArray, truth: ComplexArray) -> npt.NDArray[np.float64]:
    """Return the phase of a trial minus that of the truth, rad, wrapped; the phase of 0 is taken as 0."""
    error = np.angle(trial.astype(np.complex128) * np.conj(truth))
    return np.where(trial == 0, -np.angle(truth), error)


def _lit(truth: ComplexArray, covered: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the covered pixels where the truth transmits light, as the metrics of the phase have them."""
    amplitude = np.abs(truth)
    lit = covered & (amplitude > DARK * amplitude[covered].mean())
    return lit if lit.any() else covered


class _Moments:
    """Mean, squared deviations and squares per pixel, (h, w), of errors that are added one at a time."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self.mean, self.deviations, self.squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def add(self, error: npt.NDArray[np.float64]) -> None:
        """Add the error of a trial."""
        self.count += 1
        step = error - self.mean
        self.mean += step / self.count
        self.deviations += step * (error - self.mean)
        self.squares += error**2

    def part(self, used: npt.NDArray[np.bool_]) -> Part:
        """Return the mean error, the standard deviation and the root mean square of the pixels that count."""
        images = self.mean, np.sqrt(self.deviations / (self.count - 1)), np.sqrt(self.squares / self.count)
        error, deviation, trial_error = (np.where(used, image, 0.0) for image in images)
        return Part(error, deviation, trial_error, used)


class _Phases:
    """The same of phase errors, which wrap: those near pi and near -pi are neighbours.

    Moments are kept on both branches, -pi ... pi and 0 ... 2 pi; in each pixel the one counts whose middle is nearer to
    the circular mean of the errors.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.near, self.far = _Moments(shape), _Moments(shape)
        self.cosines = np.zeros(shape)

    def add(self, error: npt.NDArray[np.float64]) -> None:
        """Add the phase error of a trial, rad, -pi ... pi."""
        self.near.add(error)
        self.far.add(wrapped(error - np.pi))
        self.cosines += np.cos(error)

    def part(self, used: npt.NDArray[np.bool_]) -> Part:
        """Return the part as :meth:`_Moments.part` does."""
        near, far, is_far = self.near.part(used), self.far.part(used), self.cosines < 0
        error = np.where(is_far & used, wrapped(far.error + np.pi), near.error)
        return Part(error, np.where(is_far, far.spread, near.spread), near.trial_error, used)


# calibration ---------------------------------------------------------------------------------------------


def overall(part: Part) -> Bin:
    """Return the root mean squares over all pixels that count."""
    return _bin(part, np.flatnonzero(part.used))


def calibration(part: Part, bins: int = BINS) -> list[Bin]:
    """Return the pixels that count in groups of as many each, from the smallest spread to the largest.

    With fewer pixels than ``bins`` each is a group.
    """
    pixels = np.flatnonzero(part.used)
    order = pixels[np.argsort(part.spread.ravel()[pixels], kind="stable")]
    return [_bin(part, group) for group in np.array_split(order, min(bins, order.size))]


def _bin(part: Part, pixels: npt.NDArray[np.intp]) -> Bin:
    """Return the root mean squares over the pixels of these flat indices."""
    images = (part.spread, part.error, part.trial_error)
    spread_, mean, trial = (float(np.sqrt(np.mean(image.ravel()[pixels] ** 2))) for image in images)
    return Bin(spread_, mean, trial, int(pixels.size))


def coverage(part: Part, sigmas: float) -> float:
    """Return the share of the pixels that count whose truth lies within ``sigmas`` times the spread of the mean."""
    return float(np.mean((np.abs(part.error) <= sigmas * part.spread)[part.used]))


def expected_coverage(sigmas: float, trials: int) -> float:
    """Return the share to expect if the truth were one more draw from the distribution of the trials.

    Notes
    -----
    Of n + 1 independent draws from one normal distribution, the last minus the mean of the others has the variance
    sigma² (1 + 1/n); divided by s sqrt(1 + 1/n) it follows Student's t with n - 1 degrees of freedom. The share tends
    to 0.683 and 0.954 for 1 and 2 sigma and many trials.
    """
    return float(2 * stats.t.cdf(sigmas / np.sqrt(1 + 1 / trials), trials - 1) - 1)
