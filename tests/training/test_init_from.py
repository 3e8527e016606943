"""Properties that config.init_from has to share with the run that starts from it, and the
parameters that a run began from."""

import dataclasses
import pathlib

import pytest
from etils import epath

from bert_jax.config import Config, DataConfig, ModelConfig
from bert_jax.data.tokenizers import tokenizer
from bert_jax.preflight import init_from
from bert_jax.training import workdir

PIECES = [*tokenizer.SPECIALS, 'a']


@pytest.mark.parametrize('lowercase', [False, True])
def test_the_case_and_the_table_of_the_checkpoint(tmp_path: pathlib.Path, lowercase: bool) -> None:
    source = Config(model=ModelConfig(vocab_size=8), data=DataConfig(lowercase=lowercase))
    (tmp_path / 'config.json').write_text(source.to_json())
    tokenizer.WordPiece(PIECES, lowercase).save(tmp_path)
    config = Config(init_from=str(tmp_path), data=DataConfig(pad_vocab_to_multiple_of=128))
    vocabulary = tokenizer.WordPiece(PIECES, True)
    if not lowercase:
        with pytest.raises(ValueError, match=r'lowercase=False, but .* True; set --config.data.l'):
            init_from.vocab_size(config, vocabulary)
    else:  # the table may have more rows than the vocabulary has tokens
        assert init_from.vocab_size(config, vocabulary) == 128
        unpadded = dataclasses.replace(config, data=DataConfig())
        assert init_from.vocab_size(unpadded, vocabulary) == 8
    (tmp_path / 'config.json').unlink()
    assert init_from.vocab_size(config, vocabulary) == 128
    assert init_from.vocab_size(Config(), vocabulary) == len(PIECES)


BEGAN = [  # init_from and fingerprint of its parameters, in the workdir and now; the refusal
    (('', ''), ('', ''), ''),
    (('a', '11'), ('a', '11'), ''),
    (('a', '11'), ('moved/a', '11'), ''),
    (('a', None), ('a', '11'), ''),  # of an older version, which recorded no parameters
    (('a', '11'), ('a', ''), ''),  # the folder is not there any more
    (('a', '11'), ('a', '22'), r'init_from is a \(parameters 22\), .* a \(parameters 11\)'),
    (('a', '11'), ('b', '22'), r'init_from is b \(parameters 22\), .* began from a '),
    (('a', '11'), ('', ''), 'init_from is empty, but the run began from a'),
    (('', ''), ('a', '11'), 'init_from is a, but the run began from random parameters'),
    (('a', None), ('b', '22'), 'init_from is b, but the run began from a'),
]


@pytest.mark.parametrize(('began', 'now', 'refusal'), BEGAN)
def test_where_a_run_began_does_not_change(
    tmp_path: pathlib.Path, began: tuple, now: tuple, refusal: str
) -> None:
    folder = epath.Path(tmp_path)
    for (source, start), saved in ((began, True), (now, False)):
        config = Config(init_from=source)
        data = {'fingerprint': 'f', 'name': 'text'} | ({} if start is None else {'start': start})
        if saved:
            workdir.claim(folder, config, data, {})
            (folder / 'checkpoints' / '5').mkdir(parents=True)
        elif refusal:
            with pytest.raises(ValueError, match=refusal + r'.*--start_over'):
                workdir.claim(folder, config, data, {})
        else:
            workdir.claim(folder, config, data, {})
    layers = Config(init_from=began[0], reinit_layers=1)
    with pytest.raises(ValueError, match='reinit_layers is 1, but the run has 0'):
        workdir.check(folder, layers, {'fingerprint': 'f', 'start': began[1]})
