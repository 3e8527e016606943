"""The command `python -m bert_jax.plot`; tests/training/test_curves.py tests the pictures."""

import json
import pathlib
from collections.abc import Callable

import pytest

from bert_jax.config import Config
from bert_jax.training import curves

Run = Callable[..., tuple[int, str, str]]


def test_the_picture_is_in_the_workdir_and_its_path_is_printed(
    tmp_path: pathlib.Path, run_command: Run
) -> None:
    pytest.importorskip('matplotlib')
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        lines = ({'step': n, 'split': 'train', 'mlm_loss': 7 - n / 9} for n in range(1, 9))
        text = ''.join(json.dumps(line) + '\n' for line in lines)
        (tmp_path / name / 'metrics.jsonl').write_text(text)
        (tmp_path / name / 'config.json').write_text(Config().to_json())
    a, b = tmp_path / 'a', tmp_path / 'b'
    assert run_command('plot', f'--workdir={a}/') == (0, f'{a}/curves.png\n', '')
    assert (a / 'curves.png').read_bytes().startswith(b'\x89PNG')
    svg = tmp_path / 'both.svg'
    flags = f'--workdir={a}', f'--workdir={b}', f'--output={svg}'
    assert run_command('plot', *flags) == (0, f'{svg}\n', '')
    assert '<svg' in svg.read_text()


def test_mistakes(tmp_path: pathlib.Path, run_command: Run) -> None:
    code, out, err = run_command('plot', f'--workdir={tmp_path}/no', '--output=no/p.png')
    assert (code, out) == (2, '')
    assert err == 'plot: --output=no/p.png: its folder does not exist; run: mkdir -p no\n'
    with pytest.raises(ValueError, match=r'p.gif: expected a name that ends in .png, .svg'):
        curves.save(['x'], 'p.gif')
    with pytest.raises(ValueError, match='a workdir is given twice'):
        curves.save(['x', './x'], 'p.png')
