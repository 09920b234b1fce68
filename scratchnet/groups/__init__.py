"""Groups: layers as fused kernels run them, with the layers' own protocol.

What a group computes its layers say; how, the kernels. Here is what lies between: which memory
holds what, in which form a kernel wants it, and what is kept for the way back.

    base             what all groups share, and the memory that they keep from step to step
    convolution      Conv2D, with ReLU and MaxPool2D behind it
    dense            Dense, with ReLU
    normalization    BatchNorm, with ReLU
    alone            pooling, means, dropout, softmax
    ends             bytes in front of the first layer, cross-entropy behind the last

plan.py decides which layers come into which group.
"""
