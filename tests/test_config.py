import argparse
import copy
import dataclasses
import runpy
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho.config.flags import add_flags, as_flags, from_flags
from ptycho.config.keys import PATHS, RENAMED, nested, renamed
from ptycho.config.schema import (
    BaselineConfig,
    EvaluationConfig,
    PinnConfig,
    PlotsConfig,
    PreparationConfig,
    SimulationConfig,
    SpecimenConfig,
    StudyConfig,
    TrainingConfig,
    json_schema,
)
from ptycho.data.sampling import n_train
from ptycho.errors import InputError

CONFIG = Path(__file__).parents[1] / "config"
STUDIES = sorted((CONFIG / "studies").glob("*.yaml"))
SECTIONS = {
    "simulation": SimulationConfig,
    "preparation": PreparationConfig,
    "specimen": SpecimenConfig,
    "pinn": PinnConfig,
    "baseline": BaselineConfig,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
    "plots": PlotsConfig,
}


def refusal(mapping):
    with pytest.raises(InputError) as error:
        StudyConfig.from_mapping(mapping)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("configuration: ")
    return str(error.value)


def flat(mapping, prefix=""):
    found = {}
    for key, value in mapping.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


# files ---------------------------------------------------------------------------------------------------


def test_the_standard_study_states_every_default():
    written = flat(yaml.safe_load((CONFIG / "config.yaml").read_text()))
    defaults = flat(dataclasses.asdict(StudyConfig()))
    assert written.keys() == defaults.keys()
    assert {key: tuple(v) if isinstance(v, list) else v for key, v in written.items()} == defaults
    assert StudyConfig.from_mapping(yaml.safe_load((CONFIG / "config.yaml").read_text())) == StudyConfig()


def test_the_standard_study_gives_every_key_a_comment():
    lines = (CONFIG / "config.yaml").read_text().splitlines()
    bare = [line for line in lines if line.strip() and "#" not in line and not line.endswith(":")]
    assert bare == []


def test_there_are_studies():
    assert {path.stem for path in STUDIES} >= {"demo", "small", "extended"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_is_valid_and_holds_only_what_differs(path):
    mapping = yaml.safe_load(path.read_text())
    assert StudyConfig.from_mapping(mapping) != StudyConfig()
    written, defaults = flat(mapping), flat(dataclasses.asdict(StudyConfig()))
    same = [key for key, v in written.items() if (tuple(v) if isinstance(v, list) else v) == defaults.get(key)]
    assert same == []
    assert written["output_dir"] == f"results/{path.stem}"


def test_studies_ask_for_no_more_images_than_they_make():
    for path in STUDIES:
        study = StudyConfig.from_mapping(yaml.safe_load(path.read_text()))
        assert max(study.train_sizes) <= n_train(study.simulation.n_images, study.preparation.split_fraction)


# keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "key", "meant"),
    [
        ({"trian_sizes": [64]}, "trian_sizes", "train_sizes"),
        ({"Training": {"epochs": 3}}, "Training", "training"),
        ({"trainings": {"epochs": 3}}, "trainings", "training"),
        ({"training": {"epoch": 3}}, "training.epoch", "training.epochs"),
        ({"training": {"learnig_rate": 3}}, "training.learnig_rate", "training.learning_rate"),
        ({"training.epoch": 3}, "training.epoch", "training.epochs"),
        ({"simulation.n_image": 3}, "simulation.n_image", "simulation.n_images"),
        ({"epochs": 3}, "epochs", "training.epochs"),
        ({"epoch": 3}, "epoch", "training.epochs"),
        ({"n_images": 3}, "n_images", "simulation.n_images"),
        ({"simulation": {"epochs": 3}}, "simulation.epochs", "training.epochs"),
        ({"training.n_photons": 3}, "training.n_photons", "simulation.n_photons"),
        ({"turned_images": 1}, "turned_images", "training.augmentation_ratio"),
    ],
)
def test_an_unknown_key_names_the_near_one(mapping, key, meant):
    assert refusal(mapping) == f"configuration: unknown key {key}: did you mean {meant}?"


@pytest.mark.parametrize("mapping", [{"qqqqqq": 1}, {"qqqqqq": {"zz": 1}}, {1: 2}])
def test_an_unknown_key_without_a_near_one_lists_the_known(mapping):
    message = refusal(mapping)
    assert message.startswith(f"configuration: unknown key {next(iter(mapping))}: known keys: input, output_dir, ")
    assert message.endswith("evaluation, iterative, plots")


