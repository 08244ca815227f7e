"""What the command line prints of an identification."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from web.client import Document

FIGURES = {
    "accuracy": "answered rightly, of all labelled",
    "top1": "nearest category right, of those of a category",
    "named": "named rightly, of those of a category",
    "rejected": "rejected, of those of a category",
    "false_accepts": "named, of those of no category",
}


def show_identification(report: Document, console: Console) -> None:
    """What an identification found in its archive, what it answered, and how often rightly where that is known."""
    if "shots" not in report:
        return
    console.print(f"  {task_words(report)}, {report['test_images']:,} test images, threshold {report['threshold']:.4g}")
    strange, figures = report.get("strangers"), report.get("figures")
    if strange and not (figures and figures["false_accepts"]["of"]):  # where it is known nothing need be guessed
        other = f"; with the threshold {strange['threshold']:.4g} 5%" if strange["threshold"] else ""
        about = f"about {strange['rate']:.0%} ({strange['low']:.0%} to {strange['high']:.0%})"
        console.print(f"  of images of no category it would name {about}{other},", markup=False)
        console.print("  judged by how near the categories are to each other: others' images may be nearer or farther")
    if report["empty_categories"]:
        names = ", ".join(report["empty_categories"])
        console.print(f"  no usable image in the categories: {names}", style="yellow", markup=False)
    if report["skipped"]:
        console.print(f"  {report['skipped']:,} entries left out; the first:")
        for item in report["skipped_list"][:5]:
            console.print(f"    {item['entry']}: {item['reason']} [{item['code']}]", markup=False)
    if "answers" not in report:
        return
    counts = report["answers"]
    console.print(f"  named {counts['named']:,}, none of these {counts['none']:,}, not readable {counts['error']:,}")
    if report["identical"]:
        console.print(f"  {report['identical']:,} test images are pixel for pixel images of a category", style="yellow")
    if report["figures"]:
        console.print(_figures_table(report["figures"]))
        for pair in report["figures"]["confusions"][:5]:
            console.print(f"  {pair['truth']} taken for {pair['category']}: {pair['count']:,}", markup=False)


def task_words(report: Document) -> str:
    """``5-way 1-shot``, as the literature says it."""
    low, high = report["shots"]
    return f"{report['categories']}-way {low if low == high else f'{low} to {high}'}-shot"


def _figures_table(figures: Document) -> Table:
    table = Table("share", "rate", "95% interval", "images")
    for name, words in FIGURES.items():
        figure = figures[name]
        if figure["of"]:
            interval = f"{figure['low']:.1%} to {figure['high']:.1%}"
            table.add_row(words, f"{figure['rate']:.1%}", interval, f"{figure['count']:,} of {figure['of']:,}")
    return table
