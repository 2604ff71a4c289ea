"""Defines the CTC loss of a stream of utterances."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from streamce.core.ledger.state import State
from streamce.core.losses.utterances import Utterances
from streamce.core.pipeline.ctc_pipeline import CTC
from streamce.keys.cluster_buckets import hash_clusters
from streamce.metrics import sequence_layout
from streamce.metrics.base import Metric, null_status
from streamce.metrics.options import check_integer, check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamce.core.samples.routes import Routes
    from streamce.core.samples.samples import Samples
    from streamce.metrics.options import Check


RAGGED = "give the frames or labels of all utterances in one list, with input_lengths= and target_lengths="


class CTCCrossEntropy(Metric):
    """Running connectionist temporal classification (CTC) loss, in nats, of utterances of any lengths.

    An alignment gives each frame a class, one of which is the blank. Merging repeated classes and then removing blanks
    turns it into the target. With p_t the probabilities of the classes at frame t,

        loss = -log Σ_alignments Π_t p_t(class at t)

    An utterance is a sample. It adds

        n = weight · loss,    d = weight · (labels of its target, its frames, or 1)

    and the mean is Σn / Σd.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        The content of ``preds``. Logits go through a softmax.
    blank : int
        The class that stands for no label.
    layout : {"TBC", "BTC"}
        The axes of ``preds``: frames, utterances, classes; or utterances first.
    per : {"label", "frame", "utterance"}
        The unit of the mean.
    invalid : {"raise", "skip"}
        Raise an error for utterances with invalid numbers or labels, or count them by cause and continue.
    threads : int, optional
        Threads for large batches; see :func:`streamce.set_num_threads`.
    tail : bool
        Count losses by their size for :meth:`tail`: quantiles, and the share that the worst losses carry.

    Notes
    -----
    The forward algorithm is that of Graves, Fernández, Gomez and Schmidhuber (Connectionist temporal classification,
    ICML 2006). It runs in float64 for any dtype. Each probability has an exponent of its own, so nothing underflows and
    losses near 0 keep their digits. A log-probability below -1e290 counts as a probability of 0.

    An utterance is *infeasible* if no alignment of its target has a probability above 0, because it has too few frames
    for its labels and their repeats, or because probabilities are 0. It is not part of the mean or of
    ``summary().total``. ``summary().infeasible`` counts it.

    Each loss equals that of ``torch.nn.functional.ctc_loss(reduction="none")``. Torch differs in two ways: an
    infeasible utterance makes the mean infinite, or counts as a loss of 0 with ``zero_infinity``; and its mean is that
    of loss / labels over utterances, where here it is Σ loss / Σ labels.

    Examples
    --------
    >>> import numpy as np, streamce as ce
    >>> rows = np.array([[[0.2, 0.8, 0.0]], [[0.5, 0.0, 0.5]], [[0.1, 0.0, 0.9]]])  # 3 frames, 1 utterance, 3 classes
    >>> metric = ce.CTCCrossEntropy(per="utterance")
    >>> metric.update(rows, [[1, 2]], input_lengths=[3], target_lengths=[2]).compute()
    0.2744368...
    >>> metric.update(rows, [[1, 1]], input_lengths=[2], target_lengths=[2]).summary().infeasible
    1
    """

    _task = "ctc"
    _own_checks: ClassVar[Mapping[str, Check]] = {
        "blank": partial(check_integer, 0, 2**31, "a class of preds"),
        "layout": partial(check_name, ("TBC", "BTC")),
        "per": partial(check_name, ("label", "frame", "utterance")),
    }
    _title = "CTC loss"
    __slots__ = ()

    def __init__(
        self,
        *,
        kind: Literal["probs", "log_probs", "logits"] = "probs",
        blank: int = 0,
        layout: Literal["TBC", "BTC"] = "TBC",
        per: Literal["label", "frame", "utterance"] = "label",
        invalid: Literal["raise", "skip"] = "raise",
        threads: int | None = None,
        tail: bool = False,
    ) -> None:
        super().__init__(dict(locals()))

    def _build_pipeline(self, options: dict[str, Any], per_cell: bool) -> CTC:
        return CTC(
            options["kind"],
            options["blank"],
            options["layout"],
            options["per"],
            options["invalid"] == "skip",
            options["threads"],
            options["tail"],
        )

    def update(  # type: ignore[override]
        self,
        preds: Any,
        target: Any,
        *,
        input_lengths: Any,
        target_lengths: Any,
        weight: Any = None,
        cluster: Any = None,
    ) -> Self:
        """Add a batch of utterances.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16
            Shape (T, B, C): frames, utterances, classes; (B, T, C) with ``layout="BTC"``; or (N, C), the frames of
            all utterances, concatenated.
        target : array of integers
            Labels other than the blank: shape (B, S), with any padding; or those of all utterances, concatenated.
        input_lengths : array of integers
            The number of frames of each utterance, shape (B,), 0 to T. Later frames are not read. For flat frames their
            sum is N.
        target_lengths : array of integers
            The number of labels of each utterance, shape (B,). Without labels the loss is that of blanks alone.
        weight : array, optional
            One per utterance, finite and at least 0.
        cluster : array, or tuple of arrays, optional
            The speaker, document or session of each utterance: integers, strings or any other keys. Standard errors are
            then robust to correlated utterances of one cluster. Give it in all updates or in none.

        Raises
        ------
        InputError
            If the input is invalid. The error names the sequence, and nothing is added. Wrong shapes and lengths raise
            even with ``invalid="skip"``.

        Examples
        --------
        >>> import numpy as np, streamce as ce
        >>> logits = np.zeros((2, 5, 3))  # 2 utterances of at most 5 frames, 3 classes
        >>> metric = ce.CTCCrossEntropy(kind="logits", layout="BTC")
        >>> metric.update(logits, [1, 2, 2], input_lengths=[5, 4], target_lengths=[1, 2]).summary().weight
        3.0
        """
        batch = Utterances(preds, target, input_lengths, target_lengths, weight)
        with sequence_layout.ragged_hint(RAGGED):
            self._pipeline.update(self._state, batch, hash_clusters(cluster))
        return self

    def _run(self, state: State, preds: Any, target: Any = None, **others: Any) -> None:
        self._run_returning_samples(state, preds, target, **others)

    def _run_returning_samples(  # type: ignore[override]
        self,
        state: State,
        preds: Any,
        target: Any = None,
        *,
        input_lengths: Any = None,
        target_lengths: Any = None,
        weight: Any = None,
        cluster: Any = None,
        null: Any = None,
        routes: Routes | None = None,
    ) -> Samples:
        batch = Utterances(preds, target, input_lengths, target_lengths, weight, status=null_status(null))
        with sequence_layout.ragged_hint(RAGGED):
            samples: Samples = self._pipeline.update(state, batch, hash_clusters(cluster), routes=routes)
        return samples

    def _split(self, routes: Routes, *inputs: Any, **named: Any) -> list[State]:
        self._run_returning_samples(State(), *inputs, routes=routes, **named)
        return routes.filled()
