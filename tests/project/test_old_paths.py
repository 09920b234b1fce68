"""Modules that have moved are found under their old paths too, with every public name they had."""

import subprocess
import sys
from importlib import import_module

import pytest

import scratchnet as sn
from scratchnet._moved import MOVED

#: old path -> the public names that the module had there
NAMES = {
    "imaging": """
        BOX CENTRE CORE_LEVEL CORE_RANK EDGE_LEVEL EVEN_SHARE FINE FOREIGN_CONTACT FRINGE_SHARE
        FULL_SCALES GRID_SIDE MAJOR_SHARE MAX_PIXELS MAX_STROKES MINOR_SHARE MIN_CONTRAST
        MIN_CONTRAST_TO_NOISE MIN_CONTRAST_TO_SHADOW MIN_CORE MIN_INK_SHARE MIN_LIGHT
        MIN_SIDE_SHARE NEAR_SHARE RING_SHARE SIDE SMALL_SIDE THIN_STROKE USUAL_STROKE WORK_SIDE
        InputError Prepared Step prepare
    """,
    "kernels.memory": "SHARDS SLACK VECTOR_BYTES flat_with_slack flat_zeros lanes padded",
    "sequences": """
        CUT_COST MAX_CUTS MAX_DIGIT_HEIGHT MAX_DIGIT_WIDTH MAX_MARKS MAX_WIDTH MIN_DIGIT MIN_FLAT
        MIN_HEIGHT MIN_MARK MIN_TALL MIN_WIDTH NEAR SAME_DIGIT SAME_LINE USUAL_WIDTH WIDE WIDE_COST
        Box Digit InputError Reading read
    """,
    "trace": """
        STEP GradientExplained InputError LayerTrace OutputExplained StepTrace Trace checked_label
        copied one_example trace
    """,
    "arithmetic": """
        GRADIENTS OUTPUTS Index InputError Sum Term checked_index columns residual_output
    """,
    "explain": """
        InputError checked_label copied feature_maps filters gradcam occlusion one_example saliency
    """,
}
#: those that are attributes of the package as well, `scratchnet.imaging`
ATTRIBUTES = ["imaging", "sequences", "explain"]
#: not loaded by `import scratchnet`, nor by an old path
LATE = {"PIL", "matplotlib", "scipy"}


def in_a_new_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_module_that_moved_is_in_the_table():
    assert NAMES.keys() == MOVED.keys()


@pytest.mark.parametrize("old", NAMES)
def test_the_old_path_is_the_new_module(old):
    assert import_module(f"scratchnet.{old}") is import_module(f"scratchnet.{MOVED[old]}")


@pytest.mark.parametrize("old", NAMES)
def test_every_name_comes_from_the_old_path_before_anything_else_is_imported(old):
    names = ", ".join(NAMES[old].split())
    loaded = in_a_new_process(
        f"from scratchnet.{old} import {names}\nimport sys\nprint(*sys.modules)"
    )
    assert f"scratchnet.{old}" in loaded
    assert not LATE & set(loaded)


@pytest.mark.parametrize("old", NAMES)
def test_importing_the_old_path_changes_nothing_in_the_package(old):
    code = f"import scratchnet as sn\nbefore = dict(vars(sn))\nimport scratchnet.{old}\n"
    code += "after = vars(sn)\nprint(all(before.get(name) is after[name] for name in after))"
    assert in_a_new_process(code) == ["True"]


@pytest.mark.parametrize("old", ATTRIBUTES)
def test_the_old_module_is_an_attribute_of_the_package(old):
    assert old in sn.__all__
    assert getattr(sn, old) is import_module(f"scratchnet.{old}")


def test_a_module_that_is_loaded_late_is_an_attribute_under_its_old_name():
    from scratchnet import plan
    from scratchnet.engine import plan as new

    assert plan is new
    with pytest.raises(AttributeError, match="no attribute 'plans'"):
        sn.plans  # noqa: B018
