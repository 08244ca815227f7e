"""``report.json``: what was measured, on what, and what must be said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.ml.bootstrap import ROUNDS, resample
from worker.ml.evaluation import Bands, Figures, Scores, by_writer, floor, measure
from worker.ml.metrics import Doubles, Roc, roc
from worker.ml.shortcuts import STATISTICS
from worker.ml.trials import GENUINE, KINDS, MOST_RANDOM_PAIRS, MOST_RANDOM_SETS, RANDOM, SKILLED, Pairs, Sets

SCHEMA = 1
FEW_WRITERS = 10
FAR_OFF = 0.1  # of the mean of FAR and FRR: so much worse than at the EER, a threshold does not fit the data
UNCALIBRATED = (
    "Cllr and reliability are not told: this model version is not calibrated, it gives distances and no likelihood "
    "ratios. Train with calibration writers to have them."
)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All that was measured. ``writers`` are the names behind the numbers in the scores.

    ``statistics`` (2, N, S) are those of each image as its protocol leaves it, and of the scan; None where an image is
    no signature. ``bands`` are for a pair and for a set of ``references``, None before calibration.
    """

    writers: Sequence[str]
    pairs: Pairs
    listed: bool
    sets: Sets
    references: int
    pair_scores: Scores
    set_scores: Scores
    threshold: float
    bands: tuple[Bands, Bands] | None
    statistics: Doubles | None
    seed: int


def figures(measured: Measured) -> dict[str, Any]:
    """The report's figures: both protocols, Cllr, the floor, writers, counts, and the warnings they call for.

    The keys ``pair`` and ``refsN`` (N references) hold the kinds of forgery; every rate is in 0..1.
    """
    draws = resample(len(measured.writers), measured.seed)
    found: dict[str, Any] = {}
    scored = ((measured.pair_scores, 0, "distance"), (measured.set_scores, 1, "mean distance"))
    for (scores, number, plain), key in zip(scored, ("pair", f"refs{measured.references}"), strict=True):
        bands = measured.bands[number] if measured.bands else None
        found[key] = {"score": plain if scores.fused is None else "llr"} | {
            kind: measure(scores, code, draws, measured.threshold, bands)
            for kind, code in (("skilled", SKILLED), ("random", RANDOM))
        }
    kind = "skilled" if found["pair"]["skilled"]["eer"] is not None else "random"
    head = found["pair"][kind]
    found |= {
        "cllr": head.get("cllr"),
        "cllr_min": head.get("cllr_min"),
        "cllr_of": f"pair.{kind}",
        "cllr_note": UNCALIBRATED if measured.pair_scores.llr is None else "",
        "counts": _counts(measured),
        "rounds": ROUNDS,
        "floor": _floor(measured, SKILLED if kind == "skilled" else RANDOM),
        "floor_model_auc": head.get("auc"),
        "by_writer": by_writer(
            measured.pair_scores, measured.writers, head.get("eer_threshold", measured.threshold), measured.threshold
        ),
    }
    beaten_by = _not_beaten(found["floor"], found["floor_model_auc"])
    found["floor_beaten"] = None if not found["floor"] or found["floor_model_auc"] is None else not beaten_by
    found["warnings"] = _warnings(measured, found, beaten_by)
    return found


def method(protocol: str, measured: Measured) -> list[str]:
    """How it was measured, in sentences."""
    possible, sets = measured.pairs.possible, measured.sets.possible
    made = [int((measured.pairs.kind == code).sum()) for code in range(len(KINDS))]
    told = ", ".join(f"{made[code]:,} of {possible[code]:,} {KINDS[code]}" for code in range(len(KINDS)))
    against = int((measured.set_scores.kind == RANDOM).sum())
    if measured.listed:
        first = f"One reference: the comparisons that the data themselves list, all of them ({sum(possible):,})."
    else:
        first = (
            "One reference: all pairs of two genuine signatures of a writer against all pairs of a genuine one and a "
            "skilled forgery of it; random forgeries are genuine signatures of two writers, at most "
            f"{MOST_RANDOM_PAIRS:,} pairs drawn at random. Compared were {told}."
        )
    second = (
        f"{measured.references} references: the first {measured.references} genuine signatures of a writer, in the "
        "order of the entries, are its references; its other signatures and its forgeries are questioned. Random "
        "forgeries are questioned genuine signatures of other writers, at most "
        f"{MOST_RANDOM_SETS:,} drawn at random ({against:,} of {sets[RANDOM]:,})."
    )
    if measured.sets.left_out:
        names = ", ".join(measured.writers[number] for number in measured.sets.left_out[:FEW_WRITERS])
        second += f" {len(measured.sets.left_out):,} writers have too few genuine signatures for that: {names}."
    third = (
        f"Intervals hold 95% of {ROUNDS:,} rounds in which the writers were drawn anew with replacement. One threshold "
        f"serves all writers in every figure. The protocol is {protocol}."
    )
    return [first, second, third]


def headline(report: dict[str, Any]) -> dict[str, Any]:
    """What the pages show of a report without opening it."""
    names = ("eer", "eer_low", "eer_high", "auc", "cllr", "cllr_min", "genuine", "forged")
    shown = {
        key: {kind: {name: report[key][kind].get(name) for name in names} for kind in ("skilled", "random")}
        for key in ("pair", f"refs{report['references']}")
    }
    more = ("protocol", "references", "warnings", "cllr", "cllr_note", "floor_beaten", "counts", "date")
    return shown | {name: report[name] for name in more}


