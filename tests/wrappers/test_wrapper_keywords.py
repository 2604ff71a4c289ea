"""Wrappers take the keywords of the metric's own ``update``, and refuse all others as Python does."""

import re

import numpy as np
import pytest

import streamce as ce

DAY = [0.0, 3600.0]
# The method that the user calls, with valid arguments.
CALLS = {
    "Paired.update": (lambda metric: ce.Paired(metric).update, ([[1.0], [2.0]], [[1.0], [2.0]]), {}),
    "Paired.__call__": (ce.Paired, ([1.0, 2.0], [1.0, 2.0]), {}),
    "Grouped.update": (lambda metric: ce.Grouped(metric).update, ([1.0, 2.0],), {"by": ["a", "b"]}),
    "Sliding.update": (lambda metric: ce.Sliding(metric, samples=2).update, ([1.0, 2.0],), {}),
    "Decayed.update": (lambda metric: ce.Decayed(metric, half_life="1h").update, ([1.0, 2.0],), {"by_time": DAY}),
    "Collection.update": (lambda metric: ce.Collection({"a": metric}).update, ([1.0, 2.0],), {}),
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("keyword", ["bogus", "null", "samples", "base", "losses", "offsets"])
def test_an_unknown_keyword_is_a_type_error_of_the_method(method, keyword):
    """``null``, ``samples`` and ``chosen`` are internal; MeanLoss has neither ``offsets`` nor a keyword ``losses``."""
    bind, given, named = CALLS[method]
    call = bind(ce.MeanLoss())
    words = re.escape(f"{method}() got an unexpected keyword argument '{keyword}'")
    if keyword == "losses" and method in ("Grouped.update", "Sliding.update", "Decayed.update"):
        words += ": wrappers call it 'preds'"  # because MeanLoss calls it losses
    with pytest.raises(TypeError, match=f"^{words}$"):
        call(*given, **named, **{keyword: 3})
    call(*given, **named, weight=[1.0, 2.0])


TOKENS = np.full((2, 3, 4), 0.25), np.zeros((2, 3), int)
WRAPPERS = {
    "grouped": lambda metric: ce.Grouped(metric).update(*TOKENS, by=[1, 1], lengths=[3, 1])[1],
    "sliding": lambda metric: ce.Sliding(metric, samples=5).update(*TOKENS, lengths=[3, 1]),
    "decayed": lambda metric: ce.Decayed(metric, half_life="1h").update(*TOKENS, by_time=[0, 0], lengths=[3, 1]),
    "paired": lambda metric: ce.Paired(metric).update(TOKENS[0], *TOKENS, lengths=[3, 1]).summary().a,
    "collection": lambda metric: ce.Collection({"a": metric}).update(*TOKENS, lengths=[3, 1], n_words=[2, 1])["a"],
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_keyword_of_the_metric_reaches_it(wrapper):
    metric = ce.SequenceCrossEntropy()
    found = WRAPPERS[wrapper](metric)
    summary = found if isinstance(found, ce.Summary) else found.summary()
    assert summary.count == metric.copy().update(*TOKENS, lengths=[3, 1]).summary().count == 4


def test_a_collection_takes_the_keywords_of_all_of_its_metrics():
    metrics = {"tokens": ce.SequenceCrossEntropy(), "users": ce.Grouped(ce.SequenceCrossEntropy())}
    collection = ce.Collection(metrics).update(*TOKENS, by=[1, 2], mask=np.ones((2, 3), bool))
    assert collection["tokens"].summary().count == 6
    mixed = ce.Collection({"tokens": ce.SequenceCrossEntropy(), "rows": ce.MulticlassCrossEntropy()})
    with pytest.raises(TypeError, match=r"^Collection\.update\(\) got an unexpected keyword argument 'mask'$"):
        mixed.update(*TOKENS, mask=np.ones((2, 3), bool))


CTC = np.zeros((2, 1, 3)), [[1]]
CTC_WRAPPERS = {
    "grouped": lambda metric, **lengths: ce.Grouped(metric).update(*CTC, by=["a"], **lengths),
    "sliding": lambda metric, **lengths: ce.Sliding(metric, samples=5).update(*CTC, **lengths),
    "decayed": lambda metric, **lengths: ce.Decayed(metric, half_life="1h").update(*CTC, by_time=[0], **lengths),
    "paired": lambda metric, **lengths: ce.Paired(metric).update(CTC[0], *CTC, **lengths),
    "collection": lambda metric, **lengths: ce.Collection({"a": metric}).update(*CTC, **lengths),
}


@pytest.mark.parametrize("wrapper", CTC_WRAPPERS)
@pytest.mark.parametrize("missing", ["input_lengths", "target_lengths"])
def test_a_missing_keyword_is_an_input_error_that_names_it(wrapper, missing):
    lengths = {"input_lengths": [2], "target_lengths": [1]}
    del lengths[missing]
    with pytest.raises(ce.InputError) as raised:
        CTC_WRAPPERS[wrapper](ce.CTCCrossEntropy(), **lengths)
    assert (raised.value.argument, raised.value.found) == (missing, "is None")
