"""A checkout for the launch scripts. Programs replace gcloud and others, and record their calls."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUCKET = '--workdir=gs://bucket/run'
LOCATION = ('--zone=us-west4-a', '--project=mine', '--quiet')
# A program that replaces each command. Its answers are in answers.json, by its name and first word,
# and the last answer is repeated. 'exit N' is an exit code. 'gone' is the error of gcloud if a TPU
# does not exist.
FAKE = """#!{python}
import json, os, pathlib, sys
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
environment = {{k: os.environ.get(k) for k in ('INSTALL',
               'JAX_LOCAL_DEVICE_IDS', 'GLIBC_TUNABLES')}}
with open({folder!r} + '/calls.jsonl', 'a') as calls:
    calls.write(json.dumps([[name, *words], environment]) + '\\n')
path = pathlib.Path({folder!r}, 'answers.json')
answers = json.loads(path.read_text())
key = words[3] if name == 'gcloud' else name
if key == 'ssh' and 'background.sh state' in words[-1]:
    key = 'state'
    print('SSH: Attempting to connect to worker 0...', file=sys.stderr)
left = answers.get(key, [''])
answer = left.pop(0) if len(left) > 1 else left[0]
path.write_text(json.dumps(answers))
if answer.startswith('exit ') and key != 'state':
    sys.exit(int(answer[5:]))
if answer == 'gone':
    sys.exit("ERROR: (gcloud.x) NOT_FOUND: Resource 'nodes/pod' was not found.")
if answer:
    print('run: ' + answer if key == 'state' else answer)
"""
ODD = ['--config.data.corpus=text:my books/*.txt', '--config.name=it\'s $HOME "&" `so`', '--x=']


def execute(
    command: Sequence[str], cwd: pathlib.Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    settings: dict[str, Any] = {'text': True, 'capture_output': True, 'timeout': 60}
    return subprocess.run(command, cwd=cwd, env=environment, check=False, **settings)


class Checkout:
    """A checkout with the launch scripts, and programs that replace the commands that they use."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.root = folder, folder / 'checkout'
        shutil.copytree(ROOT / 'launch', self.root / 'launch')
        text = FAKE.format(python=sys.executable, folder=str(folder))
        for path in ('gcloud', 'git', 'srun', 'scontrol', 'python3', 'python'):
            target = folder / ('venv/bin' if path == 'python' else 'bin') / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o755)
        self.answer()

    def answer(self, **answers: list[str]) -> None:
        (self.folder / 'answers.json').write_text(json.dumps({'git': [''], **answers}))
        (self.folder / 'calls.jsonl').write_text('')

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f'{self.folder}/bin:{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
        base = {'PATH': path, 'HOME': str(self.folder), 'VENV': str(self.folder / 'venv')}
        return execute(command, self.root, {**base, **environment})

    def pod(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        flags = [*LOCATION[:2], '--type=v5litepod-256', '--poll=0.01']
        main = words.index('--') if '--' in words else len(words)
        words = ('launch/tpu_pod.sh', words[0], 'pod', *flags, *words[1:main], *words[main:])
        return self.run(*words, **environment)

    def lines(self) -> list[Any]:
        return [json.loads(x) for x in (self.folder / 'calls.jsonl').read_text().splitlines()]

    def calls(self, *names: str) -> list[list[str]]:
        return [call for call, _ in self.lines() if call[0] in names]

    def seen(self, name: str) -> dict[str, Any]:
        """The environment of the last call."""
        return [environment for call, environment in self.lines() if call[0] == name][-1]

    def actions(self) -> list[str]:
        """Returns the calls of gcloud that changed something."""
        calls = [call for call in self.calls('gcloud') if 'background.sh state' not in call[-1]]
        named = {'INSTALL=only': 'install', 'background.sh stop && ': 'restart', 'start': 'start'}
        return [
            next((name for part, name in named.items() if part in call[-1]), call[4])
            for call in calls
            if call[4] not in ('describe', 'scp')
        ]


def split(shown: str) -> list[list[str]]:
    return [shlex.split(line) for line in shown.splitlines()]


def until(condition: Callable[[], bool]) -> None:
    """Waits until the condition is true, for at most 20 seconds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, 'it does not happen'
        time.sleep(0.05)
