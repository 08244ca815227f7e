from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.networks import NETWORKS
from shared.specs import EvaluateSpec, JobSpec, Preprocessing, TrainSpec, TuneSpec, VerifySpec, canvas_of


def test_the_defaults_are_the_issues() -> None:
    spec = TrainSpec()
    assert (spec.network, spec.margin, spec.optimiser, spec.learning_rate) == ("ink", 2.0, "adam", 1e-3)
    assert VerifySpec().model is None


@pytest.mark.parametrize(
    ("fields", "network"),
    [
        ({}, "ink"),
        ({"name": "mine", "seed": "3", "target_far": 0.02, "skilled_weight": 2, "make_default": True}, "ink"),
        ({"preset": "signature", "channels": "1", "loss": "auto", "pretrained": ""}, "ink"),
        ({"epochs": "3"}, "compact"),
        ({"loss": "triplet"}, "compact"),
        ({"preset": "photo", "channels": 3}, "compact"),
        ({"augmentation": "strong", "network": "ink"}, "ink"),
        ({"optimiser": "sgd", "network": "seed"}, "seed"),
    ],
)
def test_the_network_where_none_is_named_has_a_use_for_all_that_is_given(
    fields: dict[str, object], network: str
) -> None:
    spec = TrainSpec.model_validate(fields)
    assert spec.network == network
    assert ("network" in spec.model_fields_set) == ("network" in fields)
    assert TrainSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_what_a_network_has_no_use_for_is_known() -> None:
    assert TrainSpec.model_validate({"network": "ink", "epochs": 9, "weight_decay": 0.1, "seed": 5}).unused == [
        "epochs",
        "weight decay",
    ]
    assert TrainSpec.model_validate({"network": "ink", "skilled_weight": 3}).unused == []
    assert TrainSpec(epochs=9).unused == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Upper"),
        ("name", "../x"),
        ("name", ""),
        ("network", "resnet"),
        ("epochs", 0),
        ("epochs", 1001),
        ("margin", 0),
        ("margin", float("nan")),
        ("margin", float("inf")),
        ("optimiser", "lbfgs"),
        ("learning_rate", -1),
        ("validation_share", 1),
        ("seed", -1),
        ("epcohs", 3),
    ],
)
def test_what_a_training_refuses(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainSpec.model_validate({field: value})
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


def test_numbers_and_switches_come_as_text_from_forms() -> None:
    spec = TrainSpec.model_validate({"epochs": "3", "margin": "1.5", "make_default": "false"})
    assert (spec.epochs, spec.margin, spec.make_default) == (3, 1.5, False)


def test_a_row_of_the_database_becomes_the_spec_again() -> None:
    adapter: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)
    for spec in (TrainSpec(epochs=7, seed=3), VerifySpec(model="a@2")):
        assert adapter.validate_python(spec.model_dump(mode="json")) == spec


def test_specs_do_not_change() -> None:
    with pytest.raises(ValidationError):
        TrainSpec().epochs = 3  # type: ignore[misc]  # what is forbidden


def test_every_networks_canvas_is_a_canvas() -> None:
    for name, info in NETWORKS.items():
        assert info.name == name
        assert canvas_of(name) == Preprocessing(height=info.height, width=info.width, scale=info.scale)
        assert canvas_of(name, "photo", 3).shape == (info.height, info.width, 3)
        assert canvas_of(name, "photo").shape == (info.height, info.width)


def test_preset_and_channels_come_as_text_from_forms() -> None:
    spec = TrainSpec.model_validate({"preset": "photo", "channels": "3", "network": "resnet18", "pretrained": "a.pth"})
    assert spec.preprocessing == canvas_of("resnet18", "photo", 3)
    assert TrainSpec().preprocessing == canvas_of("ink")


@pytest.mark.parametrize(
    ("fields", "at", "words"),
    [
        ({"channels": 3}, "channels", "grey ink"),
        ({"channels": "2", "preset": "photo"}, "channels", "1 or 3"),
        ({"channels": [3], "preset": "photo"}, "channels", "1 or 3"),
        ({"pretrained": "a.pth"}, "pretrained", "fit resnet18, resnet34, resnet50 only"),
        ({"network": "resnet18", "pretrained": "../a.pth"}, "pretrained", "pattern"),
        ({"network": "resnet18", "pretrained": "a.pkl"}, "pretrained", "pattern"),
        ({"network": "resnet18", "pretrained": "a.pth", "from_model": "b@1"}, "pretrained", "not from both"),
    ],
)
def test_pictures_and_weights_that_do_not_go_together(fields: dict[str, object], at: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        TrainSpec.model_validate(fields)
    assert [error["loc"] for error in caught.value.errors()] == [(at,)]


def test_signatures_in_colour_are_no_preprocessing() -> None:
    with pytest.raises(ValidationError, match="grey ink"):
        Preprocessing(height=32, width=32, channels=3)


@pytest.mark.parametrize("spec", [TrainSpec, TuneSpec])
def test_ink_is_not_looked_for_in_photos(spec: type[TrainSpec | TuneSpec]) -> None:
    with pytest.raises(ValidationError, match="looks at ink"):
        spec.model_validate({"network": "ink", "preset": "photo"})
    with pytest.raises(ValidationError, match="3 channels need photo"):
        spec.model_validate({"network": "conv4", "preset": "signature", "channels": 3})
    assert spec.model_validate({"network": "conv4", "preset": "photo"}).preset == "photo"


@pytest.mark.parametrize(
    ("named", "chosen"),
    [
        ("", None),
        (" , ", None),
        ("1 2  3", {"1", "2", "3"}),
        ("1, 2,3,", {"1", "2", "3"}),
        ("Anna B, Carl von D", {"Anna B", "Carl von D"}),
    ],
)
def test_writers_are_named_by_commas_or_by_spaces(named: str, chosen: set[str] | None) -> None:
    assert EvaluateSpec(writers=named).chosen_writers() == chosen


@pytest.mark.parametrize("spec", [TrainSpec, TuneSpec])
def test_ink_is_binary_in_signatures_only(spec: type[TrainSpec | TuneSpec]) -> None:
    assert spec(network="ink", ink="binary").preprocessing == canvas_of("ink", ink="binary")
    with pytest.raises(ValidationError, match="signatures only") as caught:
        spec.model_validate({"network": "compact", "ink": "binary", "preset": "photo"})
    assert [error["loc"] for error in caught.value.errors()] == [("preset",)]


def test_old_canvases_are_of_grey_ink() -> None:
    old = canvas_of("ink").model_dump(mode="json", exclude={"ink"})
    assert Preprocessing.model_validate(old) == canvas_of("ink"), "a model file made before"
