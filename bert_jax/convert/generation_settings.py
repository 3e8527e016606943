"""Reads and writes generation_config.json, with which an encoder-decoder generates texts.

Older folders have the same settings in config.json, for the whole model or for the decoder.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bert_jax.config import EvalConfig, ModelConfig, from_dict
from bert_jax.convert.foreign import read_json
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.inference.model_dir import Pretrained
from bert_jax.inference.rows import format_of

FILE = 'generation_config.json'
# Settings that config.eval has under the same names.
SAME = ('num_beams', 'length_penalty', 'early_stopping', 'no_repeat_ngram_size')
# Lengths of texts, with their smallest values.
LENGTH_KEYS = {'max_length': 2, 'max_new_tokens': 1, 'min_length': 0, 'min_new_tokens': 0}
IDS = ('decoder_start_token_id', 'bos_token_id', 'eos_token_id')
# Settings that bert_jax does not compute, by the value that changes nothing: 0 or false, 1, or none
# at all. None, an empty list and an empty object always change nothing.
_ZERO = """
    diversity_penalty do_sample encoder_no_repeat_ngram_size penalty_alpha renormalize_logits
    token_healing
"""
_ONE = """
    encoder_repetition_penalty guidance_scale num_beam_groups num_return_sequences
    repetition_penalty
"""
_NONE = """
    bad_words_ids begin_suppress_tokens constraints dola_layers exponential_decay_length_penalty
    force_words_ids forced_bos_token_id forced_eos_token_id max_time sequence_bias stop_strings
    suppress_tokens watermarking_config
"""
NOT_COMPUTED: Mapping[str, Any] = {
    **dict.fromkeys(_ZERO.split(), 0),
    **dict.fromkeys(_ONE.split(), 1),
    **dict.fromkeys(_NONE.split()),
}
# Settings that do not change the texts of greedy search and of beam search.
_INERT = """
    _from_model_config assistant_confidence_threshold assistant_early_exit
    assistant_ensemble_weight assistant_lookbehind cache_config cache_implementation compile_config
    continuous_batching_config disable_compile epsilon_cutoff eta_cutoff is_assistant low_memory
    max_cache_len max_matching_ngram_size min_p num_assistant_tokens num_assistant_tokens_schedule
    output_attentions output_hidden_states output_logits output_scores pad_token_id
    prefill_chunk_size prompt_lookup_num_tokens remove_invalid_values return_dict_in_generate
    speculation_type target_lookbehind temperature top_h top_k top_p transformers_version typical_p
    use_cache use_mtp
"""
INERT = frozenset(_INERT.split())
OLD_MAX_LENGTH = 20  # transformers 4 wrote this value into config.json if no other was given


class Generation(NamedTuple):
    """The settings of a folder. max_target_length: the largest number of tokens in a text,
    including the end token; 0 if the folder has no limit. notes: lines to print."""

    eval: EvalConfig
    max_target_length: int
    notes: tuple[str, ...]


def read(
    directory: pathlib.Path,
    values: Mapping[str, Any],
    model: ModelConfig,
    vocabulary: Tokenizer | None,
) -> Generation:
    """Returns the generation settings of a folder. values: those of its config.json.

    Raises ValueError for a setting of a wrong type or size, and if texts do not start or end with
    the tokens that bert_jax uses.
    """
    path = directory / FILE
    if path.exists():
        given = {name: x for name, x in read_json(path).items() if x is not None}
    else:
        path, given = directory / 'config.json', _from_config(values)
    if vocabulary is not None:
        _check_ids({**_from_config(values), **given}, model, vocabulary, path)
    longest, least = _lengths(given, path)
    lines = list(_notes(given, path))
    if longest > model.longest_row:
        lines.append(
            f'{path} allows texts of {longest} tokens, but the decoder has {model.longest_row} '
            'positions; longer texts are cut there'
        )
    if given.get('early_stopping') == 'never':
        del given['early_stopping']
    found = {name: given[name] for name in SAME if name in given}
    try:
        settings = from_dict({'eval': {**found, 'min_target_length': least}}).eval
    except ValueError as error:
        raise ValueError(f'{path}: {str(error).removeprefix("config.eval.")}') from error
    return Generation(settings, min(longest, model.longest_row), tuple(lines))


def _lengths(given: Mapping[str, Any], path: pathlib.Path) -> tuple[int, int]:
    """The largest and the smallest number of tokens in a text, including the end token; 0 if there
    is no limit. transformers also counts the start token in max_length and min_length."""
    for name, least in LENGTH_KEYS.items():
        value = given.get(name, least)
        if type(value) is not int or value < least:
            raise ValueError(f'{path}: {name} is {value!r}; expected an integer >= {least}')
    most = given.get('max_new_tokens', given.get('max_length', 1) - 1)
    if 'min_new_tokens' in given:
        return most, given['min_new_tokens'] + 1
    return most, given.get('min_length', 0)


def _notes(given: Mapping[str, Any], path: pathlib.Path) -> Iterator[str]:
    """Lines about settings that bert_jax does not compute, and about unknown ones."""
    others = ["early_stopping='never'"] if given.get('early_stopping') == 'never' else []
    others += [
        f'{name}={given[name]!r}'
        for name, neutral in NOT_COMPUTED.items()
        if given.get(name) not in (None, [], {}, neutral)
    ]
    if others:
        yield (
            f'{path} has settings that bert_jax does not compute, so its texts may differ from '
            f'those of transformers: {", ".join(others)}'
        )
    if unknown := sorted(set(given) - {*SAME, *LENGTH_KEYS, *IDS, *NOT_COMPUTED, *INERT}):
        keys = ', '.join(f'{name}={given[name]!r}' for name in unknown)
        yield f'{path} has unknown keys, which bert_jax ignores: {keys}'


def _from_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a config.json. Those of the whole model override those of the decoder."""
    known = (*SAME, *LENGTH_KEYS, *IDS, *NOT_COMPUTED)
    decoder = values.get('decoder') or {}
    inner = {name: decoder[name] for name in known if decoder.get(name) is not None}
    if inner.get('max_length') == OLD_MAX_LENGTH:
        del inner['max_length']
    return inner | {name: values[name] for name in known if values.get(name) is not None}


def _check_ids(
    given: Mapping[str, Any], model: ModelConfig, vocabulary: Tokenizer, path: pathlib.Path
) -> None:
    """Raises ValueError if texts do not start and end with the special tokens around a row."""
    first, last = format_of(model).row([[]], vocabulary.specials)[0]
    start = 'decoder_start_token_id' if 'decoder_start_token_id' in given else 'bos_token_id'
    for name, wanted, place in ((start, first, 'first'), ('eos_token_id', last, 'last')):
        if given.get(name) not in (None, wanted, [wanted]):
            raise ValueError(
                f'{path}: {name} is {given[name]!r}; bert_jax supports only {wanted}, the id of '
                f'{vocabulary.pieces[wanted]!r}, the {place} token of each row. If the model was '
                'trained with this token, correct the file'
            )


def write(directory: pathlib.Path, source: Pretrained, ids: Mapping[str, int]) -> None:
    """Writes generation_config.json. ids: those of special tokens, by their keys."""
    settings, data = source.eval, source.data
    values = {name: getattr(settings, name) for name in SAME}
    if not settings.no_repeat_ngram_size:
        del values['no_repeat_ngram_size']
    if settings.min_target_length:
        values['min_length'] = settings.min_target_length
    longest = (data.max_target_length or data.max_seq_length) + 1
    content = {**ids, 'max_length': longest, **values}
    (directory / FILE).write_text(json.dumps(content, indent=2) + '\n')
