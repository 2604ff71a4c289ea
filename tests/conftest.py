"""What all tests share."""

import pytest
from hypothesis import HealthCheck, settings

from streamce.core import kernels

settings.register_profile(
    "streamce",
    deadline=None,  # no test is timed
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("streamce")


@pytest.fixture(params=kernels.supported())
def simd(request):
    """Each instruction set that this machine has, one after another."""
    before = kernels.current()
    kernels.use(request.param)
    yield request.param
    kernels.use(before)
