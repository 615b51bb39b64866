import numpy as np

from ptycho.plotting import scales


def test_the_scale_is_cyclic_only_where_the_phase_fills_the_circle():
    assert scales.phase_scale(np.exp(1j * np.linspace(0, 1, 100))[None]).cmap != "twilight"
    wrapped = np.exp(1j * np.linspace(-3.1, 3.1, 100))[None]
    assert scales.phase_scale(wrapped).cmap == "twilight"
    assert np.abs(scales.shown_phase(wrapped * np.exp(0.2j), wrapped)).max() <= np.pi


def test_phase_error_does_not_see_wraps():
    truth = np.exp(1j * np.full((2, 2), 3.1))
    assert np.allclose(scales.phase_error(truth * np.exp(0.2j), truth), 0.2)
