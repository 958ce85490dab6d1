"""The fixtures of the package's tests."""

from tests.conftest import *  # noqa: F403
from tests.conftest import _fresh_run, _one_thread  # noqa: F401
from tests.training.conftest import batch, supernet, tiny  # noqa: F401