@pytest.mark.parametrize(
    ("section", "key", "meant"),
    [("pinn", "n_filter_scale", "n_filters_scale"), ("training", "epoch", "epochs"), ("baseline", "qqq", None)],
)
def test_an_unknown_key_of_a_variant_names_the_near_one_of_its_section(section, key, meant):
    for changed in ({section: {key: 1}}, {f"{section}.{key}": 1}):
        message = refusal({"variants": {"wide": changed}})
        place = f"variants.wide.{section}"
        assert message.startswith(f"configuration: unknown key {place}.{key}: ")
        end = f"did you mean {place}.{meant}?" if meant else "known keys: n_filters_scale, "
        assert message.partition(f"{key}: ")[2].startswith(end)


def test_a_value_of_a_variant_out_of_bounds_is_named():
    message = refusal({"variants": {"wide": {"training.epochs": 0}}})
    assert message.startswith("configuration: variants.wide.training.epochs is 0: input should be greater")


def test_keys_of_variants_may_be_dotted():
    expected = StudyConfig.from_mapping({"variants": {"wide": {"pinn": {"n_filters_scale": 2.0, "gridsize": 2}}}})
    for mapping in (
        {"variants": {"wide": {"pinn.n_filters_scale": 2.0, "pinn.gridsize": 2}}},
        {"variants": {"wide": {"pinn.n_filters_scale": 2.0, "pinn": {"gridsize": 2}}}},
        {"variants": {"wide.pinn": {"n_filters_scale": 2.0, "gridsize": 2}}},
        {"variants.wide.pinn.n_filters_scale": 2.0, "variants.wide.pinn.gridsize": 2},
    ):
        assert StudyConfig.from_mapping(mapping) == expected


def test_dotted_keys_and_sections_are_one():
    study = StudyConfig.from_mapping({"training": {"epochs": 3, "batch_size": 4}, "training.epochs": 7, "seed": 1})
    assert (study.training.epochs, study.training.batch_size, study.seed) == (7, 4, 1)
    assert nested({"a.x": 1, "a": {"y": 2}, "b": 3, "a.z": 4}) == {"a": {"x": 1, "y": 2, "z": 4}, "b": 3}
    assert nested({"a": None, "a.x": 1}) == {"a": {"x": 1}}


def test_the_mapping_is_not_changed():
    mapping = {
        "training": {"turned_images": 3},
        "training.batch_size": 7,
        "variants": {"a": {"training": {"epochs": 1}}},
    }
    before = copy.deepcopy(mapping)
    StudyConfig.from_mapping(mapping)
    assert mapping == before


# former names --------------------------------------------------------------------------------------------

FORMER = {"turned_images": 0.5, "synthetic_images": 1.25, "retrieval_sweeps": 7}
PRESENT = {"augmentation_ratio": 0.5, "synthetic_augmentation_ratio": 1.25, "phase_retrieval_iterations": 7}


@pytest.mark.parametrize("former", FORMER)
def test_a_former_key_is_read_with_a_warning_that_names_the_present_one(former, caplog):
    expected = dataclasses.replace(TrainingConfig(), **{RENAMED[former]: FORMER[former]})
    for mapping in ({"training": {former: FORMER[former]}}, {f"training.{former}": FORMER[former]}):
        caplog.clear()
        assert StudyConfig.from_mapping(mapping).training == expected
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        message = f"configuration: training.{former} is now called training.{RENAMED[former]}: rename it"
        assert caplog.messages == [message]


@pytest.mark.parametrize("former", FORMER)
def test_a_former_key_in_a_variant_is_read_with_a_warning(former, caplog):
    study = StudyConfig.from_mapping({"variants": {"more": {"training": {former: FORMER[former]}}}})
    assert getattr(study.variant("more").training, RENAMED[former]) == FORMER[former]
    assert study.training == TrainingConfig()
    place = "variants.more.training"
    assert caplog.messages == [f"configuration: {place}.{former} is now called {place}.{RENAMED[former]}: rename it"]


def test_present_keys_are_read_without_a_warning(caplog):
    study = StudyConfig.from_mapping({"training": PRESENT, "variants": {"more": {"training": {"epochs": 2}}}})
    assert dataclasses.asdict(study.training).items() >= PRESENT.items()
    assert caplog.messages == []


