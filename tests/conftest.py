"""Fixtures and settings of all tests."""

import pytest
from hypothesis import HealthCheck, settings

from streamce.core.kernels import kernels


def pytest_ignore_collect(collection_path, config):
    """With ``-m core``, skip files without such tests, because packages that they import may not be installed."""
    if config.option.markexpr == "core" and collection_path.name == "frameworks":
        return True
    if config.option.markexpr == "core" and collection_path.suffix == ".py":
        return "pytest.mark.core" not in collection_path.read_text(encoding="utf-8") or None
    return None


settings.register_profile(
    "streamce",
    deadline=None,  # no test is timed
    derandomize=True,  # the same change gives the same result; `make nightly` tries other examples
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("short", settings.get_profile("streamce"), max_examples=10)  # for the many Pythons
settings.register_profile("random", settings.get_profile("streamce"), derandomize=False, max_examples=200)
settings.load_profile("streamce")


@pytest.fixture(params=kernels.supported())
def simd(request):
    """Run a test with each instruction set of this machine."""
    before = kernels.current()
    kernels.use(request.param)
    yield request.param
    kernels.use(before)
