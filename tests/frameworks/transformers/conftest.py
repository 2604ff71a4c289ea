"""Keeps transformers off the network and its bars off the terminal."""

import os

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
