"""One number as a sum of products, term by term: as text for people, as data for the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import showing
from ..text import columns, index_text

Array = NDArray[np.floating]
Index = tuple[int, ...]


@dataclass(frozen=True)
class Term:
    """x * factor.

    position   where it stands in the sum: for a gradient the output's position, for an output
               the place in the window or the number of the input
    source     the index of x in the layer's input; None for padding, and for what is no input
    x          in a sum that makes a dx it is a dy, and the source its place in the layer's dy
    """

    position: Index
    source: Index | None
    x: float
    factor: float

    @property
    def product(self) -> float:
        return self.x * self.factor


@dataclass(frozen=True, repr=False)
class Sum:
    """constant + the sum of the terms' products, the largest first.

    formula   the same in letters
    factor    what the terms' factor is called in it: "dy", "W", ...
    first     what the terms' x is called in it: "x", or "dy" where the sum makes a dx
    """

    formula: str
    factor: str
    terms: list[Term]
    constant: float = 0.0
    first: str = "x"

    def __post_init__(self) -> None:
        self.terms.sort(key=lambda term: -abs(term.product))

    @cached_property
    def total(self) -> float:
        return math.fsum([self.constant, *(term.product for term in self.terms)])

    def rest(self, shown: int) -> float:
        """The sum of all terms but the first `shown`."""
        return math.fsum(term.product for term in self.terms[shown:])

    def grid(self, what: str) -> Array:
        """Every term's "x", "factor" or "product" at its position, NaN where there is no term.

        For an output of a convolution "x" is the patch and "factor" the filter, (kh, kw, c); for a
        gradient "product" is a map of what each position contributes.
        """
        axes = zip(*(term.position for term in self.terms), strict=True)
        found = np.full([max(axis) + 1 for axis in axes], np.nan)
        for term in self.terms:
            found[term.position] = getattr(term, what)
        return found

    def text(self, most: int = 10) -> str:
        """The formula, the largest terms, the rest in one line, and the total."""
        head = ("position", "from", self.first, self.factor, "product")
        lines = [
            (index_text(t.position), "-" if t.source is None else index_text(t.source))
            + tuple(f"{value:+.6g}" for value in (t.x, t.factor, t.product))
            for t in self.terms[:most]
        ]
        if len(self.terms) > most:
            lines.append(
                (f"{len(self.terms) - most:,} more", "", "", "", f"{self.rest(most):+.6g}")
            )
        if self.constant:
            lines.append(("constant", "", "", "", f"{self.constant:+.6g}"))
        lines.append(("sum", "", "", "", f"{self.total:+.10g}"))
        return "\n".join([self.formula, *columns([head, *lines], left=2)])

    def __repr__(self) -> str:
        formula = showing.shortened(self.formula)
        return f"Sum({formula!r}, {len(self.terms):,} terms, total {self.total:+.6g})"

    def _repr_html_(self) -> str:
        return self.html()

    def html(self, most: int = 10) -> str:
        """What `text` says, as a table, and each position's product as a picture."""
        head = ("position", "from", self.first, self.factor, "product")
        rows: list[Sequence[str]] = [
            (
                index_text(t.position),
                "-" if t.source is None else index_text(t.source),
                *(f"{value:+.6g}" for value in (t.x, t.factor, t.product)),
            )
            for t in self.terms[:most]
        ]
        if len(self.terms) > most:
            more = f"{len(self.terms) - most:,} more"
            rows.append((more, "", "", "", f"{self.rest(most):+.6g}"))
        if self.constant:
            rows.append(("constant", "", "", "", f"{self.constant:+.6g}"))
        foot = ("sum", "", "", "", f"{self.total:+.10g}")
        return showing.table(head, rows, self.formula, left=2, foot=foot) + self._pictures()

    def _pictures(self) -> str:
        """x, the factor and their product where they lie on a grid that is worth a picture."""
        if len(self.terms) < 4 or len(self.terms[0].position) not in (2, 3):
            return ""
        named = ((self.first, "x"), (self.factor, "factor"), ("product", "product"))
        return showing.pictures((name, self.grid(what)) for name, what in named)

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        """All of it in values that JSON knows; `most` terms, or all."""
        shown = len(self.terms) if most is None else most
        return {
            "formula": self.formula,
            "factor": self.factor,
            "first": self.first,
            "terms": [{**vars(term), "product": term.product} for term in self.terms[:shown]],
            "more": max(len(self.terms) - shown, 0),
            "rest": self.rest(shown),
            "constant": self.constant,
            "total": self.total,
        }
