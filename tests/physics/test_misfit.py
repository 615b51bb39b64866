import numpy as np
import pytest

from ptycho.physics.misfit import Agreement


def agreement(expected, measured):
    return Agreement(*(float(np.vdot(a, b)) for a, b in ((expected, measured), (expected, expected), (measured,) * 2)))


def test_the_misfits_are_relative_l2_norms():
    rng = np.random.default_rng(0)
    expected, measured = rng.random((2, 3, 8, 8))
    found, norm = agreement(expected, measured), np.linalg.norm
    assert found.relative_misfit == pytest.approx(norm(expected - measured) / norm(measured))
    (factor,) = np.linalg.lstsq(expected.reshape(-1, 1), measured.ravel(), rcond=None)[0]
    assert found.best_factor == pytest.approx(factor)
    assert found.fitted_misfit == pytest.approx(norm(factor * expected - measured) / norm(measured))
    assert found.fitted_misfit < found.relative_misfit


def test_a_wrong_scale_alone_is_fitted():
    measured = np.random.default_rng(0).random((3, 8, 8))
    found = agreement(0.5 * measured, measured)
    assert (found.best_factor, found.relative_misfit) == (pytest.approx(2), pytest.approx(0.5))
    assert found.fitted_misfit == pytest.approx(0, abs=1e-7)


def test_rounding_below_zero_is_no_misfit():
    assert Agreement(1.0 + 1e-15, 1.0, 1.0).fitted_misfit == 0
    assert Agreement(1.0 + 1e-15, 1.0, 1.0).relative_misfit == 0
