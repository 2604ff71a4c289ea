"""MLflow offline, with a database in a folder of the test."""

import pytest


def pytest_collection_modifyitems(items):
    for item in items:  # MLflow's models use an option that SQLAlchemy 2.1 deprecates
        item.add_marker(pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return a folder for all tests, because MLflow takes seconds to create a database."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(autouse=True)
def offline(monkeypatch, folder):
    """Run in the folder, without telemetry or servers."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
