"""What a diagnosis may name: each cause with a title and a paragraph in plain words.

A paragraph says what is seen, why it is so, and how to find it by hand. The rules that recognize a
cause by its numbers are elsewhere in this folder; what binds the two is the cause's short name.
"""

from typing import NamedTuple


class Cause(NamedTuple):
    """title   half a line;  text   a paragraph"""

    title: str
    text: str


CAUSES: dict[str, Cause] = {
    "batch-mean": Cause(
        "a mean over the batch in place of a sum, or a sum in place of a mean",
        "The gradient, or the loss, is the right one times the number of examples, or divided by "
        "it. The loss divides by the batch size, once, so that every gradient before it already "
        "carries that factor; a layer only adds up what its examples contribute. By hand: run the "
        "same batch twice as long (each example twice). A sum doubles, a mean stays.",
    ),
    "divided-twice": Cause(
        "divided by the same number twice",
        "The gradient is too small by a number that was divided by already: the batch size, the "
        "number of outputs, or the pixels of a window. It often happens when forward divides, "
        "backward divides, and the value kept in the cache had been divided, too. By hand: "
        "divide the right gradient by yours, entry by entry; the quotient is that number.",
    ),
    "sign": Cause(
        "the sign is the other one",
        "Every entry has the right size and the wrong sign, so that a step goes uphill. It comes "
        "from a difference taken the wrong way round (labels - probs), from a minus that was "
        "lost in a derivative, or from adding a step that should be subtracted. By hand: take a "
        "small step against your gradient; the loss must become smaller.",
    ),
    "transposed": Cause(
        "a matrix where its transpose belongs",
        "The numbers are those of the transposed matrix. Forward multiplies by W, backward by "
        "W.T: dy[j] reaches x[i] through W[i, j], so the sum is over j. Where the matrix is "
        "square, no error about shapes warns of it. By hand: try a layer that is not square (3 "
        "inputs, 5 outputs), and write the shapes beside each product.",
    ),
    "axes-permuted": Cause(
        "the values are right, their axes in another order",
        "The same numbers stand at other places. A reshape keeps the order in memory and a "
        "transpose changes it; whoever reshapes where a transpose belongs (or reverses the two) "
        "mixes the axes without an error. By hand: use an input that counts 0, 1, 2, ... with "
        "four different sizes for the axes, and look where the numbers end up.",
    ),
    "kernel-flipped": Cause(
        "the kernel is turned upside down or left to right",
        "A convolution layer lays the kernel on the image as it is (cross-correlation). Backward, "
        "the formula with a full convolution for dx turns it by 180 degrees, once; col2im turns "
        "nothing. Turned once too often or too seldom, all numbers look plausible. By hand: a "
        "kernel with a single 1 in a corner shows which pixel it reads and which it gives the "
        "gradient to.",
    ),
    "overwritten": Cause(
        "= where += belongs: of several uses of a value, one counts",
        "A value that is used several times collects the gradient of every use: a pixel in "
        "overlapping windows, a weight used by all examples, an x that takes two ways through a "
        "residual block. Here a later use replaces what an earlier one had left. By hand: let "
        "the windows not overlap, or take one example; if the gradient is then right, look for "
        "the = that should be +=.",
    ),
    "padding-off": Cause(
        "the padding is on the wrong side, of the wrong size or value, or not cut off",
        "Near the borders, or everywhere by a shift of a pixel or two, the numbers belong to "
        "another padding. The odd zero of 'same' stands at the bottom and right; dx is cut out of "
        "the padded gradient at [top:top+h, left:left+w]; for a maximum the padding is minus "
        "infinity, and a mean does not count it. By hand: an image of ones and a kernel of ones; "
        "the borders show how many pixels each window saw.",
    ),
    "stride-forgotten": Cause(
        "the stride is left out",
        "The window of output (i, j) begins at row i * stride. Here the numbers are those of "
        "windows that begin at row i, or the two strides have changed places. With a stride of 1 "
        "all is right, so that it goes unseen in small tests. By hand: a dy with a single 1 at "
        "output (1, 1) must arrive in the window that begins at (stride, stride).",
    ),
    "all-ties": Cause(
        "every one of several equal maxima gets the gradient",
        "Where a window has two equal maxima, both get the whole dy, so that the window hands on "
        "more than it was given. A mask x == max(x) does that. It goes unseen on random numbers, "
        "but after a ReLU most windows of a picture hold several zeros. By hand: a window of "
        "equal numbers; the sum of dx must be dy.",
    ),
    "last-tie": Cause(
        "the last of several equal maxima gets the gradient",
        "Where a window has several equal maxima, the first in row-major order takes the whole "
        "gradient (as np.argmax, and as PyTorch has it). Here it is the last: a comparison with "
        ">= where > belongs, or a loop that runs backward. By hand: a window of equal numbers; "
        "the gradient belongs to its upper left corner.",
    ),
    "bias-axes": Cause(
        "the bias's gradient is summed over the wrong axes",
        "A bias is added at every place where it is used: every example, and in images every "
        "position. Its gradient is the sum of dy over just these axes, all but the last. Here "
        "one axis is left out, or one too many is summed. By hand: with dy all ones the gradient "
        "of each bias is the number of places it is added to.",
    ),
    "mask-unused": Cause(
        "the mask of forward is not used in backward",
        "Forward let some values pass and stopped others; backward does not stop the same ones. "
        "A value that did not reach the output has no influence on the loss, so that its "
        "gradient is 0; and the random mask of a Dropout must be kept, not drawn a second time. "
        "By hand: wherever y is 0 because it was stopped, dx must be 0.",
    ),
    "mask-unscaled": Cause(
        "the mask of a dropout without its factor 1 / (1 - rate)",
        "Values that are kept must be divided by the probability of being kept, in forward and "
        "in backward, so that their expected value stays what it is and evaluation needs no "
        "factor. By hand: the mean of many outputs for an x of ones must be about 1; where y is "
        "2 x, dx must be 2 dy.",
    ),
    "mask-of-dy": Cause(
        "the gate is taken from the sign of dy in place of x",
        "dx is dy where dy is positive, and 0 elsewhere. Whether a ReLU let a value pass was "
        "decided by x in forward; the sign of the gradient has nothing to do with it. By hand: "
        "an x of ones lets everything pass, so dx must be dy, negative entries too.",
    ),
    "batchnorm-term": Cause(
        "a term is missing: the way of x through the mean, through the variance, or both",
        "In a normalization x reaches y directly, through the mean and through the variance. "
        "dx = s (d - mean(d) - x_hat mean(d x_hat)) with d = dy gamma: the second term comes "
        "from the mean, the third from the variance. In evaluation, where both are constants, "
        "the first stands alone. By hand: the sum of dx over what was normalized must be 0 (the "
        "mean's term), and so must the sum of dx x_hat (nearly; the variance's).",
    ),
    "variance-ddof": Cause(
        "m - 1 where m belongs",
        "Normalization divides by the root of the batch's own variance, the mean of the squares: "
        "the sum divided by m. m - 1 estimates the variance of all the data the batch was drawn "
        "from, which is another question (np.var(ddof=1), torch.var by default). By hand: the "
        "normalized values must have the mean square 1; here it is (m - 1) / m.",
    ),
    "stale-cache": Cause(
        "backward uses what an earlier forward kept",
        "By itself a call is right; after another forward, backward still works with the older "
        "input, mask or mode. Every forward must replace all that backward reads, in evaluation "
        "too. By hand: forward(a), forward(b), backward(dy) must give what forward(b), "
        "backward(dy) gives in a new layer.",
    ),
    "dy-changed": Cause(
        "backward writes to dy",
        "dy belongs to the caller, who may need it once more: in a residual block two branches "
        "get the same array. dy *= mask, dy[mask] = 0 or an out=dy changes it. By hand: keep "
        "dy.copy() and compare after backward.",
    ),
    "x-changed": Cause(
        "forward writes to x",
        "x belongs to the caller: it is the training data, or the output that the layer before "
        "has kept for its own backward. x -= x.max() or x[x < 0] = 0 changes it. By hand: keep "
        "x.copy() and compare after forward.",
    ),
    "dx-missing": Cause(
        "backward returns nothing",
        "backward must return dx, the gradient with respect to the layer's input; it is the dy "
        "of the layer before, and without it nothing before this layer can learn. By hand: does "
        "every path through backward end in a return?",
    ),
    "parameter-gradient-missing": Cause(
        "the gradient of a parameter is not stored",
        "After backward, `grads` still holds what was in it before. Most often the gradient is "
        "computed into a local variable, or stored under another name. By hand: fill every "
        "array of grads with NaN, run backward, and look for NaN.",
    ),
    "float32-inside": Cause(
        "float64 goes through float32 on its way",
        "A change of the input in its eleventh digit does not reach the output. Somewhere the "
        "numbers are rounded to seven digits: a constant array of float32, an astype, a buffer "
        "made without dtype=x.dtype. In training it may not matter, but a gradient check cannot "
        "see past it. By hand: print the dtype of every intermediate array.",
    ),
    "forward-random": Cause(
        "forward differs from call to call, or drops in evaluation",
        "The same input gives different outputs where it should not: in evaluation, or in a "
        "layer that has no random part. Randomness belongs in training alone, and in a generator "
        "handed in, so that it can be repeated. By hand: call forward(x, training=False) twice "
        "and compare.",
    ),
    "epsilon-side": Cause(
        "epsilon stands outside the root where it belongs inside, or the reverse",
        "sqrt(v + epsilon) and sqrt(v) + epsilon differ most where v is small: for v = 0 and "
        "epsilon = 1e-6 they are 1e-3 and 1e-6. BatchNorm has it inside; Adam has it outside, "
        "beside the corrected root. By hand: values of very little variance (or tiny gradients) "
        "show the difference, ordinary ones hide it.",
    ),
    "no-bias-correction": Cause(
        "the averages are not corrected for their start at 0",
        "Adam's m and v start at 0 and are too small at first: after the first step m is "
        "(1 - beta_1) g. Dividing by 1 - beta^t makes up for it. Without that the first steps "
        "are wrong, later ones less and less. By hand: the first step of Adam has the length "
        "learning_rate for every parameter, whatever the gradient.",
    ),
    "wrong-t": Cause(
        "the step's number starts at 0, stands still, or runs too fast",
        "In 1 - beta^t the first step has t = 1. From 0 the first division is by 0; a t that "
        "stands still corrects every step like the first; a t counted once for each parameter "
        "array runs too fast. By hand: print t in three steps: 1, 2, 3.",
    ),
    "parameters-replaced": Cause(
        "the parameters' own array is not changed",
        "After a step the model computes with the numbers it had before. params = params - step "
        "makes a new array and leaves the model's as it is; params -= step (or params[:] = ...) "
        "changes it. All parameters of a model are views into one array, so replacing one cuts "
        "it off. By hand: keep a reference to the array before the step and look into it after.",
    ),
    "accumulated": Cause(
        "added to what an earlier call left",
        "The first call is right, and every further one adds to it. Unlike PyTorch, where "
        "zero_grad() empties the gradients, backward here overwrites them: = or [:] =, not +=, "
        "for what is kept from call to call. By hand: forward and backward twice with the same "
        "numbers must give the same gradients twice.",
    ),
    "derivative-of-output": Cause(
        "f'(y) where f'(x) belongs, or a formula for y given x",
        "A derivative is written in terms of x, or of y = f(x), and was given the other of the "
        "two. s (1 - s) is sigmoid's derivative where s is the output; 1 - t^2 is tanh's for "
        "its output t. By hand: at x = 0 sigmoid's slope is 1/4 and tanh's is 1.",
    ),
    "diagonal-only": Cause(
        "only the diagonal of the Jacobian is used",
        "Each output depends on several inputs, and the gradient has only the part of y[i] to "
        "x[i]. Softmax is no sigmoid: a higher score lowers all other probabilities, so "
        "dx = y (dy - sum(dy y)), where y (1 - y) dy is the diagonal alone. By hand: the "
        "gradient of a softmax adds up to 0 over the classes.",
    ),
    "missing-factor": Cause(
        "a factor is missing, or there is one too many",
        "Every entry is off by the same factor, or by one that belongs to its channel: a 2 from "
        "a square's derivative, a slope, gamma, 1 / sqrt(var + epsilon), a learning rate. By "
        "hand: divide your numbers by the right ones and look whether the quotient is something "
        "that occurs in the formula.",
    ),
    "shifted-max": Cause(
        "softmax without subtracting the maximum: large scores overflow",
        "For ordinary scores all is right, for scores above 709 exp overflows to infinity, and "
        "infinity divided by infinity is NaN. Subtracting each row's maximum changes nothing in "
        "the result and keeps every exponent at most 0. By hand: softmax([1000, 1000]) must be "
        "[0.5, 0.5].",
    ),
    "clipped": Cause(
        "the logarithm of 0, or of probabilities that were clipped",
        "Where a probability is 0, or rounds to it, the loss or its gradient is infinite, NaN or "
        "stuck at the logarithm of a small constant, and the network cannot learn from its worst "
        "mistakes. From scores, log softmax is exact without ever taking log of a probability; "
        "from probabilities, they must be kept above a small number, gradient included. By hand: "
        "scores [0, 800] with the label 0 must give the loss 800.",
    ),
    "decay-coupled": Cause(
        "weight decay is added to the gradient where it stands apart, or the reverse",
        "AdamW shrinks the parameters by lr * decay * parameter beside the step; L2 adds decay * "
        "parameter to the gradient, which Adam then divides by the gradient's usual size. For "
        "plain SGD both are the same, for momentum and Adam they are not. By hand: with a "
        "gradient of 0, AdamW multiplies the parameters by 1 - lr * decay.",
    ),
    "memory-lost": Cause(
        "what should be remembered from step to step starts anew",
        "The first step is right; the next ones are as if they were first steps again. Momentum "
        "and Adam's averages live as long as the optimizer: made in the constructor or at the "
        "first step, not in every one. By hand: with momentum 0.9 and the same gradient, the "
        "second step is 1.9 times as long as the first.",
    ),
    "forward-wrong": Cause(
        "forward computes something else",
        "The output differs from the right one, and no narrower explanation fits. As long as "
        "forward is wrong, backward cannot be judged against it. By hand: take the smallest "
        "input (one example, one channel), compute one output on paper, and print every "
        "intermediate array.",
    ),
    "wrong-shape": Cause(
        "an array of the wrong shape",
        "dx has the shape of x, every gradient that of its parameter, dy that of y. NumPy "
        "stretches axes of length 1 without a word, so that (n,) beside (n, 1) becomes (n, n). "
        "By hand: print the shape of every intermediate array, and write it beside the line.",
    ),
    "changes-state": Cause(
        "running statistics change where they should not, or by the wrong share",
        "running = momentum * running + (1 - momentum) * new, in training alone. Here they "
        "change in evaluation, stay as they are in training, or the two shares have changed "
        "places (PyTorch's momentum is 1 minus this one). By hand: copy the buffers, call "
        "forward, and compare.",
    ),
}
