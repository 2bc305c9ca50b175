"""The report as one page: its head, the sections that have something to show, what was left out and what went wrong.

What lives here: putting it together. What does not: the sections' text (`sections`), tables, plots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.report.reading import BUSY_CORES, Run
from benchmarks.report.sections import SECTIONS, Section


@dataclass(frozen=True, slots=True)
class Frame:
    """What the page needs that is not in the run."""

    images: Mapping[str, str]
    """The plots' files by name, relative to the page."""
    method: str
    """The file that says how everything is measured, relative to the page."""
    note: str = ""
    """What whoever made it has to say about the run."""


def page(run: Run, frame: Frame) -> str:
    """Return the whole report as Markdown."""
    parts = [_head(run, frame), *(_shown(section, run, frame) for section in SECTIONS), *_ends(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: Run, frame: Frame) -> str:
    machine, plan = run.machine, run.raw["plan"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    changed = ", with changes that were not committed" if machine["uncommitted_changes"] else ""
    quick = "; quick, so fewer and shorter ones in what has no goal" if plan["quick"] else ""
    facts = [
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory']}, Linux {machine['kernel']}; "
        "clients and servers share it",
        f"Versions: Python {machine['python']}, {versions}; commit {machine['commit']}{changed}",
        f"Rounds: {plan['rounds']} a side, in turns{quick}; seed {plan['seed']}",
        *_noise(run), *([frame.note] if frame.note else ()),
    ]
    about = ("`make bench` measured this, all sides in the same run on the same machine; `make bench-report` wrote it "
             f"from the raw file.\n[How each number is made]({frame.method}) says what the tables cannot.")
    return "\n\n".join(["# Benchmarks: everything side by side", about, "\n".join(f"- {fact}" for fact in facts)])


def _noise(run: Run) -> Iterator[str]:
    busy = run.machine["busy_cores"]
    before = run.noise()
    if busy > BUSY_CORES or before:
        when = f"; before {', '.join(before)}" if before else ""
        yield (f"**The machine was not quiet.** Busy with something else: {busy} cores at the beginning{when}. Ratios "
               "within a round suffer less from that than all other numbers")


def _shown(section: Section, run: Run, frame: Frame) -> str:
    plots = [f"![{section.title}]({frame.images[name]})" for name in section.plots if name in frame.images]
    shown = [text for make in section.tables if (text := make(run).strip())]
    if not plots and not shown:
        return ""
    facts = run.facts(section.facts) if section.facts else {}
    return "\n\n".join([f"## {section.title}", section.text.format(**facts).strip(), *plots, *shown])


def _ends(run: Run) -> Iterator[str]:
    if lines := list(run.left_out()):
        yield "## Left out\n\n" + "\n".join(f"- {line}" for line in lines)
    if lines := list(run.trouble()):
        text = "These are part of the numbers above."
        yield f"## Wrong or failed answers\n\n{text}\n\n" + "\n".join(f"- {line}" for line in lines)
