"""The default input: a procedural object and probe, in the form of a reconstruction of a scan."""

import numpy as np

from ptycho.data.dataset import Reconstruction
from ptycho.data.metadata import Metadata
from ptycho.data.seeds import derive_seed
from ptycho.errors import InputError
from ptycho.physics.objects import OBJECTS, specimen_object
from ptycho.physics.probes import PROBES


def specimen(
    size_px: int,
    window_px: int,
    phase_rad: float,
    absorption: float,
    seed: int,
    object: str = "dead_leaves",
    probe: str = "zone_plate",
) -> Reconstruction:
    """Return a procedural object and probe in the form of a reconstruction of a scan of the whole object.

    The parameters are the keys of ``SpecimenConfig``, and the study's seed.

    Raises
    ------
    InputError : the object is smaller than a window, or there is no object or probe of that name
    """
    for key, name, known in (("object", object, OBJECTS), ("probe", probe, PROBES)):
        if name not in known:
            raise InputError(f"the specimen's {key} is {name!r}, expected one of {', '.join(known)}")
    if size_px < window_px:
        raise InputError(f"a specimen of {size_px} px is smaller than its windows of {window_px} px: raise its size")
    rng = np.random.default_rng(derive_seed(seed, "specimen"))
    half = window_px / 2
    xcoords, ycoords = rng.uniform(half, size_px - half, (2, max((size_px // 6) ** 2, 1)))
    parameters = {
        "size_px": size_px, "window_px": window_px, "phase_rad": phase_rad, "absorption": absorption, "seed": seed,
        "object": object, "probe": probe,
    }  # fmt: skip
    return Reconstruction(
        object=specimen_object(size_px, phase_rad, absorption, rng, object),
        probe=PROBES[probe](window_px, rng),
        xcoords=xcoords,
        ycoords=ycoords,
        metadata=Metadata(source="procedural specimen"),
    ).after("specimen", parameters)
