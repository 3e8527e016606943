"""Keys that have an effect only if other keys have certain values.

If a key on the command line has no effect, it is refused. If the configuration's file sets the key,
a line reports it, because one file is used with many commands. The keys of question answering are
only reported on the command line, too, because one script often runs several tasks.
"""

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from bert_jax.config import keys
from bert_jax.config.console import say
from bert_jax.config.data import FILE_TASKS, GLUE_TASKS
from bert_jax.config.schema import Config

NAMED = re.compile(r'[a-z]{2,3}=')  # a corpus with names of languages
NEXT = re.compile(r',(?=[a-z]{2,3}(?:-[a-z]{2,3})?=)')  # a glob may contain commas, too


class Need(NamedTuple):
    """The condition under which a key has an effect. holds: returns whether a configuration fulfils
    it. text: the end of the sentence 'it needs ...'."""

    holds: Callable[[Config], bool]
    text: str


def _is_store(config: Config) -> bool:
    return config.data.corpus.startswith('tokens:')


def _parts(corpus: str) -> list[str]:
    """The parts of a corpus that names its languages; otherwise the corpus itself."""
    return NEXT.split(corpus) if NAMED.match(corpus) else [corpus]


def _has(config: Config, *kinds: str) -> bool:
    """Returns whether a part of the corpus, or the held-out text, begins with one of these."""
    # The name of a language may precede a part.
    begins = re.compile(f'({NAMED.pattern})?({"|".join(kinds)})')
    return any(map(begins.match, (*_parts(config.data.corpus), config.data.eval_corpus)))


def _several(config: Config) -> bool:
    """Returns whether the corpus has several languages or several pairs of languages."""
    return max(len(_parts(config.data.corpus)), len(NEXT.split(config.data.parallel))) > 1


def _trains_vocabulary(config: Config) -> bool:
    others = (config.data.vocab_file, config.init_from, config.distill.teacher)
    return not any(others) and not _is_store(config)


# The keys of question answering, which are reported and not refused on the command line.
REPORTED = {key for key, tasks in keys.READ_BY_TASK.items() if tasks == ('squad',)}
BEAMS = Need(lambda config: config.eval.num_beams > 1, 'a config.eval.num_beams of 2 or more')
MULTI_LABEL = Need(lambda config: config.data.multi_label, 'config.data.multi_label=true')
TEXT = Need(
    lambda config: not _is_store(config),
    'text, not a prepared store (config.data.corpus=tokens:DIR)',
)
KL_LOSS = Need(lambda config: config.distill.kl_weight > 0, 'a config.distill.kl_weight above 0')
NEEDS: dict[str, Need] = {
    'data.data_dir': Need(
        lambda config: _has(config, 'tfds:') or config.data.dir == 'tfds',
        'a dataset of TFDS (config.data.corpus=tfds:NAME:SPLIT, config.data.dir=tfds)',
    ),
    'data.tokenizer': Need(
        _trains_vocabulary,
        'a vocabulary to train; the one of config.data.vocab_file, config.init_from, '
        'config.distill.teacher or a prepared store is used as it is',
    ),
    'data.parallel': TEXT,
    'data.sentences': TEXT,
    'data.eval_corpus': TEXT,
    'data.language_alpha': Need(
        lambda config: _is_store(config) or _several(config),
        'several languages, or several pairs of languages',
    ),
    'data.language': Need(
        lambda config: config.kind == 'finetuning' or not NAMED.match(config.data.corpus),
        'a corpus that does not name its languages',
    ),
    'data.documents': Need(
        lambda config: _has(config, 'text:'), 'text files (config.data.corpus=text:FOLDER)'
    ),
    'data.text_field': Need(
        lambda config: (
            _has(config, 'text:', 'tfds:')
            if config.kind == 'pretraining'
            else config.data.task == 'text'
        ),
        'records with fields: .jsonl files, TFDS or config.data.task=text',
    ),
    'data.holdout': Need(
        lambda config: not config.data.eval_corpus and not _is_store(config),
        'a corpus without held-out text of its own (config.data.eval_corpus, or a prepared store)',
    ),
    'data.masked_lm_prob': Need(
        lambda config: not all(phase.masked_lm_prob for phase in config.train.phases),
        'a phase in config.train.phases without a masked_lm_prob of its own',
    ),
    'data.whole_word_masking': Need(
        lambda config: config.data.max_ngram == 1,
        'config.data.max_ngram=1; longer runs of words are always whole words',
    ),
    'data.label_separator': MULTI_LABEL,
    'eval.threshold': MULTI_LABEL,
    'data.eval_share': Need(
        lambda config: bool(config.data.train_file) and not config.data.eval_file,
        'a config.data.train_file, a part of which is held out, and no config.data.eval_file',
    ),
    'eval.length_penalty': BEAMS,
    'eval.early_stopping': BEAMS,
    'optim.warmup_fraction': Need(
        lambda config: not config.optim.warmup_steps, 'config.optim.warmup_steps=0'
    ),
    'distill.temperature': KL_LOSS,
    'distill.positions': KL_LOSS,
    'distill.init_from_teacher': Need(
        lambda config: not config.init_from, 'a run without config.init_from'
    ),
    'distill.layers': Need(
        lambda config: config.distill.init_from_teacher and not config.init_from,
        'config.distill.init_from_teacher, and a run without config.init_from',
    ),
}


def missing(config: Config, key: str) -> str:
    """Returns what a key needs to have an effect; '' if it has one."""
    tasks = keys.READ_BY_TASK.get(key)
    if tasks and config.kind == 'finetuning' and not {*config.data.tasks} <= {*tasks}:
        names = [name for name in tasks if name in FILE_TASKS]
        names += ['a task of GLUE'] if GLUE_TASKS[0] in tasks else []
        return f'config.data.task={" or ".join(names)}'
    need = NEEDS.get(key)
    return '' if need is None or need.holds(config) else need.text


def check(config: Config, typed: Collection[str] = ()) -> None:
    """Raises ValueError if a key on the command line has no effect and is not in `REPORTED`. Prints
    a line for each other key that is set and has no effect. typed: the keys on the command line."""
    for key in keys.changed_keys(config, typed):
        if needed := missing(config, key):
            line = f'config.{key}={keys.get(config, key)!r} has no effect: it needs {needed}'
            if key in typed and key not in REPORTED:
                raise ValueError(f'{line}. Remove it')
            say(line)
