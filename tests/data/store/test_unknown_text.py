"""Text that turns into unknown tokens is refused or reported, also in a store that is prepared."""

import dataclasses
import json
import pathlib
import random

import pytest
from etils import epath

from bert_jax.config import Config, DataConfig, ModelConfig, OptimConfig, Phase, TrainConfig
from bert_jax.data.store import format, preparation, unknown_text
from bert_jax.data.tokenizers import tokenizer
from bert_jax.preflight.resolve import resolve

DRAW = random.Random(0)
LATIN = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'abcdefghijklmnopqrstuvwxyz.']
LATIN += [f'##{letter}' for letter in LATIN[5:]]
THAI = [chr(code) for code in range(0x0E01, 0x0E2F)]
KHMER = [chr(code) for code in range(0x1780, 0x17A3)]


def runs(letters: str | list[str], length: int, end: str = '') -> str:
    """Documents of four lines, each one run of letters without a space."""
    lines = [''.join(DRAW.choices(letters, k=length)) + end for _ in range(160)]
    return '\n\n'.join('\n'.join(lines[i : i + 4]) for i in range(0, 160, 4)) + '\n'


def mixed(long: int) -> str:
    """Prose, with `long` runs of 150 letters in each document."""
    one = 'the pump was cleaned on monday and the valve was not found. ' * 10
    return '\n\n'.join(
        f'{one} {" ".join("".join(DRAW.choices("acgt", k=150)) for _ in range(long))} {i}.'
        for i in range(40)
    )


def config(folder: pathlib.Path, text: str, **data: object) -> Config:
    (folder / 'text.txt').write_text(text)
    cache = {'corpus': f'text:{folder / "text.txt"}', 'cache_dir': str(folder / 'cache')}
    return Config(
        model=ModelConfig(vocab_size=400, hidden_size=16, num_attention_heads=2),
        data=DataConfig(holdout=0.2, **cache, **data),
        optim=OptimConfig(warmup_steps=1),
        train=TrainConfig(phases=(Phase(2, 32, 4, 5),)),
    )


REFUSED = {
    'DNA': runs('ACGT', 300),
    'proteins': runs('ACDEFGHIKLMNPQRSTVWY', 250),
    'Thai': runs(THAI, 140),
    'Khmer': runs(KHMER, 160),
    'kana': runs('あいうえおかきくけこさしすせそ', 150, '。'),
    'base64': runs('ABCDEFGHabcdefgh0123456789', 1000),
}


@pytest.mark.parametrize('name', REFUSED)
def test_words_that_are_too_long_are_refused(tmp_path: pathlib.Path, name: str) -> None:
    wanted = config(tmp_path, REFUSED[name])
    refuses = r'\d+% of the characters .*longer than 100.*sentencepiece'
    with pytest.raises(ValueError, match=refuses):
        resolve(wanted, epath.Path(tmp_path / 'run')).describe_data()
    with pytest.raises(ValueError, match=refuses):
        preparation.prepare(wanted)
    assert not list((tmp_path / 'cache').glob('bert_jax/*/store.json'))
    if name == 'kana':  # the advice helps
        for kind in ('sentencepiece', 'byte_bpe'):
            data = dataclasses.replace(wanted.data, tokenizer=kind)
            store = preparation.prepare(dataclasses.replace(wanted, data=data))
            assert format.read_meta(store).unknown_share == 0


def test_a_vocabulary_of_another_script_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'vocab.txt').write_text('\n'.join(LATIN) + '\n')
    text = '\n\n'.join(
        ['вода и лес у реки. ' * 5 + 'the end'] * 20 + ['дом ' * 30 + f'{i}' for i in range(20)]
    )
    wanted = config(tmp_path, text, vocab_file=str(tmp_path / 'vocab.txt'))
    refuses = r'the vocabulary .*vocab.txt does not have their characters'
    with pytest.raises(ValueError, match=refuses):
        resolve(wanted, epath.Path(tmp_path / 'run')).describe_data()
    with pytest.raises(ValueError, match=refuses):
        preparation.prepare(wanted)
    (tmp_path / 'vocab.txt').write_text('\n'.join(LATIN[:31]) + '\n')
    wanted = config(tmp_path, mixed(long=0), vocab_file=str(tmp_path / 'vocab.txt'))
    with pytest.raises(ValueError, match=r'vocab.txt has no tokens for the inside .* another tok'):
        resolve(wanted, epath.Path(tmp_path / 'run')).describe_data()


