"""What a job asks for, and the catalogue of networks: one definition for form, API, database and worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """One network of the catalogue. ``height`` and ``width`` are of its input canvas, in pixels.

    ``representation`` is the length of what it makes of one canvas. ``comparer`` is how two of those are compared
    when the recipe does not say: ``local`` networks know no other way.
    """

    name: str
    title: str
    height: int
    width: int
    representation: int
    comparer: Literal["euclidean", "cosine", "local"] = "euclidean"


NETWORKS = {
    info.name: info
    for info in (
        NetworkInfo("compact", "Compact residual network, under 2 million weights", 96, 192, 128),
        NetworkInfo("seed", "The article's network: 4 convolutions, 3 poolings, 2 dense layers", 105, 105, 128),
    )
}

NetworkName = Literal["compact", "seed"]
OptimiserName = Literal["adam", "adamw", "rmsprop", "sgd"]
LossName = Literal["contrastive", "triplet", "cross-entropy", "multi-similarity"]
MiningName = Literal["semi-hard", "hard", "all"]
SimilarityName = Literal["euclidean", "cosine"]
ScheduleName = Literal["cosine", "step", "constant"]
PresetName = Literal["signature", "photo"]
ProtocolName = Literal["grey-ink", "binary-ink"]


def _not_an_alias(name: str) -> str:
    if name == "default":
        raise ValueError("'default' is the name of a role; choose another")
    return name


ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$"), AfterValidator(_not_an_alias)]
ModelReference = Annotated[str, StringConstraints(max_length=80)]


class Spec(BaseModel):
    """Base of all specifications: unknown fields are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(Spec):
    """How a decoded image becomes the network's canvas; part of the model version."""

    preset: PresetName = "signature"
    height: int = Field(ge=16, le=1024, description="canvas height, pixels")
    width: int = Field(ge=16, le=1024, description="canvas width, pixels")
    channels: Literal[1, 3] = Field(default=1, description="1: grey, 3: red, green, blue")


class VerifySpec(Spec):
    """Compare questioned images with their reference sets."""

    kind: Literal["verify"] = "verify"
    model: ModelReference | None = Field(default=None, description="name, name@version or digest; empty: the default")


class TrainSpec(Spec):
    """Train a network on writers' genuine and forged signatures."""

    kind: Literal["train"] = "train"
    name: ModelName = Field(default="signatures", description="name of the model version that comes out")
    network: NetworkName = Field(default="compact", description="network of the catalogue")
    epochs: int = Field(default=20, ge=1, le=1000, description="passes over the training writers")
    margin: float = Field(default=2.0, gt=0, le=100, description="margin of the contrastive loss, in units of distance")
    optimiser: OptimiserName = Field(default="adam", description="gradient method")
    learning_rate: float = Field(default=1e-3, gt=0, le=10, description="step size of the optimiser")
    weight_decay: float = Field(default=5e-4, ge=0, le=1, description="L2 penalty on the weights")
    validation_share: float = Field(
        default=0.2, gt=0, lt=1, description="share of writers held out to choose the best epoch and the threshold"
    )
    calibration_share: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="share of writers held out from both to calibrate the answers; 0: answers stay uncalibrated",
    )
    seed: int = Field(default=1, ge=0, lt=2**31, description="seed of the split, the weights and the batches")
    make_default: bool = Field(default=False, description="use the result for verifications that name no model")


class IdentifySpec(Spec):
    """Find for each test image the category whose images are most alike, or none."""

    kind: Literal["identify"] = "identify"
    model: ModelReference | None = Field(default=None, description="name, name@version or digest; empty: the default")
    threshold: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="largest distance that still names a category; empty: the model's own",
    )


class EvaluateSpec(Spec):
    """Measure a model on labelled writers that it never saw."""

    kind: Literal["evaluate"] = "evaluate"
    model: ModelReference | None = Field(default=None, description="name, name@version or digest; empty: the default")
    protocol: ProtocolName = Field(default="grey-ink", description="binary-ink: pen and scanner are taken away as well")
    references: int = Field(default=8, ge=2, le=20, description="references of a writer in the reference-set figures")
    writers: str = Field(
        default="", max_length=4000, description="only these writers, parted by commas or spaces; empty: all"
    )
    seed: int = Field(default=1, ge=0, lt=2**31, description="seed of the bootstrap and of thinned-out pairs")


class TuneSpec(Spec):
    """Search for good settings of a training: each trial trains, and is judged on writers it did not see."""

    kind: Literal["tune"] = "tune"
    name: ModelName = Field(default="tuned", description="name of the study")
    network: NetworkName = Field(default="compact", description="network of the catalogue")
    trials: int = Field(default=20, ge=1, le=1000, description="trainings to try")
    epochs: int = Field(default=10, ge=1, le=1000, description="longest training of one trial")
    folds: int = Field(default=3, ge=2, le=10, description="folds of writers whose validation EERs are averaged")
    seed: int = Field(default=1, ge=0, lt=2**31, description="seed of the folds and of the sampler")


JobSpec = Annotated[
    VerifySpec | TrainSpec | IdentifySpec | EvaluateSpec | TuneSpec,
    Field(discriminator="kind"),
]
SPECS: dict[str, type[Spec]] = {
    "verify": VerifySpec,
    "identify": IdentifySpec,
    "train": TrainSpec,
    "evaluate": EvaluateSpec,
    "tune": TuneSpec,
}
