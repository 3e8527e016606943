"""The command predict: its flags, and files of texts."""

import contextlib
import pathlib
import re
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import small_run

from bert_jax import predict
from bert_jax.config import DataConfig
from bert_jax.inference import text_files, trained_model


def test_the_command_line(
    tmp_path: pathlib.Path,
    word_folder: pathlib.Path,
    run_predict: Callable[..., tuple[int, str, str]],
) -> None:
    (tmp_path / 'in.txt').write_text('alpha beta\n\n' + 'gamma ' * 100 + '\n')
    model, source = f'--checkpoint={word_folder}', f'--input={tmp_path / "in.txt"}'
    output = tmp_path / 'out.npz'
    code, _, said = run_predict(model, '--mode=embed', source, f'--output={output}')
    assert code == 0 and '3 records' in said and '1 text with more than 40 tokens' in said, said
    vectors = np.load(output)['embeddings']
    expected = predict.load(word_folder).embed(['alpha beta', '', 'gamma ' * 100])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)

    code, shown, said = run_predict(model, '--text=alpha [MASK]', '--top_k=2')
    assert code == 0 and shown.splitlines()[0] == 'alpha [MASK]' and shown.count("'") == 4, said
    mistakes = [
        ('--text=alpha',),
        ('--mode=embed', source),
        (source, '--text=alpha'),
        ('--mode=embed', '--input=nowhere', '--output=x.npz'),
        ('--mode=embed', source, f'--output={output}'),  # exists
        (source, f'--output={tmp_path / "new.jsonl"}'),  # no head of a task
        (source, f'--output={tmp_path / "new.csv"}'),
        ('--text=[MASK]', '--mode=fill_mask', '--output=x'),
        ('--text=alpha', '--all_scores'),
    ]
    for arguments in mistakes:
        code, _, said = run_predict(model, *arguments)
        assert code == 2 and said.startswith('predict: ') and said.count('\n') == 1, said
    code, _, said = run_predict('--checkpoint=nowhere', '--text=[MASK]')
    assert code == 2 and 'nowhere does not exist' in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in.txt', 'out.npz']


EMBEDDED = {
    'list.json': '[{"text": "alpha beta"}, {"text": "gamma"}]',
    'table.csv': 'label,text\na,alpha beta\nb,gamma\n',
    'table.tsv': 'text\tlabel\nalpha beta\ta\ngamma\tb\n',
    'lines.jsonl': '{"text": "alpha beta"}\n\n{"text": "gamma"}\n',
    'lines.txt': 'alpha beta\ngamma\n',
    'lines': 'alpha beta\ngamma\n',
}


NOT_EMBEDDED = {
    'list.json': ('["alpha"]', 'list.json: [0] is "alpha"; expected an object'),
    'zero.csv': (
        '',
        'has no examples; expected a line that names the columns, such as text',
    ),
    'zero.jsonl': ('', 'has no examples; expected an object on each line, {"text": ...}'),
    'zero.txt': ('', 'is empty; expected a text on each line'),
    'other.csv': ('a,b\n1,2\n', "has no column 'text'"),
    'other.jsonl': ('["alpha"]\n', 'other.jsonl:1 is ["alpha"]; expected an object'),
}


def test_texts_of_tables_and_lines(tmp_path: pathlib.Path) -> None:
    """The modes embed and fill_mask read the same files: a table has its texts in a column."""
    for name, content in EMBEDDED.items():
        (tmp_path / name).write_text(content)
        found = [e.text for e in text_files.read(tmp_path / name, DataConfig())]
        assert found == ['alpha beta', 'gamma']
    (tmp_path / 'other.csv').write_text('review\nalpha\n')
    (found,) = text_files.read(tmp_path / 'other.csv', DataConfig(text_field='review'))
    assert found.text == 'alpha'
    for name, (content, message) in NOT_EMBEDDED.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=re.escape(message)):
            list(text_files.read(tmp_path / name, DataConfig()))


