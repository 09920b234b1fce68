"""What is read of pictures that people really take: the whole table, by one command.

    python benchmarks/reading.py                    every series at full size (some ten minutes)
    python benchmarks/reading.py --quick            an eighth of each
    python benchmarks/reading.py --only number      the series whose names contain the word
    python benchmarks/reading.py --sheets DIR       and a contact sheet of each, mistakes marked
    python benchmarks/reading.py --mistakes DIR     and ten mistakes of each, with what was seen

The pictures are made by `scratchnet.datasets.photos`, from MNIST's test digits, and go through the
product's own path. `before` is what the path of version 0.1.0 read of the same pictures, of the
first so many as reading_before.json says.
The last line is the calibration of what was named in the series of single digits: by how much the
network's confidence and its accuracy differ.
Counted as right: of a digit, the digit; of a number, all its digits and no other; of a table, each
digit by itself; of a blank page, that nothing is read; of a letter, that it is said to be no digit;
of two digits, that they are said to be several.
"""

import argparse
import json
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

import scratchnet as sn
from scratchnet.datasets import photos
from scratchnet.pictures.answers import shipped_judge

REFUSED = "refused"
BEFORE = Path(__file__).with_name("reading_before.json")


class Named(str):
    """The digit that was read, with the network's probabilities (10,)."""

    probabilities: np.ndarray


def read_digit(picture, model) -> str:
    """The digit, or why there is none."""
    try:
        answer = sn.pictures.look(picture, model)
    except sn.InputError:
        return REFUSED
    if answer.digit is None:
        return "several" if answer.several else "no digit"
    named = Named(answer.digit)
    named.probabilities = answer.probabilities
    return named


def read_number(picture, model) -> str:
    """All digits, a space between lines."""
    try:
        reader = sn.line_reader.for_classes(model.class_names)
        reading = sn.pictures.sequences.read(picture, model, shipped_judge(), reader)
    except sn.InputError:
        return REFUSED
    return " ".join("".join(str(digit.label) for digit in line) for line in reading.lines)


def only_digits(text: str) -> str:
    return "".join(sign for sign in text if sign in "0123456789 ")


#: kind of series: how a picture is read, and how much of the answer is right, from 0 to 1
KINDS: dict[str, tuple[Callable, Callable[[str, str], float]]] = {
    "digit": (read_digit, lambda found, truth: found == truth),
    "number": (read_number, lambda found, truth: found.replace(" ", "") == only_digits(truth)),
    "table": (read_number, lambda found, truth: in_place(found.split(), truth.split())),
    "blank": (read_digit, lambda found, truth: found in (REFUSED, "no digit")),
    "letter": (read_digit, lambda found, truth: found in (REFUSED, "no digit")),
    "two": (read_digit, lambda found, truth: found == "several"),
}


def in_place(found: list[str], truth: list[str]) -> float:
    """The part of a table's digits that were read where they stand."""
    found = found + [""] * (len(truth) - len(found))
    same = 0
    for line, true in zip(found, truth, strict=False):
        same += sum(
            block.size
            for block in SequenceMatcher(None, line, true, autojunk=False).get_matching_blocks()
        )
    return same / sum(map(len, truth))


def measure(name: str, count: int, model) -> tuple[float, list]:
    """The share that is right, and for each example (picture, truth, found, whether right)."""
    read, score = KINDS[photos.SERIES[name].kind]
    rows, right = [], []
    for example in photos.examples(name, count):
        found = read(example.picture, model)
        right.append(float(score(found, example.truth)))
        rows.append((example.picture, example.truth, found, right[-1] > 0.9))
    return float(np.mean(right)), rows


def calibration(rows: list) -> tuple[float, int]:
    """The expected calibration error of what was named, and of how many answers."""
    named = [(found.probabilities, int(truth)) for _, truth, found, _ in rows]
    if not named:
        return float("nan"), 0
    probabilities, labels = (np.array(values) for values in zip(*named, strict=True))
    return sn.calibration.expected_calibration_error(probabilities, labels), len(named)


