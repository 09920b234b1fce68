"""Does the suite notice a bug? Some are put into copies of the package, one at a time.

    python tests/mutations.py            all, two at a time; a table; exit code 1 if one lives
    python tests/mutations.py NAME...    those whose names contain one of the words

Each mutation is an exact replacement of one text in one file, and the tests of the default suite
that ought to fail. It is caught if one of them fails; if all pass, if a file cannot be imported, or
if nothing ends, it is not. The same tests are run first on a copy without a bug and must pass.
"""

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
AT_ONCE = 2
MOST_SECONDS = 300


class Mutation(NamedTuple):
    name: str
    file: str  # in the package
    old: str  # occurs exactly once there
    new: str
    tests: str  # a file of the default suite, and a filter of pytest's -k after a space
    needs_compiler: bool = False  # its tests say nothing about loops that Python runs

    @property
    def as_python(self) -> bool:
        return self.file.startswith("engine/") and not self.needs_compiler


class Outcome(NamedTuple):
    mutation: Mutation
    caught_by: str  # the first test that failed; "" if the mutation lives
    seconds: float
    output: str


LOSS_KINDS, METRICS = "layers/test_loss_kinds.py", "training/test_metrics.py"
LAYERS, KERNELS, LOSSES = "layers/test_layers.py", "engine/test_kernels.py", "layers/test_losses.py"
CTC = "layers/test_ctc.py sum_over or numeric or beam_that"
OPTIMIZERS, PLAN, MODEL = (
    "layers/test_optimizers.py",
    "engine/test_plan.py",
    "training/test_model.py",
)
TWENTY = f"{OPTIMIZERS} 20_steps"
FREEZING = "training/test_freezing.py"
RATES = f"{OPTIMIZERS} step_decay or cosine or one_cycle"
STARTS = f"{LAYERS} initializer or fan"

