"""The sections of a study's configuration: the only definition of their keys."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Activation = Literal["softplus", "sigmoid", "exponential"]
ConvolutionActivation = Literal["silu", "leaky_relu", "relu"]
Precision = Literal["auto", "float32", "mixed_bfloat16"]
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, defer_build=True)


def key(default: Any, description: str, **bounds: Any) -> Any:
    """Return the field of a key with its default, description and bounds."""
    return Field(default, description=description, **bounds)


@dataclass(frozen=True, config=STRICT)
class SimulationConfig:
    """How the diffraction patterns are simulated: number, dose, scan positions and detector."""

    n_images: int = key(20_000, "number of diffraction patterns to simulate, for training and test together", ge=2)
    n_photons: float = key(
        1e9, "expected photons per pattern, averaged over the scan, before the detector is cropped", gt=0, le=1e15
    )
    region: Literal["object", "scan"] = key(
        "object",
        "where scan positions are drawn: object: whole object less half a window; scan: bounding box of the input scan",
    )
    buffer_px: float = key(0.0, "margin inside the region without scan positions, in pixels of the zoomed object", ge=0)
    background_counts: float = key(0.0, "mean background per detector pixel, counts", ge=0, le=1e15)
    readout_noise_counts: float = key(
        0.0, "standard deviation of the read-out noise per detector pixel, counts", ge=0, le=1e15
    )
    saturation_counts: float | None = key(None, "saturation level of a detector pixel, counts; null: no limit", gt=0)
    bad_pixels: str | None = key(
        None, "mask of bad pixels of the simulated detector: npy file, or npz file with bad_pixels"
    )


@dataclass(frozen=True, config=STRICT)
class PreparationConfig:
    """How object and probe are resampled before and after the simulation, and how the data are split."""

    zoom_factor: float = key(2.0, "factor by which object and probe are interpolated before the simulation", ge=1)
    smooth_object_sigma: float = key(
        0.5, "standard deviation of the Gaussian blur of the zoomed object, in its pixels; 0: none", ge=0
    )
    crop_factor: int = key(2, "crop the detector to the central 1/crop_factor of its side", ge=1)
    bin_factor: int = key(2, "bin object and probe by this factor; must equal crop_factor", ge=1)
    downsample_method: Literal["bin", "fourier"] = key(
        "bin", "how the probe is downsampled: bin: averaging of pixels; fourier: cropping of its spectrum"
    )
    split_fraction: float = key(0.5, "fraction of the images in the training half", gt=0, lt=1)
    split_axis: Literal["x", "y"] = key(
        "y", "axis of the split: low coordinates are for training, high ones for testing"
    )
    split_gap_px: float = key(0.0, "exclude test patterns closer than this to the training half, pixels", ge=0)
    keep_stages: bool = key(False, "keep the large intermediate files (simulated.npz, downsampled.npz)")


@dataclass(frozen=True, config=STRICT)
class SpecimenConfig:
    """The procedural object and probe that replace an input reconstruction."""

    size_px: int = key(896, "side length of the procedural object, pixels; at least 2 N", ge=64)
    window_px: int = key(
        64, "side length N of probe and diffraction patterns, pixels; a multiple of 8", ge=32, multiple_of=8
    )
    phase_rad: float = key(
        1.5, "range of the phase of the object, radians; below pi there are no phase wraps", gt=0, le=3
    )
    absorption: float = key(0.3, "largest reduction of the amplitude of the object, 0 to 1", ge=0, lt=1)
    object: Literal["dead_leaves", "lines", "gaussian_field", "siemens_star", "cells"] = key(
        "dead_leaves", "kind of procedural object; pictures in docs/specimens.md"
    )
    probe: Literal["zone_plate", "gaussian", "disk"] = key(
        "zone_plate", "kind of procedural probe; pictures in docs/specimens.md"
    )


@dataclass(frozen=True, config=STRICT)
class MeasuredConfig:
    """The conventions of measured data, where the file does not state them."""

    quantity: Literal["auto", "amplitude", "intensity", "counts"] = key(
        "auto", "quantity of the measured patterns; auto: as stated in the file, otherwise inferred and logged"
    )
    dc: Literal["auto", "centre", "corner"] = key("auto", "place of the direct beam in the measured patterns")
    positions: Literal["auto", "pixels", "metres"] = key("auto", "unit of xcoords and ycoords in the measured files")
    pixel_size_m: float | None = key(
        None, "pixel size of the object, metres; required if positions are in metres", gt=0
    )
    bad_pixels: str | None = key(None, "mask of bad pixels: npy file, or npz file with bad_pixels; True: bad")


@dataclass(frozen=True, config=STRICT)
class PinnConfig:
    """Network and loss of PtychoPINN."""

    n_filters_scale: float = key(0.5, "factor on the number of filters of every convolution (1: 32, 64, 128)", gt=0)
    gridsize: int = key(1, "patterns per input group: gridsize squared; 1: single patterns", ge=1, le=5)
    convolution_activation: ConvolutionActivation = key("silu", "activation of all convolutions but the last")
    amplitude_activation: Activation = key(
        "softplus", "activation of the amplitude before the projections; its initial value is 1 for each"
    )
    projections: int = key(
        4,
        "iterations of phase retrieval in which the network's patch is corrected by its measured pattern",
        ge=0,
        le=100,
    )
    overlap_weight: float = key(1.0, "weight of the Poisson likelihood of overlapping patches merged on a canvas", ge=0)
    pattern_weight: float = key(0.5, "weight of the Poisson likelihood of each patch on its own", ge=0)
    amplitude_weight: float = key(0.0, "weight of the mean absolute error of the diffraction amplitudes", ge=0)
    real_space_weight: float = key(
        0.3, "weight of the patch error of augmented patterns, whose patches are known", ge=0
    )
    trainable_intensity_scale: bool = key(True, "train the scale between probe and measured intensity")
    trainable_probe: bool = key(
        False, "refine the probe of the forward model, without projections; that of the network's input is fixed"
    )


@dataclass(frozen=True, config=STRICT)
class BaselineConfig:
    """Network of the supervised baseline."""

    n_filters_scale: float = key(0.5, "as for pinn: both models use the same network", gt=0)
    gridsize: int = key(1, "as for pinn", ge=1, le=5)
    convolution_activation: ConvolutionActivation = key("silu", "as for pinn")
    amplitude_activation: Activation = key("softplus", "as for pinn")
    projections: int = key(4, "as for pinn", ge=0, le=100)
    pattern_weight: float = key(
        0.0, "weight of the Poisson likelihood of each patch, added to the supervised loss; 0: none, as published", ge=0
    )


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """How both models are trained."""

    epochs: int = key(50, "passes over the training images", ge=1)
    batch_size: int = key(16, "patterns per optimization step", ge=1)
    learning_rate: float = key(2e-3, "peak learning rate of Adam", gt=0)
    adam_beta_2: float = key(0.999, "decay rate of Adam's mean of squared gradients", gt=0, lt=1)
    projection_ramp: float = key(
        0.2, "fraction of the epochs in which the projections rise from half to full strength; 0: none", ge=0, lt=1
    )
    validation_fraction: float = key(
        0.05, "fraction of the images of a trial held out to select the best epoch", ge=0, lt=0.5
    )
    patience_epochs: int | None = key(
        None, "stop after this many epochs without a lower validation loss; null: train for all epochs", ge=1
    )
    augmentation_ratio: float = key(
        0.0,
        "augmented patterns per measured pattern, simulated from rotated and mirrored windows of the training object "
        "as estimated by each model; 0: no augmentation",
        ge=0,
        le=16,
    )
    synthetic_augmentation_ratio: float = key(
        0.0, "augmented patterns of random procedural objects per measured pattern; 0: none", ge=0, le=16
    )
    phase_retrieval_iterations: int = key(
        5, "rPIE iterations that estimate the training object for the data augmentation of PtychoPINN", ge=1
    )
    precision: Precision = key("auto", "precision of the convolutions; auto: bfloat16 where the hardware supports it")


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    """How reconstructions are stitched, registered and scored."""

    stitch_crop_px: int | None = key(
        None,
        "side length of the central part of a patch used for stitching, pixels; null: N/2, the brightest part",
        ge=2,
    )
    synchronize_phases: bool = key(
        False, "choose the constant phase of each patch such that overlapping patches agree, before they are stitched"
    )
    registration_max_px: float = key(3.0, "largest shift that the registration may apply, pixels", ge=0)
    n_test_images: int | None = key(None, "number of test patterns to evaluate, drawn at random; null: all", ge=1)
    custom_metrics: str | None = key(
        None, "python file whose functions (target, prediction) -> float are further metrics"
    )

    def crop_px(self, window_px: int) -> int:
        """Return the side length of the stitched central part of a patch, pixels, for windows of ``window_px``."""
        return window_px // 2 if self.stitch_crop_px is None else self.stitch_crop_px


@dataclass(frozen=True, config=STRICT)
class IterativeConfig:
    """Phase retrieval (rPIE) of the test patterns: the arms iterative and refined."""

    iterations: int = key(20, "rPIE iterations of the arm iterative, from an empty object", ge=1)
    refined_iterations: int = key(6, "rPIE iterations of the arm refined, from the reconstruction of PtychoPINN", ge=1)
    alpha: float = key(
        0.3, "rPIE regularization: 1 is ePIE, smaller takes larger steps where the probe is weak", gt=0, le=1
    )


@dataclass(frozen=True, config=STRICT)
class PlotsConfig:
    """Appearance and formats of the figures."""

    style: Literal["whitegrid", "ticks", "darkgrid", "white"] = key("whitegrid", "seaborn style")
    palette: str = key("colorblind", "seaborn palette")
    formats: tuple[Literal["png", "pdf", "svg"], ...] = key(
        ("png", "pdf"), "file formats of each figure; png is always written", min_length=1
    )
    dpi: int = key(300, "resolution of png files, dots per inch", ge=50, le=1200)
    width_in: float = key(5.2, "width of the plots of a metric against training images, inches", gt=1, le=30)
    height_in: float = key(3.8, "height of these plots, inches", gt=1, le=30)
    band: Literal["iqr", "range", "none"] = key("iqr", "band of the trials: interquartile range, full range or none")
    scaling_law: bool = key(False, "draw the fitted scaling law of each model with the band of its interval")
