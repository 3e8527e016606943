"""Makes a token store from a corpus: reads, splits into sentences, tokenises, writes, once.

    python -m bert_jax.data.prepare --input='text/*.txt.gz' --output=tokens --vocab_size=30522

`python -m bert_jax.main` does the same by itself, into a cache.
"""

import dataclasses
import fcntl
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import rich.console
import rich.progress
import rich.table
import sentencex
from absl import app, flags

from bert_jax.config import Config, DataConfig, ModelConfig, validate
from bert_jax.data import readers, store, tokenizer

MAX_SENTENCE = 512  # tokens; what is longer is cut, so that no chunk is much over a model's length
BATCH_CHARS = 1 << 20  # text tokenised at a time, which bounds memory
VOCAB_CHARS = 200 << 20  # text a vocabulary is trained on, at most: its counts are in memory


def prepare(config: Config) -> pathlib.Path:
    """The store of `config.data`'s corpus; made now if it is not in the cache yet.

    A vocabulary that has to be trained has at most `config.model.vocab_size` tokens. Raises
    ValueError where the corpus or the vocabulary can't be used.
    """
    data = config.data
    if data.corpus.startswith('tokens:'):
        directory = pathlib.Path(data.corpus.removeprefix('tokens:'))
        for split in store.SPLITS:
            store.open_store(directory, split)
        return directory
    source = readers.source(data)
    made_from = _made_from(data, config.model.vocab_size, source)
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    cache = pathlib.Path(
        data.cache_dir or os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    ).expanduser()
    cache = cache if data.cache_dir else cache / 'bert_jax'
    return build(source, data, config.model.vocab_size, cache / digest, made_from)


def _made_from(data: DataConfig, vocab_size: int, source: readers.Source) -> dict[str, Any]:
    """Everything a store's content hangs on, ready for JSON."""
    options = {
        key: getattr(data, key)
        for key in (
            'corpus',
            'lowercase',
            'text_field',
            'documents',
            'sentences',
            'language',
            'holdout',
        )
    }
    vocabulary: Any = vocab_size
    if data.vocab_file:
        files = tokenizer.load(data.vocab_file, data.lowercase).files
        vocabulary = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return {
        'store_version': store.VERSION,
        **options,
        'vocabulary': vocabulary,
        'source': source.identity,
    }


def build(
    source: readers.Source,
    data: DataConfig,
    vocab_size: int,
    output: pathlib.Path,
    made_from: dict[str, Any],
) -> pathlib.Path:
    """Writes the store to `output`, unless it is there; one process at a time, the others wait."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output.parent / f'.{output.name}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a killed process loses its lock
        if (output / 'store.json').exists() and store.read_meta(output).made_from == made_from:
            return output
        if output.exists():
            raise ValueError(
                f'{output} exists and is not a store of this corpus and these options; '
                'remove it or choose another --output'
            )
        prefix = f'.{output.name}.tmp-'
        for leftover in output.parent.glob(f'{prefix}*'):  # of a killed process: we hold the lock
            shutil.rmtree(leftover, ignore_errors=True)
        partial = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=output.parent))
        try:
            meta = _write(source, data, vocab_size, partial, made_from)
            partial.rename(output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    _print_summary(output, meta)
    return output


def _write(
    source: readers.Source,
    data: DataConfig,
    vocab_size: int,
    directory: pathlib.Path,
    made_from: dict[str, Any],
) -> store.StoreMeta:
    if data.vocab_file:
        vocabulary = tokenizer.load(data.vocab_file, data.lowercase)
    else:
        vocabulary = _train_vocabulary(source, vocab_size, data.lowercase)
    vocabulary.save(directory)
    writers = {
        split: store.SplitWriter(directory / split, vocabulary.vocab_size) for split in store.SPLITS
    }
    summary = readers.Summary()
    for document, ids in _tokenised(source, data, vocabulary, summary):
        writers['eval' if _held_out(document, data.holdout) else 'train'].add(ids)
    hashes = {split: writer.close() for split, writer in writers.items()}
    counts = {split: writer.counts() for split, writer in writers.items()}
    if not counts['train'].documents:
        raise ValueError(
            f'config.data.corpus={data.corpus!r} has no text to train on; read and left '
            f'out: {summary.lines() or "nothing"}'
        )
    content = json.dumps(
        [hashes, {n: hashlib.sha256(c).hexdigest() for n, c in vocabulary.files.items()}],
        sort_keys=True,
    )
    meta = store.StoreMeta(
        version=store.VERSION,
        fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
        vocab_size=vocabulary.vocab_size,
        lowercase=vocabulary.lowercase,
        token_dtype=str(store.token_dtype(vocabulary.vocab_size)),
        counts=counts,
        unigram_entropy=store.unigram_entropy(writers['train'].histogram),
        made_from=made_from,
        summary=summary.lines(),
    )
    store.write_meta(directory, meta)
    return meta


def _train_vocabulary(
    source: readers.Source, vocab_size: int, lowercase: bool
) -> tokenizer.Tokenizer:
    def texts() -> Iterator[str]:
        read = 0
        for document in source.read(readers.Summary()):
            for line in document:
                yield line
                read += len(line)
            if read > VOCAB_CHARS:
                return

    return tokenizer.train(_tracked(texts(), 'training the vocabulary', len), vocab_size, lowercase)


def _tokenised(
    source: readers.Source,
    data: DataConfig,
    vocabulary: tokenizer.Tokenizer,
    summary: readers.Summary,
) -> Iterator[tuple[readers.Document, list[np.ndarray]]]:
    """Each document that has text, with its sentences' ids; many documents are encoded at once."""
    documents = _tracked(source.read(summary), 'tokenising', lambda lines: sum(map(len, lines)))
    for batch in _batches(documents, BATCH_CHARS):
        sentences = [_sentences(document, data) for document in batch]
        encoded = iter(vocabulary.encode_batch(list(itertools.chain.from_iterable(sentences))))
        for document, texts in zip(batch, sentences, strict=True):
            ids = [
                np.asarray(piece) for text in texts for piece in _cut(next(encoded), text, summary)
            ]
            if len(ids) == 1:
                summary.count('documents of one sentence', texts[0][:60])
            if ids:
                yield document, ids
            else:
                summary.count('empty documents, left out')


