"""Models in Python and on the command line, for every kind of task, with random parameters."""

import copy
import csv
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import small_tasks
from tiny_model import ROOT

import bert_jax
from bert_jax import predict
from bert_jax.config import command_line
from bert_jax.finetuning.datasets import PROCESSORS
from bert_jax.finetuning.model import Model

LABELS = ('bad', 'fine', 'good')
# name -> heads, labels and facts of a fine-tuned model. Each task head is there.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]] = {
    'texts': (('pooler', 'classifier'), LABELS, {'pairs': False}),
    'pairs': (('pooler', 'classifier'), LABELS, {'pairs': True}),
    'label sets': (('pooler', 'classifier'), LABELS, {'pairs': False, 'multi_label': True}),
    'numbers': (('pooler', 'classifier'), (), {'pairs': False}),
    'tags': (('tagger',), ('O', 'B-PER', 'I-PER'), {}),
    'parts of speech': (('tagger',), ('O', 'NOUN', 'VERB'), {}),
    'questions': (('span',), (), {}),
    'translations': (('masked_lm', 'decoder'), (), {}),
    'questions without answers': (('span',), (), {'no_answer': True}),
}
TEXTS = {
    'texts': ['a film', 'it was good and the plot was bad'],
    'sentence': 'anna went, it was good.',
}


@pytest.fixture(scope='module')
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    there = tmp_path_factory.mktemp('models')
    made = {
        name: small_tasks.fine_tuned_folder(there / name.replace(' ', '_'), heads, labels, **facts)
        for name, (heads, labels, facts) in KINDS.items()
    }
    return made | {'pretrained': small_tasks.pretrained_folder(there / 'pretrained')}


@pytest.fixture(scope='module')
def models(folders: dict[str, pathlib.Path]) -> dict[str, Model]:
    return {name: bert_jax.load(folder) for name, folder in folders.items()}


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """The command predict: exit code, stdout and stderr."""
    fresh = copy.deepcopy(predict.FLAGS)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(predict, 'FLAGS', copy.deepcopy(fresh))
        code = command_line.run('predict', predict.main, ['predict', *arguments], predict.FLAGS)
        return code, *capsys.readouterr()

    yield run


def test_every_task_head_is_here() -> None:
    assert {head for heads, *_ in KINDS.values() for head in heads} >= PROCESSORS.keys()


def test_importing_the_package_is_cheap() -> None:
    code = (
        'import sys, bert_jax; bert_jax.load; sys.exit({"jax", "numpy"} & {*sys.modules} != set())'
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, timeout=60)


def test_repr_describes_the_model(
    folders: dict[str, pathlib.Path], models: dict[str, Model]
) -> None:
    shown = repr(models['texts'])
    for part in ('bert', '2 layers of 32', 'classifier', 'bad, fine, good', str(folders['texts'])):
        assert part in shown, shown
    assert re.search(r'[\d,]+ parameters', shown)


def test_labels(models: dict[str, Model]) -> None:
    bert = models['texts']
    found = bert.classify(TEXTS['texts'])
    scores = bert.classify(TEXTS['texts'], all_labels=True)
    assert [next(iter(s.items())) for s in scores] == found and found[0] != found[1]
    logits = bert(TEXTS['texts'])['logits']
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose([[s[n] for n in LABELS] for s in scores], expected, rtol=1e-4)
    one = bert.classify(TEXTS['texts'][1])
    assert one[0] == found[1][0] and one[1] == pytest.approx(found[1][1], rel=1e-5)
    assert bert.classify([]) == []
    pairs = models['pairs'].classify([('a film', 'it was good'), ('it was good', 'a film')])
    assert pairs[0] != pairs[1]
    assert models['pairs'].classify(('a film', 'it was good')) == pytest.approx(pairs[0])


def test_long_texts_are_counted(models: dict[str, Model]) -> None:
    models['texts'].classify(['good ' * 40])
    assert 'texts of more than 16 tokens, cut' in models['texts'].counted.lines()


def test_numbers(models: dict[str, Model]) -> None:
    values = models['numbers'].regress(TEXTS['texts'])
    expected = models['numbers'](TEXTS['texts'])['logits'][:, 0]
    np.testing.assert_allclose(values, expected, rtol=1e-4)
    assert models['numbers'].regress(TEXTS['texts'][0]) == pytest.approx(values[0], rel=1e-4)