def curves_of(measured: Measured) -> dict[str, dict[int, Roc]]:
    """The operating points by protocol (``pair``, ``refsN``) and kind of forgery, of those that there are."""
    named = (("pair", measured.pair_scores), (f"refs{measured.references}", measured.set_scores))
    return {key: _rocs(scores) for key, scores in named if (scores.kind == GENUINE).any()}


def _rocs(scores: Scores) -> dict[int, Roc]:
    genuine = scores.side(GENUINE, scores.score)
    kinds = [kind for kind in (SKILLED, RANDOM) if (scores.kind == kind).any()]
    return {kind: roc(genuine, scores.side(kind, scores.score)) for kind in kinds}


def _counts(measured: Measured) -> dict[str, Any]:
    def by_kind(scores: Scores) -> dict[str, int]:
        return {word: int((scores.kind == code).sum()) for code, word in enumerate(KINDS)}

    return {
        "pairs": by_kind(measured.pair_scores),
        "pairs_possible": dict(zip(KINDS, measured.pairs.possible, strict=True)),
        "sets": by_kind(measured.set_scores),
        "sets_possible": dict(zip(KINDS, measured.sets.possible, strict=True)),
        "writers_without_sets": len(measured.sets.left_out),
    }


def _floor(measured: Measured, forged: int) -> dict[str, Any]:
    """By statistic: its AUC on the images as the protocol leaves them, and on the scans."""
    if measured.statistics is None:
        return {}
    pairs = measured.pairs
    left, raw = (floor(side, pairs.first, pairs.second, pairs.kind, forged) for side in measured.statistics)
    if left is None or raw is None:
        return {}
    rows = zip(STATISTICS, left, raw, strict=True)
    return {name: {"auc": one, "raw_auc": two} for name, one, two in rows}


def _not_beaten(rows: dict[str, Any], model_auc: float | None) -> list[str]:
    """The statistics that part the pairs as well as the model does, or better, in either direction."""
    if model_auc is None:
        return []
    return [name for name, row in rows.items() if max(row["auc"], 1 - row["auc"]) >= model_auc]


def _warnings(measured: Measured, found: Figures, beaten_by: list[str]) -> list[str]:
    said = []
    if beaten_by:
        reached = {name: found["floor"][name]["auc"] for name in beaten_by}
        best = max(reached, key=lambda name: abs(reached[name] - 0.5))
        words = ", ".join(name.replace("_", " ") for name in beaten_by)
        said.append(
            f"The model does not beat the floor: {words} alone part these pairs as well or better (AUC of "
            f"{best.replace('_', ' ')} {reached[best]:.3f}, of the model {found['floor_model_auc']:.3f}). "
            "Its figures may come from pen, paper or scanner, not from the signatures."
        )
    if found["pair"]["skilled"]["eer"] is None:
        said.append("There are no skilled forgeries in these data: nothing is said of how the model withstands them.")
    if len(measured.writers) < FEW_WRITERS:
        said.append(f"Only {len(measured.writers)} writers were measured: read every figure with its interval.")
    keys = {"pair": "One reference", f"refs{measured.references}": f"{measured.references} references"}
    shown = {
        f"{words}, {kind} forgeries": found[key][kind]
        for key, words in keys.items()
        for kind in ("skilled", "random")
        if found[key][kind]["eer"] is not None
    }
    return said + _misfits(shown) + _faultless(shown, len(measured.writers))


def _misfits(shown: dict[str, Figures]) -> list[str]:
    """Where what the model tells and decides does not fit these data, however well its scores part them."""
    said = []
    misleading = [f"{words}: {row['cllr']:.2f}" for words, row in shown.items() if (row["cllr"] or 0.0) > 1]
    if misleading:
        said.append(
            f"The likelihood ratios mislead on these data: they cost more than saying nothing would (Cllr above 1; "
            f"{'; '.join(misleading)}). The model was calibrated on other signatures, or under another protocol. Do "
            "not use its verdicts here: train with writers of this kind."
        )
    for words, row in shown.items():
        own, bands = row["at_threshold"], row.get("bands")
        far, frr = (bands["forged"]["accept"], bands["genuine"]["reject"]) if bands else (own["far"], own["frr"])
        if (far + frr) / 2 > row["eer"] + FAR_OFF:
            said.append(
                f"The bounds of the model do not fit these data: it would accept {far:.1%} of the forgeries and reject "
                f"{frr:.1%} of the genuine signatures ({words[:1].lower()}{words[1:]}), where one bound could have "
                f"{row['eer']:.1%} of both."
            )
            break  # one sentence is enough: the table has the rest
    return said


def _faultless(shown: dict[str, Figures], writers: int) -> list[str]:
    """An interval of resampled writers is empty where no error was seen; that does not make errors impossible."""
    without = [f"{words[:1].lower()}{words[1:]}" for words, row in shown.items() if row["eer_high"] == 0]
    if not without:
        return []
    share = 1 - 0.05 ** (1 / writers)  # 95% sure: with more, a writer with errors would have been among them
    return [
        f"No error was seen with {' and '.join(without)}, so the interval there is empty. With {writers} writers it "
        f"cannot be excluded that up to {share:.0%} of all writers have errors."
    ]
