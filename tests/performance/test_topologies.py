"""Slices by name, and which part of a batch the hosts of one read."""

import signal

import jax
import pytest
import small_run
from jax.experimental.topologies import get_topology_desc

from bert_jax.config import MeshConfig
from bert_jax.parallel.mesh import host_slice, make_mesh
from bert_jax.performance import topologies


@pytest.mark.parametrize(
    ('name', 'slice_', 'chips'),
    [
        ('v5e-256', 'v5e:16x16', 256),
        ('v5litepod-8', 'v5e:2x4', 8),
        ('v5e-1', 'v5e:1x1', 1),
        ('v6e-32', 'v6e:4x8', 32),
        ('v5p-128', 'v5p:4x4x4', 64),
        ('v5p-64', 'v5p:2x4x4', 32),
        ('v4-32', 'v4:2x2x4', 16),
        ('v4-8', 'v4:2x2x1', 4),
        ('tpu7x-128', 'tpu7x:4x4x4', 64),
        ('v5p:4x4x12', 'v5p:4x4x12', 192),
    ],
)
def test_slices_by_name(name: str, slice_: str, chips: int) -> None:
    assert str(topologies.parse(name)) == slice_
    assert topologies.parse(name).chips == chips
    cores = f' ({2 * chips} cores)' if name[:3] in ('v4-', 'v5p', 'v4:', 'tpu') else ''
    assert topologies.parse(name).counted == f'{chips} chips{cores}'


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('v9-8', ["'v9-8'", 'v5e-256', 'tpu7x']),
        ('v5e:4x4x4', ['4x4x4', 'v5e has 2 dimensions']),
        ('v5p:4x4', ['v5p has 3 dimensions']),
        ('v5p-7', ['7 cores, two per chip', 'v5p-8;', 'v5p:4x4x4']),
        ('v5e-512', ["'v5e-512'", '16x32', '16x16 chips']),
        ('v5e-12', ['12 chips', 'powers of two', 'v5e-8;', 'v5e:4x4']),
        ('v4-3', ['3 cores', 'v4-8;']),
        ('v6e-0', ['0 chips', 'v6e-1;']),
        ('v5e', ["'v5e'"]),
    ],
)
def test_unknown_names(name: str, words: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        topologies.parse(name)
    for word in words:
        assert word in str(raised.value)


def test_rings() -> None:
    assert topologies.parse('v5e:16x16').wraps() == (True, True)
    assert topologies.parse('v5e:8x16').wraps() == (False, True)
    assert topologies.parse('v5p:4x4x8').wraps() == (True, True, True)
    for no_cubes in ('v5p:2x4x4', 'v4:2x2x4', 'tpu7x:2x4x8'):
        assert topologies.parse(no_cubes).wraps() == (False, False, False)


@pytest.mark.parametrize('name', ['v5e-64', 'v5p-128', 'v4-32', 'v6e-256', 'tpu7x-64'])
@pytest.mark.parametrize('sizes', [(-1, 1, 1), (-1, 8, 1), (1, -1, 2), (-1, 2, 4)])
def test_hosts_of_a_pod_read_slices_that_make_up_the_batch(
    four: list[jax.Device], name: str, sizes: tuple[int, int, int]
) -> None:
    """On a torus the devices of a host are not always neighbours in the mesh."""
    devices = topologies.devices(topologies.parse(name))
    hosts = sorted({device.process_index for device in devices})
    assert len(hosts) > 1
    mesh = make_mesh(MeshConfig(*sizes), devices)
    found = {host_slice(mesh, host) for host in hosts}
    count = len(found)
    assert found == {(index, count) for index in range(count)}
    assert len(hosts) % count == 0


def test_hosts_that_share_a_tensor_axis_read_the_same(four: list[jax.Device]) -> None:
    devices = topologies.devices(topologies.parse('v5e-64'))
    mesh = make_mesh(MeshConfig(1, 1, 64), devices)
    assert {host_slice(mesh, device.process_index) for device in devices} == {(0, 1)}


def test_only_data_goes_from_slice_to_slice(four: list[jax.Device]) -> None:
    devices = get_topology_desc('v5e:4x4', 'tpu', num_slices=2).devices
    mesh = make_mesh(MeshConfig(-1, 4, 1), devices)
    for group in mesh.devices.reshape(8, 4):
        assert len({device.slice_index for device in group}) == 1
    with pytest.raises(ValueError, match='multiple of the 2 slices'):
        make_mesh(MeshConfig(1, -1, 1), devices)


def test_a_plan_that_is_killed_prints_nothing(four: list[jax.Device]) -> None:
    """The handler of libtpu would print a stack trace."""
    code = """if True:
        import os, signal
        from bert_jax.performance import topologies
        topologies.devices(topologies.parse('v5e-4'))
        os.kill(os.getpid(), signal.SIGTERM)
    """
    done = small_run.ended('-c', code, JAX_PLATFORMS='cpu')
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, '', '')