MUTATIONS = [
    # layers
    Mutation("convolution: channels in reverse", "layers/conv.py",
             "cols = im2col(x,", "cols = im2col(x[..., ::-1],", f"{LAYERS} definition"),
    Mutation("convolution: bias forgotten", "layers/conv.py",
             'y += self.params["b"]', "pass", f"{LAYERS} definition"),
    Mutation("convolution: db a mean", "layers/conv.py",
             "= sum_rows(dy)", "= sum_rows(dy) / max(len(dy), 1)",
             "layers/test_gradients.py Conv2D"),
    Mutation("convolution: dW added up", "layers/conv.py",
             'self.grads["W"][:] = dW', 'self.grads["W"][:] += dW', f"{LAYERS} added_up"),
    Mutation("convolution: fans without the window", "layers/conv.py",
             "kh * kw * c, kh * kw * f", "c, f", STARTS),
    Mutation("gaps: none in the gradient's columns", "layers/functions.py",
             "row, column = u * dh, v * dw", "row, column = u * dh, v",
             f"{KERNELS} compiled_equals and col2im"),
    Mutation("transposed convolution: the odd row cut off at the top", "layers/conv_transpose.py",
             'pads_for("same", (h, w), self.kernel_size, self.strides), (h, w)',
             'pads_for("same", (h, w), self.kernel_size, self.strides)[::-1], (h, w)',
             f"{LAYERS} definition"),
    Mutation("depthwise: channels for outputs", "layers/depthwise.py",
             "(-1, kh * kw, c)  # (n", "(-1, c, kh * kw).swapaxes(1, 2)  # (n",
             f"{LAYERS} definition"),
    Mutation("larger images: pixels have their middle at their edge", "layers/upsampling.py",
             "(np.arange(extent * factor) + 0.5) / factor - 0.5",
             "np.arange(extent * factor) / factor", f"{LAYERS} definition"),
    Mutation("same padding: the odd zero at the top", "layers/window.py",
             "pads += [total // 2, total - total // 2]",
             "pads += [total - total // 2, total // 2]", f"{LAYERS} odd_zero"),
    Mutation("same padding: off by one", "layers/window.py",
             "* s + k - extent", "* s + k - extent - 1", f"{LAYERS} odd_zero"),
    Mutation("dense: dW a mean", "layers/dense.py",
             "x.T @ dy  #", "x.T @ dy / max(len(x), 1)  #", "layers/test_gradients.py Dense"),
    Mutation("dense: dx without the transpose's sign", "layers/dense.py",
             'dy @ self.params["W"].T', '-dy @ self.params["W"].T', f"{LAYERS} definition"),
    Mutation("global average: divided by the rows alone", "layers/pool.py",
             "share = dy / (h * w)", "share = dy / h", f"{LAYERS} definition"),
    Mutation("softmax: overflows", "layers/activations.py",
             "logits - logits.max(axis=-1, keepdims=True)", "logits", f"{LAYERS} huge_logits"),
    Mutation("softmax: backward without the sum", "layers/activations.py",
             "(dy * y).sum(axis=-1, keepdims=True)", "dy * y", f"{LAYERS} definition"),
    Mutation("dropout: not scaled", "layers/dropout.py",
             "x.dtype.type(1 / keep)", "x.dtype.type(1)", f"{LAYERS} dropout"),
    Mutation("dropout: rate and its complement exchanged", "layers/dropout.py",
             "< keep", "< self.rate", f"{LAYERS} dropout"),
    Mutation("dropout: in evaluation, too", "layers/dropout.py",
             "if not training or self.rate == 0", "if self.rate == 0", f"{LAYERS} dropout"),
    Mutation("batch norm: dx without its mean term", "layers/normalization.py",
             "dx_hat - mean_dx_hat - x_hat", "dx_hat - x_hat", f"{LAYERS} batch_norm"),
    Mutation("batch norm: dx without its part along x_hat", "layers/normalization.py",
             " - x_hat * mean_along_x_hat", "", f"{LAYERS} batch_norm"),
    Mutation("batch norm: unbiased variance", "layers/normalization.py",
             "np.square(x - mu).mean(axis=every_but_last, dtype=np.float64)",
             "np.square(x - mu).sum(axis=every_but_last, dtype=np.float64) / "
             "max(x[..., 0].size - 1, 1)", f"{LAYERS} batch_norm"),
    Mutation("batch norm: momentum the other way round", "layers/normalization.py",
             "running_var += (1 - self.momentum)", "running_var += self.momentum",
             f"{LAYERS} running_statistics"),
    Mutation("flatten: columns first", "layers/reshape.py",
             "x.reshape(len(x), *self.output_shape)  # (n, h, w, c)",
             'x.reshape(len(x), *self.output_shape, order="F")  #', f"{LAYERS} definition"),
    # losses and metrics
    Mutation("cross-entropy from logits: sum for mean", "losses.py",
             "self.weighted(dy / n)", "self.weighted(dy)", LOSSES),
    Mutation("cross-entropy: gradient of another class", "losses.py",
             "dy[rows, labels] -= 1", "dy[rows, labels - 1] -= 1", LOSSES),
    Mutation("cross-entropy of distributions: sum for mean", "losses.py",
             "keepdims=True) - y_true) / n", "keepdims=True) - y_true)", LOSSES),
    Mutation("mean squared error: the factor 2 is missing", "losses.py",
             "self.weighted(2 * difference", "self.weighted(difference", LOSSES),
    Mutation("labels: one too many is allowed", "targets.py",
             "<= labels.max() < k", "<= labels.max() <= k", LOSSES),
    Mutation("binary cross-entropy: the derivative is not divided", "losses.py",
             "(p - t) if self.from_logits else (p - t) / (p * (1 - p))", "p - t", LOSS_KINDS),
    Mutation("huber: the parts don't meet", "losses.py",
             "delta * (size - delta / 2)", "delta * size", LOSS_KINDS),
    Mutation("hinge: without its margin", "losses.py",
             "gaps = 1 + others", "gaps = others", LOSS_KINDS),
    Mutation("weights of examples: by their sum", "losses.py",
             "return rows * self.weights.reshape(-1, *(1,) * (rows.ndim - 1))",
             "return rows * (self.weights / self.weights.mean()).reshape(-1, 1)",
             LOSS_KINDS),
    Mutation("CTC: a blank may be left out between equal labels", "ctc.py",
             "jumps[3::2] = states[3::2] != states[1:-2:2]", "jumps[3::2] = True", CTC),
    Mutation("CTC: no blank at the end", "ctc.py", "alpha[-1, -2:]", "alpha[-1, -2:-1]", CTC),
    Mutation("CTC: the gradient is that of another frame", "ctc.py",
             "np.exp(alpha + beta - log_p)", "np.exp(alpha + np.roll(beta, 1, 0) - log_p)", CTC),
    Mutation("CTC, compiled: a blank is skipped", "engine/ctc.py",
             "s % 2 == 1 and s > 1", "s > 1", CTC),
    Mutation("CTC's beam: a repetition is written twice", "ctc.py",
             "add((*prefix, k), -np.inf, blank_end + log_p)",
             "add((*prefix, k), -np.inf, either + log_p)", CTC),
    Mutation("precision: of those that were there", "metrics.py",
             "both / np.maximum(predicted, 1)", "both / np.maximum(true, 1)", METRICS),
    Mutation("top-k: equal ones come before", "metrics.py",
             "(y_pred > own)", "(y_pred >= own)", METRICS),
    Mutation("a mean of batches' means", "metrics.py",
             "self.add(total=float(found.mean(dtype=np.float64)) * n if n else 0.0, count=n)",
             "self.add(total=float(found.mean(dtype=np.float64)) if n else 0.0, count=1)", METRICS),
    Mutation("confusion matrix: transposed", "metrics.py",
             "return np.bincount(cells, minlength=k * k).reshape(k, k)",
             "return np.bincount(cells, minlength=k * k).reshape(k, k).T", LOSSES),
    # optimizers, learning rates, initial weights
    Mutation("optimizer: the schedule one step ahead", "optimizers.py",
             "self.schedule(self.iterations)", "self.schedule(self.iterations + 1)",
             OPTIMIZERS),
    Mutation("optimizer: AdamW forgets its decay", "optimizers.py",
             'self.weight_decay = check_number("weight_decay", weight_decay, least=0)', "pass",
             OPTIMIZERS),
    Mutation("optimizer: RMSprop's variance is no variance", "optimizer_steps.py",
             "v - mean**2, 0", "v + mean**2, 0", TWENTY),
    Mutation("optimizer: Adagrad forgets", "optimizer_steps.py",
             "total += grads**2", "total[:] = grads**2", TWENTY),
    Mutation("optimizer: Nadam's momentum is one step behind", "adaptive.py",
             "self._momentum(t), self._momentum(t + 1)", "self._momentum(t), self._momentum(t)",
             TWENTY),
    Mutation("optimizer: Lion's betas change places", "adaptive.py",
             "lr, self.beta_1, self.beta_2, self.decay", "lr, self.beta_2, self.beta_1, self.decay",
             TWENTY),
    Mutation("step decay: a slope instead of steps", "schedules.py",
             "step // self.every", "step / self.every", RATES),
    Mutation("one cycle: the peak a step late", "schedules.py",
             "self.warmup * self.steps - 1", "self.warmup * self.steps", RATES),
    Mutation("cosine: upside down", "schedules.py", "(1 + _cos_pi(", "(1 - _cos_pi(", RATES),
    Mutation("initial weights: uniform limit without the 3", "initializers.py",
             "np.sqrt(3 * variance)", "np.sqrt(variance)", STARTS),
    Mutation("initial weights: variance for deviation", "initializers.py",
             "rng.normal(0.0, np.sqrt(variance), shape)", "rng.normal(0.0, variance, shape)",
             STARTS),
    # the layers' functions and the optimizers' steps in NumPy
    Mutation("reference: a window overwrites the one before", "layers/functions.py",
             "padded[:, rows, columns] += ", "padded[:, rows, columns] = ", f"{KERNELS} transpose"),
    Mutation("reference: padding can win", "layers/functions.py",
             "_pad(x, pads, -np.inf)", "_pad(x, pads)", f"{KERNELS} first_of_the_largest"),
    Mutation("reference: padding counts in a mean", "layers/functions.py",
             "_pad(ones, pads)", "_pad(ones, pads, 1.0)",
             f"{KERNELS} compiled_equals and average_pool"),
    Mutation("reference: ReLU's kink is alive", "layers/functions.py",
             "np.where(y > 0, dy", "np.where(y >= 0, dy", f"{KERNELS} compiled_equals and relu"),
    Mutation("reference: momentum's sign", "optimizer_steps.py",
             "velocity -= lr * grads", "velocity += lr * grads", TWENTY),
    Mutation("reference: no bias correction of m", "optimizer_steps.py",
             "m / (1 - beta_1**t)", "m", TWENTY),
    Mutation("reference: epsilon under the root", "optimizer_steps.py",
             """(1 - beta_1**t)
    v_hat = v / (1 - beta_2**t)
    params -= lr * m_hat / (np.sqrt(v_hat) + epsilon)""",
             """(1 - beta_1**t)
    v_hat = v / (1 - beta_2**t)
    params -= lr * m_hat / np.sqrt(v_hat + epsilon)""",
             TWENTY),
    Mutation("reference: what has all but vanished stays", "optimizer_steps.py",
             "moments[np.abs(moments) < least] = 0", "pass",
             f"{OPTIMIZERS} vanished and reference"),
    # their compiled twins
    Mutation("geometry: one window too many", "layers/window.py",
             "(w + left + right - kw) // sw + 1", "(w + left + right - kw + sw - 1) // sw + 1",
             f"{LAYERS} definition"),
    Mutation("compiled: the left edge lost", "engine/functions.py",
             "if 0 <= at < wc else 0", "if 0 < at < wc else 0",
             f"{KERNELS} compiled_equals and im2col"),
    Mutation("compiled: the right edge gets no gradient", "engine/functions.py",
             "if 0 <= at < wc:", "if 0 <= at < wc - 1:", f"{KERNELS} compiled_equals and col2im"),
    Mutation("compiled: a tie goes to the last", "engine/functions.py",
             "if a > b or", "if a >= b or", f"{KERNELS} compiled_equals and max_pool"),
    Mutation("compiled: a NaN loses", "engine/functions.py",
             " or (a != a and b == b)", "", f"{KERNELS} first_of_the_largest"),
    Mutation("compiled: a pixel wins once only", "engine/functions.py",
             "j * sw + v - left, k] += grad[k]", "j * sw + v - left, k] = grad[k]",
             f"{KERNELS} compiled_equals and max_pool_backward"),
    Mutation("compiled: padding counts in a mean", "engine/functions.py",
             "total[k] /= count", "total[k] /= kh * kw",
             f"{KERNELS} compiled_equals and average_pool"),
    Mutation("compiled: ReLU hides a NaN", "engine/functions.py",
             "zero if source[k] <= zero else source[k]", "source[k] if source[k] > zero else zero",
             f"{KERNELS} reach_exactly and relu"),
    Mutation("compiled: shards leave rows out", "engine/functions.py",
             "m * first_of(n, shards, part + 1)", "m * (first_of(n, shards, part) + n // shards)",
             f"{KERNELS} compiled_equals and sum_rows"),
    Mutation("compiled: no look-ahead in Nesterov's step", "engine/steps.py",
             "p[k] += momentum * vel[k] - lr * g[k] if nesterov else vel[k]", "p[k] += vel[k]",
             f"{TWENTY} and numba"),
    Mutation("compiled: no bias correction of m", "engine/steps.py",
             "mean, square = first[k] / correct_1,", "mean, square = first[k],",
             f"{TWENTY} and numba"),
    Mutation("compiled: no bias correction of m in float32", "engine/steps.py",
             "np.float32(np.float64(first[k]) * inverse[0])", "np.float32(first[k])",
             f"{OPTIMIZERS} adam"),
    Mutation("compiled: epsilon under the root", "engine/steps.py",
             "lr * mean / (np.sqrt(square) + eps)", "lr * mean / np.sqrt(square + eps)",
             f"{TWENTY} and numba"),
    Mutation("compiled: what has all but vanished stays", "engine/steps.py",
             "return least - least if abs(moment) < least else moment", "return moment",
             f"{OPTIMIZERS} vanished and numba"),
    Mutation("turns: the last part of each worker is left out", "engine/turns.py",
             "if part < end:", "if part < end - 1:", "engine/test_turns.py"),
    # fused groups and the model
    Mutation("fused: the fourth position counts as dead", "engine/conv_pool_backward.py",
             "DEAD = 4", "DEAD = 3", f"{PLAN} wide_patches"),
    Mutation("fused: batch norm's sum of squares without the square", "engine/normalization.py",
             "acc = mul_add(apart, apart, acc)", "acc = add(apart, acc)", f"{PLAN} batch_norm"),
    Mutation("fused: the second gradient of four is taken for the first", "engine/conv_pool.py",
             "offsets[:] = 0, at.right,", "offsets[:] = 0, 0,", f"{PLAN} pool"),
    Mutation("fused: the few weights' patch read a row too low", "engine/conv_pool_backward.py",
             "four[2, below] + four[3, below + right]", "four[2, at] + four[3, at + right]",
             f"{PLAN} pool"),
    Mutation("fused: masked gradients of the lower windows laid on the upper ones",
             "engine/conv_pool_backward.py", "(q >> 1) * g.row + (q & 1)", "(q & 1)",
             f"{PLAN} pool"),
    Mutation("fused: a strided convolution's gradient one position late", "engine/conv.py",
             "+ v, places, own)", "+ v, places, max(own - 1, 0))", f"{PLAN} convolution_equals"),
    Mutation("fused: the last rows of a product left out", "engine/dense.py",
             "s.m if row + 1 == down else last", "last", f"{PLAN} dense"),
    Mutation("fused: a long sum starts anew in every part", "engine/dense.py",
             "if start == 0:", "if start >= 0:", f"{PLAN} long_sums"),
    Mutation("fused: zero times infinity is zero", "engine/dense.py",
             "return not has_nan(acc)", "return True", f"{PLAN} passed_over"),
    Mutation("fused: what one row of some has is not marked", "engine/dense.py",
             "min((block + 1) * rows, s.m)", "block * rows + 1", f"{PLAN} passed_over"),
    Mutation("fused: what one column of some has is not marked", "engine/dense.py",
             "found |= found >> width", "found |= found", f"{PLAN} terms_are_marked"),
    Mutation("fused: a lot's terms begin in the one before", "engine/dense.py",
             "bits &= np.int64(-1) << (start - first)", "bits &= -1", f"{PLAN} dense"),
    Mutation("fused: a smoothed target counts the label's share twice", "engine/ends.py",
             "out[label] -= rest / n", "out[label] -= 1 / n", f"{PLAN} cross_entropy"),
    Mutation("fused: a padded image's gradient begins in its frame", "engine/conv.py",
             "framed[inside.start + i * g.row :]", "framed[i * g.row :]",
             f"{PLAN} convolution_equals"),
    Mutation("plan: a Residual's dy is written over by its main row", "engine/group.py",
             "self.held.append(array)", "self.held.append(array[:0])",
             "layers/test_residual.py fused_rows"),
    Mutation("plan: dropped units get a gradient", "engine/elementwise.py",
             "mask = self.dx(dy.shape, dy), self.buffer(\"mask\", dy.shape)",
             "mask = self.dx(dy.shape, dy), np.ones_like(dy)", f"{PLAN} to_themselves"),
    Mutation("leaky: what is negative goes back whole", "engine/elementwise.py",
             "sign[k] > 0 else slope * source[k]", "sign[k] > 0 else source[k]",
             f"{PLAN} to_themselves"),
    Mutation("curves: a number is the input where it should be the output", "engine/curves.py",
             "flat if self.curve.keeps_x else y.reshape(-1)", "flat", f"{PLAN} to_themselves"),
    Mutation("curves: GELU's gradient without its density", "engine/curves.py",
             "return share + x * density", "return share", f"{PLAN} to_themselves"),
    Mutation("onnx: what only resembles an activation is taken for it", "interop/onnx_spelled.py",
             "TOLERANCE = 1e-6", "TOLERANCE = 1e-3", "interop/test_onnx.py resembles"),
    Mutation("regularizer: half the gradient of L2", "regularizers.py",
             "number(2 * l2) * W", "number(l2) * W", "layers/test_regularizers.py definition"),
    Mutation("regularizer, compiled: L1 pulls to one side", "engine/steps.py",
             "pull * np.sign(w[k])", "pull", "layers/test_regularizers.py definition"),
    Mutation("regularizer: not in the loss of evaluate", "training.py",
             "labels, weights) + price", "labels, weights)",
             "layers/test_regularizers.py evaluation"),
    Mutation("noise, fused: not scaled", "engine/elementwise.py",
             "one[k] + scale * other[k]", "one[k] + other[k]", f"{PLAN} to_themselves"),
    Mutation("layer norm: the gradient keeps its part along x_hat", "layers/normalization.py",
             "dx_hat - mean - x_hat * along", "dx_hat - mean", f"{LAYERS} definition"),
    Mutation("layer norm, fused: the mean of a row is not taken out of the gradient",
             "engine/normalization.py", "gamma[j] * grad[j] - mean", "gamma[j] * grad[j]",
             f"{PLAN} layer_norm_equals"),
    Mutation("log-softmax: the gradient's sum is left out", "layers/activations.py",
             "np.exp(y) * dy.sum(axis=-1, keepdims=True)", "np.exp(y) * dy",
             f"{LAYERS} definition"),
    Mutation("gelu: both tails are the upper one", "layers/special.py",
             "np.where(wide > 0, tail, 2 - tail)", "tail",
             "layers/test_activations.py erfc"),
    Mutation("softplus: the gradient is the output", "layers/smooth.py",
             "dy * -np.expm1(-y)", "dy * y", f"{LAYERS} definition"),
    Mutation("prepared: the recorded image's output again", "engine/single.py",
             "return segment.y.copy() if segment.run() else None", "return segment.y.copy()",
             "engine/test_prepared.py same_bits", needs_compiler=True),
    Mutation("winograd: two terms of the output tile exchanged", "engine/transforms.py",
             "sub(sub(m[1], m[2]), m[3])", "sub(sub(m[2], m[1]), m[3])", f"{PLAN} winograd"),
    Mutation("winograd: what lies in dx stays there", "engine/winograd.py",
             "dx[new * image : old * image] = 0", "pass",
             f"{PLAN} winograd"),
    Mutation("plan: batch norm's variance about the wrong point", "engine/normalization.py",
             "squares += count * apart * apart", "pass", f"{PLAN} batch_norm"),
    Mutation("plan: a block's squares stay about its own mean", "engine/normalization.py",
             "squares[k] += weight * apart * apart", "pass",
             f"{PLAN} outlier"),
    Mutation("plan: the batch's statistics in evaluation", "engine/normalization.py",
             "self.from_batch = training and layer", "self.from_batch = layer",
             f"{PLAN} batch_norm"),
    Mutation("plan: frozen, the batch's statistics all the same", "engine/normalization.py",
             "training and layer.trainable and self.m", "training and self.m", FREEZING),
    Mutation("freezing: clipping measures the frozen ones too", "optimizers.py",
             "squares[part] = 0", "pass", FREEZING),
    Mutation("freezing: averages come into frozen layers", "optimizers.py",
             "self.memory[key][part] = values[part]", "pass", FREEZING),
    Mutation("freezing: backward through all layers", "model.py",
             "any(layer.learns for layer in group.layers)", "True", FREEZING),
    Mutation("sharing: a built layer begins anew", "layers/base.py",
             "        if self.input_shape is None:\n            self.build",
             "        if True:\n            self.build", "training/test_sharing.py"),
    Mutation("sharing: another model's forward is taken for one's own", "layers/base.py",
             "return self._kept.ran_in is what", "return True", "training/test_sharing.py"),
    Mutation("sharing: arrays elsewhere are not taken in", "flat.py",
             "place.view[...] = array", "pass", "training/test_sharing.py"),
    Mutation("plan: a stride is ignored", "engine/plan.py",
             "side_by_side and conv.strides == (1, 1)", "side_by_side",
             f"{PLAN} cover"),
    Mutation("model: the softmax left out, not folded", "ending.py",
             "        loss.from_logits = True\n", "",
             "layers/test_gradients.py whole_network"),
    Mutation("model: pixels divided by 256", "model.py",
             "np.divide(x, 255", "np.divide(x, 256", f"{MODEL} form_of_images"),
]  # fmt: skip


