import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from ptycho.physics import patches

SIDE, SHAPE = 8, (30, 26)


def complex_normal(rng, shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def positions(rng, n):
    """Return positions (x, y) whose windows lie inside the object, fractions included."""
    half = SIDE / 2
    return rng.uniform(half, SHAPE[1] - half, n), rng.uniform(half, SHAPE[0] - half, n)


def inner(a, b):
    return np.vdot(a.astype(complex), b.astype(complex))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), whole=st.booleans())
def test_the_scatter_is_the_adjoint_of_the_extraction(seed, whole):
    # <w extract(O), p> = <O, scatter(w, p)>
    rng = np.random.default_rng(seed)
    x, y = positions(rng, 5)
    x, y = (np.rint(x), np.rint(y)) if whole else (x, y)
    image, some, weight = complex_normal(rng, SHAPE), complex_normal(rng, (5, SIDE, SIDE)), rng.random((SIDE, SIDE))
    real, imaginary, _ = patches.scatter_patches(some, x, y, weight, SHAPE)
    seen = patches.extract_patches(image, x, y, SIDE)
    assert inner(weight * seen, some) == pytest.approx(inner(image, real + 1j * imaginary), rel=1e-5, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_on_one_window_the_scatter_is_the_adjoint_too_and_both_are_those_of_many(seed):
    rng = np.random.default_rng(seed)
    x, y = positions(rng, 1)
    image, patch = complex_normal(rng, SHAPE), complex_normal(rng, (1, SIDE, SIDE))
    corners = patches.bilinear_corners(x - SIDE // 2, y - SIDE // 2)
    (row,), (column,), weights = corners.row, corners.column, corners.weights[0].astype(np.float32)
    seen = patches.extract_window(image[row : row + SIDE + 1, column : column + SIDE + 1], weights)
    scattered = np.zeros(SHAPE, np.complex64)
    patches.scatter_window(scattered[row : row + SIDE + 1, column : column + SIDE + 1], weights, patch[0])
    assert inner(seen, patch[0]) == pytest.approx(inner(image, scattered), rel=1e-5, abs=1e-3)
    np.testing.assert_allclose(seen, patches.extract_patches(image, x, y, SIDE)[0], atol=1e-5)
    real, imaginary, _ = patches.scatter_patches(patch, x, y, np.ones((SIDE, SIDE)), SHAPE)
    np.testing.assert_allclose(scattered, real + 1j * imaginary, atol=1e-5)


def test_the_extraction_is_scipys_bilinear_interpolation():
    rng = np.random.default_rng(0)
    x, y = positions(rng, 20)
    image, pixels = complex_normal(rng, SHAPE), np.arange(SIDE) - SIDE // 2
    rows, columns = np.broadcast_arrays(y[:, None, None] + pixels[:, None], x[:, None, None] + pixels)
    expected = map_coordinates(image, [rows, columns], order=1, mode="nearest")
    np.testing.assert_allclose(patches.extract_patches(image, x, y, SIDE), expected, atol=1e-5)


def test_a_window_may_extend_beyond_the_object_by_a_pixel_where_edges_are_repeated():
    image = np.arange(16).reshape(4, 4).astype(complex)
    (patch,) = patches.extract_patches(image, np.array([3.0]), np.array([1.0]), 4)  # columns 1 to 4, rows -1 to 2
    np.testing.assert_array_equal(patch.real, [[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]])


def test_corners_and_weights_by_hand():
    corners = patches.bilinear_corners(np.array([3.25]), np.array([-0.5]))
    found = [(int(row[0]), int(column[0]), float(weight[0])) for row, column, weight in corners.each()]
    assert found == [(-1, 3, 0.375), (-1, 4, 0.125), (0, 3, 0.375), (0, 4, 0.125)]


def test_the_scattered_weight_is_that_of_ones_and_what_falls_outside_is_dropped():
    ones, weight = np.ones((2, 4, 4), complex), np.full((4, 4), 0.5)
    real, imaginary, summed = patches.scatter_patches(ones, np.array([1.5, -40]), np.array([1.0, 2.0]), weight, (6, 6))
    np.testing.assert_array_equal(real, summed)
    assert not imaginary.any()
    expected = np.zeros((6, 6))
    expected[:3, :3] = 0.5  # rows -1 to 2; columns -0.5 to 2.5
    expected[:3, 3] = 0.25
    np.testing.assert_array_equal(summed, expected)


def test_lazy_patches_are_those_extracted_at_once():
    rng = np.random.default_rng(1)
    x, y = positions(rng, 6)
    image = complex_normal(rng, SHAPE)
    lazy = patches.lazy_patches(image, x, y, SIDE)
    assert (lazy.shape, lazy.dtype) == ((6, SIDE, SIDE), np.complex64)
    np.testing.assert_array_equal(lazy[np.array([4, 1])], patches.extract_patches(image, x, y, SIDE)[[4, 1]])
