"""Defines the perplexity of a stream of sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamce.core.kernels import kernels
from streamce.metrics.sequence import SequenceCrossEntropy

if TYPE_CHECKING:
    from streamce.metrics.base import Metric
    from streamce.stats.summary import Summary


class Perplexity(SequenceCrossEntropy):
    """Running perplexity of sequences of tokens: e to the mean cross-entropy.

    Options and inputs are those of :class:`SequenceCrossEntropy`. With R = Σn / Σd its mean loss in nats,

        perplexity = exp(R)

    It is the perplexity of the corpus, never a mean of perplexities. If exp overflows, it is inf, while
    ``summary().mean`` and ``bits`` stay finite. The ``value`` of ``per_word()`` and ``per_byte()`` is word and byte
    perplexity.

    Notes
    -----
    The interval is exp of the interval of the mean.

    Examples
    --------
    >>> import numpy as np, streamce as ce
    >>> metric = ce.Perplexity(kind="logits").update(np.zeros((4, 7, 32)), np.ones((4, 7), dtype=int))
    >>> metric.compute(), round(metric.summary().mean, 4), round(metric.summary().bits, 4)
    (32.0..., 3.4657, 5.0)
    """

    _title = "Perplexity"
    __slots__ = ()

    def _value(self, mean: float) -> float:
        return kernels.exp(mean)

    def _of_differences(self) -> Metric:
        return self._without_sums_of_losses(SequenceCrossEntropy)

    def _present(self, losses: Summary) -> Summary:
        return replace(losses, value=losses.perplexity, interval=losses.perplexity_interval)