@pytest.mark.parametrize('mode', ['embed', 'fill_mask'])
def test_a_signal_ends_every_mode(
    tmp_path: pathlib.Path,
    word_folder: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    run_predict: Callable[..., tuple[int, str, str]],
    mode: str,
) -> None:
    def batches(*_: object) -> Iterator[None]:
        with contextlib.suppress(BaseException):  # as in a callback of the garbage collector
            signal.raise_signal(signal.SIGINT)
        yield

    monkeypatch.setattr(trained_model, 'SequentialBatches', batches)
    (tmp_path / 'in.txt').write_text('alpha [MASK]\n')
    output = [f'--output={tmp_path / "out.npz"}'] * (mode == 'embed')
    flags = [
        f'--checkpoint={word_folder}',
        f'--mode={mode}',
        f'--input={tmp_path / "in.txt"}',
        *output,
    ]
    code, shown, said = run_predict(*flags)
    assert (code, shown) == (130, '') and said.endswith('predict: interrupted\n'), said
    assert [path.name for path in tmp_path.iterdir()] == ['in.txt']


def test_predictions_need_no_library_of_scores() -> None:
    code = (
        'import sys; sys.modules.update(sklearn=None, scipy=None); import bert_jax.predict\n'
        'try: import bert_jax.finetuning.runs\n'
        'except ImportError as error: sys.exit("pip install" not in str(error))\n'
        'sys.exit("imported")'
    )
    done = small_run.ended('-c', code)
    assert not done.returncode, done.stderr


def test_texts_of_tables_and_bad_rows_in_every_mode(
    tmp_path: pathlib.Path,
    word_folder: pathlib.Path,
    run_predict: Callable[..., tuple[int, str, str]],
) -> None:
    """The header is no text, ids are kept, and a bad row costs no other row."""
    model, table = f'--checkpoint={word_folder}', tmp_path / 'in.csv'
    table.write_text('id,text\n7,alpha\n8,beta gamma\n')
    output = tmp_path / 'out.npz'
    embed = (model, '--mode=embed', f'--input={table}', f'--output={output}')
    assert run_predict(*embed)[0] == 0
    expected = predict.load(word_folder).embed(['alpha', 'beta gamma'])
    with np.load(output) as found:
        np.testing.assert_allclose(found['embeddings'], expected, atol=1e-6)
        assert found['id'].tolist() == ['7', '8'] and 'place' not in found
    output.unlink()
    table.write_text('id,text\n7,alpha\n,\n8,beta gamma\n9,[SEP]\n')
    code, _, said = run_predict(*embed)
    assert code == 2 and 'in.csv:3 has an empty text' in said and not output.exists()
    code, _, said = run_predict(*embed, '--on_error=skip')
    assert code == 0 and '1 bad row was left out of' in said
    assert 'texts of unknown tokens alone: 1' in said, said
    assert 'texts with the name of a special token, read as characters: 1' in said, said
    with np.load(output) as found:
        np.testing.assert_allclose(found['embeddings'][:2], expected, atol=1e-6)
        assert found['place'].tolist() == ['2', '4', '5']

    lines = tmp_path / 'lines.txt'
    lines.write_text('alpha [MASK]\nbeta\n[MASK] gamma\n')
    code, shown, said = run_predict(model, '--mode=fill_mask', f'--input={lines}')
    assert code == 2 and 'lines.txt:2: no [MASK]' in said and shown.startswith('alpha [MASK]')
    code, shown, said = run_predict(
        model, '--mode=fill_mask', f'--input={lines}', '--on_error=skip'
    )
    assert code == 0 and '[MASK] gamma' in shown and '1 bad row was left out' in said
    lines.write_text('text,label\nalpha,x\n')
    code, _, said = run_predict(
        model, '--mode=embed', f'--input={lines}', f'--output={tmp_path}/n.npz'
    )
    assert code == 2 and "looks like a table, its columns separated by ','" in said
