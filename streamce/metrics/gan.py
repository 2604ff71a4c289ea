"""Cross-entropy of a GAN: of its discriminator, and what it says of the generator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from streamce._support.html_repr import HtmlRepr
from streamce.core.default_mode import DefaultModeMethods
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.metrics.composite import Composite, States
from streamce.stats import summary

if TYPE_CHECKING:
    from streamce.stats.summary import Summary

LN2 = summary.LN2


@dataclass(frozen=True, slots=True)
class GANSummary(HtmlRepr, DefaultModeMethods):
    """What a :class:`GANCrossEntropy` has seen so far.

    Attributes
    ----------
    value : float
        Mean real loss + mean fake loss, in nats: what the discriminator minimises.
    interval : tuple of float
        Confidence interval of ``value`` at ``level``; real and fake samples are independent.
    level : float
        Confidence level of the interval.
    stderr : float
        Standard error of ``value``.
    real, fake : Summary
        The loss -log D(x) of real samples, and -log(1 - D(x)) of fake ones.
    generator : Summary
        The generator's non-saturating loss -log D(x) of fake samples.
    minimax : float
        The generator's minimax loss, the mean of log(1 - D(x)) over fake samples.
    distance : float
        How far ``value`` is below 2 log 2, where a discriminator that cannot tell them apart ends.
    jensen_shannon : float
        ``distance / 2``: the Jensen-Shannon divergence in nats that it implies, which an optimal
        discriminator attains and any other stays below.

    Examples
    --------
    >>> import streamce as ce
    >>> found = ce.GANCrossEntropy().update(real=[0.5, 0.5], fake=[0.5, 0.5]).summary()
    >>> found.value, found.jensen_shannon
    (1.3862943611198906, 0.0)
    """

    value: float
    interval: tuple[float, float]
    level: float
    stderr: float
    real: Summary
    fake: Summary
    generator: Summary
    minimax: float
    distance: float
    jensen_shannon: float

    @property
    def samples(self) -> int:
        """Real and fake samples."""
        return self.real.samples + self.fake.samples

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON takes them; the parts are dicts of their own."""
        parts = {name: getattr(self, name).to_dict() for name in ("real", "fake", "generator")}
        names = ("value", "level", "stderr", "minimax", "distance", "jensen_shannon")
        return {**{name: getattr(self, name) for name in names}, "interval": list(self.interval), **parts}

    def __str__(self) -> str:
        kind, (low, high) = summary.kind_of(self.level, self.real.anytime), self.interval
        return "\n".join(
            [
                f"discriminator   {self.value:<10.6g} nats   {kind} {low:.6g} to {high:.6g}",
                f"  real          {self.real.mean:<10.6g}        {self.real.count:,} losses",
                f"  fake          {self.fake.mean:<10.6g}        {self.fake.count:,} losses",
                f"generator       {self.generator.mean:<10.6g} nats   non-saturating; minimax {self.minimax:.6g}",
                f"equilibrium     {self.distance:<10.6g} nats below 2 log 2",
                f"Jensen-Shannon  {self.jensen_shannon:<10.6g} nats at least, by this discriminator",
            ]
        )


class GANCrossEntropy(Composite):
    """Running cross-entropy of a GAN's discriminator, in nats.

    With D(x) the probability that x is real,

        compute() = mean of -log D(x) over real samples + mean of -log(1 - D(x)) over fake ones

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        What ``real`` and ``fake`` hold: D, log D, or log(D / (1 - D)).
    eps : float
        Floor of a probability that counts; 0 keeps the honest infinity. Logits need none.
    invalid : {"raise", "skip"}
        What to do with invalid samples: raise, or count them by cause and go on.
    threads : int, optional
        Threads for large chunks; see :func:`streamce.set_num_threads`.

    Notes
    -----
    Goodfellow et al. (2014), *Generative adversarial nets*: at the optimal discriminator the value is
    2 log 2 - 2 JS, with JS the Jensen-Shannon divergence of the two distributions.

    Examples
    --------
    >>> import streamce as ce
    >>> gan = ce.GANCrossEntropy(kind="logits")
    >>> gan.update(real=[2.0, 1.0], fake=[-1.0, 0.5]).compute()
    0.86376...
    >>> gan.update(fake=[-3.0]).summary().fake.count
    3
    """

    _names = ("fake", "generator", "real")
    __slots__ = ()

    # ---- adding ----

    def update(
        self,
        *,
        real: Any = None,
        fake: Any = None,
        real_weight: Any = None,
        fake_weight: Any = None,
    ) -> Self:
        """Add what the discriminator says of real samples, of fake ones, or of both.

        Parameters
        ----------
        real, fake : array of float64, float32, float16 or bfloat16, or a float
            Any shape; the first axis is that of the samples.
        real_weight, fake_weight : array, optional
            One per sample or one per entry, finite and 0 or more.

        Raises
        ------
        InputError
            For input without meaning; nothing was added then.
        """
        if real is None and fake is None:
            raise InputError("real", "and fake are missing", "one of them at least")
        chunk = States(self._names)
        for given, preds, weight, targets in (
            ("real", real, real_weight, {"real": 1}),
            ("fake", fake, fake_weight, {"fake": 0, "generator": 1}),
        ):
            if preds is not None:
                try:
                    source, shape = arrays.plain(preds, "preds")
                    weight = arrays.once(weight, "weight")
                    for name, target in targets.items():
                        same = np.broadcast_to(np.int8(target), shape)
                        self._metric._pipeline.update(chunk[name], source, same, weight)
                except InputError as error:
                    names = {"preds": given, "weight": f"{given}_weight"}
                    raise error.with_argument(names.get(str(error.argument), error.argument)) from None
        self._state.merge(chunk)
        return self

    def __call__(self, *, real: Any, fake: Any) -> float:
        """Update, and return the value of this chunk alone."""
        chunk = self._empty().update(real=real, fake=fake)
        self._state.merge(chunk._state)
        return chunk.compute()

    # ---- reading ----

    def compute(self) -> float:
        """Mean real loss + mean fake loss in nats; nan until there are both."""
        state = self._state.copy()
        return summary.mean(state["real"].total) + summary.mean(state["fake"].total)

    def summary(self, level: float = 0.95, anytime: bool = False) -> GANSummary:
        """The loss with its interval, its parts, and what they say of the generator."""
        state = self._state.copy()
        real, fake, generator = (
            summary.summarise(state[name].total, level=level, anytime=anytime) for name in ("real", "fake", "generator")
        )
        value = real.mean + fake.mean
        stderr = math.hypot(real.stderr, fake.stderr)
        # Each part's own multiple of its error: they may differ in their number of samples.
        margin = math.hypot(real.interval[1] - real.mean, fake.interval[1] - fake.mean)
        distance = 2 * LN2 - value
        return GANSummary(
            value=value,
            interval=(value - margin, value + margin),
            level=float(level),
            stderr=stderr,
            real=real,
            fake=fake,
            generator=generator,
            minimax=-fake.mean,
            distance=distance,
            jensen_shannon=distance / 2,
        )
