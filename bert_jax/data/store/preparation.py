"""Preparation of a token store: the corpus is read, split into sentences, tokenized and written."""

import dataclasses
import hashlib
import itertools
import json
import pathlib
from typing import Any

import rich.table
from etils import epath

from bert_jax.config import Config, DataConfig
from bert_jax.data import progress
from bert_jax.data.build_once import build_once
from bert_jax.data.store import format
from bert_jax.data.summary import Document, Summary
from bert_jax.data.text import readers, sentences, staging
from bert_jax.data.tokenizers import tokenizer

RECIPE = 2  # raise it if a change makes another store of the same text and options
# The fields of DataConfig that change a store, beside the corpus and the vocabulary.
OPTIONS = ('lowercase', 'text_field', 'documents', 'sentences', 'language', 'holdout')
VOCAB_CHARS = 16 << 20  # characters, in memory, that a vocabulary is trained on at most


def prepare(config: Config) -> pathlib.Path:
    """The store of the corpus of `config.data`. It is prepared if it is not in the cache yet.

    If no vocabulary is given, one of at most `config.model.vocab_size` tokens is trained. Raises
    ValueError if the corpus or the vocabulary cannot be used.
    """
    data = config.data
    if data.corpus.startswith('tokens:'):
        there = data.corpus.removeprefix('tokens:')
        directory = staging.local(there, staging.cache_of(data), format.FILES)
        check_tokens(data, directory)
        return directory
    data = staging.localized(data)
    source = readers.source(data)
    name, made_from = planned(data, config.model.vocab_size, source)
    return build(source, data, config.model.vocab_size, staging.cache_of(data) / name, made_from)


def check_holdout(data: DataConfig) -> None:
    """Raises ValueError if a run would have no documents to evaluate on."""
    if not data.holdout and not data.corpus.startswith('tokens:'):
        raise ValueError('config.data.holdout is 0; evaluation needs a share of the documents')


def check_documents(source: readers.Source, data: DataConfig) -> None:
    """Raises ValueError if one of the splits would have fewer documents than pretraining needs.

    Reads documents until both splits have enough of them, which are few unless the corpus has few.
    """
    if not data.holdout:
        return
    shares: list[float] = []  # by each document, the smallest share that holds it out
    held_out, total = 0, 0
    for document in source.read(Summary()):
        total += 1
        share = _hash_share(document)
        held_out += share < data.holdout
        shares.append(share)
        if min(held_out, total - held_out) >= format.MIN_DOCUMENTS:
            return
    shares = sorted(set(shares))
    if total and len(shares) < 2 * format.MIN_DOCUMENTS:
        remedy = f'pretraining needs {2 * format.MIN_DOCUMENTS} different ones or more: '
    elif total:
        works = sum(shares[format.MIN_DOCUMENTS - 1 : format.MIN_DOCUMENTS + 1]) / 2
        remedy = f'set config.data.holdout (--holdout) to {works:.4f}, '
    else:
        return  # preparation says what was read in place of documents
    raise ValueError(
        f'config.data.corpus={data.corpus!r} has {total} documents, of which config.data.holdout='
        f'{data.holdout} holds out {held_out} for evaluation; next-sentence prediction needs '
        f'{format.MIN_DOCUMENTS} to train on and {format.MIN_DOCUMENTS} held out: {remedy}'
        'give more text, or separate documents in another way (config.data.documents)'
    )


def check_tokens(data: DataConfig, directory: epath.PathLike) -> None:
    """Checks a store that the user names. Its own vocabulary and options apply: a line says which
    options of `data` they replace. Raises ValueError if the store is damaged, or if `data` names
    another vocabulary."""
    for split in format.SPLITS:
        format.check(directory, split)
    if data.vocab_file:
        raise ValueError(
            f'config.data.vocab_file={data.vocab_file}: {directory} is tokenised already, with a '
            'vocabulary of its own; leave it empty, or prepare the text anew'
        )
    made_from = format.read_meta(directory).made_from
    other = {
        k: made_from[k] for k in OPTIONS if made_from.get(k, getattr(data, k)) != getattr(data, k)
    }
    if other:
        progress.say(
            f'{directory} was made with ' + ', '.join(f'{k}={v}' for k, v in other.items())
        )


