import dataclasses
import json

import numpy as np
import pytest

from ptycho import __version__
from ptycho.data.metadata import Metadata, Step, parse_metadata, parse_metadata_text
from ptycho.errors import InputError
from ptycho.io.text import metadata_json

EVERYTHING = {  # every key of the study, in the order in which it is written
    "format": "ptycho dataset 1",
    "source": "beamline ä",
    "steps": [
        {"step": "pad", "parameters": {}},
        {"step": "simulate", "parameters": {"seed": 3, "limit": None, "sizes": [1, 2]}, "version": "0.1.0"},
        {"step": "corrected", "parameters": {"by": 2}, "version": "7", "operator": "A. B."},
    ],
    "removed_factor": [0.8306724147430335, -3.1],
    "energy_eV": 8000,
    "distance_m": 2.5,
    "detector_pixel_m": 7.5e-05,
    "exposure_time_s": 0.1,
    "pixel_size_m": 1e-08,
    "counts_known": False,
    "n_photons": 1000000.0,
    "counts_scale": 31.24144020598876,
    "seed": 3,
    "lit_factor": [1, 0],
    "model_mismatch": 0.03,
    "split": {"fraction": 0.5, "axis": "y"},
    "part": "train",
    "quantity": "counts",
    "dc": "corner",
    "positions": "metres",
    "scan_index": [4, 2, 3],
}
FOREIGN = {"sample": {"name": "x", "layers": [1, None]}, "comments": "", "operator": None, "other": 3}


def test_every_value_comes_back_as_it_was_written():
    text = json.dumps({**EVERYTHING, **FOREIGN})
    assert metadata_json(parse_metadata_text(text)) == text


def test_every_field_is_covered_by_the_round_trip():
    assert {item.name for item in dataclasses.fields(Metadata)} == {*EVERYTHING, "other"}


def test_values_have_their_types():
    found = Metadata.from_mapping({**EVERYTHING, **FOREIGN})
    assert found.steps[0] == Step("pad")
    assert found.steps[2] == Step("corrected", {"by": 2}, "7", {"operator": "A. B."})
    assert found.removed_factor == (0.8306724147430335, -3.1)
    assert found.scan_index == (4, 2, 3)
    assert found.counts_known is False
    assert found.other == FOREIGN


def test_keys_of_other_programs_follow_those_of_the_study():
    text = metadata_json(parse_metadata_text('{"operator": null, "seed": 3, "a": [1], "source": "here"}'))
    assert text == '{"source": "here", "seed": 3, "operator": null, "a": [1]}'


def test_a_file_without_metadata_has_empty_ones():
    assert parse_metadata({}) == Metadata()
    assert metadata_json(Metadata()) == "{}"
    assert parse_metadata({"metadata": np.asarray('{"seed": 3}')}) == Metadata(seed=3)


def test_null_and_auto_are_not_stated():
    nothing = dict.fromkeys(EVERYTHING) | {"quantity": "auto", "dc": "auto", "positions": "auto"}
    assert Metadata.from_mapping(nothing) == Metadata()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        *((key, value, "a number above 0") for key in ("counts_scale", "pixel_size_m", "n_photons", "energy_eV",
          "distance_m", "detector_pixel_m", "exposure_time_s")
          for value in (0, -1.5, True, "1", [1], {}, float("nan"), float("inf"), 1e30)),
        *(("model_mismatch", value, "a number of 0 or more") for value in (-0.1, False, "0", float("nan"))),
        *((key, value, "[amplitude, phase in radians]") for key in ("lit_factor", "removed_factor")
          for value in (3, "x", {}, [], [1], [1, 0, 0], [1, None], [True, 0], [1, "0"])),
        *((key, value, "an amplitude above 0 and a finite phase") for key in ("lit_factor", "removed_factor")
          for value in ([0, 0], [-1, 0], [float("nan"), 0], [1, float("inf")])),
        *((key, value, "text") for key in ("format", "source", "part") for value in (3, ["a"], {}, False)),
        *(("counts_known", value, "true or false") for value in (1, "true", [])),
        *(("seed", value, "a whole number") for value in (1.0, True, "1", [])),
        *(("split", value, "an object of parameters") for value in ("y", 3, [])),
        *(("scan_index", value, "a list of whole numbers") for value in (3, [1.0], ["a"], [True], {})),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_one_line(key, value, expected):
    with pytest.raises(InputError) as error:
        parse_metadata_text(json.dumps({**EVERYTHING, key: value}))
    assert str(error.value) == f"{key} in the metadata is {value!r}, expected {expected}"


def test_a_long_value_is_shortened():
    with pytest.raises(InputError) as error:
        parse_metadata_text(json.dumps({"source": ["\n" * 100] * 1000}))
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["quantity", "dc", "positions"])
@pytest.mark.parametrize("value", ["Amplitude", ["counts"], {}, 3, "a\nb"])
def test_an_unknown_convention_is_one_line(key, value):
    with pytest.raises(InputError) as error:
        parse_metadata_text(json.dumps({key: value}))
    assert str(error.value).startswith(f"metadata: {key} is {value!r}: input should be 'auto', ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "steps",
    [5, "pad", {}, [3], ["pad"], [{}], [{"step": 4}], [{"step": "a", "parameters": 3}], [{"step": "a", "version": 1}]],
)
def test_a_history_of_another_kind_is_one_line(steps):
    with pytest.raises(InputError) as error:
        parse_metadata_text(json.dumps({"steps": steps}))
    assert str(error.value) == (
        "steps in the metadata is not a list of steps, each with step, parameters and version"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "metadata is not a JSON string ("),
        ("{", "metadata is not a JSON string ("),
        ("[" * 100_000, "metadata is not a JSON string ("),
        ('{"seed": ' + "1" * 5000 + "}", "metadata is not a JSON string ("),
        ("[1]", "metadata is a JSON list, expected an object"),
        ("null", "metadata is a JSON NoneType, expected an object"),
    ],
)
def test_text_that_is_no_json_object_is_one_line(text, message):
    with pytest.raises(InputError) as error:
        parse_metadata_text(text)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_steps_are_appended_to_a_copy():
    before = Metadata(source="beamline", steps=(Step("pad"),))
    after = before.with_step("smooth", {"sigma_px": 2})
    assert before == Metadata(source="beamline", steps=(Step("pad"),))
    assert after == Metadata(source="beamline", steps=(Step("pad"), Step("smooth", {"sigma_px": 2}, __version__)))
    assert metadata_json(after) == (
        '{"source": "beamline", "steps": [{"step": "pad", "parameters": {}}, '
        f'{{"step": "smooth", "parameters": {{"sigma_px": 2}}, "version": "{__version__}"}}]}}'
    )


def test_the_last_of_equal_steps_is_found():
    twice = Metadata(steps=(Step("read", {"n": 1}), Step("read", {"n": 2}), Step("split")))
    assert twice.last_step("read") == Step("read", {"n": 2})
    assert twice.last_step("smooth") is None


def test_nothing_of_the_metadata_can_be_changed():
    given = {"a": 1}
    found = Metadata(steps=(Step("pad", given, None, given),), split=given, other=given)
    given["a"] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.seed = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.steps[0].step = "smooth"
    for mapping in (found.other, found.split, found.steps[0].parameters, found.steps[0].other):
        assert mapping == {"a": 1}
        with pytest.raises(TypeError):
            mapping["a"] = 3
    written = found.as_mapping()
    written["split"] = written["a"] = 3
    written["steps"][0]["parameters"]["a"] = 3
    assert found.as_mapping()["a"] == found.split["a"] == found.steps[0].parameters["a"] == 1
