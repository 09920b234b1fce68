"""Every operation once more, as loops over single numbers, straight from the definitions.

Slow, and independent: nothing of the package is imported here (test_imports.py holds that).
A layer's oracle takes its input and dy, and returns y, dx and the gradients of its parameters.
Images (n, h, w, c), weights (kh, kw, c, f), pads (top, bottom, left, right), as in the package.
"""

import itertools
import math

import numpy as np


def pads_of(padding, size, window, strides):
    """What the user writes, in four numbers; "same" as TensorFlow documents it."""
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        sides = []
        for extent, k, s in zip(size, window, strides, strict=True):
            needed = max((math.ceil(extent / s) - 1) * s + k - extent, 0)
            sides += [needed // 2, math.ceil(needed / 2)]
        return tuple(sides)
    pair = (padding, padding) if isinstance(padding, int) else padding
    (top, bottom), (left, right) = [p if isinstance(p, tuple) else (p, p) for p in pair]
    return top, bottom, left, right


def span(window, dilation):
    """From the first pixel of a window to its last, gaps included."""
    return tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))


def positions(size, window, strides, pads, dilation=(1, 1)):
    """(i, j, taps) for each place of the window; taps (u, v, row, column) inside the image."""
    (h, w), (kh, kw), (sh, sw), (dh, dw) = size, window, strides, dilation
    top, bottom, left, right = pads
    high, wide = span(window, dilation)
    for i, y0 in enumerate(range(-top, h + bottom - high + 1, sh)):
        for j, x0 in enumerate(range(-left, w + right - wide + 1, sw)):
            taps = [(u, v, y0 + u * dh, x0 + v * dw) for u in range(kh) for v in range(kw)]
            yield i, j, [tap for tap in taps if 0 <= tap[2] < h and 0 <= tap[3] < w]


def output_size(*where):
    *_, (i, j, _) = positions(*where)
    return i + 1, j + 1


def conv(x, W, b, dy, strides, pads, dilation=(1, 1)):
    (n, h, w, c), (kh, kw, _, filters) = x.shape, W.shape
    where = (h, w), (kh, kw), strides, pads, dilation
    y = np.zeros((n, *output_size(*where), filters))
    dx, dW, db = np.zeros(x.shape), np.zeros(W.shape), np.zeros(filters)
    for i, j, taps in positions(*where):
        for image, f in np.ndindex(n, filters):
            g = dy[image, i, j, f]
            y[image, i, j, f] += b[f]
            db[f] += g
            for u, v, r, s in taps:
                for k in range(c):
                    y[image, i, j, f] += x[image, r, s, k] * W[u, v, k, f]
                    dx[image, r, s, k] += g * W[u, v, k, f]
                    dW[u, v, k, f] += g * x[image, r, s, k]
    return y, dx, dW, db


def depthwise_conv(x, W, b, dy, strides, pads, dilation):
    (n, h, w, c), (kh, kw, _, many) = x.shape, W.shape
    y, dx, dW, db = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(W.shape), np.zeros(c * many)
    for i, j, taps in positions((h, w), (kh, kw), strides, pads, dilation):
        for image, k, d in np.ndindex(n, c, many):
            at = image, i, j, k * many + d
            y[at] = b[k * many + d]
            db[k * many + d] += dy[at]
            for u, v, r, s in taps:
                y[at] += x[image, r, s, k] * W[u, v, k, d]
                dx[image, r, s, k] += dy[at] * W[u, v, k, d]
                dW[u, v, k, d] += dy[at] * x[image, r, s, k]
    return y, dx, dW, db


def subsampling(x, W, b, dy, window):
    y, dx, dW, db = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(W.shape), np.zeros(b.shape)
    for i, j, taps in positions(x.shape[1:3], window, window, (0, 0, 0, 0)):
        for image, k in np.ndindex(len(x), len(W)):
            g = dy[image, i, j, k]
            y[image, i, j, k] = b[k]
            db[k] += g
            for *_, r, s in taps:
                y[image, i, j, k] += x[image, r, s, k] * W[k]
                dx[image, r, s, k] += g * W[k]
                dW[k] += g * x[image, r, s, k]
    return y, dx, dW, db


