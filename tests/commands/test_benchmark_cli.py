"""`scratchnet benchmark`: table, picture and JSON; PyTorch only where it computes the same."""

import importlib.util

import pytest
from command import good, last_json, run
from figures import check_text_layout, strings

from scratchnet import kernels, plots
from scratchnet.cli import benchmark, speed

SMALL = ("--images", 256, "--rounds", 1)


def test_it_measures_draws_and_ends_with_json(tmp_path):
    done = good("benchmark", "--no-torch", *SMALL, "--out", "a.png", "--json", cwd=tmp_path)
    report = last_json(done)
    assert report["seconds"].keys() == speed.QUANTITIES.keys()
    assert all(0 < row["scratchnet"][0] < 1e4 for row in report["seconds"].values())
    assert report["machine"].keys() >= {"name", "cpu", "cores", "threads", "isa", "versions"}
    assert "an epoch of cnn" in done.stdout and "recorded" in done.stdout
    assert "PyTorch is" not in done.stdout
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.slow
def test_pytorch_takes_turns_where_it_is_installed(tmp_path):
    if not importlib.util.find_spec("torch"):
        pytest.skip("PyTorch is not installed")
    done = good("benchmark", *SMALL, "--name", "mine", "--json", cwd=tmp_path)
    report = last_json(done)
    assert all(len(row["torch"]) == 1 for row in report["seconds"].values())
    assert report["machine"]["name"] == "mine" and "mine" in done.stdout
    assert sum("losses agree" in note for note in report["notes"]) == 3


@pytest.mark.parametrize("wrong", [("--images", 10), ("--out", "a.jpeg2")])
def test_wrong_usage_is_one_line(wrong, tmp_path):
    done = run("benchmark", *wrong, cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


class Desk:
    """PyTorch's process, which has these losses or fails."""

    def __init__(self, losses):
        self.losses = losses

    def ask(self, do, **task):
        if self.losses is None:
            raise speed.Failed("ImportError: no OpenMP")
        return {"losses": self.losses, "format": "channels_last"}


@pytest.mark.parametrize("theirs, said", [([1.0, 0.9], "differ by"), (None, "no OpenMP")])
def test_pytorch_that_fails_or_computes_something_else_is_left_out(theirs, said):
    notes = []
    assert speed._prepared(Desk(theirs), "cnn", 256, [1.0, 0.8], notes) is None
    assert "left out" in notes[0] and said in notes[0]
    assert speed._prepared(None, "cnn", 256, [1.0], notes) is None and len(notes) == 1
    desk = Desk([1.0, 0.8])
    assert speed._prepared(desk, "cnn", 256, [1.0, 0.8], notes) is desk
    assert "losses agree" in notes[1]


def test_pytorch_that_ends_on_the_way_costs_no_result(monkeypatch, capsys):
    def measure(images, rounds, torch, say):
        if torch is not None:
            raise speed.Failed("its process ended with -9")
        return {"train_mlp": {"scratchnet": [1.0]}}, []

    class Child(Desk):
        def __init__(self):
            self.losses = None

        def __exit__(self, *exc):
            print("closed")

    monkeypatch.setattr(speed, "measure", measure)
    monkeypatch.setattr(speed, "Torch", Child)
    monkeypatch.setattr(speed, "torch_is_there", lambda: True)
    benchmark.benchmark()
    said = capsys.readouterr().out
    assert "closed" in said and "PyTorch is left out: its process ended with -9" in said
    assert "1 s" in said


def test_rounds_that_differ_by_much_are_not_quiet():
    assert speed.busy({"a": {"scratchnet": [1.0, 1.5]}})
    assert not speed.busy({"a": {"scratchnet": [1.0, 1.3], "torch": [3.0, 3.1]}})


def test_what_is_recorded_has_the_form_of_the_command_s_json():
    found = speed.recorded()
    assert found["seconds"].keys() <= speed.QUANTITIES.keys() and found["machine"]["name"]
    assert all(row["scratchnet"] for row in found["seconds"].values())


def test_the_picture_has_a_bar_for_each_that_is_there():
    recorded = benchmark._medians(speed.recorded())
    here = {"train_cnn": {"scratchnet": 2.0, "torch": 6.0}, "predict_one": {"scratchnet": 3e-5}}
    names = ("a machine with a name that is far too long for a legend of this width", "other")
    figure = plots.speeds(speed.QUANTITIES, here, recorded, names)
    check_text_layout(figure)
    said = strings(figure)
    assert {"An epoch of cnn", "2 s", "6 s", "30 us", "PyTorch, other"} <= {*said}
    assert any("…" in text for text in said)
    one = plots.speeds(speed.QUANTITIES, {"train_mlp": {"scratchnet": 1.0}}, {}, names)
    assert len(one.axes) == 1
    check_text_layout(one)


def test_instructions_are_the_processor_s_or_those_that_were_asked_for(monkeypatch):
    numba = pytest.importorskip("numba")
    assert kernels.instructions() in ("AVX-512", "AVX2", "AVX", "SSE2", "NEON", "")
    for features, said in (("+avx2,+fma", "AVX2"), ("+fma,-avx2", ""), ("+sse2", "SSE2")):
        monkeypatch.setattr(numba.config, "CPU_FEATURES", features)
        assert kernels.instructions() == said
    assert kernels.threads() >= 1