@pytest.mark.parametrize('kind', ['tags', 'parts of speech'])
def test_words(models: dict[str, Model], kind: str) -> None:
    found = models[kind].tag(TEXTS['sentence'])
    words = ['anna', 'went', ',', 'it', 'was', 'good', '.']
    assert [word for word, *_ in found] == words
    assert {tag for _, tag, _ in found} <= {*models[kind].labels}
    assert all(1 / 3 <= share <= 1 for *_, share in found)
    assert models[kind].tag([words, TEXTS['sentence']]) == [found, found]


def test_answers(models: dict[str, Model]) -> None:
    bert, context = models['questions'], 'the plot was good . anna went'
    answer, share = bert.answer('who went ?', context)
    assert answer in context and 0 < share <= 1
    both = bert.answer(['who went ?', 'who was it ?'], context)
    assert both[0] == (answer, pytest.approx(share)) and len(both) == 2
    assert models['questions without answers'].answer('who ?', context)[1] <= 1


def test_one_text_or_several(models: dict[str, Model]) -> None:
    bert = models['pretrained']
    ((first, *_),) = bert.fill_mask('the [MASK]')
    assert bert.fill_mask(['the [MASK]'])[0][0][0] == first
    vectors = bert.embed(['a film', 'the plot'])
    assert vectors.shape == (2, 32) and vectors.dtype == np.float32
    np.testing.assert_allclose(bert.embed('the plot'), vectors[1], atol=1e-6)
    assert bert.embed([]).shape == (0, 32)
    np.testing.assert_array_equal(list(bert.embed_stream(['a film', 'the plot'])), vectors)


@pytest.mark.parametrize(
    ('kind', 'call', 'message'),
    [
        ('pretrained', lambda bert: bert.classify('a'), 'classify does not work with this model'),
        ('numbers', lambda bert: bert.classify('a'), 'classify does not work with this model'),
        ('texts', lambda bert: bert.regress('a'), 'regress does not work with this model'),
        ('texts', lambda bert: bert.tag('a'), 'tag does not work with this model'),
        ('tags', lambda bert: bert.answer('a', 'b'), 'answer does not work with this model'),
        ('texts', lambda bert: bert.fill_mask('[MASK]'), 'no masked-LM head'),
        ('pretrained', lambda bert: bert.fill_mask('the plot'), r"no \[MASK\] in 'the plot'"),
        ('texts', lambda bert: bert.classify([('a', 'b')]), 'trained on single texts'),
        ('pairs', lambda bert: bert.classify('a'), 'trained on pairs'),
        ('texts', lambda bert: bert.classify([3]), 'text 0 is 3'),
        ('pairs', lambda bert: bert.classify([('a', 'b', 'c')]), "text 0 is .*'c'"),
        ('tags', lambda bert: bert.tag(['a', ' ']), 'text 1 has no words'),
        ('questions', lambda bert: bert.answer(['a', 'b'], ['c']), 'questions: 2, contexts: 1;'),
        ('questions', lambda bert: bert.answer('a', ' '), 'text of question 0 is empty'),
    ],
)
def test_what_is_wrong_is_named(
    models: dict[str, Model], kind: str, call: Callable[[Model], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(models[kind])


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
    folders: dict[str, pathlib.Path], run: Callable[..., tuple[int, str, str]], kind: str
) -> None:
    arguments, expected = COMMANDS[kind]
    code, shown, said = run(f'--checkpoint={folders[kind]}', *arguments)
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
        ('pairs', ['--text=a', '--text=b', '--text_b=c'], '--text is given 2 times and --text_b 1'),
        (
            'texts',
            ['--text=a', '--context=b'],
            '--context is given 1 time, but this model reads none',
        ),
        ('questions', ['--text=a'], 'this model needs --context'),
        (
            'questions',
            ['--text=a', '--text=b', '--text=d', *['--context=c'] * 2],
            'questions: 3, contexts: 2',
        ),
        ('texts', ['--text=a', '--output=x.jsonl'], 'remove --output'),
        ('pretrained', ['--text=a', '--mode=task'], 'no task head'),
        ('pretrained', ['--text=a', '--mode=embed'], 'several --text'),
    ],
)
def test_wrong_flags(
    folders: dict[str, pathlib.Path],
    run: Callable[..., tuple[int, str, str]],
    kind: str,
    arguments: list[str],
    message: str,
) -> None:
    code, shown, said = run(f'--checkpoint={folders[kind]}', *arguments)
    assert code == 2 and not shown and message in said and said.count('\n') == 1, said