def sheet(rows: list, path: Path, wrong_first: bool = True) -> None:
    """A contact sheet: what was read under each picture, mistakes first and in red."""
    from PIL import Image, ImageDraw

    if wrong_first:
        rows = sorted(rows, key=lambda row: row[3])
    rows, columns, cell = rows[:30], 6, (220, 170)
    page = Image.new("RGB", (columns * cell[0], -(-len(rows) // columns) * cell[1]), "white")
    for k, (picture, truth, found, right) in enumerate(rows):
        image = Image.fromarray(picture)
        image.thumbnail((cell[0] - 8, cell[1] - 22))
        at = (k % columns * cell[0], k // columns * cell[1])
        page.paste(image, at)
        said = f"{truth!r} read {found!r}"
        draw = ImageDraw.Draw(page)
        draw.text((at[0] + 2, at[1] + cell[1] - 18), said[:40], fill="green" if right else "red")
    page.save(path)


def why(kind: str, picture, truth: str, found: str, model) -> str:
    """What went wrong: the reason that was given, what was surer, or where two texts differ."""
    if kind in ("number", "table") and found != REFUSED:
        return differences(only_digits(truth), found if " " in truth else found.replace(" ", ""))
    try:
        if kind in ("number", "table"):
            sn.pictures.sequences.read(picture, model)
        answer = sn.pictures.look(picture, model)
    except sn.InputError as error:
        return str(error).split(": ", 1)[-1]
    judged = shipped_judge().predict(answer.prepared.image[None])[0]
    said = f"judge: no digit {judged[10]:.2f}, several {judged[11]:.2f}"
    likely = np.argsort(-answer.probabilities)[:2]
    read = ", ".join(f"{k} {answer.probabilities[k]:.2f}" for k in likely)
    own = f", {truth} {answer.probabilities[int(truth)]:.2f}" if kind == "digit" else ""
    return f"reader: {read}{own}; {said}"


def differences(truth: str, found: str) -> str:
    """In words where two numbers differ: "6 for 0", "no 1", "a 7 too many"."""
    said = []
    for what, a, b, c, d in SequenceMatcher(None, truth, found, autojunk=False).get_opcodes():
        lacks, reads = truth[a:b], found[c:d]
        if what == "replace":
            said.append(f"{reads} for {lacks}")
        elif what != "equal":
            said.append(f"no {lacks}" if lacks else f"a {reads} too many")
    return ", ".join(said)


def write_mistakes(name: str, rows: list, model, folder: Path) -> None:
    """Ten mistakes of a series: their pictures, and a line for each in mistakes.md."""
    wrong = [row for row in rows if not row[3]][:10]
    if wrong:
        sheet(wrong, folder / f"{''.join(filter(str.isalnum, name))}.png")
    with (folder / "mistakes.md").open("a") as out:
        out.write(f"\n{name}: {len(wrong)} of {sum(not row[3] for row in rows)} mistakes shown\n\n")
        if wrong:
            out.write("| written | read | why |\n|---|---|---|\n")
        for picture, truth, found, _ in wrong:
            reason = why(photos.SERIES[name].kind, picture, truth, found, model)
            out.write(f"| {truth or 'nothing'} | {found} | {reason} |\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="an eighth of each series")
    parser.add_argument("--only", default="", help="series whose names contain this")
    parser.add_argument("--model", default=None, help="a model's file instead of the shipped one")
    parser.add_argument("--sheets", type=Path, help="a folder for contact sheets")
    parser.add_argument("--mistakes", type=Path, help="a folder for ten mistakes of each, and why")
    parser.add_argument("--json", type=Path, help="a file for the shares by name")
    options = parser.parse_args()
    model = sn.load_model(options.model) if options.model else sn.architectures.pretrained()
    before = json.loads(BEFORE.read_text()) if BEFORE.exists() else {}
    names = [name for name in photos.SERIES if options.only in name]
    shares, digits = {}, []
    if options.mistakes:
        options.mistakes.mkdir(parents=True, exist_ok=True)
        (options.mistakes / "mistakes.md").write_text("What was not read, and why.\n")
    print(f"{'':34} {'n':>4} {'before':>8} {'now':>8} {'goal':>8}")
    for name in names:
        series = photos.SERIES[name]
        count = max(12, series.count // 8) if options.quick else series.count
        share, rows = measure(name, count, model)
        shares[name] = round(share, 4)
        if series.kind == "digit":
            digits += [row for row in rows if isinstance(row[2], Named)]
        was = f"{100 * before[name][0]:6.1f} %" if name in before else "       -"
        mark = "" if share >= series.goal else "  below"
        print(
            f"{name:34} {count:4} {was} {100 * share:6.1f} % {100 * series.goal:6.1f} %{mark}",
            flush=True,
        )
        if options.sheets:
            options.sheets.mkdir(parents=True, exist_ok=True)
            sheet(rows, options.sheets / f"{''.join(filter(str.isalnum, name))}.png")
        if options.mistakes:
            write_mistakes(name, rows, model, options.mistakes)
    error, count = calibration(digits)
    print(f"{'expected calibration error':34} {count:4} {'-':>8} {100 * error:6.2f} %")
    if options.json:
        options.json.write_text(json.dumps(shares, indent=1) + "\n")


if __name__ == "__main__":
    main()
