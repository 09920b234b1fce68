// Which place of the page shows the idea of each lesson and each exercise. They name these places, too.

/** [file, title, place] of the notebooks in examples/lessons. */
export const LESSONS = [
  ["01_a_slope_a_step", "A slope, a step", "guide/weight"],
  ["02_dense", "Dense", "backward/dense_1"],
  ["03_activations", "Activations", "network/relu"],
  ["04_softmax_and_cross_entropy", "Softmax and cross-entropy", "backward/loss"],
  ["05_training", "Training", "guide/step"],
  ["06_convolution", "Convolution", "network/conv2d"],
  ["07_pooling", "Pooling", "network/backward/maxpool2d"],
  ["08_the_mnist_network", "The MNIST network", "network"],
  ["09_batchnorm_and_shortcuts", "BatchNorm and shortcuts", "network/model=resnet"],
  ["10_generalising", "Generalising", "guide/train"],
  ["11_inside_a_trained_network", "Inside a trained network", "guide/pixel"],
  ["12_why_it_is_fast", "Why it is fast", "network/conv2d_1"],
];

/** [name, title, place] of the exercises of `scratchnet learn`. */
export const EXERCISES = [
  ["ex01_slope", "A slope, and a step down", "guide/step"],
  ["ex02_numeric_gradient", "The gradient of many numbers, measured", "guide/weight"],
  ["ex03_dense_forward", "Dense, forward", "forward/dense"],
  ["ex04_dense_backward", "Dense, backward", "backward/dense"],
  ["ex05_relu", "ReLU", "network/backward/relu"],
  ["ex06_sigmoid", "Sigmoid, without an overflow", "network/relu"],
  ["ex07_softmax_loss", "Softmax and cross-entropy", "backward/loss"],
  ["ex08_sgd", "SGD", "guide/step"],
  ["ex09_momentum", "Momentum", "guide/step"],
  ["ex10_adam", "Adam", "guide/step"],
  ["ex11_training", "Training", "guide/train"],
  ["ex12_im2col", "im2col", "network/conv2d"],
  ["ex13_conv_forward", "Conv2D, forward", "forward/conv2d"],
  ["ex14_col2im", "col2im", "network/backward/maxpool2d"],
  ["ex15_conv_backward", "Conv2D, backward", "backward/conv2d_1"],
  ["ex16_max_pool", "MaxPool2D", "backward/maxpool2d"],
  ["ex17_batchnorm_forward", "BatchNorm, forward", "forward/model=cnn-bn/batchnorm"],
  ["ex18_batchnorm_backward", "BatchNorm, backward", "backward/model=cnn-bn/batchnorm"],
  ["ex19_residual", "Residual", "network/model=resnet/residual"],
  ["ex20_dropout", "Dropout", "network/model=cnn-dropout/dropout"],
  ["ex21_grad_cam", "Grad-CAM", "explain"],
  ["ex22_mnist", "A network of your own reads digits", "guide/train"],
];
