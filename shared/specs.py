"""What a job asks for: one definition for form, API, database and worker."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shared.networks import NETWORKS, NetworkName

OptimiserName = Literal["adam", "adamw", "rmsprop", "sgd"]
LossName = Literal["contrastive", "triplet", "cross-entropy", "multi-similarity", "pair-cross-entropy"]
MiningName = Literal["semi-hard", "hard", "all"]
SimilarityName = Literal["euclidean", "cosine"]
ScheduleName = Literal["cosine", "step", "constant"]
AugmentationName = Literal["none", "light", "strong"]
PresetName = Literal["signature", "photo"]
ChannelCount = Annotated[Literal[1, 3], BeforeValidator(lambda given: int(given) if given in ("1", "3") else given)]
ProtocolName = Literal["grey-ink", "binary-ink"]
InkName = Literal["grey", "binary"]
CalibrationMethod = Literal["logistic", "isotonic"]


ALIASES = DEFAULT, CANDIDATE = "default", "candidate"  # names of roles, and the model versions that play them
_A_MODEL = "name, name@version, digest or alias (default, candidate); empty: the default"


def _not_an_alias(name: str) -> str:
    if name in ALIASES:
        raise ValueError(f"'{name}' is the name of a role; choose another")
    return name


ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$"), AfterValidator(_not_an_alias)]
ModelReference = Annotated[str, StringConstraints(max_length=80)]


class Spec(BaseModel):
    """Base of all specifications: unknown fields are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _grey_if_ink(channels: int, info: ValidationInfo) -> int:
    if channels != 1 and info.data.get("preset") == "signature":
        raise PydanticCustomError("channels_of_ink", "the preset signature looks at grey ink: 3 channels need photo")
    return channels


def _has_ink(preset: str, info: ValidationInfo) -> str:
    network = NETWORKS.get(info.data.get("network", ""))
    if preset != "signature" and info.data.get("ink") == "binary":
        raise PydanticCustomError("preset_of_ink", "binary ink is looked for in signatures only")
    if preset != "signature" and network is not None and network.scale == "keep":
        raise PydanticCustomError(
            "preset_of_ink",
            "the network {network} looks at ink: use the preset signature, or another network",
            {"network": network.name},
        )
    return preset