@pytest.mark.parametrize("former", FORMER)
def test_a_former_key_wins_over_the_default_that_the_standard_study_states(former):
    standard = yaml.safe_load((CONFIG / "config.yaml").read_text())
    standard["training"][former] = FORMER[former]  # as Snakemake merges a user's file into config.yaml
    assert getattr(StudyConfig.from_mapping(standard).training, RENAMED[former]) == FORMER[former]


@pytest.mark.parametrize("former", FORMER)
def test_both_names_of_a_key_are_refused(former):
    both = {former: FORMER[former], RENAMED[former]: 9}
    end = f"{former} is the former name of"
    assert refusal({"training": both}).startswith(f"configuration: training.{end} training.{RENAMED[former]}")
    place = "variants.more.training"
    default = getattr(TrainingConfig(), RENAMED[former])
    for value in (9, default):
        message = refusal({"variants": {"more": {"training": {**both, RENAMED[former]: value}}}})
        assert message == f"configuration: {place}.{end} {place}.{RENAMED[former]}: remove it"


def test_a_former_key_is_held_to_the_bounds():
    assert refusal({"training": {"turned_images": -1}}).startswith("configuration: training.augmentation_ratio is -1")


@pytest.mark.parametrize("variants", [None, 3, [], {"a": None}, {"a": [1]}, {"a": {"training": None}}])
def test_what_is_no_variant_is_refused_as_before(variants):
    refusal({"variants": variants})


def test_former_flags_set_the_present_keys():
    words = [word for key, value in FORMER.items() for word in (f"--{key}", str(value))]
    assert parse(TrainingConfig, words) == TrainingConfig(**PRESENT)
    assert not set(words) & set(as_flags(TrainingConfig(**PRESENT))) & {f"--{key}" for key in FORMER}


def test_the_help_says_that_a_former_flag_is_one():
    parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=1000))
    add_flags(parser, TrainingConfig)
    for former in FORMER:
        assert f"; --{former} is the former name of this flag" in parser.format_help()


def test_settings_of_a_finished_training_get_the_present_names():
    assert renamed({"epochs": 3, **FORMER}) == {"epochs": 3, **PRESENT}
    assert renamed(PRESENT) == PRESENT


