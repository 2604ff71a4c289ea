"""Settings that keras reads when it is imported: a backend, and no file in the home directory."""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_HOME"] = os.devnull
