"""Keys without an effect: the command line may not set them, and those of a file are reported."""

import dataclasses
import re
from typing import Any

import pytest

from bert_jax.config import Config, default, finetuning, from_dict, keys, needs

LANGUAGES = 'en=text:en/*.txt,fr=text:fr/*.txt'
PAIRS = {'objective': 'mlm+tlm', 'data.parallel': 'en-fr=text:x'}
DISTILL = {'objective': 'distill', 'distill.teacher': 'DIR'}
PHASE: Any = ({'steps': 20_000, 'masked_lm_prob': 0.2},)
# For each key: a value, other keys with which it has an effect, and other keys with which it has
# none. 'task' is the task of fine-tuning.
CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    'data.data_dir': ('DIR', {'data.corpus': 'tfds:a:train'}, {}),
    'data.tokenizer': ('byte_bpe', {}, {'data.vocab_file': 'DIR'}),
    'data.parallel': (
        'en-fr=text:x',
        {'objective': 'mlm+tlm', 'data.corpus': 'en=text:x'},
        {'objective': 'mlm+tlm', 'data.corpus': 'tokens:DIR'},
    ),
    'data.sentences': ('line', {}, {'data.corpus': 'tokens:DIR'}),
    'data.eval_corpus': ('text:x', {}, {'data.corpus': 'tokens:DIR'}),
    'data.language_alpha': (0.5, {'data.corpus': LANGUAGES}, {'data.corpus': 'en=text:a,b=c'}),
    'data.language': ('fr', {}, {'data.corpus': LANGUAGES}),
    'data.documents': ('line', {'data.corpus': 'text:DIR'}, {}),
    'data.text_field': ('body', {'data.corpus': 'text:DIR'}, {}),
    'data.holdout': (0.1, {}, {'data.eval_corpus': 'text:x'}),
    'data.masked_lm_prob': (0.3, {}, {'train.phases': PHASE}),
    'data.whole_word_masking': (True, {}, {'data.max_ngram': 3}),
    'data.text_b_field': ('b', {'task': 'text'}, {'task': 'ner'}),
    'data.label_field': ('c', {'task': 'text'}, {'task': 'ner'}),
    'data.label_separator': ('|', {'task': 'text', 'data.multi_label': True}, {'task': 'text'}),
    'eval.threshold': (0.3, {'task': 'text', 'data.multi_label': True}, {'task': 'text'}),
    'data.eval_share': (
        0.2,
        {'task': 'text', 'data.train_file': 'a.csv'},
        {'task': 'text', 'data.train_file': 'a.csv', 'data.eval_file': 'b.csv'},
    ),
    'data.dir': ('GLUE', {'task': 'mrpc,rte'}, {'task': 'text'}),
    'data.train_file': ('a.csv', {'task': 'translate'}, {'task': 'sst2'}),
    'data.eval_file': ('a.csv', {'task': 'squad'}, {'task': 'all'}),
    'data.test_file': ('a.csv', {'task': 'ner'}, {'task': 'cola'}),
    'data.split_field': ('fold', {'task': 'squad'}, {'task': 'mrpc,rte'}),
    'data.class_weights': ('balanced', {'task': 'mrpc,rte'}, {'task': 'squad'}),
    'data.label_names': ('a,b', {'task': 'ner'}, {'task': 'squad'}),
    'data.regression': (True, {'task': 'text'}, {'task': 'squad'}),
    'data.multi_label': (True, {'task': 'text'}, {'task': 'ner'}),
    'data.doc_stride': (64, {'task': 'squad'}, {'task': 'text'}),
    'data.max_query_length': (32, {'task': 'squad'}, {'task': 'text'}),
    'eval.n_best': (5, {'task': 'squad'}, {'task': 'text'}),
    'eval.max_answer_length': (5, {'task': 'squad'}, {'task': 'text'}),
    'eval.null_threshold': (1.0, {'task': 'squad'}, {'task': 'text'}),
    **{
        key: (value, {'task': 'translate'}, {'task': 'text'})
        for key, value in {
            'model.decoder_layers': 2,
            'model.decoder_shares': 'embeddings',
            'data.source_field': 'de',
            'data.target_field': 'en',
            'data.max_target_length': 9,
            'train.label_smoothing': 0.1,
            'eval.num_beams': 4,
            'eval.min_target_length': 2,
            'eval.no_repeat_ngram_size': 3,
        }.items()
    },
    'eval.length_penalty': (
        0.6,
        {'task': 'translate', 'eval.num_beams': 4},
        {'task': 'translate'},
    ),
    'eval.early_stopping': (
        True,
        {'task': 'translate', 'eval.num_beams': 4},
        {'task': 'translate'},
    ),
    'optim.warmup_fraction': (0.2, {'task': 'text'}, {'task': 'text', 'optim.warmup_steps': 5}),
    'distill.temperature': (3.0, DISTILL, {**DISTILL, 'distill.kl_weight': 0.0}),
    'distill.positions': ('all', DISTILL, {**DISTILL, 'distill.kl_weight': 0.0}),
    'distill.init_from_teacher': (False, DISTILL, {**DISTILL, 'init_from': 'DIR'}),
    'distill.layers': ((0.0,), DISTILL, {**DISTILL, 'distill.init_from_teacher': False}),
}
# Keys that every run of their kind reads, or for which another check refuses what has no effect.
READ = """
    data.task data.seed data.cache_dir data.vocab_file data.pad_vocab_to_multiple_of data.lowercase
    data.strip_accents data.corpus data.add_tokens data.max_ngram
    data.static_copies data.examples
    data.max_seq_length data.group_by_length data.max_train_examples
    optim.name optim.learning_rate optim.schedule optim.warmup_steps optim.end_learning_rate
    optim.power optim.weight_decay optim.beta1 optim.beta2 optim.eps optim.bias_correction
    optim.grad_clip_norm optim.freeze optim.layer_decay
    optim.fresh_learning_rate
"""


