"""What the page says of each kind of layer's backward pass, in one line."""

#: kind: the gradients of its parameters and of its input, from dy
FORMULAS = {
    "Conv2D": (
        "dW[u, v, c, f] = Σ x[i+u, j+v, c] · dy[i, j, f],  db[f] = Σ dy[i, j, f],  "
        "and dx takes each dy back through the filter that made it"
    ),
    "Dense": "dW = xᵀ dy,  db = dy,  dx = dy Wᵀ",
    "ReLU": "dx = dy where x > 0, and 0 elsewhere",
    "MaxPool2D": (
        "each dy goes to the one pixel that was the largest of its window; the others get 0"
    ),
    "AveragePool2D": "each dy is shared evenly among the pixels of its window",
    "GlobalAveragePool2D": "each dy is shared evenly among all pixels of its map",
    "Flatten": "dx is dy in the shape of x again",
    "Softmax": "together with the loss: dx = probabilities − one-hot",
    "Dropout": "dx = dy · mask; nothing is dropped while looking",
    "BatchNorm": "dgamma = Σ x̂ · dy,  dbeta = Σ dy,  dx = dy · gamma / √(var + ε)",
    "Residual": "dy goes down both ways, through the layers and past them, and dx is the sum",
}