class Preprocessing(Spec):
    """How a decoded image becomes the network's canvas; part of the model version."""

    preset: PresetName = "signature"
    height: int = Field(ge=16, le=2048, description="canvas height, pixels")
    width: int = Field(ge=16, le=2048, description="canvas width, pixels")
    channels: ChannelCount = Field(default=1, description="1: grey, 3: red, green, blue")
    ink: InkName = Field(default="grey", description="of signatures; binary: all ink black, the drawing alone is left")
    scale: Literal["fit", "keep"] = Field(
        default="fit", description="fit: ink fills the canvas; keep: a pixel of the scan stays a pixel where it can"
    )
    reduce: int = Field(default=1, ge=1, le=16, description="with keep: pixels of the scan made one, for 300 dpi")
    enlarge: int = Field(default=1, ge=1, le=4, description="with keep: pixels made of one, for 300 dpi")

    _grey = field_validator("channels")(_grey_if_ink)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a canvas as an array: (height, width), and 3 behind them for colour."""
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)


def canvas_of(
    network: str, preset: PresetName = "signature", channels: Literal[1, 3] = 1, ink: InkName = "grey"
) -> Preprocessing:
    """The preprocessing that feeds a network of the catalogue."""
    size = {"height": NETWORKS[network].height, "width": NETWORKS[network].width}
    return Preprocessing(preset=preset, channels=channels, ink=ink, scale=NETWORKS[network].scale, **size)


class JobMarks(Spec):
    """What a submitter calls a job by, whatever its kind."""

    label: str = Field(default="", max_length=255, description="shown in the list of jobs; empty: the file's name")
    tag: str | None = Field(default=None, max_length=80, description="the submitter's, to list jobs by")
    external_id: str | None = Field(default=None, max_length=255, description="the submitter's own name for the job")


class VerifySpec(Spec):
    """Compare questioned images with their reference sets."""

    kind: Literal["verify"] = "verify"
    model: ModelReference | None = Field(default=None, description=_A_MODEL)


OF_DESCENT = (  # settings of a training that a network solved in one step has no use for
    "pretrained", "preset", "channels", "epochs", "loss", "similarity", "margin", "triplet_margin", "mining",
    "optimiser", "learning_rate", "weight_decay", "momentum", "classical_momentum", "schedule", "warm_up",
    "step_epochs", "step_factor", "clip", "average", "patience", "batch_writers", "batch_genuine", "batch_forged",
    "passes", "augmentation",
)  # fmt: skip
_OF_INK = {"pretrained": "", "preset": "signature", "channels": "1", "loss": "auto"}  # what even that one takes


class TrainSpec(Spec):
    """Train a network on writers' genuine and forged signatures.

    Where no network is named it is ``ink``, the best with the few writers that there mostly are; or ``compact``, if a
    setting is given that ``ink`` has no use for.
    """

    kind: Literal["train"] = "train"
    name: ModelName = Field(default="signatures", description="name of the model version that comes out")
    network: NetworkName = Field(
        default="ink",
        description="ink is by far the best with few writers, and solved in one step; where no network is named but a "
        "setting that only descent has a use for, it is compact",
    )
    from_model: ModelReference | None = Field(
        default=None,
        description="model whose weights the training begins with, of the same network; empty: fresh weights",
    )
    pretrained: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(pth|safetensors))?$",
        description="file of torchvision's weights in the server's folder of weights, for the resnets; empty: none",
    )
    ink: InkName = Field(
        default="grey", description="binary: all ink is made black, so that the drawing counts, and no pen or scanner"
    )
    preset: PresetName = Field(
        default="signature", description="signature: the ink alone; photo: the whole picture, of whatever it is"
    )
    channels: ChannelCount = Field(default=1, description="1: grey; 3: colours, for the preset photo")
    epochs: int = Field(
        default=20, ge=1, le=1000, description="passes over the training writers, at most; ink needs none"
    )
    loss: Literal["auto", LossName] = Field(
        default="auto",
        description="what is minimised; auto: contrastive, or the pair cross-entropy of a network that compares by "
        "itself. Cross-entropy learns a distance of its own",
    )
    similarity: SimilarityName = Field(
        default="euclidean", description="how two embeddings are compared; cosine leaves their lengths out"
    )
    margin: float = Field(default=2.0, gt=0, le=100, description="margin of the contrastive loss, in units of distance")
    triplet_margin: float = Field(
        default=0.5, gt=0, le=100, description="margin of the triplet loss, in units of distance"
    )
    mining: MiningName = Field(default="semi-hard", description="which triplets of a batch count in the triplet loss")
    skilled_weight: float = Field(
        default=1.0, ge=0, le=100, description="weight of skilled forgeries against genuine signatures of other writers"
    )
    optimiser: OptimiserName = Field(default="adam", description="gradient method")
    learning_rate: float = Field(default=1e-3, gt=0, le=10, description="step size of the optimiser")
    weight_decay: float = Field(default=5e-4, ge=0, le=1, description="L2 penalty on the weights")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of sgd, Nesterov's unless told otherwise")
    classical_momentum: bool = Field(default=False, description="have sgd use classical momentum, not Nesterov's")
    schedule: ScheduleName = Field(default="cosine", description="how the learning rate falls")
    warm_up: float = Field(
        default=0.03, ge=0, le=0.5, description="share of the training in which the learning rate rises to its height"
    )
    step_epochs: int = Field(default=10, ge=1, le=1000, description="epochs between two falls of the step schedule")
    step_factor: float = Field(default=0.1, gt=0, le=1, description="what a fall leaves of the learning rate")
    clip: float = Field(default=5.0, ge=0, le=1e6, description="largest norm of a batch's gradient; 0: no limit")
    average: float = Field(
        default=0.95,
        ge=0,
        lt=1,
        description="what a step keeps of the running average of the weights; the average is the result; 0: none",
    )
    patience: int = Field(
        default=0, ge=0, le=1000, description="epochs without improvement after which training ends early; 0: never"
    )
    batch_writers: int = Field(default=12, ge=1, le=512, description="writers in a batch")
    batch_genuine: int = Field(default=4, ge=1, le=64, description="genuine signatures of each of them")
    batch_forged: int = Field(default=3, ge=0, le=64, description="skilled forgeries of each of them")
    passes: float = Field(
        default=1.0, gt=0, le=100, description="how often an epoch shows each writer's genuine signatures"
    )
    augmentation: AugmentationName = Field(
        default="light", description="small changes to the images that keep the writer's identity"
    )
    validation_share: float = Field(
        default=0.2, gt=0, lt=1, description="share of writers held out to choose the best epoch and the threshold"
    )
    calibration_share: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="share of writers held out from both to calibrate the answers; 0: answers stay uncalibrated",
    )
    calibration_method: CalibrationMethod = Field(
        default="logistic", description="how scores become likelihood ratios: a straight line, or any rising curve"
    )
    target_far: float = Field(
        default=0.01, gt=0, lt=0.5, description="share of forgeries that the verdict accept may let pass"
    )
    target_frr: float = Field(
        default=0.01, gt=0, lt=0.5, description="share of genuine signatures that the verdict reject may turn away"
    )
    generated: bool = Field(
        default=False, description="the signatures are generated, not people's: every answer will say so"
    )
    seed: int = Field(default=1, ge=0, lt=2**31, description="seed of the split, the weights and the batches")
    make_default: bool = Field(default=False, description="use the result for verifications that name no model")

    _ink_alone = field_validator("preset")(_has_ink)
    _grey = field_validator("channels")(_grey_if_ink)

    @model_validator(mode="wrap")
    @classmethod
    def _fitting_network(cls, given: Any, handler: ModelWrapValidatorHandler[TrainSpec]) -> TrainSpec:
        if not isinstance(given, dict) or "network" in given:
            return handler(given)
        asked = [name for name in OF_DESCENT if name in given and str(given[name]) != _OF_INK.get(name)]
        if not asked:
            return handler(given)
        spec = handler({**given, "network": "compact"})
        spec.model_fields_set.discard("network")  # nobody named it: a model to begin with may have another
        return spec

    @property
    def unused(self) -> list[str]:
        """The settings that are not as they were and that this network has no use for, in words."""
        if not NETWORKS[self.network].closed_form:
            return []
        fields = type(self).model_fields
        return [name.replace("_", " ") for name in OF_DESCENT if getattr(self, name) != fields[name].default]

    @field_validator("pretrained")
    @classmethod
    def _takes_weights(cls, pretrained: str, info: ValidationInfo) -> str:
        network = NETWORKS.get(info.data.get("network", ""))
        if pretrained and network is not None and not network.pretrained:
            known = ", ".join(each.name for each in NETWORKS.values() if each.pretrained)
            raise PydanticCustomError(
                "pretrained_other_network", "weights of torchvision fit {known} only", {"known": known}
            )
        if pretrained and info.data.get("from_model"):
            raise PydanticCustomError("pretrained_twice", "the weights come from a model or from a file, not from both")
        return pretrained

    @property
    def preprocessing(self) -> Preprocessing:
        """How the images of this training become canvases."""
        return canvas_of(self.network, self.preset, self.channels, self.ink)

    @field_validator("loss")
    @classmethod
    def _fits_the_network(cls, loss: str, info: ValidationInfo) -> str:
        network = NETWORKS.get(info.data.get("network", ""))
        pairs_of_its_own = network is not None and network.comparer == "local"
        if loss != "auto" and network is not None and (loss == "pair-cross-entropy") != pairs_of_its_own:
            fitting = "pair-cross-entropy" if pairs_of_its_own else "any but pair-cross-entropy"
            raise PydanticCustomError(
                "loss_other_network",
                "the network {network} takes {fitting}, or auto",
                {"network": network.name, "fitting": fitting},
            )
        return loss


class IdentifySpec(Spec):
    """Find for each test image the category whose images are most alike, or none."""

    kind: Literal["identify"] = "identify"
    model: ModelReference | None = Field(default=None, description=_A_MODEL)
    threshold: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="largest distance that still names a category; empty: the model's own",
    )


class EvaluateSpec(Spec):
    """Measure a model on labelled writers that it never saw."""

    kind: Literal["evaluate"] = "evaluate"
    model: ModelReference | None = Field(default=None, description=_A_MODEL)
    protocol: ProtocolName = Field(default="grey-ink", description="binary-ink: pen and scanner are taken away as well")
    references: int = Field(default=8, ge=2, le=20, description="references of a writer in the reference-set figures")
    writers: str = Field(
        default="",
        max_length=4000,
        description="only these writers, parted by commas (or by spaces, where no name has one); empty: all",
    )
    seed: int = Field(default=1, ge=0, lt=2**31, description="seed of the bootstrap and of thinned-out pairs")

    def chosen_writers(self) -> frozenset[str] | None:
        """The writers named; None: all. With a comma among them, spaces belong to the names."""
        named = self.writers.split(",") if "," in self.writers else self.writers.split()
        return frozenset(name.strip() for name in named if name.strip()) or None


class TuneSpec(Spec):
    """Search for good settings of a training: each trial trains, and is judged on writers it did not see."""

    kind: Literal["tune"] = "tune"
    name: ModelName = Field(default="tuned", description="name of the model that the best settings are to train")
    network: NetworkName = Field(
        default="compact", description="network of the catalogue; ink, mostly the best, has one setting to tune"
    )
    ink: InkName = Field(
        default="grey", description="binary: all ink is made black, in each trial and in the training that follows"
    )
    preset: PresetName = Field(
        default="signature", description="signature: the ink alone; photo: the whole picture, of whatever it is"
    )
    channels: ChannelCount = Field(default=1, description="1: grey; 3: colours, for the preset photo")
    trials: int = Field(default=20, ge=1, le=1000, description="trainings to try")
    epochs: int = Field(default=10, ge=1, le=1000, description="epochs of a trial in each fold")
    folds: int = Field(default=3, ge=2, le=10, description="folds of writers whose validation EERs are averaged")
    seed: int = Field(default=1, ge=0, lt=2**31, description="seed of the folds, the settings tried and the trainings")

    _ink_alone = field_validator("preset")(_has_ink)
    _grey = field_validator("channels")(_grey_if_ink)

    @property
    def preprocessing(self) -> Preprocessing:
        """How the images of its trials become canvases."""
        return canvas_of(self.network, self.preset, self.channels, self.ink)


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
