"""Compare two n-gram models with different tokens per token, per word and per byte.

    python examples/language_model.py

The texts are the paragraphs of the docstrings of Python's standard library. Modules are the documents, and every fourth
module is held out. One model predicts bytes. The other predicts words, and the bytes of words that it does not know, as
subword models do.
"""

import ast
import re
import sysconfig
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

import streamce as ce

MIN_COUNT, BATCH = 5, 50  # occurrences that make a word known; paragraphs per update
DOCUMENTED = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef


def paragraphs():
    """Return the paragraphs of each module's docstrings, by the name of the module."""
    found = {}
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        nodes = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, DOCUMENTED)]
        texts = [ast.get_docstring(node) or "" for node in nodes]
        found[file.stem] = [part for text in texts for part in re.split(r"\n\s*\n", text) if part.strip()]
    return {name: parts for name, parts in found.items() if parts}


class NGram:
    """An n-gram model that mixes the frequencies after contexts of all lengths (Witten and Bell, 1991).

    If c tokens followed a context, T of them distinct, p(w) = (count(w) + T · p_shorter(w)) / (c + T), where p_shorter
    is the probability after the context without its first token.
    """

    def __init__(self, order, vocabulary, texts):
        self.order, self.vocabulary = order, vocabulary
        counts = defaultdict(Counter)
        for tokens in texts:
            for t, context in self.contexts(tokens[:-1]):
                counts[context][tokens[t + 1]] += 1
        self.after = {}
        for context, counter in counts.items():
            followed = np.array(list(counter.values())) / (counter.total() + len(counter))
            self.after[context] = np.array(list(counter)), followed, len(counter) / (counter.total() + len(counter))

    def contexts(self, tokens):
        """Yield each position with its contexts: no token, the last token, the last two tokens, ..."""
        for t in range(len(tokens)):
            for n in range(min(self.order, t + 2)):
                yield t, tokens[t + 1 - n : t + 1]

    def log_probs(self, tokens):
        """Return log p as a causal model does, shape (T, V): row t is about the token that follows token t."""
        probs = np.full((len(tokens), self.vocabulary), 1 / self.vocabulary)
        for t, context in self.contexts(tokens):
            if context in self.after:
                tokens_after, followed, rest = self.after[context]
                probs[t] *= rest
                probs[t, tokens_after] += followed
        return np.log(probs)


def as_bytes(text):
    return tuple(f"\0{text}\0".encode())  # a token marks the beginning and the end


class Words:
    """A tokeniser: numbers from 256 on for known words, and bytes for other text."""

    def __init__(self, texts):
        counts = Counter(word for text in texts for word in self.split(text))
        self.number = {word: 256 + i for i, word in enumerate(w for w, n in counts.items() if n >= MIN_COUNT)}

    def split(self, text):
        return re.findall(r" ?\w+|\W", f"\0{text}\0")

    def __call__(self, text):
        return tuple(i for w in self.split(text) for i in ([self.number[w]] if w in self.number else w.encode()))


def predicted(model, tokenise, texts):
    """Return log p of all tokens (N, V), the tokens of all texts, concatenated, and the offsets of the texts."""
    pairs = [ce.shift_by_one(model.log_probs(tokens), tokens) for tokens in map(tokenise, texts)]
    preds, target = map(np.concatenate, zip(*pairs, strict=True))
    return preds, target, np.cumsum([0, *(len(tokens) for _, tokens in pairs)])


def chosen(preds, target):
    return preds[np.arange(len(target)), target]


def scored(model, tokenise, held_out):
    """Return the perplexity (plain, with modules as clusters, and by module), and the loss of each paragraph."""
    plain = ce.Perplexity(kind="log_probs", per_position=True)
    clustered, modules = ce.Perplexity(kind="log_probs"), ce.Grouped(ce.Perplexity(kind="log_probs"))
    losses = []
    for start in range(0, len(held_out), BATCH):
        names, texts = map(list, zip(*held_out[start : start + BATCH], strict=True))
        preds, target, offsets = predicted(model, tokenise, texts)
        sizes = {"n_words": [len(text.split()) for text in texts], "n_bytes": [len(text.encode()) for text in texts]}
        plain.update(preds, target, offsets=offsets)
        clustered.update(preds, target, offsets=offsets, **sizes, cluster=names)
        modules.update(preds, target, offsets=offsets, by=names)
        losses.extend(-np.add.reduceat(chosen(preds, target), offsets[:-1]))
    return plain, clustered, modules, np.array(losses)


