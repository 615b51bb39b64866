"""Trained models as ONNX files, for servers that have neither TensorFlow nor this package.

ONNX has no complex numbers: Fourier transforms become products with real matrices. The rest is converted by tf2onnx.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho.errors import InputError
from ptycho.models.layers import AMPLITUDE_FLOOR, MAGNITUDE_FLOOR, BackPropagation, MagnitudeProjection, probe_inverse
from ptycho.models.networks import complex_patches, mask_projections
from ptycho.physics.diffraction import diffraction_amplitude
from ptycho.physics.objects import specimen_object

OPSET = 17  # version of the operators: onnxruntime 1.12 or newer
TOLERANCE = 1e-4  # root mean square difference of complex patches, whose amplitude is 1 in the mean
CHECKED = 16  # patterns by which file and model are compared
MISSING = "exporting needs tf2onnx and onnxruntime: install the extra onnx: pip install --editable '.[onnx]'"
Complex = tuple[Any, Any]  # real and imaginary part, tensors or arrays


def _parts(constants: Any) -> Complex:
    """Return real and imaginary part of complex constants, float32 each."""
    array = np.asarray(constants)
    return array.real.astype(np.float32), array.imag.astype(np.float32)


def _product(a: Complex, b: Complex) -> Complex:
    """Return the product of complex numbers, element by element."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _transformed(matrix: npt.NDArray[np.complex128], image: Complex) -> Complex:
    """Return ``matrix @ image @ matrix.T`` of images (n, N, N)."""
    (a, b), (real, imaginary) = _parts(matrix), image
    real, imaginary = a @ real - b @ imaginary, a @ imaginary + b @ real
    return real @ a.T - imaginary @ b.T, real @ b.T + imaginary @ a.T


def _far_field(window_px: int) -> npt.NDArray[np.complex128]:
    """Return F, (N, N): ``F @ wave @ F.T`` is the unitary far field of a wave, direct beam in the centre."""
    fourier: npt.NDArray[np.complex128] = np.fft.fft(np.eye(window_px), axis=0, norm="ortho")
    return np.fft.fftshift(fourier, axes=0)


def _estimate(layer: BackPropagation, diffraction: Any) -> Any:
    """Return what the layer returns, (n, N, N, 2), of patterns (n, N, N)."""
    with tf.init_scope():  # constants, computed now
        factors, inverse = _parts(layer.phase_factors), _parts(probe_inverse(layer.probe))
    exit_wave = _transformed(_far_field(layer.window_px).conj().T, (diffraction * factors[0], diffraction * factors[1]))
    return tf.stack(_product(inverse, exit_wave), axis=-1)


def _projected(layer: MagnitudeProjection, diffraction: Any, amplitude: Any, phase: Any) -> tuple[Any, Any]:
    """Return what the layer returns, amplitude and phase (n, N, N), of patterns and patches (n, N, N)."""
    far_field = _far_field(layer.window_px)
    with tf.init_scope():  # constants, computed now
        probe, inverse = _parts(layer.probe), _parts(probe_inverse(layer.probe))
        valid = np.asarray(layer.valid_pixel_mask)
    real, imaginary = amplitude * tf.cos(phase), amplitude * tf.sin(phase)
    for _ in range(layer.iterations):
        wave = _transformed(far_field, _product(probe, (real, imaginary)))
        magnitude = tf.sqrt(wave[0] ** 2 + wave[1] ** 2 + MAGNITUDE_FLOOR)
        missing = (diffraction / magnitude - 1.0) * valid
        change = _product(inverse, _transformed(far_field.conj().T, (wave[0] * missing, wave[1] * missing)))
        real, imaginary = real + change[0], imaginary + change[1]
    return tf.sqrt(real**2 + imaginary**2 + AMPLITUDE_FLOOR**2), tf.atan2(imaginary, real + AMPLITUDE_FLOOR)


def real_arithmetic(network: keras.Model) -> Any:
    """Return a network without complex numbers.

    Parameters
    ----------
    network : of :func:`ptycho.models.networks.encoder_decoder`, for single patterns, with the policy ``float32``

    Returns
    -------
    tf.function : diffraction amplitudes (n, 1, N, N) float32 -> (n, 2, N, N) float32, amplitude and phase (radians)
    """
    layers = {layer.name: layer for layer in network.layers}
    decoded = [layers["amplitude"].output, layers["phase_unfold"].output]
    inner = keras.Model(layers["channels"].output, decoded)
    window = layers["estimate"].window_px

    @tf.function(input_signature=[tf.TensorSpec((None, 1, window, window), tf.float32, name="diffraction")])  # type: ignore[untyped-decorator]
    def patches(diffraction: Any) -> dict[str, Any]:
        pattern = diffraction[:, 0]
        channels = tf.concat([pattern[..., None], _estimate(layers["estimate"], pattern)], axis=-1)
        amplitude, phase = inner(channels, training=False)
        if "projection" in layers:
            amplitude, phase = _projected(layers["projection"], pattern, amplitude, phase)
        return {"object": tf.stack([amplitude, phase], axis=1)}

    return patches


def converted(
    network: keras.Model, facts: Mapping[str, Any], bad_pixels: npt.NDArray[np.bool_] | None = None
) -> tuple[bytes, float, float]:
    """Return a network as an ONNX file, compared with it.

    Parameters
    ----------
    network : as for :func:`real_arithmetic`
    facts : builtin types; saved as the file's metadata, each as JSON
    bad_pixels : (N, N) bool, True where the projections leave a detector pixel out; or None

    Returns
    -------
    content : of the file: input ``diffraction`` (n, 1, N, N), output ``object`` (n, 2, N, N), float32
    difference : root mean square difference of both on :func:`check_patterns`, over the illuminated pixels
    largest : of any pixel; where a pattern is dark, the projections amplify rounding errors

    Raises
    ------
    InputError : the packages of the extra are missing, or the difference is above 1e-4
    """
    try:
        import onnxruntime
        import tf2onnx
        from onnx import helper
    except ImportError as error:
        raise InputError(f"{MISSING} ({error})") from error
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    mask_projections(network, bad_pixels)
    function = real_arithmetic(network)
    proto, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
    helper.set_model_props(proto, {name: json.dumps(fact) for name, fact in facts.items()})
    content: bytes = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    patterns = check_patterns(np.asarray(network.get_layer("estimate").probe))
    amplitude, phase = session.run(["object"], {"diffraction": patterns[:, None]})[0].transpose(1, 0, 2, 3)
    expected = complex_patches(network(patterns, training=False)).numpy()
    difference = np.abs(amplitude * np.exp(1j * phase) - expected)
    intensity = np.abs(np.asarray(network.get_layer("estimate").probe)) ** 2
    typical = float(
        np.sqrt(np.mean(difference.reshape(len(difference), -1) ** 2 @ intensity.ravel() / intensity.sum()))
    )
    if not typical <= TOLERANCE:
        raise InputError(
            f"the ONNX model differs from its original by {typical:.1e} (root mean square over illuminated pixels), "
            f"expected {TOLERANCE:g} or less: nothing was written; try other versions of tf2onnx and onnxruntime"
        )
    return content, typical, float(difference.max())


def check_patterns(probe: npt.NDArray[np.complex64]) -> npt.NDArray[np.float32]:
    """Return amplitudes (16, N, N) of random phase objects under a probe (N, N), which is scaled as in a dataset."""
    rng = np.random.default_rng(0)
    objects = [specimen_object(len(probe), 1.5, 0.0, rng, "dead_leaves") for _ in range(CHECKED)]
    return diffraction_amplitude(probe, np.stack(objects)).astype(np.float32)