def test_similarities(
    folders: dict[str, pathlib.Path], run: Callable[..., tuple[int, str, str]]
) -> None:
    texts = ['--text=a film', '--text=a film', '--text=the plot']
    code, shown, _ = run(f'--checkpoint={folders["pretrained"]}', '--mode=embed', *texts)
    assert code == 0 and shown.splitlines()[:2] == ['a film', '    1.000  a film']


ROWS = {
    'texts': [
        {'text': 'a film', 'label': 'odd', 'id': 7},
        {'text': 'the plot', 'label': 'fine', 'id': 8},
    ],
    'numbers': [
        {'text': 'a film', 'value': '3', 'id': 7},
        {'text': 'the plot', 'value': '4', 'id': 8},
    ],
    'tags': [{'words': ['anna', 'went'], 'id': 7}, {'words': ['it', 'was'], 'id': 8}],
    'questions': [
        {'id': 'x', 'question': 'who ?', 'context': 'anna went', 'source': 'a\tb'},
        {'id': 'y', 'question': 'who was ?', 'context': 'bert was', 'source': 'c'},
    ],
}


@pytest.mark.parametrize('suffix', ['.jsonl', '.csv', '.tsv'])
@pytest.mark.parametrize('kind', ROWS)
def test_columns_are_carried(
    tmp_path: pathlib.Path,
    folders: dict[str, pathlib.Path],
    run: Callable[..., tuple[int, str, str]],
    kind: str,
    suffix: str,
) -> None:
    (tmp_path / 'in.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in ROWS[kind]))
    output = tmp_path / f'out{suffix}'
    files = [f'--input={tmp_path / "in.jsonl"}', f'--output={output}']
    code, _, said = run(f'--checkpoint={folders[kind]}', *files)
    assert code == 0, said
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
        for name, value in source.items():
            there = row[f'input_{name}' if name in ('label', 'value') else name]
            if suffix != '.jsonl':
                value = value if isinstance(value, str) else json.dumps(value)
            assert there == (value.replace('\t', ' ') if suffix == '.tsv' else value)
    if kind == 'texts' and suffix != '.jsonl':
        shares = [float(found[0][f'probability_{label}']) for label in LABELS]
        assert max(shares) == float(found[0]['probability'])
        assert sum(shares) == pytest.approx(1)
    output.unlink()
    code, _, said = run(f'--checkpoint={folders[kind]}', *files, '--nocolumns')
    assert code == 0 and 'input_' not in output.read_text()


@pytest.mark.parametrize('skip', [False, True])
def test_a_bad_row_at_the_end(
    tmp_path: pathlib.Path,
    folders: dict[str, pathlib.Path],
    run: Callable[..., tuple[int, str, str]],
    skip: bool,
) -> None:
    """The rows before it are written. With --on_error=skip, the rows after it are written, too."""
    lines = [f'{i},the plot\n' for i in range(30)]
    path, output = tmp_path / 'in.csv', tmp_path / 'out.jsonl'
    path.write_text('id,text\n' + ''.join([*lines, '30,\n', '31,a film\n']))
    flags = [f'--checkpoint={folders["texts"]}', f'--input={path}', f'--output={output}']
    code, _, said = run(*flags, *(['--on_error=skip'] if skip else []))
    found = [json.loads(line)['id'] for line in output.read_text().splitlines()]
    assert code == (0 if skip else 2) and 'in.csv:32 has an empty text' in said
    assert found == [str(i) for i in range(30)] + ['31'] * skip
    expected = '1 bad row was left out' if skip else f'{output} has the 30 records before it'
    assert expected in said


def test_mixed_rows_do_not_fit_a_table(
    tmp_path: pathlib.Path,
    folders: dict[str, pathlib.Path],
    run: Callable[..., tuple[int, str, str]],
) -> None:
    (tmp_path / 'in.jsonl').write_text('{"text": "a"}\n{"text": "b", "more": 1}\n')
    files = [f'--input={tmp_path / "in.jsonl"}', f'--output={tmp_path / "out.csv"}']
    code, _, said = run(f'--checkpoint={folders["texts"]}', *files)
    assert code == 2 and "the column 'more'" in said and '.jsonl' in said
