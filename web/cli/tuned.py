"""What the command line prints of a search for settings."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from web.client import Document

SHOWN = 20  # trials, the best first


def show_tuning(report: Document, console: Console) -> None:
    """How the trials ended, the best of them, and the command that trains like it."""
    if "trials" in report:
        counts = report["trials"]
        console.print("  " + ", ".join(f"{counts[state]:,} {state}" for state in ("complete", "pruned", "failed")))
    best = report.get("best")
    if best:
        kinds = [kind for kind in ("skilled", "random") if kind in best["eers"]]
        against = ", ".join(f"{best['eers'][kind]:.1%} against {kind} forgeries" for kind in kinds)
        console.print(f"  best: trial {best['number']}, mean validation EER {best['value']:.1%} ({against})")
        console.print("  to train like it:")
        console.print(f"  {best['command']}", markup=False, soft_wrap=True)


def show_trials(trials: list[Document]) -> None:
    """The best trials, then those that were given up."""
    table = Table("trial", "mean EER", "state", "folds", "settings")
    complete = sorted((one for one in trials if one["state"] == "complete"), key=lambda one: float(one["value"]))
    others = [one for one in trials if one["state"] != "complete"]
    for trial in [*complete, *others][:SHOWN]:
        value = "" if trial["value"] is None else f"{trial['value']:.1%}"
        settings = ", ".join(f"{name} {value}" for name, value in trial["params"].items())
        state = f"{trial['state']}: {trial['code']}" if trial["code"] else trial["state"]
        table.add_row(str(trial["number"]), value, state, str(trial["folds"]), settings)
    console = Console(highlight=False)
    if trials:
        console.print(table)
    if len(trials) > SHOWN:
        console.print(f"  and {len(trials) - SHOWN:,} more; 'countersign results JOB' writes all of them as CSV.")
