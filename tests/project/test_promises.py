"""Which test protects which promise of the README: a table that cannot go stale.

A promise is a few words of the README, as they stand there; beside it are the tests that would fail
if it no longer held. Speeds are not here: benchmarks measure them, beside the contenders.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = " ".join((ROOT / "README.md").read_text("utf-8").split())

PROMISES = {
    "the server with 32 clients beside a training": [
        "web/test_web_workqueue.py::test_32_clients_beside_a_training_get_bitwise_what_one_gets",
    ],
    "without Unix's modules, with files that another program holds open, a console with cp1252": [
        "project/test_portable.py::test_without_the_modules_of_unix_the_package_loads",
        "saved/test_files.py::test_a_file_that_is_open_for_a_moment_is_written_and_deleted",
        "commands/test_streams.py"
        "::test_a_western_windows_console_gets_frames_and_escapes_for_foreign_names",
    ],
    "every gradient is checked against a numeric one": [
        "layers/test_gradients.py::test_gradients_of_layer_are_right",
        "layers/test_gradients.py::test_gradients_of_a_whole_network_are_right",
    ],
    "MNIST and trained weights are in the package; nothing is downloaded": [
        "data/test_datasets.py::test_mnist_is_the_canonical_one_and_checked_at_every_load",
        "commands/test_cli.py::test_the_shipped_weights_read_mnist",
    ],
    "all of training in thirty lines": ["project/test_examples.py"],
    "asks for a prediction before the answer, and ends with an exercise that checks itself": [
        "project/test_lessons.py::test_a_lesson_is_built_like_the_others",
        "project/test_lessons.py::test_a_lesson_runs_from_a_copy_and_its_solution_is_right",
    ],
    "The last is a CNN of your own layers that must read 97 % of MNIST's test digits": [
        "commands/test_learn_cli.py::test_a_walk_through_all_exercises_with_the_solutions",
        "commands/test_learn_cli.py::test_a_walk_through_all_exercises_untouched",
    ],
    "says what is wrong, and which mistake it looks like": [
        "learn/test_exercises.py::test_a_mistake_is_found_and_told",
    ],
    "Endless loops and crashes are stopped, with the line named": [
        "learn/test_learn_runs.py::test_however_it_ends_the_line_is_named",
        "learn/test_learn_runs.py::test_an_endless_loop_is_stopped_and_named",
    ],
    "your files are never overwritten": [
        "commands/test_learn_cli.py::test_work_is_never_overwritten",
    ],
    "Teachers can grade with `--json` and add exercises of their own": [
        "commands/test_learn_cli.py::test_a_teacher_hands_out_exercises_and_gets_a_report",
    ],
    "the arithmetic behind any one value, inside residual blocks too": [
        "seeing/test_trace.py::test_every_output_is_its_sum",
        "seeing/test_trace.py::test_layers_inside_a_layer_are_traced_and_explained_too",
        "web/test_web_page.py::test_forward_shows_every_layer_and_the_sum_behind_a_value",
    ],
    "each parameter's gradient beside its numeric derivative": [
        "seeing/test_trace.py::test_every_gradient_is_its_sum_and_its_numeric_derivative",
        "web/test_web_page.py::test_analytic_and_numeric_agree_for_twenty_random_parameters",
    ],
    "below them the whole network in one view": [
        "web/test_web_network.py::test_the_network_is_seen_at_once_and_asked_about",
        "web/test_web_network.py::test_the_network_plays_from_the_image_to_the_loss_and_back",
        "web/test_web_network.py::test_the_landscape_goes_along_while_a_digit_is_written",
        "web/test_web_landscape.py::test_it_is_the_trace_at_half_precision",
    ],
    "all that it sees and all that it feeds lights up": [
        "seeing/test_reach.py::test_no_slope_lies_outside_of_what_a_layer_is_said_to_see",
        "web/test_web_network.py::test_the_network_backward_says_which_dy_reach_a_value",
        "web/test_web_js.py::test_the_page_s_modules_pass_their_tests",
    ],
    "Five guided tours ask before they answer": [
        "web/test_web_network.py::test_a_tour_goes_from_its_first_step_to_its_last",
    ],
    "a glossary explains the words where they stand": [
        "web/test_web_network.py::test_words_are_explained_where_they_stand_and_on_a_page",
    ],
    "Choose any `dx`: the window of `dy`, the filter turned round, their products": [
        "seeing/test_explain_input.py::test_every_kind_has_its_dx_spelled_out",
        "seeing/test_explain_input.py::test_200_random_places_over_all_architectures",
        "web/test_web_inside.py::test_any_dx_is_explained_on_the_page",
    ],
    "own source, line by line, with the arrays that each line made": [
        "seeing/test_stepping.py::test_every_kind_is_stepped_and_ends_where_the_trace_does",
        "web/test_web_inside.py::test_the_code_is_stepped_on_the_page",
    ],
    "Switch filters off, change weights, paint on the image": [
        "seeing/test_what_if.py::test_each_change_is_what_it_says_and_is_undone",
        "web/test_web_inside.py::test_what_if_on_the_page",
    ],
    "follow its gradient until it is read as another digit": [
        "seeing/test_what_if.py::test_an_image_is_changed_until_it_is_read_as_the_target",
    ],
    "by hand or by recipe, kept with `serve --runs FOLDER`": [
        "web/test_web_inside.py::test_a_run_is_kept_and_there_again_after_a_restart",
        "web/test_web_inside.py::test_a_run_by_recipe_is_the_recipe_s",
        "web/test_web_inside.py::test_the_command_goes_on_with_a_kept_run_to_the_same_bits",
    ],
    "all of these show themselves, as tables and pictures": [
        "seeing/test_showing.py::test_texts_are_short_and_pages_are_whole",
        "seeing/test_showing.py::test_every_figure_shows_itself",
        "seeing/test_showing.py::test_in_a_real_kernel",
    ],
    "a bar and curves that grow while it trains": [
        "seeing/test_showing.py::test_fit_has_one_output_that_is_renewed",
    ],
    "training runs to watch, pause and use at once": [
        "web/test_web_page.py::test_a_training_is_watched_paused_stopped_and_used",
    ],
    "built layers keep their weights, and both models share them": [
        "training/test_sharing.py::test_what_one_model_learns_the_other_knows",
    ],
    "no step changes them, and backward ends before them": [
        "training/test_freezing.py::test_nothing_of_a_frozen_layer_changes",
        "training/test_freezing.py::test_backward_stops_at_the_first_layer_that_learns",
    ],
    "a generator, a Keras-like Sequence, or arrays that stay on disk": [
        "training/test_sources.py::test_batches_in_order_train_as_the_arrays_do",
        "training/test_sources.py::test_a_memory_mapped_array_is_read_batch_by_batch",
    ],
    "lets models with it be saved and loaded": [
        "saved/test_own_kinds.py::test_registered_kinds_are_saved_and_loaded",
    ],
    "images whose range cannot be meant are named once, with the remedy": [
        "training/test_ranges.py::test_images_that_are_not_scaled_are_named_with_the_remedy_once",
    ],
    "or a CSV file as Kaggle has them": ["data/test_table.py::test_every_form_is_read"],
    "leaves a folder with the model, `history.json` and four pictures": [
        "commands/test_cli.py::test_train_leaves_a_whole_run",
    ],
    "Ctrl-C stops after the batch and saves the state": [
        "commands/test_cli.py::test_ctrl_c_in_the_first_epoch_saves_what_there_is",
    ],
    "ends with the same bits as a run that was never stopped": [
        "training/test_resume.py::test_a_training_that_crashed_ends_with_the_same_bits",
        "commands/test_resume_cli.py::test_a_run_killed_at_a_random_moment_ends_with_the_same_bits",
    ],
    "shares a training between processes and ends with the bits of one": [
        "training/test_distributed.py::test_any_number_of_ranks_ends_with_the_bits_of_one",
        "commands/test_mpi.py::test_two_ranks_leave_what_one_leaves",
    ],
    "`--resume` goes on with 1, 2, 4 or 8 of them": [
        "training/test_distributed.py"
        "::test_one_rank_stops_all_and_any_number_goes_on_to_the_same_bits",
        "commands/test_mpi.py::test_a_rank_killed_at_a_random_moment_ends_all_and_others_go_on",
    ],
    "Every option changes one of them": [
        "training/test_recipes.py::test_train_takes_a_recipe_and_options_that_change_it",
    ],
    "any size, dark on light or light on dark, off-centre, transparent": [
        "pictures/test_pictures.py::test_any_ink_on_any_paper",
        "pictures/test_pictures.py::test_any_size",
        "pictures/test_pictures.py::test_off_centre_and_cut_close",
        "pictures/test_pictures.py::test_strokes_on_a_transparent_background",
    ],
    "reads whole numbers, in several lines too": [
        "pictures/test_sequences.py::test_digits_are_read_from_left_to_right",
        "pictures/test_sequences.py::test_lines_run_from_top_to_bottom",
    ],
    "Ruled and squared paper, boxes and tables are taken out of the ink": [
        "pictures/test_reading.py::test_ruled_lines_go_and_strokes_that_cross_them_stay",
        "pictures/test_reading.py::test_a_box_goes_where_there_is_ink_inside_and_stays_where_there_is_none",
        "pictures/test_reading.py::test_pictures_that_were_misread_once_are_read",
    ],
    "Where a picture shows several digits, `predict` names none": [
        "pictures/test_reading.py::test_two_digits_are_said_to_be_several",
        "pictures/test_reading.py::test_the_command_says_that_there_are_several",
    ],
    "the judge, says what is no digit, a letter or a scribble": [
        "pictures/test_judge.py::test_letters_and_scribbles_are_said_to_be_no_digit",
        "pictures/test_judge.py::test_the_command_says_that_a_letter_is_no_digit",
    ],
    "commas, hyphens and pluses between the digits are in its `text`": [
        "pictures/test_reading.py::test_signs_are_in_the_text_and_not_among_the_digits",
    ],
    "a sixth of each is held out": [
        "data/test_folder.py::test_sub_folders_are_classes_and_a_sixth_is_held_out",
    ],
    "Downloads are checked by SHA-256, resumed where they broke off": [
        "data/test_download.py::test_a_file_is_downloaded_once_and_said_so",
        "data/test_download.py::test_what_was_received_is_not_asked_for_again",
    ],
    "The model's file holds the classes' names": [
        "data/test_folder.py::test_names_are_saved_with_the_model",
    ],
    "1 failed, with one line that says why, 2 wrong usage": [
        "commands/test_cli.py::test_bad_input_is_one_line_and_leaves_nothing",
    ],
    "the last line on standard output is JSON: one object; for `predict` a list": [
        "commands/test_cli.py::test_train_json_is_the_last_line_and_progress_goes_to_stderr",
        "commands/test_cli.py::test_the_shipped_weights_read_mnist",
    ],
    "ONNX Runtime computes the same outputs from the file": [
        "interop/test_onnx.py::test_every_architecture_runs_in_onnx_runtime",
    ],
    "refused, naming node, operator, attribute and value": [
        "interop/test_onnx.py::test_what_our_layers_do_not_offer_is_named_in_one_line",
    ],
    "nothing in a file is executed": [
        "saved/test_checkpoint.py::test_a_foreign_file_is_refused_and_nothing_in_it_executed",
        "saved/test_export.py::test_an_npz_that_runs_code_or_fills_the_memory_is_refused",
    ],
    "The same bits on every processor that has fused multiply-add": [
        "engine/test_same_bits.py::test_here_the_bits_are_as_recorded",
        "engine/test_same_bits.py::test_compiled_for_another_processor_the_bits_are_as_recorded",
        "engine/test_same_bits.py::test_for_any_number_of_threads_the_bits_are_as_recorded",
    ],
    "losses must be equal first": ["project/test_benchmarks.py"],
    "kinks and ties, where there is no derivative, are counted apart": [
        "layers/test_gradients.py::test_kinks_are_counted_apart_and_not_as_mistakes",
        "layers/test_gradients.py::test_ties_of_a_maximum_are_kinks",
        "layers/test_gradients.py::test_kinks_that_meet_in_a_deeper_layer_are_no_mistakes",
    ],
    "agree with PyTorch and Keras": [
        "interop/test_parity_torch.py",
        "interop/test_parity_keras.py",
    ],
    "ONNX standard's own test cases run": [
        "interop/test_onnx_vectors.py::test_all_cases_are_there_and_nearly_all_are_run",
        "interop/test_onnx_vectors.py::test_operators_give_what_the_standard_says",
    ],
    "the tests must catch every one": [
        "project/test_mutations.py::test_every_mutation_is_caught_by_the_default_suite",
    ],
    "Imports run one way": ["project/test_imports.py::test_imports_run_one_way"],
    "runs them one by one, or in plain NumPy, to the same numbers": [
        "engine/test_kernels.py::test_compiled_equals_reference",
        "engine/test_plan.py::test_a_chain_of_groups_equals_its_layers",
    ],
    "the result has the same bits for any number": [
        "engine/test_plan.py::test_same_bits_for_one_and_two_threads",
        "engine/test_kernels.py::test_compiled_result_has_the_same_bits_for_one_thread_and_two",
        "project/test_adding_a_layer.py::test_the_same_bits_for_any_number_of_threads",
    ],
}


@pytest.mark.parametrize("promise", PROMISES)
def test_the_readme_still_promises_it(promise):
    assert promise in README


@pytest.mark.parametrize(
    "test", sorted({test for tests in PROMISES.values() for test in tests}), ids=str
)
def test_the_test_that_protects_it_is_there(test):
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    kinds = ast.FunctionDef, ast.ClassDef  # the frameworks share their tests by way of classes
    names = [node.name for node in ast.walk(tree) if isinstance(node, kinds)]
    assert name in names if name else any(found.startswith(("test_", "Test")) for found in names)
