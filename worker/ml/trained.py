"""What a training tells as it goes, and what comes out of it, whichever way it is done."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from shared.networks import ComparerName
from shared.specs import LossName


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One line of the training curve. ``epoch`` counts from 1; the losses are means over the epoch.

    ``validation_eer`` is against skilled forgeries, or against random ones where there are no others.
    """

    epoch: int
    loss: float
    validation_loss: float
    validation_eer: float
    learning_rate: float  # at the epoch's end
    seconds: float
    images: int  # encoded for training


@dataclass(frozen=True, slots=True, eq=False)
class FitResult:
    """The best weights found, in evaluation mode on the CPU, and what the validation writers say of them."""

    network: nn.Module
    comparer: ComparerName  # of the network's representations
    loss: LossName  # that was minimised
    threshold: float  # accept if distance <= threshold; where FAR = FRR on the validation writers
    eer: float
    eers: dict[str, float]  # against each kind of forgery that the validation writers have: skilled, random
    epochs: int  # run in all, over all attempts
    best_epoch: int
    forgeries: str  # "skilled" or "random": what eer and threshold were measured against
    note: str  # for people; empty if there is nothing to say
    finished_early: bool = False  # asked to end with the best so far


class Stopped(Exception):
    """Training was asked to stop. The last checkpoint handed out is where it goes on."""
