import numpy as np
import pytest

from ptycho.evaluation.phase_plane import without_plane


@pytest.mark.parametrize("slopes", [(0, 0), (0.01, -0.02), (0.9, -0.6), (-2.5, 1.3)])
def test_a_plane_that_wraps_many_times_is_removed(slopes):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, (61, 80))
    y, x = np.arange(61.0)[:, None] - 30, np.arange(80.0) - 39.5
    design = np.stack([np.ones((61, 80)), y + 0 * x, x + 0 * y]).reshape(3, -1).T
    expected = noise.ravel() - design @ np.linalg.lstsq(design, noise.ravel())[0]
    residual, plane = without_plane(np.angle(np.exp(1j * (1 + slopes[0] * y + slopes[1] * x + noise))))
    np.testing.assert_allclose(residual.ravel(), expected, atol=1e-9)
    np.testing.assert_allclose(plane, [1, *slopes], atol=0.03)
