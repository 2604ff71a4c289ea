"""Loops over arrays of numbers, in plain C: exponentials, logarithms, softmax, exact sums.

Pointers to floats, doubles and integers come in, and numbers go out. A kernel gives the same bits on every machine. The
note at the head of ``kernels.h`` explains how.

``kernels``                           the table of kernels for Cython, and the floating-point mode for Python
``control.h``                         the floating-point mode that all kernels need
``dispatch.c``                        chooses the table for this machine
``kernels.h``                         the table, one pointer for each kernel
``sse2.c``, ``avx2.c``, ``avx512.c``  the body, compiled for the instruction sets of x86-64
``neon.c``, ``generic.c``             the body, compiled for arm64 and for other machines
``body.h``                            the code for one instruction set; it includes the files below
``convert.h``                         conversions between types of floats
``scalar.h``, ``polynomials.h``       exponentials and logarithms, and the coefficients of their polynomials
``rows.h``, ``row_sums.h``            softmax over the classes of each row, and sums over them
``moments.h``, ``row_moments.h``      mean and variance of the costs of each row
``shares.h``                          sums of the probabilities of rows, class by class
``elements.h``                        costs of binary outcomes, logarithms, exponentials
``ctc.h``                             CTC: the probability of all alignments of a target
``gradients.h``                       gradients of losses with respect to predictions
``exact.h``                           exact sums

Imports nothing.
"""
