"""ACCURACY.md and accuracy.json: the aims beside what was found, the floor, and how it was measured."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.accuracy.folds import CALIBRATION, FOLDS, SEED, SELECTION
from benchmarks.accuracy.recipe import CHOICE, PAIR_AIMS, PROTOCOLS, REFERENCES, SET_AIMS, TITLES
from benchmarks.accuracy.results import SETS

LIBRARIES = ("torch", "numpy", "opencv-python-headless", "countersign")
COMMAND = "make accuracy CEDAR=<folder of CEDAR> ICDAR=<folder of ICDAR 2011 Dutch>"

Document = dict[str, Any]
Cells = Iterable[str]


def machine() -> dict[str, Any]:
    """What it ran on, without the name of the host."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "processor": _processor(),
        "system": platform.system(),
        "torch_threads": torch.get_num_threads(),
        "gpu": gpu,
        "libraries": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    names = listed.read_text().splitlines() if listed.exists() else []
    found = next((line.split(":", 1)[1].strip() for line in names if line.startswith("model name")), "")
    return found or platform.processor() or platform.machine()


def render(document: Document) -> str:
    """The page."""
    parts = [
        "# Accuracy",
        "Written by the command below; do not edit. Rates are in per cent; in brackets their 95% intervals.",
        f"`{COMMAND}`\n\n{_circumstances(document)}",
        "## Pairs: one questioned signature, one reference\n\n" + _aims(document, "pair", PAIR_AIMS),
        _key_to_aims(),
        f"## Reference sets: {REFERENCES} references of a writer\n\n" + _aims(document, SETS, SET_AIMS),
        f"Beside it, the plain mean distance to the {REFERENCES} references:\n\n" + _mean_distance(document),
        "## EER by number of references\n\n" + _curve(document),
        _key_to_curve(),
        "## Likelihood ratios and verdicts\n\n" + _calibration(document),
        "## The floor: one trivial statistic of the pixels, without any model\n\n" + _floor(document),
        _key_to_floor(),
        "## Folds\n\n" + _folds(document),
        "## How it was measured\n\n" + _protocol(document),
        "## What was tuned on which writers\n\n" + _tuned(),
    ]
    return "\n\n".join(parts) + "\n"


def _circumstances(document: Document) -> str:
    machine, seconds = document["machine"], sum(run["seconds"] for run in document["runs"])
    libraries = ", ".join(f"{name} {number}" for name, number in machine["libraries"].items())
    return (
        f"{document['date']}; {machine['processor']}, {machine['torch_threads']} torch threads, GPU: {machine['gpu']}; "
        f"{libraries}; code {document['code']}. {len(document['runs'])} trainings with their tests took "
        f"{seconds / 60:.0f} minutes. Everything in figures, and the writers of every part: `accuracy.json`."
    )


def _aims(document: Document, key: str, aims: Mapping[str, tuple[float | None, ...]]) -> str:
    """Aims beside results; random forgeries under both protocols against the one aim."""
    heading = [
        "tested",
        "protocol",
        "skilled: aim",
        "skilled: found",
        "pooled",
        "random: aim",
        "random: found",
        "pooled",
    ]
    lines = []
    for name in TITLES:
        for place, protocol in enumerate(PROTOCOLS):
            found = _found(document, name, protocol)
            if found is None:
                continue
            goal = aims.get(name, (None, None, None))
            cells = [TITLES[name], protocol]
            for kind, aim in (("skilled", goal[place]), ("random", goal[2])):
                own = found[key][kind]
                cells += [_aim(aim, own["eer"]), _with_interval(own), _with_interval(own["pooled"])]
            lines.append([*cells, _against_floor(found)] if key == "pair" else cells)
    return _table([*heading, "AUC: model, floor"] if key == "pair" else heading, lines)


def _against_floor(found: Document) -> str:
    """The model's AUC against skilled forgeries beside the best that one statistic alone reaches on the same pairs."""
    best, auc = max(((name, one["auc"]) for name, one in found["floor"].items()), key=lambda one: abs(one[1] - 0.5))
    return f"{_number(found['floor_model_auc'])}, {_number(auc)} ({best.replace('_', ' ')})"


