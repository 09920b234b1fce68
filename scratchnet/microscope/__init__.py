"""Looking inside a network: one example through every layer and back, with every number explained.

trace.py        both passes over one example, every array kept: `sn.trace`
layer_trace.py  what went through one layer
explained.py    one gradient entry, one output value, one optimizer step: the answers
arithmetic.py   the sums behind them, term by term, from each layer's formula
input_sums.py   the sums behind dx: the dy that reach an x, and by how much
numeric.py      the numeric derivative beside each
sums.py         a sum and its terms, as text and as data
stepping.py     a layer's own code, line by line, with what each line made: `sn.steps`
what_if.py      changes on a copy and what follows from them: `sn.what_if`, `sn.fool`
heat_maps.py    which parts of an image speak for a class: `sn.explain`
reach.py        which inputs of a layer reach which of its outputs
inputs.py       what all work on: a copy of the model, one example, one label
"""
