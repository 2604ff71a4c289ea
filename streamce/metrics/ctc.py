"""CTC loss of a stream of utterances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from streamce.core.ledger.state import State
from streamce.core.losses.utterances import Utterances
from streamce.core.pipeline.ctc_pipeline import CTC
from streamce.keys.key_columns import bucket_of
from streamce.metrics.base import Metric, settled

if TYPE_CHECKING:
    from streamce.core.samples.samples import Samples


class CTCCrossEntropy(Metric):
    """Running connectionist temporal classification loss, in nats, of utterances of any lengths.

    An alignment gives each frame a class, one of which is the blank; the target is what is left of it when
    repeated classes are merged and then blanks are removed. With p_t the classes' probabilities at frame t,

        loss = -log Σ_alignments Π_t p_t(class at t)

    An utterance is a sample, and adds

        n = weight · loss,    d = weight · (labels of its target, its frames, or 1)

    and the mean is Σn / Σd.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        What ``preds`` holds; logits go through a softmax.
    blank : int
        The class that stands for no label.
    layout : {"TBC", "BTC"}
        The axes of ``preds``: frames, utterances, classes; or utterances first.
    per : {"label", "frame", "utterance"}
        What the mean is taken over.
    invalid : {"raise", "skip"}
        What to do with utterances that hold invalid numbers or labels: raise, or count them by cause and go on.
    threads : int, optional
        Threads for large chunks; see :func:`streamce.set_num_threads`.
    tail : bool
        Count losses by their size for :meth:`tail`: quantiles, and what the worst of them carry.

    Notes
    -----
    The forward algorithm of Graves, Fernández, Gomez and Schmidhuber (Connectionist temporal classification, ICML
    2006), in float64 for any dtype, on probabilities that have an exponent of their own each: nothing underflows,
    and losses near 0 keep their digits. A log-probability below -1e290 is one of 0.

    An *infeasible* utterance, whose target has no alignment of a probability above 0 (too few frames for its labels
    and their repeats, or zeros in the way), has no part in the mean: ``summary().infeasible`` counts it, and
    ``summary().total`` is of the feasible ones.

    Each loss is that of ``torch.nn.functional.ctc_loss(reduction="none")``. What differs: there an infeasible utterance
    makes the mean infinite, or with ``zero_infinity`` counts as a loss of 0; the mean is that of loss / labels over
    utterances, each counting the same, here Σ loss / Σ labels; and an empty target is no error.

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
    _units: ClassVar[tuple[str, ...]] = ("label", "frame", "utterance")
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

    def _path(self, options: dict[str, Any], per_cell: bool) -> CTC:
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
        """Add a chunk of utterances.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16
            Shape (T, B, C): frames, utterances, classes; (B, T, C) with ``layout="BTC"``; or (N, C), the frames of
            all utterances one after another.
        target : array of integers
            Labels other than the blank: shape (B, S), padded with anything; or those of all utterances one
            after another.
        input_lengths : array of integers
            Frames of each utterance, shape (B,), 0 to T; what is beyond is not looked at. Of flat frames they add up
            to N.
        target_lengths : array of integers
            Labels of each utterance, shape (B,), 1 or more.
        weight : array, optional
            One per utterance, finite and 0 or more.
        cluster : array, or tuple of arrays, optional
            Which speaker, document or session each utterance belongs to: integers, strings or any other
            keys. Errors are then robust to utterances of one cluster being alike. In all updates, or none.

        Raises
        ------
        InputError
            For input without meaning, which names the sequence; nothing was added then. Shapes, lengths and empty
            targets raise whatever ``invalid`` says.

        Examples
        --------
        >>> import numpy as np, streamce as ce
        >>> logits = np.zeros((2, 5, 3))  # 2 utterances of at most 5 frames, 3 classes
        >>> metric = ce.CTCCrossEntropy(kind="logits", layout="BTC")
        >>> metric.update(logits, [1, 2, 2], input_lengths=[5, 4], target_lengths=[1, 2]).summary().weight
        3.0
        """
        batch = Utterances(preds, target, input_lengths, target_lengths, weight)
        self._pipeline.update(self._state, batch, bucket_of(cluster))
        return self

    def _update(
        self, preds: Any, target: Any, weight: Any = None, cluster: Any = None, null: Any = None, **lengths: Any
    ) -> None:
        """As ``update``, with a mask of the utterances in which an input is null."""
        self._chunk(self._state, preds, target, weight=weight, cluster=cluster, null=null, **lengths)

    def _chunk(  # type: ignore[override]
        self,
        state: State,
        preds: Any,
        target: Any,
        *,
        input_lengths: Any,
        target_lengths: Any,
        weight: Any = None,
        cluster: Any = None,
        null: Any = None,
    ) -> Samples:
        batch = Utterances(preds, target, input_lengths, target_lengths, weight, status=settled(null))
        samples: Samples = self._pipeline.update(state, batch, bucket_of(cluster))
        return samples
