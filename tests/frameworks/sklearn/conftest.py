"""Keeps the linear algebra of scikit-learn to one thread, because its arrays are small."""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
