"""Phase synchronization: the constant phases of overlapping patches, which single patterns do not determine.

A diffraction pattern is the same whatever constant phase its patch is multiplied by. Where patches overlap they must
agree, and that determines all constants but a common one (S. Marchesini, Y.-C. Tu, H.-T. Wu, Appl. Comput. Harmon.
Anal. 41, 815 (2016); A. Singer, Appl. Comput. Harmon. Anal. 30, 20 (2011)).
"""

import numpy as np
import numpy.typing as npt

from ptycho.data.dataset import ComplexArray, FloatArray

NEIGHBOURS = 16  # of each patch at most, spread evenly over the distances at which half of a window overlaps
PIXEL_STEP = 2  # every second pixel along each axis is compared: a constant is told by far fewer
CHUNK = 4096  # pairs of patches compared at a time
ROUNDS = 10  # of the least squares, at most
CONVERGED_RAD = 1e-4

Indices = npt.NDArray[np.int64]


def phase_offsets(
    patches: ComplexArray, xcoords: FloatArray, ycoords: FloatArray, probe: ComplexArray
) -> npt.NDArray[np.float64]:
    """Return the phase to add to each patch so that overlapping patches agree.

    Parameters
    ----------
    patches : (n, N, N) complex, the object in each window
    xcoords, ycoords : (n,) float64, pixels
    probe : (N, N) complex: pixels count by the light that both patches receive there

    Returns
    -------
    (n,) float64, radians, of mean 0 over patches that are connected by overlaps; 0 for one that overlaps with no other,
    or is not finite

    Notes
    -----
    Minimizes ``sum_ij w_ij (c_i - c_j - arg z_ij)**2``, the differences wrapped into -pi ... pi, where ``z_ij`` is the
    correlation ``sum(conj(p_i) p_j)`` of two patches where they overlap, and ``w_ij`` its modulus, times the coherence
    ``|z_ij| / sum(|p_i| |p_j|)``. It starts from a spanning tree of the best pairs, so that the constants of the
    patches as given change nothing but the common one.
    """
    n = len(patches)
    first, second = _pairs(np.asarray(xcoords), np.asarray(ycoords), probe.shape[0] // 2)
    correlation, weight = _correlations(patches, xcoords, ycoords, probe, first, second)
    kept = weight > 0
    if not kept.any():
        return np.zeros(n)
    return _solve(first[kept], second[kept], correlation[kept], weight[kept] / weight[kept].mean(), n)


def _pairs(xcoords: FloatArray, ycoords: FloatArray, reach_px: int) -> tuple[Indices, Indices]:
    """Return the indices of pairs of patches, each pair once; distances are the larger of |dx| and |dy|."""
    from scipy.spatial import cKDTree

    positions = np.stack([xcoords, ycoords], axis=1)
    found: list[Indices] = []
    for i, near in enumerate(cKDTree(positions).query_ball_point(positions, reach_px, p=np.inf)):
        others = np.array(near)[np.array(near) != i]
        distance = np.hypot(*(positions[others] - positions[i]).T)
        nearest_first = others[np.argsort(distance, kind="stable")]
        count = min(NEIGHBOURS, others.size)
        chosen = nearest_first[((np.arange(count) + 0.5) * others.size / max(count, 1)).astype(int)]
        found.append(np.stack([np.minimum(i, chosen), np.maximum(i, chosen)], axis=1))
    first, second = np.unique(np.concatenate(found), axis=0).T
    return first, second


def _correlations(
    patches: ComplexArray,
    xcoords: FloatArray,
    ycoords: FloatArray,
    probe: ComplexArray,
    first: Indices,
    second: Indices,
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.float64]]:
    """Return correlation and weight of each pair, (m,), over a square of side N/2 around the middle between both.

    Positions are rounded to pixels. The weight is 0 where a patch is dark or not finite.
    """
    window = probe.shape[0]
    light = np.abs(probe) ** 2 / np.max(np.abs(probe)) ** 2
    x, y = np.rint(xcoords).astype(int), np.rint(ycoords).astype(int)
    square = np.arange(0, window // 2, PIXEL_STEP)
    correlation, weight = np.zeros(first.size, complex), np.zeros(first.size)
    for start in range(0, first.size, CHUNK):
        part = slice(start, start + CHUNK)
        i, j = first[part], second[part]
        dx, dy = x[j] - x[i], y[j] - y[i]
        columns = (window // 4 + dx // 2)[:, None] + square
        rows = (window // 4 + dy // 2)[:, None] + square
        here = rows[:, :, None], columns[:, None, :]
        there = (rows - dy[:, None])[:, :, None], (columns - dx[:, None])[:, None, :]
        one, other = patches[i[:, None, None], *here], patches[j[:, None, None], *there]
        with np.errstate(invalid="ignore", over="ignore"):
            product = light[here] * light[there] * one.conj() * other
            z, bound = product.sum((1, 2)), np.abs(product).sum((1, 2))
        good = np.isfinite(bound) & (bound > 0)
        correlation[part][good] = z[good]
        weight[part][good] = np.abs(z[good]) ** 2 / bound[good]
    return correlation, weight


def _solve(
    first: Indices,
    second: Indices,
    correlation: npt.NDArray[np.complex128],
    weight: npt.NDArray[np.float64],
    n: int,
) -> npt.NDArray[np.float64]:
    """Return the least-squares offsets, (n,), radians, of mean 0 in each connected part."""
    from scipy.sparse import coo_array, diags_array, eye_array
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import cg

    pairs = np.arange(first.size)
    ones = np.ones(first.size)
    difference = coo_array(
        (np.concatenate([ones, -ones]), (np.concatenate([pairs, pairs]), np.concatenate([first, second]))),
        shape=(first.size, n),
    ).tocsr()
    weighted = (difference.T @ diags_array(weight)).tocsr()
    normal = weighted @ difference + 1e-9 * eye_array(n)  # the common constant is free: the smallest
    offsets = _tree_offsets(first, second, correlation, weight, n)
    for _ in range(ROUNDS):
        left = np.angle(correlation * np.exp(1j * (offsets[second] - offsets[first])))
        step, _ = cg(normal, weighted @ left, rtol=1e-6, maxiter=10 * n)
        offsets += step
        if np.abs(step).max() < CONVERGED_RAD:
            break
    graph = coo_array((ones, (first, second)), shape=(n, n))
    parts = connected_components(graph, directed=False)[1]
    mean = np.bincount(parts, offsets) / np.bincount(parts)
    return offsets - mean[parts]


def _tree_offsets(
    first: Indices,
    second: Indices,
    correlation: npt.NDArray[np.complex128],
    weight: npt.NDArray[np.float64],
    n: int,
) -> npt.NDArray[np.float64]:
    """Return offsets, (n,), with which the pairs along a spanning tree of the largest weights agree exactly."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

    cost = coo_array((1 + weight.max() - weight, (first, second)), shape=(n, n)).tocsr()
    tree = minimum_spanning_tree(cost)
    angle = coo_array((np.angle(correlation), (first, second)), shape=(n, n)).todok()
    offsets = np.zeros(n)
    count, parts = connected_components(tree, directed=False)
    roots = np.unique(parts, return_index=True)[1]
    for root in roots[:count]:
        order, before = breadth_first_order(tree, root, directed=False)
        for node in order[1:]:
            parent = before[node]
            forward = (parent, node) if parent < node else (node, parent)
            turn = angle[forward]  # arg of conj(p_low) p_high: the offset of low less that of high
            offsets[node] = offsets[parent] - turn if parent < node else offsets[parent] + turn
    return offsets
