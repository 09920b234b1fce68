// The guided tours: what each step shows, says and asks. guide.js runs them.
//
// A step:
//   at        the address of the section
//   stand     how the landscape is to stand (network.js); optional
//   target    a selector of what is highlighted
//   press     a selector of a button that is pressed first; optional
//   text      one or two sentences
//   ask, options, right, answer    a question before the answer, by number; optional

const HARD_4 = { label: 4, isHard: true };

export const TOURS = [
  {
    name: "pixel", title: "Follow one pixel forward", minutes: 4, sample: HARD_4,
    about: "From the brightness of one pixel to ten probabilities.",
    steps: [
      { at: "draw", target: "#pad", text: "This is one of MNIST's test images, a 4. The network has never seen it, and takes it for a 9." },
      { at: "network", stand: { pass: "forward" }, target: "#landscape", text: "Here is all of the network at once. On the left the image, on the right ten probabilities; every small picture between them is made of the ones to its left." },
      {
        at: "network", stand: { made: "image", point: { layer: "image", place: "13.13.0" } }, target: "#landscape",
        text: "To the network the image is 784 numbers, 0 for black and 1 for white. Follow one of them, in the middle.",
        ask: "A window of 3 × 3 passes over the image, one pixel at a time. How many values of each map does one pixel get into?",
        options: ["1", "9", "784"], right: 1, answer: "Nine: the window meets the pixel at each of its nine places, each time with another weight. The frames of conv2d show where.",
      },
      { at: "network", stand: { made: "conv2d", point: { layer: "conv2d" } }, target: "#network-sum", text: "One value of the convolution, spelled out: nine pixels times nine weights, plus a bias. Each bar is a product, and shows where the sum stands after it." },
      {
        at: "network", stand: { made: "relu", point: { layer: "conv2d" } }, target: "#landscape",
        text: "ReLU comes next. It is the bend that makes many layers more than one.",
        ask: "A value of conv2d is −0.4. What does ReLU make of it?",
        options: ["0.4", "0", "−0.4"], right: 1, answer: "0: what is negative becomes 0, what is positive stays. That is why the maps of relu are so dark.",
      },
      { at: "network", stand: { made: "maxpool2d", point: { layer: "maxpool2d" } }, target: "#landscape", text: "Pooling keeps the largest of four neighbours. The maps become half as wide, and it matters less where exactly a stroke was." },
      {
        at: "network", stand: { made: "conv2d_1", point: { layer: "conv2d_1", place: "5.5.0" } }, target: "#landscape",
        text: "The second convolution looks at all 32 maps at once, 3 × 3 of each.",
        ask: "How many pixels of the image does one of its values see?",
        options: ["9", "64", "all 784"], right: 1, answer: "8 × 8 = 64: 3 × 3 pooled values are 6 × 6 of conv2d, and each of these sees one pixel more on either side. The green frame in the image is this receptive field.",
      },
      { at: "network", stand: { made: "flatten", point: { layer: "flatten" } }, target: "#landscape", text: "64 maps of 5 × 5 are laid in a row: 1600 numbers. Nothing is computed here; only the counting changes." },
      { at: "network", stand: { made: "dense_1", point: { layer: "dense_1" } }, target: "#landscape", text: "Two Dense layers see everything that came before, and end in ten scores, the logits: any numbers, one for each digit." },
      {
        at: "network", stand: { pass: "forward", point: { layer: "softmax" } }, target: "#network-readout",
        text: "Softmax makes probabilities of the scores.",
        ask: "If 5 is added to all ten scores, what happens to the probabilities?",
        options: ["They grow", "Nothing", "They become equal"], right: 1, answer: "Nothing: Softmax divides by the sum, so only differences between scores count.",
      },
      { at: "forward/conv2d", target: "[data-layer=conv2d]", text: "That was the forward pass. Below every picture its numbers wait: choose any pixel here, and read its patch, its filter and the sum." },
    ],
  },
  {
    name: "blame", title: "Follow the blame back", minutes: 5, sample: HARD_4,
    about: "From the loss to every pixel: who is to blame, and how much?",
    steps: [
      { at: "backward/loss", target: "[data-step=loss]", text: "The label is 4, and the network says 9. The loss is one number for that: minus the logarithm of the probability of 4." },
      {
        at: "backward/loss", target: "[data-step=loss] .classes", text: "The first gradient is probabilities − one-hot, in the last column.",
        ask: "What sign has it at the right class?", options: ["+", "−", "either"], right: 1,
        answer: "Minus: p − 1 is negative, so a larger score for 4 lowers the loss. At all others it is p, and plus.",
      },
      { at: "network/backward", stand: { sent: "dense_1" }, target: "#landscape", text: "The same in the landscape, which now fills from right to left. Orange: if this number grew, the loss would grow. Blue: it would fall." },
      { at: "network/backward", stand: { sent: "relu_2", point: { layer: "relu_2" } }, target: "#landscape", text: "Dense hands the blame on: each of its inputs gets the sum over all ten scores, weight times dy. That is dx, and the dy of the layer before." },
      {
        at: "network/backward", stand: { sent: "dense" }, target: "#landscape", text: "Back through a ReLU.",
        ask: "Where the ReLU gave out 0, how much of dy passes?", options: ["All of it", "Half", "Nothing"], right: 2,
        answer: "Nothing: there its slope is 0. A unit that is off is not to blame, and learns nothing from this digit.",
      },
      {
        at: "network/backward", stand: { sent: "relu_1" }, target: "#landscape", text: "Back through max pooling.",
        ask: "Four pixels were in the window. Who gets the dy?", options: ["A quarter each", "The largest alone", "The first"], right: 1,
        answer: "The largest alone, for it was the only one whose change would have changed anything. So these maps are mostly empty.",
      },
      { at: "network/backward", stand: { sent: "maxpool2d", point: { layer: "maxpool2d", place: "6.6.4" } }, target: "#landscape", text: "Back through the convolution: this value was in nine windows of 64 maps, so nine times 64 values of dy reach it (green). Each comes through the weight that it went out through, and all are added up." },
      { at: "network/backward", stand: { pass: "backward" }, target: "#landscape", text: "And so down to the image: 784 slopes. Brighter orange pixels would make the network even more wrong, brighter blue ones would help it." },
      {
        at: "backward/conv2d", target: "[data-parameter=W]", text: "On its way the blame passes the weights, which is the point of it all: dW tells training how to move them.",
        ask: "One weight of conv2d was used at 26 × 26 places. What is its gradient?", options: ["The mean of 676 products", "The sum of 676 products", "The largest of them"], right: 1,
        answer: "The sum of x · dy over all places: what is used several times collects the gradient of every use.",
      },
      { at: "backward/conv2d", target: "[data-step=conv2d] > header", text: "The rule of every layer stands at the top of its card. With the arrows above you go through all of them, from the loss to the image." },
    ],
  },
  {
    name: "weight", title: "One weight, checked", minutes: 4, sample: HARD_4,
    about: "A gradient by the backward pass, and the same by trying.",
    steps: [
      { at: "backward/conv2d", target: "[data-parameter=W]", text: "These are the 32 filters of the first convolution, and below them their gradients. Each little square is one weight." },
      { at: "backward/conv2d", target: "[data-parameter=W] form", text: "One of them has four numbers for an address: row and column in the window, input map, filter." },
      {
        at: "backward/conv2d", press: "[data-parameter=W] form button", target: "[data-parameter=W] .result", text: "Here is the weight [0, 0, 0, 0], and its gradient as the backward pass found it.",
        ask: "How could you find it without any formula?", options: ["By trying: change the weight a little", "Not at all", "From the loss alone"], right: 0,
        answer: "By trying: (L(w + h) − L(w − h)) / 2h. Two forward passes, for one weight.",
      },
      { at: "backward/conv2d", target: "[data-parameter=W] .facts", text: "Analytic beside numeric: two ways that share no code. The relative difference says to how many digits they agree." },
      {
        at: "backward/conv2d", target: "[data-parameter=W] .facts", text: "h is a millionth.",
        ask: "Why not take an even smaller one?", options: ["It would take longer", "Rounding would swallow the difference", "It would be more exact"], right: 1,
        answer: "Both losses are rounded to some 16 digits. The smaller h, the fewer digits are left of their difference.",
      },
      { at: "backward/conv2d", target: "[data-parameter=W] .arithmetic", text: "And here is the gradient as a sum: at each place of the image the pixel under this weight, times the dy of the window." },
      {
        at: "backward/conv2d", target: "[data-parameter=W] .arithmetic", text: "Many terms are 0.",
        ask: "When is a term 0?", options: ["Where the pixel is black or no dy arrives", "Where the weight is 0", "At the border"], right: 0,
        answer: "Where x is 0, or dy: at black pixels, where the ReLU was off, and at the losers of pooling.",
      },
      { at: "backward/conv2d", target: "[data-parameter=b]", text: "The biases below are checked alike. To check all gradients of a network at once there is sn.gradcheck; exercise 2 of `scratchnet learn` lets you write it." },
    ],
  },
  {
    name: "step", title: "What one step changes", minutes: 3, sample: HARD_4,
    about: "All gradients used once: does the digit read better?",
    steps: [
      { at: "backward/loss", target: "[data-step=loss] > header", text: "The loss before: the network gives the right class little." },
      {
        at: "backward/loss", target: "#optimizer-form", text: "An optimizer makes a step of the gradients. SGD moves every weight against its own.",
        ask: "w = w − rate · dw. If dw is negative, where does w go?", options: ["Up", "Down", "Nowhere"], right: 0, answer: "Up: a larger weight lowers the loss, so it grows.",
      },
      { at: "backward/loss", press: "#optimizer-form button", target: "#step-result", text: "One step on this digit alone, on a copy of the network: the loss before and after, and what became of each probability." },
      { at: "backward/loss", target: "#step-result .classes", text: "The label's class gained, and the others paid for it: probabilities add up to one." },
      {
        at: "backward/loss", target: "#step-rate", text: "The rate says how far to go.",
        ask: "With a rate ten thousand times as large, the loss would…", options: ["fall faster", "perhaps rise, even beyond all bounds", "stay"], right: 1, answer: "The slope holds only nearby. A step too long lands on the other slope, or far up it. Try it: type 10 and take the step.",
      },
      { at: "backward/loss", target: "#step-optimizer", text: "Momentum goes on where it was going; Adam gives each weight a step of about the same length. Each wants a rate of its own." },
      { at: "backward/conv2d", target: "[data-step=conv2d] > header", text: "How large is a gradient? Its rms says so for a whole array. Compare dW here with that of the last layer: blame thins out or piles up on its way back." },
      { at: "network", stand: { pass: "backward" }, target: "#landscape", text: "One digit pulls every weight its own way. Training does this for thousands of digits, batch after batch: that is the next tour." },
    ],
  },
  {
    name: "train", title: "Train it and watch it learn", minutes: 5, sample: HARD_4,
    about: "From noise to a reader of digits.",
    steps: [
      { at: "train", target: "#train-form", text: "A network begins with random weights and knows nothing. Here you choose what is trained, and how." },
      {
        at: "train", target: "#train-form [name=architecture]", text: "The architecture: what layers, in what order.",
        ask: "What loss has a network that knows nothing of ten classes?", options: ["0", "About 2.3", "10"], right: 1, answer: "−log(1/10) = 2.30. The red line of a training begins about there, if nothing is wrong.",
      },
      { at: "train", target: "#train-form [name=batch_size]", text: "A step is taken for the mean of a batch. A batch four times as large halves the error of its gradient, and costs four times as much." },
      { at: "train", target: "#train-form [name=learning_rate]", text: "The learning rate is the number that matters most. An optimizer you choose brings its usual one along, unless you typed your own." },
      { at: "train", target: "#train-start", text: "Start it, if you like: it takes about a minute, and goes on while you read. You can pause it at any time." },
      {
        at: "train", target: "#chart-loss", text: "The loss, batch by batch, and after each epoch on images that were held out.",
        ask: "Training loss falls on, but validation loss rises. What happens?", options: ["It learns better", "It learns the images by heart", "The rate is too small"], right: 1, answer: "It overfits: what it still learns holds for these images alone.",
      },
      { at: "train", target: "#chart-norms", text: "How large the gradient of each layer is, on a logarithmic scale. A layer whose line drops away from the others learns nothing." },
      { at: "train", target: "#train-filters", text: "The filters of the first convolution: noise at first, then edges and strokes." },
      { at: "draw", target: "#model", text: "When it is done, choose it here, and everything on the page looks into your network: draw, follow a pixel, follow the blame." },
    ],
  },
];
