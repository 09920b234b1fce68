"""Docstrings in HTML as they are written.

Ours are plain text: columns are aligned by spaces, formulas stand in indented blocks. Read as
Markdown they would run together. Here a paragraph of prose stays prose, and every other line stays
a line.
"""

import html
import re
from collections.abc import Iterator

from markupsafe import Markup

#: source lines end here; a docstring's own indentation is taken off
LINE_LENGTH = 100
#: a column further to the right is too far for the lines that go on under it on a narrow screen
FAR = 18


def as_written(text: str, width: int = LINE_LENGTH) -> str:
    """A docstring in HTML: paragraphs of prose, and lines of columns, formulas or code.

    width    of the lines as they were written. What was broken because the line was full may be
             broken elsewhere on another screen; every other line break is kept.
    """
    out: list[str] = []
    lines_before = False
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        lines = paragraph.split("\n")
        prose = not any(line.startswith(" ") or _column(line) for line in lines)
        broken = "".join(_prose(lines, width) if prose else _columns(lines, width))
        if prose:
            out.append(f"<p>{broken}</p>")
        elif lines_before:  # one block, so that columns go on below each other
            out[-1] = out[-1].removesuffix("</div>") + f'<div class="gap"></div>{broken}</div>'
        else:
            out.append(f'<div class="lines">{broken}</div>')
        lines_before = not prose
    return "\n".join(out)


def _column(line: str) -> int:
    """Where the text after a label begins, "Shapes    x (n, d)"; 0 if there is none."""
    found = re.match(r" *\S+(?: \S+)* {2,}(?=\S)", line)
    return found.end() if found else 0


def _was_full(line: str, following: str, width: int) -> bool:
    """Whether a line was broken only because the next word did not fit."""
    if "=" in line and following.lstrip()[0].isupper():  # a formula, and a new sentence
        return False
    left = width - len(line) - 1 - len(following.split()[0])
    return left < 4 or (left < 9 and line[-1] not in ".;:)")


def _prose(lines: list[str], width: int) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield _marked(line, quotes=False)
        if number + 1 < len(lines):
            yield "\n" if _was_full(line, lines[number + 1], width) else "<br>\n"


def _columns(lines: list[str], width: int) -> Iterator[str]:
    """Each line, with those that go on under it, as a block that is indented like its text."""
    rest = list(lines)
    while rest:
        line = rest.pop(0)
        indent = len(line) - len(line.lstrip())
        at = _column(line) or indent
        together = [line]
        while (
            rest
            and not _column(rest[0])
            and at == len(rest[0]) - len(rest[0].lstrip())
            and _was_full(together[-1], rest[0], width)
        ):
            together.append(rest.pop(0))
        begin, narrow = (at, at) if at <= FAR else (indent, indent + 4)
        text = _marked("\n".join([line[begin:], *together[1:]]), quotes=True)
        name = "line on" if len(together) > 1 else "line"
        label = f"<span>{_marked(line[:begin], quotes=True)}</span>"
        yield f'<div class="{name}" style="--at:{narrow}ch">{label}{text}\n</div>'


def _marked(text: str, quotes: bool) -> str:
    """Escaped, `code` and **bold** marked; with quotes the backticks stay, columns depend on it."""
    text = html.escape(text, quote=False)
    quote = "`" if quotes else ""
    text = re.sub(r"`([^`\n]+)`", rf"{quote}<code>\1</code>{quote}", text)
    return text if quotes else re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)


def first_sentence(text: str) -> Markup:
    """A docstring's first paragraph, up to its first full stop, in one line."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return Markup(_marked(re.split(r"(?<=\.)\s", paragraph)[0], quotes=False))
