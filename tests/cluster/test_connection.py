"""What an address that cannot be used ends in, and how many workers a machine holds."""

import signal
import socket

import pytest

pytest.importorskip("ray")

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cluster.worker import Needs, connected
from fewshot_nas.computing import DefaultSettings

pytestmark = pytest.mark.ray


@pytest.fixture
def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_where_nothing_answers_that_is_said_at_once(form, closed_port):
    address = form.format(closed_port)
    with (
        pytest.raises(InputError, match=f"--address is {address}, but nothing answers there"),
        connected(address, 1, print),
    ):
        pass


@pytest.mark.parametrize("address", ["nonsense", "ray://", "host:", "host:x"])
def test_what_is_no_address_is_said(address):
    with pytest.raises(InputError, match="expected auto, HOST:PORT or ray://HOST:PORT"), connected(address, 1, print):
        pass


@pytest.mark.slow  # Ray tries for half a minute
@pytest.mark.filterwarnings("ignore:Ray Client connection timed out")
def test_a_port_that_is_not_rays_is_said(closed_port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", closed_port))
        other.listen()
        address = f"ray://127.0.0.1:{closed_port}"
        with pytest.raises(InputError, match="but no Ray cluster can be joined there"), connected(address, 1, print):
            pass


def test_sigterm_stays_ours(cluster):
    before = signal.getsignal(signal.SIGTERM)
    with connected(cluster.address, 1, print):
        assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("device", "threads", "machine", "workers"),
    [
        ("cpu", 1, {"CPU": 8.0}, 8),
        ("cpu", 3, {"CPU": 8.0}, 2),
        ("cpu", 0, {"CPU": 8.0}, 8),
        ("cpu", 1, {}, 0),
        ("cuda", 1, {"CPU": 64.0, "GPU": 8.0}, 8),
        ("cuda", 1, {"CPU": 4.0, "GPU": 8.0}, 4),
        ("cuda", 1, {"CPU": 64.0}, 0),
    ],
)
def test_a_machine_holds_a_worker_for_each_gpu_or_some_cores(device, threads, machine, workers):
    assert Needs(device, DefaultSettings(threads=threads)).fit_into({"Resources": machine}) == workers
