"""What a job asks for, and the catalogue of networks: one definition for form, API, database and worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """One network of the catalogue. ``height`` and ``width`` are of its input canvas, in pixels."""

    name: str
    title: str
    height: int
    width: int
    embedding: int  # length of the embedding vector


NETWORKS = {
    info.name: info
    for info in (
        NetworkInfo("compact", "Compact residual network, under 2 million weights", 96, 192, 128),
        NetworkInfo("seed", "The article's network: 4 convolutions, 3 poolings, 2 dense layers", 105, 105, 128),
    )
}

NetworkName = Literal["compact", "seed"]
OptimiserName = Literal["adam", "adamw", "rmsprop", "sgd"]


def _not_an_alias(name: str) -> str:
    if name == "default":
        raise ValueError("'default' is the name of a role; choose another")
    return name


ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$"), AfterValidator(_not_an_alias)]


class Spec(BaseModel):
    """Base of all specifications: unknown fields are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(Spec):
    """How a decoded image becomes the network's canvas; part of the model version."""

    preset: Literal["signature"] = "signature"
    height: int = Field(ge=16, le=1024, description="canvas height, pixels")
    width: int = Field(ge=16, le=1024, description="canvas width, pixels")


class VerifySpec(Spec):
    """Compare questioned images with their reference sets."""

    kind: Literal["verify"] = "verify"
    model: str | None = Field(
        default=None, max_length=80, description="name, name@version or digest; empty: the default"
    )


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
        default=0.2, gt=0, lt=1, description="share of writers held out to set the threshold"
    )
    seed: int = Field(default=1, ge=0, lt=2**31, description="seed of the split, the weights and the batches")
    make_default: bool = Field(default=False, description="use the result for verifications that name no model")


JobSpec = Annotated[VerifySpec | TrainSpec, Field(discriminator="kind")]
