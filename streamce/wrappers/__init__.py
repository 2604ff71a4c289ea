"""Metrics around metrics. Each wrapper takes an empty metric for its options.

Input: the arguments of that metric, and a key, a time or a second model's predictions. Output: states of the metric,
and their results.

``base``            ``MetricWrapper`` and ``KeyedWrapper``: states of the inner metric, and where samples go
``composition``     which wrappers can hold which metrics
``table``           ``StateTable``: states by key
``state_window``    ``StateWindow``: the states of the last samples
``grouped``         ``Grouped``: one metric per group
``sliding``         ``Sliding``: the last samples, or a period of time
``decayed``         ``Decayed``: weights that halve with age
``paired``          ``Paired``: two models on the same samples
``paired_streams``  two Arrow streams for ``Paired``
``collection``      ``Collection``: several metrics of the same inputs

Imports ``errors``, ``_support``, ``inputs``, ``core``, ``keys``, ``stats``, ``reading`` and ``metrics``.
"""

from streamce.wrappers.collection import Collection
from streamce.wrappers.decayed import Decayed
from streamce.wrappers.grouped import Estimate, Grouped
from streamce.wrappers.paired import Paired, PairedSummary
from streamce.wrappers.sliding import Sliding

__all__ = ["Collection", "Decayed", "Estimate", "Grouped", "Paired", "PairedSummary", "Sliding"]
