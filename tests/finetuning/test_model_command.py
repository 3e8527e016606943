"""The command predict with models of every kind of task, whose parameters are random."""

import csv
import json
import pathlib
from collections.abc import Callable

import pytest
from fine_tuned import KINDS, LABELS

from bert_jax import export
from bert_jax.config.files import sole_writer

COMMANDS = {
    'texts': (
        ['--text=a film', '--text=the plot'],
        ['a film', '   0.', '   0.', '   0.', 'the plot'],
    ),
    'pairs': (['--text=a film', '--text_b=the plot'], ['a film / the plot', '   0.']),
    'label sets': (
        ['--text=a film', '--threshold=0.99'],
        ['a film', '   not above 0.990:', '   0.', '   0.', '   0.'],
    ),
    'numbers': (['--text=a film'], ['a film', '   ']),
    'tags': (['--text=anna went .'], ['anna went .', '   ']),
    'parts of speech': (['--text=anna went .'], ['anna went .', '   ']),
    'questions': (['--text=who ?', '--context=anna went'], ['who ?', '   0.']),
    'translations': (['--text=a film'], ['a film', '   ']),
    'questions without answers': (
        ['--text=who ?', '--text=who was it ?', '--context=anna went'],
        ['who ?', '   0.'],
    ),
    'pretrained': (['--text=the [MASK]', '--top_k=2'], ['the [MASK]', "   '"]),
}


@pytest.mark.parametrize('kind', COMMANDS)
def test_a_text_on_the_command_line(
    folders: dict[str, pathlib.Path], run_predict: Callable[..., tuple[int, str, str]], kind: str
) -> None:
    arguments, expected = COMMANDS[kind]
    code, shown, said = run_predict(f'--checkpoint={folders[kind]}', *arguments)
    assert code == 0 and not said, said
    lines = shown.splitlines()
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=False)), shown
    assert len(lines) >= len(expected) and ' 0.000' not in shown


def test_every_kind_has_a_command() -> None:
    assert COMMANDS.keys() == KINDS.keys() | {'pretrained'}


@pytest.mark.parametrize(
    ('kind', 'arguments', 'message'),
    [
        ('texts', ['--text=a', '--text_b=b'], 'trained on single texts'),
        ('texts', ['--text=a', '--threshold=0.5'], 'a model of texts with several labels; remove'),
        ('pairs', ['--text=a'], 'trained on pairs'),
        (
            'pairs',
            ['--text=a', '--text=b', '--text_b=c'],
            'given 2 times and --text_b 1;',
        ),
        (
            'texts',
            ['--text=a', '--context=b'],
            'given 1 time, but this model reads none',
        ),
        ('questions', ['--text=a'], 'this model needs --context'),
        (
            'questions',
            ['--text=a', '--text=b', '--text=d', *['--context=c'] * 2],
            'questions: 3, contexts: 2;',
        ),
        ('texts', ['--text=a', '--output=x.jsonl'], 'remove --output'),
        ('texts', ['--text='], '--text is empty; expected a text'),
        ('pairs', ['--text=a', '--text_b= '], '--text_b is empty'),
        ('pretrained', ['--text=a', '--mode=task'], 'no task head'),
        ('pretrained', ['--text=a', '--mode=embed'], 'several --text'),
    ],
)
def test_wrong_flags(
    folders: dict[str, pathlib.Path],
    run_predict: Callable[..., tuple[int, str, str]],
    kind: str,
    arguments: list[str],
    message: str,
) -> None:
    code, shown, said = run_predict(f'--checkpoint={folders[kind]}', *arguments)
    assert code == 2 and not shown and message in said and said.count('\n') == 1, said


def test_a_decoder_is_not_exported(
    tmp_path: pathlib.Path, folders: dict[str, pathlib.Path]
) -> None:
    export.FLAGS.unparse_flags()
    flags = [f'--checkpoint={folders["translations"]}', f'--output={tmp_path / "out"}']
    with pytest.raises(ValueError, match=r'has a decoder, .* cannot be exported; .* convert --to'):
        export.main(['export', *flags])
    assert not (tmp_path / 'out').exists()