def test_a_smaller_share_is_reported_each_time(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = config(tmp_path, mixed(long=1))
    store = preparation.prepare(wanted)
    meta = format.read_meta(store)
    assert meta.unknown_share == pytest.approx(150 / 650, abs=0.05)
    line = f'{meta.unknown_share:.0%} of the characters of the text are in words that become [UNK]'
    assert line in capsys.readouterr().err
    assert unknown_text.check_store(meta, tokenizer.load(store)).startswith(line)
    # In an older store there is no share of characters; a run with such a store is refused.
    old = json.loads((store / 'store.json').read_text()) | {'unknown_share': None}
    tokens = meta.counts['train'].tokens + meta.counts['eval'].tokens
    old['summary'] = {f'{unknown_text.WORDS}[UNK]': round(0.9 * tokens)}
    (store / 'store.json').write_text(json.dumps(old))
    with pytest.raises(ValueError, match=r'90% of the characters .*cannot learn this text'):
        resolve(wanted, epath.Path(tmp_path / 'run')).describe_data()


MARKS = {  # text, and whether the removal of accents takes away vowels or parts of letters
    'สวัสดีครับ ผมชื่อ': True,
    'नमस्ते दुनिया': True,
    'ကျောင်းသား': True,
    'ສະບາຍດີ': True,
    'བོད་ཡིག': True,
    'がぎぐげご': True,
    'カキクケコ': False,
    'élève à côté': False,
    'e\u0301le\u0300ve': False,
    'ελληνικά ёлка': False,
    'שָׁלוֹם مَرْحَبًا': False,
    '水火木金 한국어': False,
}


def test_marks_that_are_removed_are_reported(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    for text, is_lost in MARKS.items():
        assert bool(unknown_text.check_marks([text])) == is_lost, text
    text = '\n\n'.join(f'สวัสดี ครับ ผม ชื่อ {i}' for i in range(40))
    for options, is_lost in (({}, True), ({'strip_accents': 'false'}, False)):
        preparation.prepare(config(tmp_path, text, **options))
        line = capsys.readouterr().err
        assert ('--config.data.strip_accents=false' in line) == is_lost
        (tmp_path / 'text.txt').unlink()


def test_prose_is_not_reported(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    store = preparation.prepare(config(tmp_path, mixed(long=0)))
    assert format.read_meta(store).unknown_share == 0
    assert '[UNK]' not in capsys.readouterr().err


def test_a_long_text_is_refused_early(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unknown_text, 'EARLY', 1000)
    monkeypatch.setattr(format.SplitWriter, 'close', lambda _: pytest.fail('it came too late'))
    with pytest.raises(ValueError, match='cannot learn this text'):
        preparation.prepare(config(tmp_path, REFUSED['DNA']))


@pytest.mark.parametrize('kind', ['wordpiece', 'byte_bpe', 'sentencepiece'])
def test_a_vocabulary_is_trained_on_any_text(kind: str) -> None:
    """The time grows with the square of a word's length, so long words are cut."""
    blob = ''.join(DRAW.choices('abcdefghijklmnopqrstuvwxyz', k=60_000))
    trained = tokenizer.train(['the pump was cleaned. ' * 50, blob], 400, True, kind)
    assert trained.vocab_size > 30


def test_a_vocabulary_with_nothing_to_predict_is_refused(tmp_path: pathlib.Path) -> None:
    file = tmp_path / 'vocab.txt'
    for more in ([], ['[unused1]']):
        file.write_text('\n'.join([*LATIN[:5], *more]) + '\n')
        with pytest.raises(ValueError, match='no tokens besides the special ones'):
            tokenizer.load(file)
    file.write_text('\n'.join(LATIN) + '\n\n\n')
    assert tokenizer.load(file).pieces == LATIN
    file.write_text('\n'.join([*LATIN[:7], '', *LATIN[7:]]) + '\n')
    with pytest.raises(ValueError, match=r'line 8 is empty; .*\[unused7\]'):
        tokenizer.load(file)


def test_text_that_changes_while_it_is_read_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = config(tmp_path, mixed(long=0))
    train = preparation.Preparation._train_vocabulary

    def cut(self: preparation.Preparation, summary: object) -> tokenizer.Tokenizer:
        (tmp_path / 'text.txt').write_text(mixed(long=0)[:3000])
        return train(self, summary)  # type: ignore[arg-type]

    monkeypatch.setattr(preparation.Preparation, '_train_vocabulary', cut)
    with pytest.raises(ValueError, match='changed while they were read'):
        preparation.prepare(wanted)