def planned(
    data: DataConfig, vocab_size: int, source: readers.Source
) -> tuple[str, dict[str, Any]]:
    """The name of the store in the cache, and everything that determines its content, as JSON."""
    vocabulary: Any = vocab_size
    if data.vocab_file:
        files = tokenizer.load(data.vocab_file, data.lowercase).files
        vocabulary = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    made_from = {
        'store_version': format.VERSION,
        'recipe': RECIPE,
        **{key: getattr(data, key) for key in ('corpus', *OPTIONS)},
        'vocabulary': vocabulary,
        'source': source.identity,
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return digest[:16], made_from


def build(
    source: readers.Source,
    data: DataConfig,
    vocab_size: int,
    output: pathlib.Path,
    made_from: dict[str, Any],
) -> pathlib.Path:
    """Prepares the store in `output` unless it is there. One process prepares, the others wait."""

    def write(directory: pathlib.Path) -> None:
        _write(source, data, vocab_size, directory, made_from)

    if build_once(output, write, f'preparing {output}', lambda: is_there(output, made_from)):
        _print_summary(output, format.read_meta(output))
    return output


def is_there(output: pathlib.Path, made_from: dict[str, Any]) -> bool:
    """Whether the store is there. Raises ValueError if it is damaged, or if `output` is something
    else."""
    if (output / 'store.json').exists() and format.read_meta(output).made_from == made_from:
        for split in format.SPLITS:
            format.check(output, split)
        return True
    if output.exists():
        raise ValueError(
            f'{output} exists and is not a store of this corpus and these options; '
            'remove it or choose another --output'
        )
    return False


def _write(
    source: readers.Source,
    data: DataConfig,
    vocab_size: int,
    directory: pathlib.Path,
    made_from: dict[str, Any],
) -> format.StoreMeta:
    summary = Summary()
    sentences.check_language(data)
    check_documents(source, data)
    if data.vocab_file:
        vocabulary = tokenizer.load(data.vocab_file, data.lowercase)
    else:
        vocabulary = _train_vocabulary(source, data, vocab_size, summary)
    if warning := vocabulary.case_warning():
        progress.say(f'{warning} (config.data.lowercase)')
    vocabulary.save(directory)
    writers = {
        split: format.SplitWriter(directory / split, vocabulary.vocab_size)
        for split in format.SPLITS
    }
    documents = progress.tracked(source.read(summary), 'tokenising', summary, source.size)
    for document, ids in sentences.tokenised(documents, data, vocabulary, summary):
        writers['eval' if _hash_share(document) < data.holdout else 'train'].add(ids)
    hashes = {split: writer.close() for split, writer in writers.items()}
    counts = {split: writer.counts() for split, writer in writers.items()}
    if not counts['train'].documents:
        raise ValueError(
            f'config.data.corpus={data.corpus!r} has no text to train on; read and left '
            f'out: {str(summary) or "nothing"}'
        )
    if data.holdout:
        for split, writer in writers.items():
            format.check_documents(split, writer.usable)
    unknown = sum(int(writer.histogram[vocabulary.unk_id]) for writer in writers.values())
    if unknown:
        name = f'words outside the vocabulary, read as {vocabulary.special_pieces.unk}'
        summary.count(name, number=unknown)
    content = json.dumps(
        [hashes, {n: hashlib.sha256(c).hexdigest() for n, c in vocabulary.files.items()}],
        sort_keys=True,
    )
    meta = format.StoreMeta(
        version=format.VERSION,
        fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
        vocab_size=vocabulary.vocab_size,
        lowercase=vocabulary.lowercase,
        token_dtype=str(format.token_dtype(vocabulary.vocab_size)),
        counts=counts,
        unigram_entropy=format.unigram_entropy(writers['train'].histogram),
        made_from=made_from,
        summary=summary.lines(),
    )
    format.write_meta(directory, meta)
    return meta


def _train_vocabulary(
    source: readers.Source, data: DataConfig, vocab_size: int, summary: Summary
) -> tokenizer.Tokenizer:
    """A vocabulary trained on every n-th document, where n gives about VOCAB_CHARS of text."""
    stride = max(1, round(source.characters / VOCAB_CHARS))
    tracker = Summary()
    documents = progress.tracked(source.read(tracker), 'reading text', tracker, source.size)
    texts: list[str] = []
    size = 0
    for document in itertools.islice(documents, None, None, stride):
        texts += document
        size += sum(map(len, document))
        if size >= VOCAB_CHARS:
            break
    documents.close()
    summary.count('characters the vocabulary was trained on', number=size)
    progress.say(f'training a vocabulary on {size / 1e6:.1f} MB of text')
    if not size:
        raise ValueError(
            f'config.data.corpus={data.corpus!r} has no text to train a vocabulary on; read and '
            f'left out: {str(tracker) or "nothing"}'
        )
    return tokenizer.train(texts, vocab_size, data.lowercase)


def _hash_share(document: Document) -> float:
    """A number in [0, 1): the document is held out if it is below config.data.holdout. It depends
    on the text alone, so a document stays in its split whatever is added to the corpus."""
    digest = hashlib.sha256('\n'.join(document).encode('utf-8', 'replace')).digest()
    return int.from_bytes(digest[:8], 'big') / 2**64


def _print_summary(directory: pathlib.Path, meta: format.StoreMeta) -> None:
    table = rich.table.Table('split', 'documents', 'sentences', 'tokens', title=str(directory))
    for split, counts in meta.counts.items():
        table.add_row(split, *(f'{n:,}' for n in dataclasses.astuple(counts)))
    console = progress.console()
    console.print(table)
    console.print(
        f'vocabulary {meta.vocab_size:,}; unigram entropy {meta.unigram_entropy:.3f} nats; '
        f'fingerprint {meta.fingerprint}',
        markup=False,
    )
    for what, count in meta.summary.items():
        console.print(f'{count:,} {what}', markup=False)
