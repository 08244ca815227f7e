"""What a model version knows of its own answers: distances to likelihood ratios, and likelihood ratios to verdicts.

A worker fits it (``worker.ml.refsets``) and scores with it; pages, cards and the API read it. All likelihood ratios
are log10: 2 means that what was seen is a hundred times more likely if one hand wrote both than if a forger of the
named population wrote the questioned one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.specs import CalibrationMethod

SIZES = (1, 2, 4, 8, 12)  # references in a set, for which a calibration is fitted
GENERATED = "generated signatures"

Finite = Annotated[float, Field(allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=1)]
Population = Literal["skilled", "random"]


class Part(BaseModel):
    """Base of what is stored: unknown fields are errors, values never change after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pool(Part):
    """What the calibration writers' reference sets look like; small sets are shrunk towards it."""

    mean: Finite = Field(description="mean distance between two genuine signatures of a writer")
    spread: float = Field(gt=0, allow_inf_nan=False, description="standard deviation of these within a writer")


class Bands(Part):
    """Where the verdicts part: accept from ``accept_from`` on, reject below ``reject_below``, review between."""

    accept_from: Finite
    reject_below: Finite
    far: Rate = Field(description="share of the calibration's forgeries with llr >= accept_from")
    frr: Rate = Field(description="share of the calibration's genuine signatures with llr < reject_below")

    @model_validator(mode="after")
    def _in_order(self) -> Bands:
        if self.reject_below > self.accept_from:
            raise ValueError("reject_below lies above accept_from")
        return self


class Figures(Part):
    """How good the answers are on writers that neither training nor these very weights saw (folds over writers)."""

    genuine: int = Field(ge=1, description="genuine comparisons")
    forged: int = Field(ge=1, description="comparisons with forgeries of the population")
    eer: Rate
    cllr: float = Field(ge=0, allow_inf_nan=False, description="bits; 1 is what a score without information gives")
    reliability: list[tuple[float, float, int]] = Field(
        default_factory=list,
        description="bins of probability at even prior odds: mean told, share found genuine, comparisons",
    )


class Curve(Part):
    """A non-decreasing step from scores to llr: knots ascending, straight lines between, flat beyond the ends."""

    scores: list[Finite] = Field(min_length=1)
    llr: list[Finite] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> Curve:
        pairs = (self.scores, self.llr)
        if len(self.scores) != len(self.llr) or any(list(side) != sorted(side) for side in pairs):
            raise ValueError("scores and llr must be of one length, and ascend")
        return self


class SetCalibration(Part):
    """For reference sets of ``size``: features to score, score to llr, llr to verdict.

    score = sum(weight * feature) + offset, higher is more alike; with the logistic method the score is
    the llr itself before clipping, with the isotonic method ``curve`` makes the llr of it.
    """

    size: int = Field(ge=1)
    weights: dict[str, Finite] = Field(min_length=1, description="by feature, see worker.ml.refsets")
    offset: Finite
    curve: Curve | None = None
    lowest: float = Field(le=0, allow_inf_nan=False, description="llr is clipped from below to this")
    highest: float = Field(ge=0, allow_inf_nan=False, description="and from above to this")
    bands: Bands
    figures: Figures


class Calibration(Part):
    """All of it, by size of the reference set, with what it was fitted on."""

    method: CalibrationMethod = "logistic"
    population: Population = Field(description="the forgeries that a likelihood ratio is against")
    generated: bool = Field(default=False, description="whether the calibration writers were generated, not people")
    writers: list[str] = Field(min_length=1, description="the calibration writers; training saw none of them")
    images: int = Field(ge=1)
    data: str = Field(description="digest of the data set that they are of")
    target_far: Rate
    target_frr: Rate
    pool: Pool
    sets: list[SetCalibration] = Field(min_length=1, description="ascending by size; the first is of size 1")

    @model_validator(mode="after")
    def _by_size(self) -> Calibration:
        sizes = [one.size for one in self.sets]
        if sizes != sorted(set(sizes)) or sizes[0] != 1:
            raise ValueError("the sets must ascend by size, from 1")
        return self

    @property
    def origin(self) -> str | None:
        """What answers must say that the calibration data were, if they were not people's signatures."""
        return GENERATED if self.generated else None

    def of_size(self, references: int) -> SetCalibration:
        """What serves a set of so many references: the largest size that is not above it. ValueError below 1."""
        if references < 1:
            raise ValueError("a reference set has one reference at least")
        return max((one for one in self.sets if one.size <= references), key=lambda one: one.size)


def calibration_of(summary: dict[str, Any] | None) -> Calibration | None:
    """The calibration that the summary of a model version holds; None where it has none that can be used."""
    stored = (summary or {}).get("calibration")
    return Calibration.model_validate(stored) if stored else None
