"""The n-gram models of the example follow their formula, and their tokens keep the complete text."""

import runpy
from fractions import Fraction

import numpy as np
import pytest
from paths import EXAMPLES

EXAMPLE = runpy.run_path(str(EXAMPLES / "language_model.py"))
TEXTS = 2 * ["the cat sat on the mat", "the dog sat", "a cat", "the cat's mat on the café"]


def witten_bell(order, vocabulary, texts, context, token):
    """Return p of a token after a context of fewer than `order` tokens, from a search of all texts."""
    if context is None:
        return Fraction(1, vocabulary)
    n = len(context)
    after = [text[t] for text in texts for t in range(max(1, n), len(text)) if text[t - n : t] == context]
    shorter = witten_bell(order, vocabulary, texts, context[1:] if n else None, token)
    if not after:
        return shorter
    kinds = len(set(after))
    return (after.count(token) + kinds * shorter) / (len(after) + kinds)


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("by_words", [False, True])
def test_probabilities_are_witten_and_bells(order, by_words):
    tokenise = EXAMPLE["Words"](TEXTS) if by_words else EXAMPLE["as_bytes"]
    vocabulary = 256 + len(tokenise.number) if by_words else 256
    texts = list(map(tokenise, TEXTS))
    model = EXAMPLE["NGram"](order, vocabulary, texts)
    tokens = tokenise("the cat sat, zigzag")
    found = np.exp(model.log_probs(tokens))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    for t, row in enumerate(found):
        context = tokens[max(0, t + 2 - order) : t + 1]
        for token in {*tokens, *texts[0], 7}:
            expected = witten_bell(order, vocabulary, texts, context, token)
            assert row[token] == pytest.approx(float(expected), rel=1e-12)


def test_tokens_are_the_text():
    words = EXAMPLE["Words"](TEXTS)
    names = {number: word.encode() for word, number in words.number.items()}
    assert set(words.number) == {"\0", "the", " cat"}
    for text in [*TEXTS, "the cat, a naïve\n  one; the\tend"]:
        encoded = f"\0{text}\0".encode()
        assert bytes(EXAMPLE["as_bytes"](text)) == encoded
        assert b"".join(names.get(token) or bytes([token]) for token in words(text)) == encoded
