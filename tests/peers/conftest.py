"""What keras asks for when it is imported: a backend, and no file of settings in the home directory."""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_HOME"] = os.devnull