def test_similarities(
    folders: dict[str, pathlib.Path], run_predict: Callable[..., tuple[int, str, str]]
) -> None:
    texts = ['--text=a film', '--text=a film', '--text=the plot']
    code, shown, _ = run_predict(f'--checkpoint={folders["pretrained"]}', '--mode=embed', *texts)
    assert code == 0 and shown.splitlines()[:2] == ['a film', '    1.000  a film']


@pytest.mark.parametrize(('mode', 'name'), [('task', 'out.csv'), ('embed', 'out.npz')])
def test_an_output_that_another_process_writes_is_refused(
    tmp_path: pathlib.Path, run_predict: Callable[..., tuple[int, str, str]], mode: str, name: str
) -> None:
    (tmp_path / 'in.csv').write_text('text\na\n')
    files = [f'--input={tmp_path / "in.csv"}', f'--output={tmp_path / name}', f'--mode={mode}']
    with sole_writer(tmp_path / name):
        code, _, said = run_predict('--checkpoint=none', *files)
    assert code == 2 and 'is being written by another process' in said and said.count('\n') == 1


ROWS = {
    'texts': [
        {'text': 'a film', 'input_label': 'a', 'label': 'odd', 'probability_fine': '0.4', 'id': 7},
        {'text': 'the plot', 'input_label': 'b', 'label': 'x', 'probability_fine': '0.5', 'id': 8},
    ],
    'numbers': [
        {'text': 'a film', 'value': '3', 'id': 7},
        {'text': 'the plot', 'value': '4', 'id': 8},
    ],
    'tags': [{'words': ['anna', 'went'], 'id': 7}, {'words': ['it', 'was'], 'id': 8}],
    'questions': [
        {'question': 'who ?', 'id': 'x', 'context': 'anna went', 'answers': 'a\tb'},
        {'question': 'who was ?', 'id': 'y', 'context': 'bert was', 'answers': 'c'},
    ],
}
RENAMED = {'label': 'input_label_2', 'value': 'input_value'}  # columns of ROWS
RENAMED |= {'probability_fine': 'input_probability_fine'}


