"""Metrics around metrics. Each wrapper takes an empty metric for its options.

Input: the arguments of that metric, and a key, a time or a second model's predictions. Output: states of the metric,
and their results.

``base``            ``MetricWrapper`` and ``KeyedWrapper``: states of the inner metric, and where samples go
``composition``     which wrappers can hold which metrics
``changes``         several changes at once, between two signal handlers
``table``           ``StateTable``: states by key
``state_window``    ``StateWindow``: the states of the last samples
``grouped``         ``Grouped``: one metric per group
``group_columns``   results by group as columns of a table
``group_ranking``   ``RankedGroups``: the worst and the best groups, and means over groups
``group_differences``  ``Discoveries``: the groups in which two models differ
``sliding``         ``Sliding``: the last samples, or a period of time
``decayed``         ``Decayed``: weights that halve with age
``pair_inputs``     the inputs of two models, and the samples of both
``pair_sums``       the sums that a comparison keeps of a metric
``paired``          ``Paired``: two models on the same samples
``paired_summary``  ``PairedSummary``: which model is better, by how much, and with what certainty
``paired_streams``  two Arrow streams for ``Paired``
``collection``      ``Collection``: several metrics of the same inputs

Imports ``errors``, ``_support``, ``inputs``, ``core``, ``keys``, ``stats``, ``reading`` and ``metrics``.
"""

from streamce.wrappers.collection import Collection
from streamce.wrappers.decayed import Decayed
from streamce.wrappers.group_differences import Discoveries, GroupDifference
from streamce.wrappers.group_ranking import Estimate
from streamce.wrappers.grouped import Grouped
from streamce.wrappers.paired import Paired
from streamce.wrappers.paired_summary import PairedSummary
from streamce.wrappers.sliding import Sliding

__all__ = [
    "Collection",
    "Decayed",
    "Discoveries",
    "Estimate",
    "GroupDifference",
    "Grouped",
    "Paired",
    "PairedSummary",
    "Sliding",
]