def _sentences(document: readers.Document, data: DataConfig) -> list[str]:
    if data.sentences == 'line':
        return document
    return [
        stripped
        for line in document
        for sentence in sentencex.segment(data.language, line)
        if (stripped := sentence.strip())
    ]


def _cut(ids: list[int], text: str, summary: readers.Summary) -> list[list[int]]:
    """Pieces of at most MAX_SENTENCE tokens; none for a sentence without any."""
    if not ids:
        summary.count('sentences without a token, left out', repr(text[:40]))
    if len(ids) > MAX_SENTENCE:
        summary.count(f'sentences over {MAX_SENTENCE} tokens, cut', text[:60])
    return [ids[i : i + MAX_SENTENCE] for i in range(0, len(ids), MAX_SENTENCE)]


def _batches(documents: Iterator[readers.Document], chars: int) -> Iterator[list[readers.Document]]:
    batch: list[readers.Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += sum(map(len, document))
        if size >= chars:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _held_out(document: readers.Document, share: float) -> bool:
    """Decided by the text alone, so that a document stays on its side whatever else is added."""
    digest = hashlib.sha256('\n'.join(document).encode('utf-8', 'replace')).digest()
    return int.from_bytes(digest[:8], 'big') < share * 2**64


def _tracked(items: Iterator[Any], what: str, size: Any) -> Iterator[Any]:
    """The items, with a progress line of the characters passed (in a terminal)."""
    console = rich.console.Console(stderr=True)
    columns = (
        rich.progress.TextColumn('{task.description}'),
        rich.progress.SpinnerColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeElapsedColumn(),
    )
    shown = rich.progress.Progress(*columns, console=console, disable=not console.is_terminal)
    with shown:
        task = shown.add_task(what, total=None)
        for item in items:
            yield item
            shown.advance(task, size(item))


def _print_summary(directory: pathlib.Path, meta: store.StoreMeta) -> None:
    table = rich.table.Table('split', 'documents', 'sentences', 'tokens', title=str(directory))
    for split, counts in meta.counts.items():
        table.add_row(split, *(f'{n:,}' for n in dataclasses.astuple(counts)))
    console = rich.console.Console(stderr=True)
    console.print(table)
    console.print(
        f'vocabulary {meta.vocab_size:,}; unigram entropy {meta.unigram_entropy:.3f} nats; '
        f'fingerprint {meta.fingerprint}',
        markup=False,
    )
    for what, count in meta.summary.items():
        console.print(f'{count:,} {what}', markup=False)


def _main(argv: list[str]) -> None:
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments {argv[1:]}; quote the glob of --input')
    options: dict[str, Any] = {name: FLAGS[name].value for name in _FIELDS}
    corpus = FLAGS.input if FLAGS.input.startswith(('tfds:', 'builtin')) else f'text:{FLAGS.input}'
    try:
        data = DataConfig(corpus=corpus, **options)
        validate(Config(data=data, model=ModelConfig(vocab_size=FLAGS.vocab_size)))
        source = readers.source(data)
        build(
            source,
            data,
            FLAGS.vocab_size,
            pathlib.Path(FLAGS.output),
            _made_from(data, FLAGS.vocab_size, source),
        )
    except (ValueError, OSError) as error:
        raise SystemExit(f'prepare: {error}') from error


FLAGS = flags.FLAGS
_FIELDS = (
    'vocab_file',
    'lowercase',
    'text_field',
    'documents',
    'sentences',
    'language',
    'holdout',
    'data_dir',
)


def _define_flags() -> None:
    default = DataConfig()
    flags.DEFINE_string('input', None, 'Glob of text files, tfds:NAME[/CONFIG]:SPLIT, or builtin.')
    flags.DEFINE_string('output', None, 'Directory of the store; must not exist yet.')
    flags.DEFINE_integer('vocab_size', 30522, 'Tokens of the vocabulary, where one is trained.')
    flags.DEFINE_string('vocab_file', '', 'A vocab.txt or a SentencePiece .model to use instead.')
    flags.DEFINE_boolean('lowercase', default.lowercase, 'Lowercase and strip accents.')
    flags.DEFINE_string(
        'text_field', default.text_field, 'Field of .jsonl records and TFDS examples.'
    )
    flags.DEFINE_enum(
        'documents', default.documents, ['blank_line', 'file'], 'What ends a document.'
    )
    flags.DEFINE_enum(
        'sentences',
        default.sentences,
        ['split', 'line'],
        'split: prose, to be split into sentences; line: one sentence per line.',
    )
    flags.DEFINE_string('language', default.language, 'Of the prose, for the sentence splitter.')
    flags.DEFINE_float('holdout', default.holdout, 'Share of documents held out for evaluation.')
    flags.DEFINE_string('data_dir', default.data_dir, 'Where TFDS keeps its data.')
    flags.mark_flags_as_required(['input', 'output'])


if __name__ == '__main__':
    _define_flags()
    app.run(_main)
