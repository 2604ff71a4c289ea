"""Weights & Biases offline, with all of its folders in that of the test."""

import pytest


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Run in an empty folder, without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path))
