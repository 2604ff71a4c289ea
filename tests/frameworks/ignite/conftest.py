"""Imports ignite before the tests do, because the import of its handlers causes warnings of torch."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"`torch.jit.\w+` is deprecated", DeprecationWarning)
    import ignite  # noqa: F401