def _mean_distance(document: Document) -> str:
    lines = [
        [TITLES[name], protocol, *(_with_interval(found[SETS][kind].get("mean_distance", {})) for kind in _KINDS)]
        for name, protocol, found in _all(document)
    ]
    return _table(["tested", "protocol", "skilled", "random"], lines)


def _curve(document: Document) -> str:
    sizes = [point["references"] for _, _, found in _all(document) for point in found["curve"]]
    heading = ["tested", "protocol", *(str(size) for size in sorted(set(sizes)))]
    lines = [
        [TITLES[name], protocol, *(_point(one, found["curve"]) for one in found["curve"])]
        for name, protocol, found in _all(document)
    ]
    return _table(heading, lines)


def _point(one: Document, curve: Sequence[Document]) -> str:
    """EERs at one size, with the number of writers where some are missing."""
    told = f"{_rate(one['skilled']) or '-'} / {_rate(one['random']) or '-'}"
    return told if one["writers"] == curve[0]["writers"] else f"{told} ({one['writers']} writers)"


def _calibration(document: Document) -> str:
    heading = ["tested", "protocol", "references", "Cllr", "least Cllr", "FAR accept", "FRR reject", "in review"]
    lines = []
    for name, protocol, found in _all(document):
        for key, count in (("pair", "1"), (SETS, str(REFERENCES))):
            own = found[key]["skilled"]
            bands = own["bands"]
            review = f"{_rate(bands['review_genuine'])} / {_rate(bands['review_forged'])}"
            costs = (_number(own["cllr"]), _number(own["cllr_min"]))
            lines.append([TITLES[name], protocol, count, *costs, _rate(bands["far"]), _rate(bands["frr"]), review])
    targets = document["recipe"]["target_far"], document["recipe"]["target_frr"]
    return (
        f"{_table(heading, lines)}\n\nAgainst skilled forgeries, means over the folds. Cllr in bits: 1 is what no "
        "information costs, the least is what discrimination alone costs. FAR is the share of forgeries that the "
        "verdict accept lets pass, FRR that of genuine signatures turned away by reject, both by bands set on the "
        f"calibration writers, aiming at {_rate(targets[0])} and {_rate(targets[1])}; in review: genuine / forged."
    )


def _floor(document: Document) -> str:
    names = list(dict.fromkeys(statistic for _, _, found in _all(document) for statistic in found["floor"]))
    heading = ["tested", "protocol", "**the model**", *(name.replace("_", " ") for name in names)]
    lines = [
        [TITLES[name], protocol, f"**{_number(found['floor_model_auc'])}**"]
        + [f"{_number(found['floor'][one]['auc'])} ({_number(found['floor'][one]['raw_auc'])})" for one in names]
        for name, protocol, found in _all(document)
    ]
    return _table(heading, lines)


def _folds(document: Document) -> str:
    heading = ["run", "protocol", "tested", "writers tested", "pair EER skilled", "random", "minutes"]
    lines = []
    for run in document["runs"]:
        for name, found in run["figures"].items():
            writers = sum(writer.startswith(f"{name}/") for writer in run["writers"]["test"])
            eers = [_with_interval(found["pair"][kind]) for kind in _KINDS]
            lines.append([run["run"], run["protocol"], TITLES[name], str(writers), *eers, f"{run['seconds'] / 60:.1f}"])
    return _table(heading, lines)


