"""One run, one workdir: who is refused, and which files are left by processes that have ended."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest
from etils import epath

from bert_jax.training import running
from bert_jax.training.running import Owner, born, myself


def owner(**changes: object) -> Owner:
    return dataclasses.replace(myself(), **changes)


def leave(folder: pathlib.Path, found: Owner, age: float = 0.0) -> epath.Path:
    """The workdir with the file of an owner that was touched `age` seconds ago."""
    path = folder / running.FILE
    path.write_text(json.dumps(dataclasses.asdict(found)))
    os.utime(path, (time.time() - age,) * 2)
    return epath.Path(folder)


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return process.pid


def test_a_run_holds_its_workdir_until_its_end(tmp_path: pathlib.Path) -> None:
    workdir = epath.Path(tmp_path / 'new')
    with running.alone_in(workdir), running.alone_in(workdir):  # the run, and a part of it
        found = json.loads((workdir / running.FILE).read_text())
        assert found['pid'] == os.getpid() and 'UTC' in found['since']
        running.check(workdir)
        assert [path.name for path in workdir.iterdir()] == [running.FILE]
    assert not any(workdir.iterdir())
    with pytest.raises(KeyError), running.alone_in(workdir):
        raise KeyError
    assert not any(workdir.iterdir())


def test_a_second_run_is_refused_and_the_first_goes_on(tmp_path: pathlib.Path) -> None:
    """The first is another process, which still lives."""
    with subprocess.Popen(['sleep', '60']) as first:
        workdir = leave(tmp_path, owner(pid=first.pid, born=born(first.pid)))
        before = (tmp_path / running.FILE).read_text()
        message = (
            rf'is in use: another run is training there \(process {first.pid} on host .* since 20'
        )
        with pytest.raises(ValueError, match=message), running.alone_in(workdir):
            raise AssertionError('two runs')
        assert (tmp_path / running.FILE).read_text() == before
        first.kill()


def test_what_a_process_has_left_is_replaced(tmp_path: pathlib.Path, ended: int) -> None:
    with subprocess.Popen(['sleep', '60']) as other:  # has the number of the former process now
        for left in (owner(pid=ended, born='1'), owner(pid=other.pid, born='1')):
            workdir = leave(tmp_path, left)
            claim = tmp_path / f'.{running.FILE}.{left.token}'  # of a start that was killed
            claim.mkdir()
            os.utime(claim, (1, 1))
            with running.alone_in(workdir):
                running.check(workdir)
            assert not any(tmp_path.iterdir())
        other.kill()


@pytest.mark.parametrize('content', ['', '{"pid": 3}', '[]', 'no json'])
def test_a_damaged_file_holds_nobody_back(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / running.FILE).write_text(content)
    with running.alone_in(epath.Path(tmp_path)):
        running.check(epath.Path(tmp_path))


def test_on_another_machine_a_sign_of_life_decides(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, 'SILENT', 0.6)
    monkeypatch.setattr(running, 'BEAT', 0.2)
    elsewhere = owner(host='tpu-7', machine='tpu-7 boot', born='1')
    workdir = leave(tmp_path, elsewhere, age=2)
    assert running.refuse_second(workdir) == elsewhere
    began = time.monotonic()
    with running.alone_in(workdir):
        assert time.monotonic() - began < 0.5, 'a start waits once'
    workdir, end = leave(tmp_path, elsewhere, age=2), threading.Event()

    def live() -> None:
        while not end.wait(0.1):
            os.utime(tmp_path / running.FILE)

    alive = threading.Thread(target=live)
    alive.start()
    try:
        with (
            pytest.raises(ValueError, match=r'process .* on host tpu-7'),
            running.alone_in(workdir),
        ):
            raise AssertionError('two runs')
    finally:
        end.set()
        alive.join()


def test_a_run_touches_its_file_and_sees_that_it_has_lost_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, 'BEAT', 0.05)
    workdir, file = epath.Path(tmp_path), tmp_path / running.FILE
    with running.alone_in(workdir):
        os.utime(file, (0, 0))
        wait_until(lambda: file.stat().st_mtime > 0)
        running.check(workdir)
        leave(tmp_path, owner(host='tpu-7'))
        wait_until(lambda: bool(running._HELD[str(epath.Path(file))].lost_to))
        with pytest.raises(ValueError, match=r'another run has taken over .* on host tpu-7'):
            running.check(workdir)
    assert file.exists(), 'it belongs to the other run'


def wait_until(holds: object) -> None:
    end = time.monotonic() + 10
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize('stale', [False, True])
def test_of_starts_at_the_same_time_one_begins(
    tmp_path: pathlib.Path, ended: int, stale: bool
) -> None:
    """Threads stand for processes: each has an owner of its own."""
    if stale:
        leave(tmp_path, owner(pid=ended, born='1'))
    holds = [running._Hold(epath.Path(tmp_path / running.FILE)) for _ in range(8)]
    gate, won = threading.Barrier(8), list[running._Hold]()

    def begin(hold: running._Hold) -> None:
        gate.wait()
        try:
            hold.begin()
        except (ValueError, OSError):
            return
        won.append(hold)

    threads = [threading.Thread(target=begin, args=(hold,)) for hold in holds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    found = running._read(epath.Path(tmp_path / running.FILE))
    assert found is not None and found.token == won[0].owner.token
    won[0].release()
    assert not any(tmp_path.iterdir())
