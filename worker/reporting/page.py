"""``report.html``: an evaluation for people, in one file that needs nothing beside it and runs no script."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from worker.reporting.svg import STYLE, Plot
from worker.reporting.words import Markup, facts, html, listing, number, paragraph, percent, ranged, share, table

Report = dict[str, Any]

WRITERS_SHOWN = 15
STATISTICS = {
    "background_median": "Median of the background",
    "darkest_pixel": "Darkest pixel",
    "mean_ink": "Mean grey of the ink",
    "otsu_threshold": "Otsu's threshold",
    "stroke_width": "Mean stroke width",
    "ink_fraction": "Ink's share of its box",
    "aspect": "Width over height",
}
PROTOCOLS = {
    "grey-ink": "The background is removed and the ink keeps its grey levels.",
    "binary-ink": "Background removed and ink made black: pen and scanner are gone, only the drawing is left.",
}


def render(report: Report, plots: Mapping[str, Plot]) -> str:
    """The page of ``report`` (as ``report.json`` has it) with its ``plots`` by name."""
    title = f"Evaluation of {report['model']['label']}"
    parts = [_head(report, title), _warnings(report), _headline(report), _plots(plots)]
    parts += [_operating(report), _bands(report), _floor(report), _writers(report), _method(report)]
    style = (files("worker.reporting") / "report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html(title)}</title><style>{style}{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def refs_key(report: Report) -> str:
    """Where the report has the figures of reference sets, such as ``refs8``."""
    return f"refs{report['references']}"


def groups(report: Report) -> list[tuple[str, dict[str, Any]]]:
    """The four headline figures, those that there are, each with its name in words."""
    sets = f"{report['references']} references"
    named = [("pair", "One reference"), (refs_key(report), sets)]
    return [
        (f"{words}, {kind} forgeries", report[key][kind])
        for key, words in named
        for kind in ("skilled", "random")
        if report[key][kind]["eer"] is not None
    ]


def _section(title: str, *parts: str) -> Markup:
    body = "".join(part for part in parts if part)
    return Markup(f"<section><h2>{html(title)}</h2>{body}</section>") if body else Markup("")


def _head(report: Report, title: str) -> Markup:
    data, model = report["data"], report["model"]
    said = facts(
        (
            ("Protocol", report["protocol"]),
            ("Data", f"{data['name']} ({data['layout']} layout)"),
            ("Writers", number(report["counts"]["writers"])),
            (
                "Signatures",
                f"{number(report['counts']['genuine'])} genuine, {number(report['counts']['forged'])} forged",
            ),
            ("Date", report["date"][:16].replace("T", " ") + " UTC"),
        )
    )
    digest = paragraph(
        Markup(f"Model <code>{html(model['digest'])}</code><br>Data <code>{html(data['digest'])}</code>")
    )
    return Markup(
        f"<header><h1>{html(title)}</h1>{paragraph(PROTOCOLS[report['protocol']], 'lead')}{said}{digest}</header>"
    )


def _warnings(report: Report) -> Markup:
    if not report["warnings"]:
        return Markup("")
    return Markup(f'<section class="warn"><h2>Read this first</h2>{listing(report["warnings"])}</section>')


def _headline(report: Report) -> Markup:
    rows = [
        (
            words,
            ranged(found, "eer"),
            ranged(found, "auc", share),
            ranged(found["at_threshold"], "far"),
            ranged(found["at_threshold"], "frr"),
            share(found["cllr"]),
            share(found["cllr_min"]),
            f"{found['genuine']:,} / {found['forged']:,}",
        )
        for words, found in groups(report)
    ]
    headings = ("", "EER", "AUC", "FAR at own threshold", "FRR at own threshold", "Cllr", "Least Cllr", "Comparisons")
    note = (
        "Below each figure: its 95% interval, from resampling the writers. EER: the rate at which as many forgeries "
        "are accepted as genuine signatures are rejected. Cllr: the cost in bits of the likelihood ratios told; 1 is "
        "what saying nothing costs, and the least Cllr is what this score could reach at best. "
        "Comparisons: genuine / forged."
    )
    parts = [listing(_plainly(report)), table("The figures", headings, rows), paragraph(note, "note")]
    if report["cllr_note"]:
        parts.append(paragraph(report["cllr_note"], "note"))
    return _section("What was found", *parts)


def _plainly(report: Report) -> list[str]:
    """The headline in sentences."""
    said = []
    for words, found in groups(report):
        sentence = (
            f"{words}: at the best single threshold {percent(found['eer'])} of the forgeries pass and as many genuine "
            "signatures fail."
        )
        if found.get("mean_distance"):
            sentence += f" By the mean distance alone it would be {percent(found['mean_distance']['eer'])}."
        said.append(f"{sentence} {_as_used(found)}")
    return said


def _as_used(found: dict[str, Any]) -> str:
    """What the model does with these comparisons when it verifies: by its bands, or else by its threshold."""
    bands, at = found.get("bands"), found["at_threshold"]
    if bands:
        forged, genuine = bands["forged"], bands["genuine"]
        return (
            f"The model itself accepts {percent(forged['accept'])} of the forgeries and rejects "
            f"{percent(genuine['reject'])} of the genuine signatures; {percent(forged['review'])} and "
            f"{percent(genuine['review'])} go to review."
        )
    return (
        f"At the model's own threshold, a distance of {number(at['threshold'])}, {percent(at['far'])} of the forgeries "
        f"pass and {percent(at['frr'])} of the genuine signatures fail."
    )


def _plots(plots: Mapping[str, Plot]) -> Markup:
    drawn = "".join(f"<figure><figcaption>{html(p.title)}</figcaption>{p.render()}</figure>" for p in plots.values())
    return _section("Curves", Markup(f'<div class="plots">{drawn}</div>'))


def _operating(report: Report) -> Markup:
    tables: list[str] = []
    found = groups(report)
    for fixed, told, title in (
        ("frr", "far", "Forgeries accepted (FAR) where at most so many genuine signatures are rejected"),
        ("far", "frr", "Genuine signatures rejected (FRR) where at most so many forgeries are accepted"),
    ):
        name = f"{told}_at_{fixed}"
        rates = [row[fixed] for row in found[0][1][name]] if found else []
        rows = [(words, *(ranged(row, told) for row in figures[name])) for words, figures in found]
        headings = ("", *(f"{fixed.upper()} {percent(rate, 0)}" for rate in rates))
        tables.append(table(title, headings, rows))
    return _section("Other operating points", *tables)


def _bands(report: Report) -> Markup:
    rows = []
    for words, found in groups(report):
        bands = found.get("bands") or {}
        for side in [side for side in ("genuine", "forged") if side in bands]:
            shares = (percent(bands[side][verdict]) for verdict in ("accept", "review", "reject"))
            rows.append((f"{words}: {side}", *shares))
    if not rows:
        return Markup("")
    return _section("Verdicts that the model would give", table("", ("", "Accept", "Review", "Reject"), rows))


def _floor(report: Report) -> Markup:
    if not report["floor"]:
        return Markup("")
    rows = [(STATISTICS[name], share(row["auc"]), share(row["raw_auc"])) for name, row in report["floor"].items()]
    words = (
        "One plain number of each image, and no model at all: how well does its difference part the pairs? 0.5 says "
        "nothing, 0 and 1 part them wholly. A model that does not beat all of them may owe its figures to pen, paper "
        f"or scanner. The model's own AUC on these pairs is {share(report['floor_model_auc'])}."
    )
    headings = ("", f"AUC, {report['protocol']}", "AUC, scans as they came")
    return _section("The floor: what trivial statistics reach", paragraph(words), table("The floor", headings, rows))


def _writers(report: Report) -> Markup:
    rows = [
        (
            row["writer"],
            percent(row["frr"]),
            percent(row["far_skilled"]),
            percent(row["far_random"]),
            f"{row['genuine']:,} / {row['skilled']:,} / {row['random']:,}",
        )
        for row in report["by_writer"][:WRITERS_SHOWN]
    ]
    words = "One threshold for everybody, that of the EER with one reference. The worst writers come first"
    words += f" ({WRITERS_SHOWN} of {len(report['by_writer'])} are shown; writers.csv has all)."
    headings = ("Writer", "FRR", "FAR, skilled", "FAR, random", "Genuine / skilled / random")
    return _section("Writers", paragraph(words), table("Writers, worst first", headings, rows))


def _method(report: Report) -> Markup:
    libraries = ", ".join(f"{name} {version}" for name, version in report["libraries"].items())
    parts = [paragraph(words) for words in report["method"]]
    return _section("How this was measured", *parts, facts((("Seed", report["seed"]), ("Made with", libraries))))
