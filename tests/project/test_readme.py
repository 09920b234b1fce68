"""The README's commands are real: their options exist, and what they name is in the repository."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from command import good
from PIL import Image

from scratchnet.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SPANS = re.findall(r"`([^`\n]+)`", README) + re.findall(r"```\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    shlex.split(line.replace("\\|", "|"))
    for span in SPANS
    for line in re.split(r"&&|\n", span)
    if re.match(r"(time )?scratchnet [a-z]", line.strip())
]
COMMANDS = [words[words.index("scratchnet") + 1 :] for words in COMMANDS]
SAMPLES = [words for words in COMMANDS if any("examples/" in word for word in words)]


def test_there_are_commands():
    assert len(COMMANDS) > 20 and len(SAMPLES) >= 3


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_these_options(words):
    command = typer.main.get_command(app).commands[words[0]]
    if hasattr(command, "commands"):  # `learn` has commands of its own, and means `start` alone
        command = command.commands.get([*words, ""][1], command.commands["start"])
    known = {name for param in command.params for name in param.opts} | {"--help"}
    options = {word for part in words for word in re.findall(r"--[a-z][a-z-]*", part)}
    assert options <= known


@pytest.mark.parametrize("words", SAMPLES, ids=" ".join)
def test_the_samples_are_read_as_the_readme_says(words, tmp_path):
    place = tmp_path / "examples/pictures"
    place.mkdir(parents=True)
    for name in ("photo.jpg", "page.jpg"):
        assert (ROOT / "examples/pictures" / name).stat().st_size < 100_000
        shutil.copy(ROOT / "examples/pictures" / name, place)
    lines = good(*words, cwd=tmp_path).stdout.splitlines()
    read = [line.split(": ")[1].split(" ")[0] for line in lines if ": " in line]
    assert read == (["31415", "2718", "1618"] if "--sequence" in words else ["5"])
    for picture in tmp_path.glob("*.png"):
        with Image.open(picture) as image:
            assert image.width > 500