def copied(folder: Path) -> Path:
    """A copy of what the tests need; the files of data are links."""
    shutil.copytree(ROOT / "scratchnet", folder / "scratchnet", ignore=_not_code)
    for name in ("datasets/files", "weights"):
        (folder / "scratchnet" / name).symlink_to(ROOT / "scratchnet" / name)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=_not_code)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    return folder


def _not_code(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("__pycache__", "files", "weights")]


def check(mutation: Mutation) -> None:
    """Raise unless the text to replace is there exactly once, and the tests are."""
    found = (ROOT / "scratchnet" / mutation.file).read_text().count(mutation.old)
    if found != 1:
        raise SystemExit(
            f"{mutation.name}: expected {mutation.old!r} once in {mutation.file}, found it {found} "
            "times"
        )
    if not (ROOT / "tests" / mutation.tests.split()[0]).is_file():
        raise SystemExit(f"{mutation.name}: expected a file of tests, found {mutation.tests}")


def tested(folder: Path, tests: str, as_python: bool) -> tuple[int, str]:
    """pytest's exit code and output for those tests, on the package in folder.

    The engine's own loops are run as the Python that they are: compiling all of them anew for each
    bug would take longer than all the rest.
    """
    file, _, expression = tests.partition(" ")
    command = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "--tb=no"]
    command += ["-p", "no:cacheprovider", "--hypothesis-profile=unshrunk"]
    command += [f"tests/{file}", "-k", expression]
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",  # a file changed twice in a second keeps its old bytecode
        "NUMBA_DISABLE_JIT": str(int(as_python)),
        "NUMBA_CACHE_DIR": str(folder / "cache"),
    }
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True,
            timeout=MOST_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, f"no end after {MOST_SECONDS} s"
    return done.returncode, done.stdout + done.stderr