def _protocol(document: Document) -> str:
    sizes = ", ".join(
        f"{TITLES[name]} {one['writers']} writers ({one['genuine']:,} genuine, {one['forged']:,} forged)"
        for name, one in document["data"].items()
    )
    return "\n".join(
        f"- {line}"
        for line in (
            f"Data: {sizes}; their digests are in the JSON.",
            "grey-ink: the paper is taken away (Otsu's threshold), the greys of the ink stay. binary-ink: all ink is "
            "black, so that pen and scanner are gone and only the drawing is left. Training, selection, calibration "
            "and test are under the same protocol.",
            f"{FOLDS} folds over the writers of each set, in order of their numbers, permuted with the seed {SEED}; "
            f"fold k is every {FOLDS}th. One model a fold and protocol, trained and tested on writers of that set. "
            "Every writer is tested once.",
            f"Of a set's writers that are not tested, {SELECTION} choose the weights and set the threshold, "
            f"{CALIBRATION} calibrate the likelihood ratios and the set score, the others train. No writer, and no "
            "image by the digest of its pixels, plays two parts: the code refuses to run otherwise.",
            "From one set to the other: trained, selected and calibrated on writers of the one, tested on all writers "
            "of the other, once.",
            "Pair EER: all pairs of two genuine signatures of a writer against all pairs of a genuine one and a "
            "skilled forgery of it, one threshold for all writers. Random: against pairs of genuine signatures of two "
            "writers of the set, drawn at random where they are very many.",
            f"Reference sets: a writer's first {REFERENCES} genuine signatures in the order of the file names are the "
            "references, the other genuine ones and the forgeries are questioned; one threshold for all writers on the "
            "score that verification judges by.",
        )
    )


def _tuned() -> str:
    fixed = (
        "Weights: learned on the training writers of the fold. Which epoch, and the distance threshold: the selection "
        "writers. Likelihood ratios, set score and bands: the calibration writers. Nothing was set on the test "
        "writers of a fold by this command, but for a network that keeps the scan's scale: the whole factor that "
        "brings a set's scans to a common resolution comes from the widths of signatures of the whole set, without "
        "their labels."
    )
    return "\n\n".join((fixed, *CHOICE))


def _key_to_aims() -> str:
    return (
        "An aim is met (✓) where the mean over the folds is below it. Found: each fold's EER by its own model and "
        "threshold, mean over the folds, interval by Student's t over the folds; from one set to the other there is "
        "one run, and the interval is by bootstrap over its writers. Pooled: the likelihood ratios of all folds in one "
        "heap under one threshold, interval by bootstrap over all writers. Floor: what the best single statistic of "
        "the pixels reaches on these very pairs without any model. Where it is high, as in grey-ink, pen and scanner "
        "can explain a part of the result, and binary-ink is the honest figure."
    )


def _key_to_curve() -> str:
    return (
        f"Skilled / random, by the fused score. Up to {REFERENCES} references the questioned images are the same for "
        "every size. Beyond, only writers with signatures to spare count, too few in ICDAR to read anything into it."
    )


def _key_to_floor() -> str:
    return (
        "AUC of pairs against skilled forgeries, mean over the folds, on the images as the protocol leaves them and, "
        "in brackets, on the scans. 0.5 says nothing. What a statistic reaches, a model could reach without looking at "
        "the handwriting; the model must be far above it."
    )


_KINDS = ("skilled", "random")


def _all(document: Document) -> list[tuple[str, str, Document]]:
    rows = ((name, protocol, _found(document, name, protocol)) for name in TITLES for protocol in PROTOCOLS)
    return [(name, protocol, found) for name, protocol, found in rows if found is not None]


def _found(document: Document, name: str, protocol: str) -> Document | None:
    found: Document | None = document["results"].get(name, {}).get(protocol)
    return found


def _table(heading: Sequence[str], lines: Iterable[Cells]) -> str:
    rows = [heading, ["---", "---", *("---:" for _ in heading[2:])], *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _aim(aim: float | None, found: float | None) -> str:
    if aim is None:
        return ""
    return f"< {100 * aim:.1f} {'✓' if found is not None and found < aim else '✗'}"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _with_interval(own: Mapping[str, float | None]) -> str:
    if own.get("eer") is None:
        return ""
    if own.get("eer_low") is None:
        return _rate(own["eer"])
    return f"{_rate(own['eer'])} ({_rate(own['eer_low'])} to {_rate(own['eer_high'])})"
