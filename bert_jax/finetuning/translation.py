"""Texts to write for texts: translation, summarisation and the like."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from bert_jax.config import Config
from bert_jax.data.labelled.bad_rows import OnError
from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.pairs import EncodedPairs, iter_file
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.labelled.texts import Row
from bert_jax.data.summary import Summary
from bert_jax.finetuning import official_scores, task_data
from bert_jax.finetuning.task_data import EVAL, PREDICT, TRAIN, Predictions, Split, TaskFacts
from bert_jax.models.generation import Search
from bert_jax.models.heads import DECODER
from bert_jax.tasks.translation import TranslationTask

MOST_UNKNOWN = 0.1  # the share of unknown tokens in targets above which a vocabulary is refused
COMPARED = 1000  # targets that are compared with what the vocabulary can write
# Marks that a WordPiece vocabulary writes as words of their own, although they are part of a word.
INSIDE_WORDS = re.compile(r"(?<=\w) ([-/_'’]) (?=\w)")


def task_of(config: Config, start: int, end: int, pad: int, tokens: int) -> TranslationTask:
    """The task of a configuration. The other arguments: see `Search`."""
    data, search = config.data, config.eval
    searched = Search(
        start,
        end,
        pad,
        tokens,
        max_length=data.max_target_length or data.max_seq_length,
        num_beams=search.num_beams,
        length_penalty=search.length_penalty,
        early_stopping=search.early_stopping,
        min_target_length=search.min_target_length,
        no_repeat_ngram_size=search.no_repeat_ngram_size,
    )
    smoothing = config.train.label_smoothing
    return TranslationTask(config.model, search=searched, label_smoothing=smoothing)


class TranslationProcessor(task_data.Processor):
    """Predictions are texts."""

    head = DECODER
    metric = 'bleu'
    writes_eval = True

    @property
    def task(self) -> TranslationTask:
        specials = self.tokenizer.specials
        ids, row_format = specials.by_role(), self.row_format
        start, end = ids[row_format.before[-1]], ids[row_format.after[0]]
        return task_of(self.config, start, end, specials.pad, self.tokenizer.vocab_size)

    def read(
        self,
        path: str,
        summary: Summary,
        split: str = PREDICT,
        on_error: OnError | None = None,
    ) -> Iterator[Example]:
        data = self.config.data
        return iter_file(
            path,
            data.source_field,
            data.target_field,
            need_target=split in (TRAIN, EVAL) and not data.split_field,
            predicts=split == PREDICT,
            on_error=on_error,
            summary=summary,
        )

    def from_texts(self, texts: Sequence[Any]) -> list[Example]:
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(f'text {i} is {text!r:.60}; expected a string')
        return [Example(text.strip(), None, None, f'text {i}') for i, text in enumerate(texts)]

    def find_facts(self, train: list[Example], held_out: list[Example]) -> TaskFacts:
        official_scores.check_installed(['sacrebleu'], 'translate')
        return TaskFacts()

    def text_and_label(self, example: Example) -> tuple[str, str]:
        return example.text, ''

    def missing(self, example: Example) -> str:
        return f'text in {self.config.data.target_field!r}' if example.text_b is None else ''

    def encode(self, examples: Sequence[Example], summary: Summary, split: str = PREDICT) -> Split:
        longest = self.config.data.max_seq_length
        sources = self.text_encoder(longest)
        rows = self.encoded(sources.encode([pair.text for pair in examples]), {})
        summary.count(f'texts of more than {longest} tokens, cut', number=sources.truncated)
        known = [pair.text_b for pair in examples if pair.text_b is not None]
        is_scored = len(known) == len(examples) > 0 and split != PREDICT
        # A target that is not known is an empty text.
        empty = Row([self.task.search.end], [0])
        targets = self._targets(known, summary, split) if is_scored else [empty] * len(rows)
        encoded, most = self.encoded(targets, {}), self.task.search.max_length
        pairs = EncodedPairs(**vars(rows), targets=encoded, longest_target=most)
        return Split(split, examples, pairs, is_scored)

    def _targets(self, texts: Sequence[str], summary: Summary, split: str) -> list[Row]:
        """The rows of the targets, without their first token. Raises ValueError if too many of
        their tokens are not in the vocabulary."""
        most = self.task.search.max_length
        encoder = self.text_encoder(most + 1)
        rows = [Row(row.input_ids[1:], row.token_type_ids[1:]) for row in encoder.encode(texts)]
        summary.count(f'targets of more than {most} tokens, cut', number=encoder.truncated)
        unknown = sum(row.input_ids.count(self.tokenizer.specials.unk) for row in rows)
        tokens = sum(len(row.input_ids) - 1 for row in rows)
        if unknown > MOST_UNKNOWN * tokens:
            raise ValueError(
                f'{unknown:,} of the {tokens:,} tokens of the targets ({split}) are not in the '
                'vocabulary, so they cannot be written. Start from a checkpoint whose vocabulary '
                'has both languages, or pretrain one on text of both (bert_jax train '
                '--config.data.corpus=...)'
            )
        summary.count('unknown tokens in targets', number=unknown)
        inexact = sum(
            self._plain(text) != self._plain(self._readable(row.input_ids))
            for text, row in zip(texts[:COMPARED], rows[:COMPARED], strict=True)
            if len(row.input_ids) < most
        )
        summary.count(
            f'targets among the first {COMPARED:,} that the vocabulary cannot write exactly (such '
            'as accents)',
            number=inexact,
        )
        return rows

    def _plain(self, text: str) -> str:
        """The text without white space and, if the vocabulary ignores case, in lower case."""
        text = ''.join(text.split())
        return text.lower() if self.tokenizer.lowercase else text

    def decode(self, split: Split, outputs: Predictions) -> list[str]:
        written = [self._readable(row) for row in outputs['written_ids'].tolist()]
        # An empty line of a text file stays an empty line.
        return [text if x.text else '' for x, text in zip(split.examples, written, strict=True)]

    def _readable(self, ids: Sequence[int]) -> str:
        """The text of the ids up to the end token."""
        end = self.task.search.end
        ids = ids[: ids.index(end)] if end in ids else ids
        special = {*self.tokenizer.specials.all()}
        text = self.tokenizer.decode([i for i in ids if i not in special]).strip()
        if self.tokenizer.kind == 'wordpiece':
            text = INSIDE_WORDS.sub(r'\1', text)
        return ' '.join(text.split())

    def records(self, split: Split, outputs: Predictions) -> Iterator[task_data.Record]:
        for text in self.decode(split, outputs):
            yield {self.config.data.target_field: text}

    def baseline(self, train: EncodedExamples, split: Split) -> tuple[str, list[str]]:
        return 'if every text is copied', [pair.text for pair in split.examples]

    def score(self, split: Split, decoded: Sequence[str]) -> dict[str, float]:
        found, _ = self._scores(split, decoded)
        return found | {'score': found['bleu']}

    def _scores(self, split: Split, decoded: Sequence[str]) -> Any:
        references = [pair.text_b for pair in split.examples]
        return official_scores.translations(decoded, references, self.tokenizer.lowercase)

    def write(self, split: Split, decoded: Sequence[str], folder: epath.Path) -> None:
        name = f'{split.name}_hypotheses'
        (folder / f'{name}.txt').write_text(''.join(text + '\n' for text in decoded))
        if split.is_scored:
            found, signatures = self._scores(split, decoded)
            scored = {'scores': found, 'signatures': signatures}
            (folder / f'{name}.json').write_text(json.dumps(scored, indent=2) + '\n')