def configured(changes: dict[str, Any]) -> Config:
    changes = dict(changes)
    task = changes.pop('task', '')
    values = finetuning(task) if task else default()
    values.update_from_flattened_dict(changes)
    values = values.to_dict()
    if task:  # as `finetuning.settings` does it
        values['train']['phases'] = [[10, 128, 32, 1]]
    return from_dict(values)


@pytest.mark.parametrize('key', CASES)
def test_a_key_without_an_effect(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    value, live, dead = CASES[key]
    needs.check(configured({**live, key: value}), [key])
    config = configured({**dead, key: value})
    message = f'config.{key}={keys.get(config, key)!r} has no effect: it needs '
    capsys.readouterr()
    needs.check(config)
    assert message in ' '.join(capsys.readouterr().err.split())
    if key in needs.REPORTED:
        needs.check(config, [key])
        assert message in ' '.join(capsys.readouterr().err.split())
        return
    with pytest.raises(ValueError, match=f'{re.escape(message)}.*Remove it'):
        needs.check(config, [key])
    section, name = key.split('.')
    usual = keys.get(Config(), key)
    part = dataclasses.replace(getattr(config, section), **{name: usual})
    unset = dataclasses.replace(config, **{section: part})
    if key != 'data.parallel' and needs.missing(unset, key):
        needs.check(unset)
        with pytest.raises(ValueError, match='has no effect'):  # typed, although it is the default
            needs.check(unset, [key])


def test_every_key_is_in_a_table() -> None:
    wanted = {key for key in keys.KEYS if key.split('.')[0] in ('data', 'optim', 'distill')}
    checked = {*needs.NEEDS, *keys.READ_BY_TASK}
    assert set(CASES) == checked - {'init_decoder_from'}
    assert {*checked, *keys.READ_BY, *READ.split()} >= wanted
    assert not {*READ.split()} & {*checked, *keys.READ_BY}
