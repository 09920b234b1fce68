"""The optimiser's room: groups of layers run by compiled loops, held equal to the layers by tests.

What a group computes its layers say (layers/). Here is how: which memory holds what, in which form
a loop wants it, and what is kept for the way back. Nothing outside this room knows Numba. It is
loaded when a model first runs.

    plan                which group runs which layers: one table
    group               what groups share: buffers, the memory of gradients
    conv, conv_pool, winograd, patches, depthwise, dense, normalization, pooling, placing,
    elementwise, curves, residual, ends, lenet
                        one kind a file: the group, and below it its loops; transforms is
                        winograd's, exponential curves' and the losses', and conv_pool_backward has
                        the second half of conv_pool
    functions, steps, augment
                        compiled twins of what layers/functions.py, optimizers.py and
                        datasets/augmentation.py say in NumPy
    single              one image through all groups in one native call
    simd, simd_numpy    vectors as Numba values, and what that means in NumPy
    memory              arrays with room for whole ones
    target              what this processor has for vectors: how large a tile may be
    first_start         what a first training has to compile, shared between processes
    runner              what one Python thread needs to run a model
    compiler, cache     how loops are compiled, and kept between processes
    spread, turns       a loop on all threads, and which of its parts each of them does
    sums, share         partial sums over a batch, and how they are added; a batch in several
                        processes
    launch, threads     how parallel loops are entered; cores, BLAS beside them, the environment

The words that the loops use
    lane    one of the values that a vector holds: 16 of float32, 8 of float64 (memory.lanes)
    vector  VECTOR_BYTES of memory, what one instruction of the widest kind computes at once
    tile    several vectors side by side, held as one value in registers (simd.py); in winograd.py
            also the 2x2 outputs that are computed together from 4x4 inputs
    row     of an image, or of a window: contiguous in memory, because channels come last
    run     how many values of one row a window covers: kw * c
    patch   what lies under a window: kh rows of `run` values
    shard   one of the parts into which work is split, whatever the number of threads. Of a sum over
            a batch each is added up by itself, in memory of its own, and the shards' sums in a
            fixed tree (sums.py): the same bits always. Other work has SHARDS of them
    lot     an eighth of a batch: so many processes may share it. It has one shard, or four
    worker  one of the threads of a loop, with scratch memory of its own. It does its own parts,
            and then what others have left (turns.py): a slow core holds nobody up
    frame   an image with its padding of zeros around it
    slack   elements after the end of an array, so that its last row may be read in whole vectors

How a loop is given what it needs
    A NamedTuple carries what belongs together; its fields are documented where it is defined.
    Numba knows each field's type, so nothing is looked up while the loop runs.
    `(0,) * n` stands for the number n where it must be known when the loop is compiled, since it
    decides how many registers a value takes: Numba compiles a loop anew for every type of its
    arguments, and the length of a tuple is part of its type, while the value of an integer is not.
"""