def tried(folder: Path, mutation: Mutation) -> Outcome:
    """Put the bug in, run the tests, take it out again."""
    path = folder / "scratchnet" / mutation.file
    started = time.perf_counter()
    path.write_text(path.read_text().replace(mutation.old, mutation.new))
    try:
        code, output = tested(folder, mutation.tests, mutation.as_python)
    finally:
        shutil.copy2(ROOT / "scratchnet" / mutation.file, path)  # the old time of change, too
    failed = re.search(r"^FAILED tests/(.*?)( - .*)?$", output, re.MULTILINE)
    caught_by = failed[1] if code == 1 and failed else ""
    seconds = time.perf_counter() - started
    print(f"{mutation.name}: {caught_by or 'NOTHING'}, {seconds:.1f} s", file=sys.stderr)
    return Outcome(mutation, caught_by, seconds, output)


def run(mutations: list[Mutation]) -> list[Outcome]:
    """Every outcome, in order. Raises SystemExit where a test fails without a bug."""
    for mutation in mutations:
        check(mutation)
    with tempfile.TemporaryDirectory(prefix="mutations-") as place:
        folders: queue.Queue[Path] = queue.Queue()
        for number in range(AT_ONCE):
            folders.put(copied(Path(place) / str(number)))

        def within(job, *arguments):
            folder = folders.get()
            try:
                return job(folder, *arguments)
            finally:
                folders.put(folder)

        def sound(folder: Path, tests: str, as_python: bool) -> None:
            code, output = tested(folder, tests, as_python)
            if code != 0:
                raise SystemExit(f"{tests}: expected to pass without a bug:\n{output}")

        with ThreadPoolExecutor(AT_ONCE) as pool:
            plain = dict.fromkeys((mutation.tests, mutation.as_python) for mutation in mutations)
            list(pool.map(lambda tests: within(sound, *tests), plain))
            return list(pool.map(lambda mutation: within(tried, mutation), mutations))


def table(outcomes: list[Outcome]) -> str:
    lines = [("mutation", "file", "caught by", "seconds")]
    lines += [
        (o.mutation.name, o.mutation.file, o.caught_by or "NOTHING", f"{o.seconds:.1f}")
        for o in outcomes
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    caught = sum(bool(o.caught_by) for o in outcomes)
    return "\n".join([*rows, "", f"{caught} of {len(outcomes)} caught"])


def main(words: list[str]) -> None:
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    if not chosen:
        raise SystemExit(f"expected a word of a mutation's name, found {' '.join(words)}")
    started = time.perf_counter()
    outcomes = run(chosen)
    for outcome in outcomes:
        if not outcome.caught_by:
            print(f"{outcome.mutation.name}:\n{outcome.output}\n")
    print(f"{table(outcomes)}, {time.perf_counter() - started:.0f} s")
    if not all(outcome.caught_by for outcome in outcomes):
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
