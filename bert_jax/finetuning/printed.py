"""Prints predictions as lines for a terminal."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bert_jax.config.console import plural
from bert_jax.data.labelled.tags import mark_entities
from bert_jax.finetuning.model import Model, ranked, tagged, with_contexts
from bert_jax.finetuning.predictions import processor_of
from bert_jax.finetuning.task_data import Record
from bert_jax.inference.text_files import shown
from bert_jax.models.heads import DECODER


def show_texts(
    model: Model, texts: Sequence[str], texts_b: Sequence[str], contexts: Sequence[str], top_k: int
) -> None:
    """Prints each text and its prediction.

    texts_b: the second texts of pairs, or none. contexts: for questions, a text for each, or one
    for all. Raises ValueError for texts that do not fit the task of the model.
    """
    head = processor_of(model).head
    if texts_b and (head != 'classifier' or len(texts_b) != len(texts)):
        raise ValueError(
            f'--text is given {plural(len(texts), "time")} and --text_b {len(texts_b)}; expected '
            'one --text_b for each --text if the model was trained on pairs, and otherwise none'
        )
    if bool(contexts) != (head == 'span'):
        needed = 'needs --context, the text that has the answer' if head == 'span' else 'reads none'
        raise ValueError(
            f'--context is given {plural(len(contexts), "time")}, but this model {needed}'
        )
    inputs: Sequence[Any] = texts
    if head == 'span':
        inputs = with_contexts(texts, contexts[0] if len(contexts) == 1 else contexts)
    elif texts_b:
        inputs = list(zip(texts, texts_b, strict=True))
    records = model.records(inputs)
    for i, (text, record) in enumerate(zip(texts, records, strict=True)):
        print(f'{text} / {texts_b[i]}' if texts_b else text)
        print(*_lines(model, record, top_k), sep='\n')


def show(model: Model, record: Record, top_k: int) -> None:
    """Prints a record of a file, with the columns of its input, and its prediction."""
    data = model.data
    names = data.text_field, data.text_b_field, 'question', data.source_field
    texts = [record.get(name) for name in names]
    print(' / '.join(filter(None, texts)) or ' '.join(record.get('words', ())))
    print(*_lines(model, record, top_k), sep='\n')


def _lines(model: Model, record: Record, top_k: int) -> Iterator[str]:
    """The value, the text, the words that have a tag, or the `top_k` most likely labels or
    answers."""
    if 'value' in record:
        yield f'   {record["value"]:.4g}'
    elif 'tags' in record:
        hidden = 'O' if mark_entities({*model.labels}) else None
        words = zip(*tagged(record), strict=True)
        kept = [(word, tag, share) for word, tag, share in words if tag != hidden]
        width = max((len(word) for word, *_ in kept), default=0)
        for word, tag, share in kept:
            yield f'   {word:<{width}}  {tag}' + ('' if share is None else f'  {shown(share)}')
        if not kept:
            yield '   no entity'
    elif model.data.target_field in record and DECODER in model.heads:
        yield f'   {record[model.data.target_field]}'
    elif 'answer' in record:
        best = [(n['text'] or '(no answer)', n['probability']) for n in record['n_best']]
        yield from _listed(best[:top_k])
    else:
        shares = [*ranked(record['probabilities']).items()]
        if model.multi_label:
            least = model.eval.threshold
            yield from _listed([found for found in shares if found[1] > least])
            shares = [found for found in shares if found[1] <= least]
            if shares:
                yield f'   not above {shown(least)}:'
        yield from _listed(shares[:top_k])


def _listed(scores: Iterable[tuple[str, float]]) -> Iterator[str]:
    for name, probability in scores:
        yield f'   {shown(probability)}  {name}'
