"""Perplexity of a stream of sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamce.core.kernels import kernels
from streamce.metrics.sequence import SequenceCrossEntropy

if TYPE_CHECKING:
    from streamce.stats.summary import Summary


class Perplexity(SequenceCrossEntropy):
    """Running perplexity of sequences of tokens: e to the mean cross-entropy.

    With R = Σn / Σd the mean loss in nats of :class:`SequenceCrossEntropy`, whose options and inputs these are,

        perplexity = exp(R)

    of the corpus: never a mean of perplexities. It is inf where exp overflows; ``summary().mean`` and ``bits``
    are there still. ``per_word()`` and ``per_byte()`` have word and byte perplexity as their ``value``.

    Notes
    -----
    Intervals are the images of those of the mean.

    Examples
    --------
    >>> import numpy as np, streamce as ce
    >>> metric = ce.Perplexity(kind="logits").update(np.zeros((4, 7, 32)), np.ones((4, 7), dtype=int))
    >>> metric.compute(), round(metric.summary().mean, 4), round(metric.summary().bits, 4)
    (32.0..., 3.4657, 5.0)
    """

    __slots__ = ()

    def _value(self, mean: float) -> float:
        return kernels.exp(mean)

    def _shown(self, found: Summary) -> Summary:
        return replace(found, value=found.perplexity, interval=found.perplexity_interval)