def same_however_cut(model, tokenise, texts):
    """Yield metrics of the same texts: flat, padded in batches of three sizes, and from log p of the tokens only."""
    preds, target, offsets = predicted(model, tokenise, texts)
    yield ce.Perplexity(kind="log_probs").update(preds, target, offsets=offsets)
    for size in (1, 7, 40):
        metric = ce.Perplexity(kind="log_probs")
        for start in range(0, len(texts), size):
            bounds = offsets[start : start + size + 1]
            lengths = np.diff(bounds)
            padded = np.zeros((len(lengths), max(lengths), model.vocabulary))
            tokens = np.zeros(padded.shape[:2], dtype=int)
            for i, (begin, n) in enumerate(zip(bounds, lengths, strict=False)):
                padded[i, :n], tokens[i, :n] = preds[begin : begin + n], target[begin : begin + n]
            metric.update(padded, tokens, lengths=lengths)
        yield metric
    yield ce.Perplexity(kind="log_probs").update_token_log_probs(chosen(preds, target), offsets=offsets)


def main():
    found = paragraphs()
    names = list(found)
    train = [text for i, name in enumerate(names) if i % 4 for text in found[name]]
    held_out = [(name, text) for name in names[::4] for text in found[name]]
    words = Words(train)
    models = {
        "bytes, 5-gram": (NGram(5, 256, map(as_bytes, train)), as_bytes),
        "words, 2-gram": (NGram(2, 256 + len(words.number), map(words, train)), words),
    }
    print(f"{len(train):,} paragraphs for training, {len(held_out):,} of {len(names[::4])} modules are held out\n")
    print("perplexity      vocabulary   tokens    per token   per word   bits per byte")
    scores = {name: scored(*each, held_out) for name, each in models.items()}
    for name, (_, clustered, _, _) in scores.items():
        token, byte = clustered.summary(), clustered.per_byte()
        low, high = byte.bits_interval
        print(f"{name}   {models[name][0].vocabulary:7,}   {token.count:9,}   {token.value:9.2f}", end="   ")
        print(f"{clustered.per_word().value:8.0f}   {byte.bits:.3f} ({low:.3f} to {high:.3f})")
    print("Perplexities per token of different models are not comparable. Those per word and per byte are.")

    (plain, _, _, of_bytes), (by_word, clustered, modules, of_words) = scores.values()
    size = np.array([len(text.encode()) for _, text in held_out])
    difference = ce.MeanLoss().update((of_words - of_bytes) / size, weight=size, cluster=[name for name, _ in held_out])
    (low, high), bits = difference.summary().bits_interval, difference.summary().bits
    print(f"words minus bytes, paired by paragraph: {bits:.3f} bits per byte ({low:.3f} to {high:.3f}).")
    print("Pairing removes the difficulty of a module, because it is about the same for both models.")
    print("\nwords, per token: the interval if paragraphs are independent, and if they are correlated within modules")
    for summary in (by_word.summary(), clustered.summary()):
        low, high = summary.interval
        print(f"  {summary.value:.2f} ({low:.2f} to {high:.2f})   standard error {summary.stderr:.4f} nats")

    print("\nbits of each of a paragraph's first bytes")
    for place, summary in enumerate(plain.per_position()[:8]):
        print(f"  {place + 1}   {summary.bits:.2f}   {'#' * round(8 * summary.bits)}")

    print("\nmodules with the largest and the smallest perplexity of words")
    for module, summary in [*modules.worst(4), *modules.best(3)[::-1]]:
        low, high = summary.interval
        print(f"  {module:18} {summary.value:7.1f} ({low:.1f} to {high:.1f})   {summary.count:6,} tokens")

    first_texts = [text for _, text in held_out[:200]]
    states = {metric.to_bytes() for metric in same_however_cut(*models["bytes, 5-gram"], first_texts)}
    print("\n200 paragraphs, flat, padded in batches of 1, 7 and 40, and from the log-probabilities of tokens only,")
    print(f"give the same bytes: {len(states) == 1}")


if __name__ == "__main__":
    main()