# values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"num_trials": 0}, "num_trials is 0: input should be greater than or equal to 1"),
        ({"num_trials": "many"}, "num_trials is 'many': input should be a valid integer"),
        ({"num_trials": 2.5}, "num_trials is 2.5: input should be a valid integer"),
        ({"seed": -1}, "seed is -1"),
        ({"train_sizes": []}, "train_sizes is []: tuple should have at least 1 item"),
        ({"train_sizes": 64}, 'train_sizes is 64: expected a list: write --config train_sizes="[64]", or in a file'),
        (
            {"train_sizes": "16 20"},
            """train_sizes is '16 20': expected a list: write --config train_sizes="[16,20]",""",
        ),
        (
            {"train_sizes": "16,20"},
            """train_sizes is '16,20': expected a list: write --config train_sizes="[16,20]",""",
        ),
        (
            {"train_sizes": ["16 20"]},
            """train_sizes is ['16 20']: expected a list: write --config train_sizes="[16,20]",""",
        ),
        (
            {"train_sizes": {"a": 1}},
            """train_sizes is {'a': 1}: expected a list: write --config train_sizes="[...]",""",
        ),
        ({"train_sizes": [64, 0]}, "train_sizes.1 is 0: input should be greater than or equal to 1"),
        ({"train_sizes": [64, 128, 64]}, "train_sizes is [64, 128, 64]: it contains a value more than once"),
        ({"arms": ["pinn", "pinn"]}, "arms is ['pinn', 'pinn']: it contains a value more than once"),
        ({"arms": ["pin"]}, "arms.0 is 'pin': input should be 'pinn', 'baseline', 'iterative' or 'refined'"),
        (
            {"arms": "pinn"},
            """arms is 'pinn': expected a list: write --config arms="[pinn]", or in a file arms: [pinn]""",
        ),
        (
            {"arms": ["pinn iterative"]},
            """arms is ['pinn iterative']: expected a list: write --config arms="[pinn,iterative]",""",
        ),
        (
            {"plots": {"formats": "png"}},
            "plots.formats is 'png': expected a list: write --config plots='{formats: [png]}',",
        ),
        ({"output_dir": ""}, "output_dir is '': string should have at least 1 character"),
        ({"output_dir": None}, "output_dir is None"),
        ({"input": 3}, "input is 3: input should be a valid string"),
        ({"training": None}, "training is nothing: expected keys and values below it"),
        ({"training": [1]}, "training is [1]"),
        ({"training": 3, "training.epochs": 3}, "training is 3"),
        ({"training": {1: 2}}, "training.1 is 1: keys should be strings"),
        ({"training": {"epochs": 0}}, "training.epochs is 0: input should be greater than or equal to 1"),
        ({"training.epochs": 0}, "training.epochs is 0: input should be greater than or equal to 1"),
        ({"training": {"learning_rate": 0}}, "training.learning_rate is 0: input should be greater than 0"),
        ({"training": {"learning_rate": float("inf")}}, "training.learning_rate is inf: input should be a finite"),
        ({"training": {"validation_fraction": 0.5}}, "training.validation_fraction is 0.5: input should be less than"),
        ({"training": {"precision": "float16"}}, "training.precision is 'float16': input should be 'auto'"),
        ({"simulation": {"n_images": 1}}, "simulation.n_images is 1: input should be greater than or equal to 2"),
        ({"simulation": {"n_photons": 0}}, "simulation.n_photons is 0: input should be greater than 0"),
        ({"simulation": {"n_photons": float("nan")}}, "simulation.n_photons is nan: input should be a finite"),
        ({"simulation": {"n_photons": 1e30}}, "simulation.n_photons is 1e+30: input should be less than or equal"),
        ({"simulation": {"n_photons": "a lot"}}, "simulation.n_photons is 'a lot': input should be a valid number"),
        ({"simulation": {"region": "all"}}, "simulation.region is 'all': input should be 'object' or 'scan'"),
        ({"simulation": {"buffer_px": -1}}, "simulation.buffer_px is -1"),
        ({"preparation": {"zoom_factor": 0.5}}, "preparation.zoom_factor is 0.5"),
        ({"preparation": {"split_fraction": 1}}, "preparation.split_fraction is 1: input should be less than 1"),
        ({"preparation": {"split_fraction": 0}}, "preparation.split_fraction is 0: input should be greater than 0"),
        ({"preparation": {"split_axis": "z"}}, "preparation.split_axis is 'z'"),
        ({"preparation": {"keep_stages": "perhaps"}}, "preparation.keep_stages is 'perhaps'"),
        ({"specimen": {"window_px": 63}}, "specimen.window_px is 63: input should be a multiple of 8"),
        ({"specimen": {"window_px": 8}}, "specimen.window_px is 8"),
        ({"specimen": {"absorption": 1}}, "specimen.absorption is 1"),
        ({"specimen": {"phase_rad": 7}}, "specimen.phase_rad is 7: input should be less than or equal to 3"),
        ({"pinn": {"overlap_weight": -0.1}}, "pinn.overlap_weight is -0.1"),
        ({"pinn": {"gridsize": 0}}, "pinn.gridsize is 0: input should be greater than or equal to 1"),
        ({"pinn": {"gridsize": 6}}, "pinn.gridsize is 6: input should be less than or equal to 5"),
        ({"pinn": {"gridsize": 1.5}}, "pinn.gridsize is 1.5: input should be a valid integer"),
        ({"pinn": {"amplitude_weight": -1}}, "pinn.amplitude_weight is -1"),
        ({"pinn": {"real_space_weight": -1}}, "pinn.real_space_weight is -1"),
        ({"pinn": {"amplitude_activation": "relu"}}, "pinn.amplitude_activation is 'relu': input should be 'softplus'"),
        ({"baseline": {"n_filters_scale": 0}}, "baseline.n_filters_scale is 0"),
        ({"baseline": {"gridsize": 0}}, "baseline.gridsize is 0"),
        ({"baseline": {"amplitude_activation": ""}}, "baseline.amplitude_activation is ''"),
        ({"training": {"augmentation_ratio": -0.5}}, "training.augmentation_ratio is -0.5"),
        ({"training": {"synthetic_augmentation_ratio": -1}}, "training.synthetic_augmentation_ratio is -1"),
        ({"training": {"phase_retrieval_iterations": 0}}, "training.phase_retrieval_iterations is 0"),
        ({"evaluation": {"stitch_crop_px": 1}}, "evaluation.stitch_crop_px is 1"),
        ({"evaluation": {"n_test_images": 0}}, "evaluation.n_test_images is 0"),
        ({"plots": {"formats": ["png", "gif"]}}, "plots.formats.1 is 'gif': input should be 'png', 'pdf' or 'svg'"),
        ({"plots": {"dpi": 10}}, "plots.dpi is 10"),
        ({"input": "a\nb", "seed": "a\nb"}, r"seed is 'a\nb': input should be a valid integer"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_what_is_expected(mapping, message):
    assert refusal(mapping).startswith(f"configuration: {message}")


@pytest.mark.parametrize("key", PATHS)
def test_a_path_that_would_be_read_as_something_else_is_refused(key):
    analysed = {"existing": "study"} if key == "analysis_dir" else {}
    assert refusal({**analysed, key: "a{b}"}).startswith(
        f"configuration: {key} is a{{b}}: it must not contain {{ or }}"
    )
    for path in ("-x", "./-x"):
        assert refusal({**analysed, key: path}).startswith(f"configuration: {key} is {path}: it must not start with -,")
    StudyConfig.from_mapping({**analysed, key: "/tmp/-x"})


def test_a_place_for_an_analysis_needs_a_study_to_analyse():
    assert "analysis_dir is a, but existing is not set" in refusal({"analysis_dir": "a"})


def test_crop_and_bin_must_agree():
    message = refusal({"preparation": {"crop_factor": 4}})
    assert "preparation.crop_factor is 4 and preparation.bin_factor is 2" in message
    assert "make them equal" in message
    assert StudyConfig.from_mapping({"preparation": {"crop_factor": 4, "bin_factor": 4}}).preparation.bin_factor == 4


def test_numbers_that_yaml_reads_as_text_are_numbers():
    mapping = yaml.safe_load("simulation: {n_photons: 1e9}\ntraining: {learning_rate: 1e-4}")
    assert mapping["simulation"]["n_photons"] == "1e9"  # YAML 1.1 wants a dot and a sign
    study = StudyConfig.from_mapping(mapping)
    assert (study.simulation.n_photons, study.training.learning_rate) == (1e9, 1e-4)


def test_nobody_changes_a_configuration():
    with pytest.raises(dataclasses.FrozenInstanceError):
        StudyConfig().seed = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        StudyConfig().training.epochs = 3


@given(n_images=st.integers(2, 10**6), fraction=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_both_halves_of_the_split_get_images(n_images, fraction):
    count = n_train(n_images, fraction)
    assert 1 <= count <= n_images - 1
    assert abs(count - n_images * fraction) <= 1


def test_the_number_of_training_images():
    study = StudyConfig.from_mapping({"simulation.n_images": 2000, "preparation.split_fraction": 0.8})
    assert n_train(study.simulation.n_images, study.preparation.split_fraction) == 1600


# flags ---------------------------------------------------------------------------------------------------


def parse(kind, words, skip=()):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser, kind, skip)
    return from_flags(kind, parser.parse_args(words))


OTHER = [
    SimulationConfig(n_images=7, n_photons=123456.789, region="scan", buffer_px=2.5),
    SimulationConfig(n_photons=1e15),
    SimulationConfig(n_photons=5e-324),
    PreparationConfig(zoom_factor=1.5, smooth_object_sigma=0, crop_factor=4, bin_factor=4, split_axis="x"),
    PreparationConfig(split_fraction=1 / 3, split_gap_px=12, keep_stages=True),
    SpecimenConfig(size_px=300, window_px=48, phase_rad=2.25, absorption=0),
    PinnConfig(n_filters_scale=0.1, overlap_weight=0, pattern_weight=1e-7, trainable_intensity_scale=False),
    PinnConfig(
        gridsize=2,
        convolution_activation="leaky_relu",
        amplitude_activation="sigmoid",
        amplitude_weight=0.25,
        real_space_weight=0,
    ),
    PinnConfig(gridsize=5, amplitude_activation="exponential", trainable_probe=True, projections=0),
    BaselineConfig(n_filters_scale=2),
    BaselineConfig(gridsize=3, convolution_activation="relu", amplitude_activation="sigmoid"),
    TrainingConfig(augmentation_ratio=0, synthetic_augmentation_ratio=1.75, phase_retrieval_iterations=1),
    TrainingConfig(patience_epochs=3),
    TrainingConfig(epochs=1, batch_size=3, learning_rate=3e-5, validation_fraction=0, precision="mixed_bfloat16"),
    EvaluationConfig(stitch_crop_px=2, registration_max_px=0, n_test_images=17),
    PlotsConfig(style="ticks", palette="tab10 with blanks", dpi=72, band="range"),
]


@pytest.mark.parametrize("section", [*(kind() for kind in SECTIONS.values()), *OTHER], ids=lambda s: type(s).__name__)
def test_flags_come_back_as_the_section(section):
    skip = ("formats",) if isinstance(section, PlotsConfig) else ()
    words = as_flags(section, skip)
    assert all(type(word) is str for word in words)
    assert parse(type(section), words, skip) == section


@settings(max_examples=200, deadline=None)
@given(
    learning_rate=st.floats(0, 1e30, exclude_min=True, allow_subnormal=False),
    validation_fraction=st.floats(0, 0.5, exclude_max=True),
    epochs=st.integers(1, 10**12),
)
def test_any_number_comes_back_exactly(learning_rate, validation_fraction, epochs):
    section = TrainingConfig(epochs=epochs, learning_rate=learning_rate, validation_fraction=validation_fraction)
    assert parse(TrainingConfig, as_flags(section)) == section


def test_a_small_negative_number_comes_back():
    @dataclasses.dataclass
    class Section:
        """A section."""

        shift: float = 0.0

    parser = argparse.ArgumentParser()
    parser.add_argument("--shift", type=float)
    assert parser.parse_args(as_flags(Section(-1e-5))).shift == -1e-5


@pytest.mark.parametrize("name", SECTIONS)
def test_flags_left_out_keep_the_defaults(name):
    assert parse(SECTIONS[name], [], ("formats",)) == SECTIONS[name]()
    assert parse(SECTIONS[name], [], ("formats",)) == getattr(StudyConfig(), name)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_help_names_every_flag_its_meaning_and_default(name):
    parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=1000))
    add_flags(parser, SECTIONS[name], ("formats",))
    text = parser.format_help()
    meanings = json_schema()["$defs"][SECTIONS[name].__name__]["properties"]
    for field, entry in meanings.items():
        if field != "formats":
            assert f"--{field}" in text
            assert entry["description"] in text
            assert f"(default: {entry['default']})" in text


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        (TrainingConfig, ["--epochs", "0"], "--epochs is 0: input should be greater than or equal to 1"),
        (TrainingConfig, ["--learning_rate", "nan"], "--learning_rate is nan: input should be a finite number"),
        (SimulationConfig, ["--n_photons", "inf"], "--n_photons is inf: input should be a finite number"),
        (SpecimenConfig, ["--window_px", "33"], "--window_px is 33: input should be a multiple of 8"),
    ],
)
def test_a_flag_out_of_bounds_is_named(kind, words, message):
    with pytest.raises(InputError) as error:
        parse(kind, words)
    assert str(error.value) == message


