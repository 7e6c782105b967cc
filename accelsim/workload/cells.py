"""Recurrent cells as numbers: how many gates, which products wait for the state, what is trained beside the matrices.

Everything else about a cell (projection, groups, factors, directions) is a matter of the layer, see `ops.Recurrent`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One kind of cell with `hidden` units.

    Attributes
    ----------
    gates : int
        Matrices of hidden x features (gates, and the candidate that they let in).
    fed_back : int
        How many of them have a matrix of hidden x state, too, whose product waits for the step before.
    biased : int
        How many of them have a bias.
    vectors : int
        Trained vectors of `hidden` elements beside biases: peepholes, and diagonal recurrences.
    ops : int
        Simple operations (see `ops.ACTIVATIONS`) per unit and step beside the matrix products; sums of these
        products and of biases are the array's own.
    source : str
        Where the equations are.
    window : int
        Time steps of the input that a gate sees at once.
    skip : bool
        The input itself joins the output; one more matrix makes it fit if its width is another.
    """

    gates: int
    fed_back: int
    biased: int
    vectors: int
    ops: int
    source: str
    window: int = 1
    skip: bool = False


# Operations are counted off the equations: sigmoid and tanh are one look-up, 1 - x is one subtraction.
CELLS: dict[str, Cell] = {
    # 3 sigmoid, 2 tanh, 3 products, 1 sum
    "lstm": Cell(4, 4, 4, 0, 9, "Hochreiter and Schmidhuber, Neural Computation 1997; Gers et al., 2000"),
    # and 3 products and sums with the cell's state
    "lstm_peephole": Cell(4, 4, 4, 3, 15, "Sak, Senior and Beaufays, INTERSPEECH 2014, equations 1 to 6"),
    # 2 sigmoid, 1 tanh, 3 products, 3 sums
    "gru": Cell(3, 3, 3, 0, 9, "Cho et al., EMNLP 2014; the reset gate acts on the product, as in cuDNN"),
    # 1 sigmoid, 1 tanh, 3 products, 3 sums
    "mgu": Cell(2, 2, 2, 0, 8, "Zhou et al., Int. J. Autom. Comput. 2016; the gate acts on the product, as in gru"),
    # 1 sigmoid, 2 tanh, 2 products, 2 sums
    "s_lstm": Cell(2, 2, 2, 0, 7, "Wu and King, ICASSP 2016: forget gate only, the input gate is 1 - f"),
    # 2 sigmoid (one of them shifted by beta), 1 tanh, 2 products, 3 sums
    "janet": Cell(2, 2, 2, 0, 8, "van der Westhuizen and Lasenby, arXiv:1804.04849, 2018"),
    # 2 sigmoid, 1 tanh, 3 products, 2 sums
    "qrnn": Cell(3, 0, 3, 0, 8, "Bradbury et al., ICLR 2017, fo-pooling", window=2),
    # 2 sigmoid, 6 products, 6 sums
    "sru": Cell(3, 0, 2, 2, 14, "Lei et al., EMNLP 2018, equations 3 to 6", skip=True),
    # 1 product, 1 sum, 1 activation
    "indrnn": Cell(1, 0, 1, 1, 3, "Li et al., CVPR 2018, equation 2"),
    # 1 tanh
    "rnn": Cell(1, 1, 1, 0, 1, "Elman, Cognitive Science 1990"),
}
