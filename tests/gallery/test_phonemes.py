"""The model of the example computes the same as torch's GRU with the same weights."""

import runpy

import numpy as np
import torch
from paths import EXAMPLES

EXAMPLE = runpy.run_path(str(EXAMPLES / "phonemes.py"))


def gru(weights, part):
    net = torch.nn.GRU(256, 256, batch_first=True)
    named = {
        f"{kind}_l0": weights[f"{part}_{kind[0]}_{kind[-2:]}"]
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    net.load_state_dict({name: torch.from_numpy(array) for name, array in named.items()})
    return net


@torch.no_grad()
def one_by_one(weights, word, phonemes):
    """Return the logits of one word, from torch's GRU over the letters and over the earlier phonemes."""
    of = {name: torch.from_numpy(array) for name, array in weights.items()}
    letters = [3 + "abcdefghijklmnopqrstuvwxyz".index(letter) for letter in word] + [2]
    _, last = gru(weights, "enc")(of["enc_emb"][letters][None])
    states, _ = gru(weights, "dec")(of["dec_emb"][[2, *phonemes[:-1]]][None], last)
    return (states @ of["fc_w"].T + of["fc_b"])[0].numpy()


def test_a_batch_of_words_is_what_torch_makes_of_each():
    names, entries = EXAMPLE["dictionary"]()
    number = {name: i for i, name in enumerate(names)}
    assert len(names) == 74
    assert len(entries) > 100_000
    words, _, spoken = zip(*entries[5000::20_000], strict=True)
    rows = [[*map(number.get, sounds), number["</s>"]] for sounds in spoken]
    reader = EXAMPLE["Reader"]()
    found = reader.logits(words, EXAMPLE["padded"](rows))
    for logits, word, row in zip(found, words, rows, strict=True):
        np.testing.assert_allclose(logits[: len(row)], one_by_one(reader.of, word, row), atol=1e-3)


def test_the_model_knows_how_to_read():
    names, _ = EXAMPLE["dictionary"]()
    number = {name: i for i, name in enumerate(names)}
    sounds = ["K", "AE1", "T", "</s>"]
    best = EXAMPLE["Reader"]().logits(["cat"], np.array([[number[sound] for sound in sounds]])).argmax(-1)
    assert [names[i] for i in best[0]] == sounds