def test_the_schema_knows_every_key_and_forbids_others():
    schema = json_schema()
    assert schema["properties"].keys() == {field.name for field in dataclasses.fields(StudyConfig)}
    assert schema["additionalProperties"] is False
    for kind in SECTIONS.values():
        entry = schema["$defs"][kind.__name__]
        assert entry["additionalProperties"] is False
        assert entry["properties"].keys() == {field.name for field in dataclasses.fields(kind)}
        assert all(key["description"] for key in entry["properties"].values())


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("prepare_data_tool", {"zoom_factor": "zoom_factor", "sigma": "smooth_object_sigma"}),
        (
            "downsample_data_tool",
            {"crop_factor": "crop_factor", "bin_factor": "bin_factor", "method": "downsample_method"},
        ),
        (
            "split_dataset_tool",
            {"split_fraction": "split_fraction", "split_axis": "split_axis", "split_gap": "split_gap_px"},
        ),
    ],
)
def test_commands_that_start_without_the_configuration_have_its_defaults(script, flags, monkeypatch):
    scripts = Path(__file__).parents[1] / "workflow/scripts"
    monkeypatch.syspath_prepend(scripts)
    parser = runpy.run_path(str(scripts / f"{script}.py"))["build_parser"]()
    for flag, key in flags.items():
        assert parser.get_default(flag) == getattr(PreparationConfig(), key)


@pytest.mark.parametrize(("value", "found"), [(None, "nothing"), (3, "3"), ("x", "'x'")])
def test_a_section_without_keys_is_named_in_plain_words(value, found):
    with pytest.raises(InputError, match=f"training is {found}: expected keys and values below it"):
        StudyConfig.from_mapping({"training": value})