def connected_conv(x, W, b, dy, connections):
    y, dx, dW, db = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(W.shape), np.zeros(b.shape)
    table = [(f, c) for f, row in enumerate(connections) for c in row]
    for at in np.ndindex(dy.shape):
        y[at] = b[at[-1]]
        db[at[-1]] += dy[at]
    for k, (f, c) in enumerate(table):
        for image, i, j in np.ndindex(dy.shape[:3]):
            for u, v in np.ndindex(W.shape[:2]):
                y[image, i, j, f] += x[image, i + u, j + v, c] * W[u, v, k]
                dx[image, i + u, j + v, c] += dy[image, i, j, f] * W[u, v, k]
                dW[u, v, k] += dy[image, i, j, f] * x[image, i + u, j + v, c]
    return y, dx, dW, db


def scaled_tanh(x, dy):
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        t = math.tanh(2 * x[at] / 3)
        y[at], dx[at] = 1.7159 * t, dy[at] * 1.7159 * 2 / 3 * (1 - t * t)
    return y, dx


def conv_transpose(x, W, b, dy, strides, pads):
    """Every pixel lays its filters onto y; what falls outside is cut off."""
    (n, h, w, c), (kh, kw, filters, _), (sh, sw) = x.shape, W.shape, strides
    top, _, left, _ = pads
    y, dx, dW = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(W.shape)
    for at in np.ndindex(y.shape):
        y[at] = b[at[-1]]
    for image, i, j, u, v in np.ndindex(n, h, w, kh, kw):
        row, column = i * sh + u - top, j * sw + v - left
        if 0 <= row < y.shape[1] and 0 <= column < y.shape[2]:
            for f, k in np.ndindex(filters, c):
                y[image, row, column, f] += x[image, i, j, k] * W[u, v, f, k]
                dx[image, i, j, k] += dy[image, row, column, f] * W[u, v, f, k]
                dW[u, v, f, k] += dy[image, row, column, f] * x[image, i, j, k]
    return y, dx, dW, np.array([math.fsum(dy[..., f].ravel()) for f in range(filters)])