@pytest.mark.parametrize('suffix', ['.jsonl', '.csv', '.tsv'])
@pytest.mark.parametrize('kind', ROWS)
def test_columns_are_carried(
    tmp_path: pathlib.Path,
    folders: dict[str, pathlib.Path],
    run_predict: Callable[..., tuple[int, str, str]],
    kind: str,
    suffix: str,
) -> None:
    (tmp_path / 'in.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in ROWS[kind]))
    output = tmp_path / f'out{suffix}'
    files = [f'--input={tmp_path / "in.jsonl"}', f'--output={output}']
    code, _, said = run_predict(f'--checkpoint={folders[kind]}', *files)
    assert code == 0, said
    unread = [name for name in ('label', 'answers') if name in ROWS[kind][0]]
    assert all(name in said.partition('not read: ')[2] for name in unread), said
    with output.open(newline='') as file:
        if suffix == '.jsonl':
            found = [json.loads(line) for line in file]
        elif suffix == '.csv':
            found = list(csv.DictReader(file))
        else:
            lines = [line.rstrip('\n').split('\t') for line in file]
            found = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert len(found) == 2
    for row, source in zip(found, ROWS[kind], strict=True):
        assert [*row][: len(source)] == [RENAMED.get(name, name) for name in source]
        for name, value in source.items():
            there = row[RENAMED.get(name, name)]
            if suffix != '.jsonl':
                value = value if isinstance(value, str) else json.dumps(value)
            assert there == (value.replace('\t', ' ') if suffix == '.tsv' else value)
    if kind == 'texts' and suffix != '.jsonl':
        shares = [float(found[0][f'probability_{label}']) for label in LABELS]
        assert max(shares) == float(found[0]['probability'])
        assert sum(shares) == pytest.approx(1)
    output.unlink()
    code, _, said = run_predict(f'--checkpoint={folders[kind]}', *files, '--nocolumns')
    assert code == 0 and 'input_' not in output.read_text()


WORDS = {
    'a.conll': 'anna N B-PER\nwent V O\n\nit P O\n',
    'b.conll': 'word pos tags\nanna N B-PER\nwent V O\n\nit P O\n',
    'c.csv': 'sentence,word,pos,tag\n7,anna,N,B-PER\n,went,V,O\n8,it,P,O\n',
}


@pytest.mark.parametrize('name', WORDS)
def test_columns_of_words_are_carried(
    tmp_path: pathlib.Path,
    folders: dict[str, pathlib.Path],
    run_predict: Callable[..., tuple[int, str, str]],
    name: str,
) -> None:
    (tmp_path / name).write_text(WORDS[name])
    output = tmp_path / 'out.jsonl'
    files = [f'--input={tmp_path / name}', f'--output={output}']
    code, _, said = run_predict(f'--checkpoint={folders["tags"]}', *files)
    assert code == 0, said
    pos, tags = {'a': ('column_2', 'column_3'), 'b': ('pos', 'input_tags'), 'c': ('pos', 'tag')}[
        name[0]
    ]
    first, second = map(json.loads, output.read_text().splitlines())
    assert first['words'] == ['anna', 'went'] and len(first['tags']) == 2
    assert (first[pos], first[tags], second[tags]) == (['N', 'V'], ['B-PER', 'O'], ['O'])
    assert name != 'c.csv' or (first['sentence'], second['sentence']) == ('7', '8')
    assert {*first} - {'sentence'} == {pos, tags, 'words', 'tags', 'probabilities'}


@pytest.mark.parametrize('skip', [False, True])
def test_a_bad_row_at_the_end(
    tmp_path: pathlib.Path,
    folders: dict[str, pathlib.Path],
    run_predict: Callable[..., tuple[int, str, str]],
    skip: bool,
) -> None:
    """The rows before it are written. With --on_error=skip, the rows after it are written, too."""
    lines = [f'{i},the plot\n' for i in range(30)]
    path, output = tmp_path / 'in.csv', tmp_path / 'out.jsonl'
    path.write_text('id,text\n' + ''.join([*lines, '30,\n', '31,a film\n']))
    flags = [f'--checkpoint={folders["texts"]}', f'--input={path}', f'--output={output}']
    code, _, said = run_predict(*flags, *(['--on_error=skip'] if skip else []))
    written, other = output, output.with_name('out.jsonl.partial')
    if not skip:
        written, other = other, written
    found = [json.loads(line)['id'] for line in written.read_text().splitlines()]
    assert code == (0 if skip else 2) and 'in.csv:32 has an empty text' in said
    assert not other.exists()
    assert found == [str(i) for i in range(30)] + ['31'] * skip
    expected = '1 bad row was left out' if skip else f'{written} has the 30 records before it'
    assert expected in said
    if not skip:
        code, _, said = run_predict(*flags, '--on_error=skip')
        assert code == 0 and f'{written} was left by a command that did not finish' in said
        assert output.exists() and not written.exists()


def test_mixed_rows_do_not_fit_a_table(
    tmp_path: pathlib.Path,
    folders: dict[str, pathlib.Path],
    run_predict: Callable[..., tuple[int, str, str]],
) -> None:
    (tmp_path / 'in.jsonl').write_text('{"text": "a"}\n{"text": "b", "more": 1}\n')
    files = [f'--input={tmp_path / "in.jsonl"}', f'--output={tmp_path / "out.csv"}']
    code, _, said = run_predict(f'--checkpoint={folders["texts"]}', *files)
    assert code == 2 and "the column 'more'" in said and '.jsonl' in said
