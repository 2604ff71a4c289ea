"""Evaluates with Lightning: ``python lightning_job.py FOLDER RANKS ROWS...``. Ranks write what they log to FOLDER.

ROWS that end in "own" are divided among ranks by this program, and not by Lightning.
"""

import json
import logging
import sys
import warnings
from pathlib import Path

import lightning
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

import streamce as ce
from streamce.integrations.torchmetrics import ExactMetric

LENGTH, WORDS, IGNORED = 9, 7, -100


def rows(number):
    """Return tokens of sequences of many lengths."""
    random = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, WORDS, (number, LENGTH), generator=random)
    lengths = torch.randint(2, LENGTH + 1, (number, 1), generator=random)
    return torch.where(torch.arange(LENGTH) < lengths, tokens, IGNORED)


class Model(lightning.LightningModule):
    """Logits of the next token, looked up in a table, so that they do not depend on the batch."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding.from_pretrained(
            torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(1)) * 3, freeze=False
        )
        self.exact = ExactMetric(ce.SequenceCrossEntropy(kind="logits", ignore_index=IGNORED))
        self.states = []
        self.logged = []

    def forward(self, tokens):
        return self.table(tokens.clamp(min=0))

    def training_step(self, batch, number):
        (tokens,) = batch
        logits = self(tokens[:, :-1]).transpose(1, 2)
        return torch.nn.functional.cross_entropy(logits, tokens[:, 1:], ignore_index=IGNORED)

    def validation_step(self, batch, number):
        (tokens,) = batch
        logits, labels = self(tokens[:, :-1]), tokens[:, 1:]
        self.exact(logits, labels)
        self.log("val_loss", self.exact, on_step=True, on_epoch=True)
        mean = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED)
        self.log("mean_of_means", mean, sync_dist=True)

    def on_validation_epoch_end(self):
        whole = self.exact.metric
        self.states.append(whole)
        self.log_dict(self.exact.summary().scalars("exact_"))

    def on_train_epoch_end(self):
        self.logged.append(self.trainer.callback_metrics["val_loss_epoch"].item())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def exact(model, number):
    """Return the metric of one pass over all rows."""
    tokens = rows(number)
    metric = ce.SequenceCrossEntropy(kind="logits", ignore_index=IGNORED)
    return metric.update(model(tokens[:, :-1]), tokens[:, 1:])


def loader(number, batch_size):
    return DataLoader(TensorDataset(rows(number)), batch_size=batch_size)


def trainer(folder, **options):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(default_root_dir=folder, accelerator="cpu", **{**quiet, **options})


def main(folder, ranks, *numbers):
    warnings.simplefilter("ignore")
    for case in numbers:
        number = int(case.removesuffix("own"))
        model, own = Model(), case.endswith("own")
        evaluator = trainer(folder, devices=int(ranks), strategy="ddp", use_distributed_sampler=not own)
        batches = loader(number, 4)
        if own:  # each rank has every n-th row
            part = Subset(batches.dataset, range(evaluator.global_rank, number, int(ranks)))
            batches = DataLoader(part, batch_size=4)
        (logged,) = evaluator.validate(model, batches, verbose=False)
        path = f"{folder}/{case} {evaluator.global_rank}"
        Path(f"{path}.json").write_text(json.dumps(logged))
        Path(f"{path}.state").write_bytes(model.states[0].to_bytes())
        evaluator.strategy.barrier()


if __name__ == "__main__":
    main(*sys.argv[1:])