def transposed_size(size, window, strides, padding):
    """The output's size and what is cut off, as Keras has them for "valid" and "same"."""
    out, cut = [], []
    for extent, k, s in zip(size, window, strides, strict=True):
        reached = (extent - 1) * s + k
        if padding == "same":
            out.append(extent * s)
            cut += [max(reached - out[-1], 0) // 2, math.ceil(max(reached - out[-1], 0) / 2)]
        elif padding == "valid":
            out.append(max(reached, extent * s))
            cut += [0, 0]
        else:
            cut += pads_of(padding, None, None, None)[len(cut) : len(cut) + 2]
            out.append(reached - sum(cut[-2:]))
    return tuple(out), tuple(cut)


def first_of_the_largest(values):
    """Where the maximum is: the first of equals, and the first NaN before every number."""
    best = 0
    for at, value in enumerate(values):
        if not math.isnan(values[best]) and (value > values[best] or math.isnan(value)):
            best = at
    return best


def max_pool(x, dy, *window_strides_pads):
    """y, dx, winner: the winner's number in its window, row by row."""
    (n, _, _, c), where = x.shape, (x.shape[1:3], *window_strides_pads)
    y, dx = np.zeros((n, *output_size(*where), c)), np.zeros(x.shape)
    winner = np.zeros(y.shape, int)
    for i, j, taps in positions(*where):
        for m, k in np.ndindex(n, c):
            u, v, r, s = taps[first_of_the_largest([x[m, r, s, k] for *_, r, s in taps])]
            y[m, i, j, k] = x[m, r, s, k]
            dx[m, r, s, k] += dy[m, i, j, k]
            winner[m, i, j, k] = u * where[1][1] + v
    return y, dx, winner


def average_pool(x, dy, *window_strides_pads):
    """The mean of the pixels inside the image."""
    (n, _, _, c), where = x.shape, (x.shape[1:3], *window_strides_pads)
    y, dx = np.zeros((n, *output_size(*where), c)), np.zeros(x.shape)
    for i, j, taps in positions(*where):
        for m, k in np.ndindex(n, c):
            for *_, r, s in taps:
                y[m, i, j, k] += x[m, r, s, k] / len(taps)
                dx[m, r, s, k] += dy[m, i, j, k] / len(taps)
    return y, dx


def placed(x, dy, place):
    """y is a copy of x at other places; place(index of x) -> index of y."""
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        y[place(*at)], dx[at] = x[at], dy[place(*at)]
    return y, dx


def shares(extent, factor):
    """A[i, k], the share of old pixel k in new pixel i, when each becomes `factor` of them.

    As a triangle of width 1 around every old pixel's middle; beyond the first and the last middle
    that pixel alone counts.
    """
    A = np.zeros((extent * factor, extent))
    for i in range(extent * factor):
        where = (2 * i + 1) / (
            2 * factor
        )  # in the old image, whose pixel k has its middle at k + 1/2
        where = min(max(where, 0.5), extent - 0.5)
        for k in range(extent):
            A[i, k] = max(0.0, 1 - abs(where - (k + 0.5)))
    return A


def up_sampling(x, dy, size, interpolation):
    (n, h, w, c), (sh, sw) = x.shape, size
    y, dx = np.zeros((n, h * sh, w * sw, c)), np.zeros(x.shape)
    A, B = shares(h, sh), shares(w, sw)
    if interpolation == "nearest":
        A, B = (np.repeat(np.eye(extent), s, axis=0) for extent, s in ((h, sh), (w, sw)))
    for m, i, j, k in np.ndindex(y.shape):
        for r, s in np.ndindex(h, w):
            y[m, i, j, k] += A[i, r] * B[j, s] * x[m, r, s, k]
            dx[m, r, s, k] += A[i, r] * B[j, s] * dy[m, i, j, k]
    return y, dx


def relu(x, dy, slope=0.0):
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        factor = 1 if x[at] > 0 else slope
        y[at], dx[at] = factor * x[at], factor * dy[at]
    return y, dx


def _each(x, dy, function, slope):
    """y and dx of a function of one number."""
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        value = float(x[at])
        y[at], dx[at] = function(value), slope(value) * dy[at]
    return y, dx


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


def sigmoid(x, dy):
    return _each(x, dy, _sigmoid, lambda v: math.exp(-v) / (1 + math.exp(-v)) ** 2)


def tanh(x, dy):
    return _each(x, dy, math.tanh, lambda v: 1 / math.cosh(v) ** 2)


def elu(x, dy, alpha):
    def function(v):
        return v if v > 0 else alpha * (math.exp(v) - 1)

    return _each(x, dy, function, lambda v: 1 if v > 0 else alpha * math.exp(v))


def softplus(x, dy):
    return _each(x, dy, lambda v: math.log(1 + math.exp(v)), _sigmoid)


def silu(x, dy):
    def slope(v):
        return (1 + math.exp(-v) + v * math.exp(-v)) / (1 + math.exp(-v)) ** 2

    return _each(x, dy, lambda v: v / (1 + math.exp(-v)), slope)


def gelu(x, dy, approximate):
    """As in the paper: with erf, or with tanh; the latter's slope by 1 - tanh^2."""
    root, cubic = math.sqrt(2 / math.pi), 0.044715

    def share(v):
        if approximate:
            return (1 + math.tanh(root * (v + cubic * v**3))) / 2
        return (1 + math.erf(v / math.sqrt(2))) / 2

    def density(v):
        if approximate:
            inner = root * (v + cubic * v**3)
            return (1 - math.tanh(inner) ** 2) * root * (1 + 3 * cubic * v**2) / 2
        return math.exp(-(v**2) / 2) / math.sqrt(2 * math.pi)

    return _each(x, dy, lambda v: v * share(v), lambda v: share(v) + v * density(v))


def log_softmax(x, dy):
    """Backward with the whole Jacobian: dy[i]/dx[j] = 1[i = j] - softmax(x)[j]."""
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        total = math.fsum(math.exp(value) for value in x[row])
        y[row] = [value - math.log(total) for value in x[row]]
        for i, j in np.ndindex(len(x[row]), len(x[row])):
            dx[row][j] += dy[row][i] * ((i == j) - math.exp(x[row][j]) / total)
    return y, dx


def softmax(x, dy):
    """Backward with the whole Jacobian: dy[i]/dx[j] = y[i] (1[i = j] - y[j])."""
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        e = [math.exp(value) for value in x[row]]
        y[row] = [value / math.fsum(e) for value in e]
        for i, j in np.ndindex(len(e), len(e)):
            dx[row][j] += dy[row][i] * y[row][i] * ((i == j) - y[row][j])
    return y, dx


def moments(x):
    """Mean and (biased) variance of each channel."""
    columns = [[float(v) for v in x[..., k].ravel()] for k in range(x.shape[-1])]
    mean = [math.fsum(column) / len(column) for column in columns]
    pairs = zip(columns, mean, strict=True)
    var = [math.fsum((v - mu) ** 2 for v in column) / len(column) for column, mu in pairs]
    return np.array(mean), np.array(var)


def batch_norm(x, dy, gamma, beta, mean, var, epsilon, from_batch):
    """Backward by the paths x -> y, x -> mean -> y and x -> var -> y, one after the other."""
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    dgamma, dbeta, dmean, dvar = np.zeros((4, len(gamma)))
    m, s = x.size / len(gamma), [1 / math.sqrt(v + epsilon) for v in var]
    for at in np.ndindex(x.shape):
        k, centred = at[-1], x[at] - mean[at[-1]]
        y[at] = gamma[k] * centred * s[k] + beta[k]
        dgamma[k] += dy[at] * centred * s[k]
        dbeta[k] += dy[at]
        dmean[k] -= dy[at] * gamma[k] * s[k]
        dvar[k] -= dy[at] * gamma[k] * centred * s[k] ** 3 / 2
    for at in np.ndindex(x.shape):
        k = at[-1]
        dx[at] = dy[at] * gamma[k] * s[k]
        if from_batch:
            dx[at] += dmean[k] / m + dvar[k] * 2 * (x[at] - mean[k]) / m
    return y, dx, dgamma, dbeta


def layer_norm(x, dy, gamma, beta, epsilon):
    """As batch_norm: by the paths x -> y, x -> mean -> y and x -> var -> y of every row."""
    y, dx, dgamma, dbeta = (np.zeros(shape) for shape in [x.shape] * 2 + [gamma.shape] * 2)
    for place in np.ndindex(x.shape[: x.ndim - gamma.ndim]):
        row, k = x[place], gamma.size
        mean = math.fsum(row.ravel()) / k
        var = math.fsum((v - mean) ** 2 for v in row.ravel()) / k
        s, dmean, dvar = 1 / math.sqrt(var + epsilon), 0.0, 0.0
        for at in np.ndindex(gamma.shape):
            centred, g = row[at] - mean, dy[place][at]
            y[place][at] = gamma[at] * centred * s + beta[at]
            dgamma[at] += g * centred * s
            dbeta[at] += g
            dmean -= g * gamma[at] * s
            dvar -= g * gamma[at] * centred * s**3 / 2
        for at in np.ndindex(gamma.shape):
            way = dmean / k + dvar * 2 * (row[at] - mean) / k
            dx[place][at] = dy[place][at] * gamma[at] * s + way
    return y, dx, dgamma, dbeta


def cross_entropy(probs, targets):
    """L and dL/dprobs for targets (n, k) that are distributions."""
    n, loss, grad = len(probs), 0.0, np.zeros(probs.shape)
    for at in np.ndindex(probs.shape):
        loss -= targets[at] * math.log(probs[at]) / n
        grad[at] = -targets[at] / probs[at] / n
    return loss, grad


def mean_squared_error(y_pred, y_true):
    loss, grad = 0.0, np.zeros(y_pred.shape)
    for at in np.ndindex(y_pred.shape):
        loss += (y_pred[at] - y_true[at]) ** 2 / y_pred.size
        grad[at] = 2 * (y_pred[at] - y_true[at]) / y_pred.size
    return loss, grad


def binary_cross_entropy(probs, targets):
    loss, grad, m = 0.0, np.zeros(probs.shape), probs.size
    for at in np.ndindex(probs.shape):
        p, t = probs[at], targets[at]
        loss -= (t * math.log(p) + (1 - t) * math.log(1 - p)) / m
        grad[at] = ((1 - t) / (1 - p) - t / p) / m
    return loss, grad


def mean_absolute_error(y_pred, y_true):
    loss, grad = 0.0, np.zeros(y_pred.shape)
    for at in np.ndindex(y_pred.shape):
        e = y_pred[at] - y_true[at]
        loss += abs(e) / y_pred.size
        grad[at] = (int(e > 0) - int(e < 0)) / y_pred.size
    return loss, grad


def huber(y_pred, y_true, delta):
    loss, grad = 0.0, np.zeros(y_pred.shape)
    for at in np.ndindex(y_pred.shape):
        e = y_pred[at] - y_true[at]
        if abs(e) <= delta:
            loss, grad[at] = loss + 0.5 * e**2 / y_pred.size, e / y_pred.size
        else:
            loss += (delta * abs(e) - 0.5 * delta**2) / y_pred.size
            grad[at] = math.copysign(delta, e) / y_pred.size
    return loss, grad


def categorical_hinge(y_pred, labels):
    n, loss, grad = len(y_pred), 0.0, np.zeros(y_pred.shape)
    for i, (row, label) in enumerate(zip(y_pred, labels, strict=True)):
        rival, best = None, 0.0
        for j, value in enumerate(row):
            if j != label and value > best:
                rival, best = j, value
        if best - row[label] + 1 > 0:
            loss += (best - row[label] + 1) / n
            grad[i, label] -= 1 / n
            if rival is not None:
                grad[i, rival] += 1 / n
    return loss, grad


def kl_divergence(probs, targets):
    n, loss, grad = len(probs), 0.0, np.zeros(probs.shape)
    for at in np.ndindex(probs.shape):
        if targets[at] > 0:
            loss += targets[at] * math.log(targets[at] / probs[at]) / n
            grad[at] = -targets[at] / probs[at] / n
    return loss, grad


def l1_l2(W, l1, l2):
    """The penalty on weights, and its gradient; the slope of |w| at 0 is 0."""
    penalty, grad = 0.0, np.zeros(W.shape)
    for at in np.ndindex(W.shape):
        w = float(W[at])
        penalty += l1 * abs(w) + l2 * w**2
        grad[at] = l1 * ((w > 0) - (w < 0)) + 2 * l2 * w
    return penalty, grad


def sgd(params, gradients, rates, momentum=0.0, nesterov=False):
    """The parameters after each step, for one gradient and one learning rate a step."""
    p = [float(value) for value in params]
    velocity, path = [0.0] * len(p), []
    for grads, lr in zip(gradients, rates, strict=True):
        for k, g in enumerate(map(float, grads)):
            velocity[k] = momentum * velocity[k] - lr * g
            p[k] += momentum * velocity[k] - lr * g if nesterov else velocity[k]
        path.append(list(p))
    return np.array(path)


def adam(params, gradients, rates, beta_1=0.9, beta_2=0.999, epsilon=1e-7, weight_decay=0.0):
    """Kingma and Ba, algorithm 1; with weight_decay Loshchilov and Hutter, algorithm 2."""
    p = [float(value) for value in params]
    m, v, path = [0.0] * len(p), [0.0] * len(p), []
    for t, (grads, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        for k, g in enumerate(map(float, grads)):
            m[k] = beta_1 * m[k] + (1 - beta_1) * g
            v[k] = beta_2 * v[k] + (1 - beta_2) * g**2
            m_hat, v_hat = m[k] / (1 - beta_1**t), v[k] / (1 - beta_2**t)
            p[k] -= lr * (m_hat / (math.sqrt(v_hat) + epsilon) + weight_decay * p[k])
        path.append(list(p))
    return np.array(path)


def rmsprop(params, gradients, rates, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False, decay=0):
    """Graves 2013, equations 38 to 45, without the last two steps where there is no momentum."""
    p = [float(value) for value in params]
    n, mean, delta, path = [0.0] * len(p), [0.0] * len(p), [0.0] * len(p), []
    for grads, lr in zip(gradients, rates, strict=True):
        for k, g in enumerate(map(float, grads)):
            n[k] = rho * n[k] + (1 - rho) * g**2
            mean[k] = rho * mean[k] + (1 - rho) * g
            variance = max(n[k] - mean[k] ** 2, 0) if centered else n[k]
            delta[k] = momentum * delta[k] - lr * g / math.sqrt(variance + epsilon)
            p[k] = p[k] - lr * decay * p[k] + delta[k]
        path.append(list(p))
    return np.array(path)


def adagrad(params, gradients, rates, start=0.1, epsilon=1e-7, decay=0):
    p = [float(value) for value in params]
    total, path = [start] * len(p), []
    for grads, lr in zip(gradients, rates, strict=True):
        for k, g in enumerate(map(float, grads)):
            total[k] += g**2
            p[k] -= lr * (g / math.sqrt(total[k] + epsilon) + decay * p[k])
        path.append(list(p))
    return np.array(path)


def nadam(params, gradients, rates, beta_1=0.9, beta_2=0.999, epsilon=1e-7, decay=0):
    """Dozat 2016, algorithm 2, with mu_t = beta_1 (1 - 0.5 * 0.96^t)."""
    p = [float(value) for value in params]
    m, v, path, product = [0.0] * len(p), [0.0] * len(p), [], 1.0
    for t, (grads, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        mu, following = (beta_1 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
        product *= mu
        for k, g in enumerate(map(float, grads)):
            m[k] = beta_1 * m[k] + (1 - beta_1) * g
            v[k] = beta_2 * v[k] + (1 - beta_2) * g**2
            m_hat = following * m[k] / (1 - product * following) + (1 - mu) * g / (1 - product)
            v_hat = v[k] / (1 - beta_2**t)
            p[k] -= lr * (m_hat / (math.sqrt(v_hat) + epsilon) + decay * p[k])
        path.append(list(p))
    return np.array(path)


def lion(params, gradients, rates, beta_1=0.9, beta_2=0.99, decay=0):
    p = [float(value) for value in params]
    m, path = [0.0] * len(p), []
    for grads, lr in zip(gradients, rates, strict=True):
        for k, g in enumerate(map(float, grads)):
            c = beta_1 * m[k] + (1 - beta_1) * g
            p[k] -= lr * ((c > 0) * 1 - (c < 0) * 1 + decay * p[k])
            m[k] = beta_2 * m[k] + (1 - beta_2) * g
        path.append(list(p))
    return np.array(path)


def components(mask):
    """8-connected components by flooding from each pixel in turn, numbered in that order."""
    labels = np.zeros(mask.shape, int)
    count = 0
    for start in np.ndindex(mask.shape):
        if not mask[start] or labels[start]:
            continue
        count += 1
        labels[start], found = count, [start]
        while found:
            i, j = found.pop()
            for a in range(max(i - 1, 0), min(i + 2, mask.shape[0])):
                for b in range(max(j - 1, 0), min(j + 2, mask.shape[1])):
                    if mask[a, b] and not labels[a, b]:
                        labels[a, b] = count
                        found.append((a, b))
    return labels


def ctc_probability(probs, labels, blank):
    """p(labels) in frames (t, k): the sum over all k^t paths, and each frame's share of each class.

    Graves et al. 2006, eqs. 2 and 3: a path's repetitions are written once, its blanks left out.
    """
    t, k = probs.shape
    total, share = 0.0, np.zeros((t, k))
    for path in itertools.product(range(k), repeat=t):
        if collapsed(path, blank) == tuple(labels):
            p = math.prod(probs[i, c] for i, c in enumerate(path))
            total += p
            for i, c in enumerate(path):
                share[i, c] += p
    return total, share / total if total else share


def collapsed(path, blank):
    """The labels that a path stands for."""
    found = []
    for i, c in enumerate(path):
        if c != blank and (i == 0 or c != path[i - 1]):
            found.append(c)
    return tuple(found)


def ctc(probs, labels, blank):
    """(L, dL/dprobs) for rows of labels filled up with the blank: -1/n sum of log p."""
    value, gradient = 0.0, np.zeros(probs.shape)
    for i, row in enumerate(labels):
        p, share = ctc_probability(probs[i], [c for c in row if c != blank], blank)
        value -= math.log(p) / len(probs)
        gradient[i] = -share / probs[i] / len(probs)
    return value, gradient
