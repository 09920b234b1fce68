"""8. SGD: a step against the gradient.

About 10 minutes. Lesson 5. The package's own: `SGD` in scratchnet/optimizers.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#guide/step

An optimizer changes the parameters of a whole network. So that it need not know any layers, all
parameters lie behind one another in one long array, and all gradients in another:

    model.flat_params      (m,)
    model.flat_grads       (m,), in the same order
    step                   params  <-  params - learning_rate * grads

The layers' own arrays are windows into the long one, so change it **in place**: after
`model.flat_params = something new` the layers would still have the old one, and learn nothing.

    scratchnet learn check 8        scratchnet learn hint 8
"""


class SGD:
    def __init__(self, learning_rate=0.1):
        self.learning_rate = learning_rate

    def step(self, model):
        params, grads = model.flat_params, model.flat_grads
        # TODO: one line, which changes params in place and leaves grads as they are
        params -= self.learning_rate * grads
        # END
