"""What a diagnosis says: whether something is right, and if not, what was found and where."""

import html
import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from .causes import CAUSES


@dataclass(frozen=True)
class Finding:
    """An explanation that fits: a cause's short name, the numbers that speak for it, and where."""

    cause: str
    evidence: str
    where: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a layer, a loss or an optimizer.

    passed     nothing was found
    cause      the short name of what is wrong, a key of `CAUSES`; None where all is right, and
               where something is wrong that no explanation fits
    title      the same in half a line
    text       a paragraph: what is seen, why, and how to find it by hand
    evidence   the numbers, in one line
    where      the array and the index where it is worst
    others     short names of further causes that fit the same numbers
    """

    passed: bool
    cause: str | None = None
    title: str = ""
    text: str = ""
    evidence: str = ""
    where: str = ""
    others: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it in values that JSON knows."""
        return {**asdict(self), "others": list(self.others)}

    def __str__(self) -> str:
        if self.passed:
            return f"right: {self.evidence}"
        lines = [f"wrong: {self.title}"]
        lines += [f"  where     {self.where}"] if self.where else []
        lines += [f"  evidence  {self.evidence}"] if self.evidence else []
        lines += textwrap.wrap(self.text, 88, initial_indent="  ", subsequent_indent="  ")
        if self.others:
            lines.append(f"  It may also be: {'; '.join(CAUSES[o].title for o in self.others)}.")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if self.passed:
            return f"<p><b>Right</b>: {html.escape(self.evidence)}</p>"
        rows = [("where", self.where), ("evidence", self.evidence)]
        rows += [("or", CAUSES[other].title) for other in self.others]
        table = "".join(
            f"<tr><th style='text-align:left'>{head}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for head, value in rows
            if value
        )
        title, text = html.escape(self.title), html.escape(self.text)
        return f"<p><b>Wrong</b>: {title}</p><table>{table}</table><p>{text}</p>"


#: said where no explanation fits
UNKNOWN = (
    "The numbers are wrong, and none of the usual explanations fits. Begin with the entry that is "
    "worst: choose the smallest input that still shows it, compute that one entry on paper, and "
    "compare every intermediate number with what the program prints."
)


def right(evidence: str) -> Diagnosis:
    return Diagnosis(True, evidence=evidence)


def wrong(findings: list[Finding]) -> Diagnosis:
    """The first finding is the cause, further ones are mentioned."""
    first, others = findings[0], [f.cause for f in findings[1:]]
    cause = CAUSES[first.cause]
    rest = tuple(o for o in dict.fromkeys(others) if o != first.cause)
    return Diagnosis(False, first.cause, cause.title, cause.text, first.evidence, first.where, rest)


def unknown(where: str, evidence: str) -> Diagnosis:
    title = f"cause unknown, worst at {where}" if where else "cause unknown"
    return Diagnosis(False, None, title, UNKNOWN, evidence, where)
