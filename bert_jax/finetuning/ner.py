"""Tags for words, such as those of named entities."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from bert_jax.batch import Batch
from bert_jax.data.labelled import class_weights, conll, tagging, tags
from bert_jax.data.labelled.bad_rows import OnError
from bert_jax.data.labelled.labels import numbered_names
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.labelled.sentence import Sentence, split_words
from bert_jax.data.labelled.texts import listed
from bert_jax.data.summary import Summary
from bert_jax.finetuning import class_report, official_scores, task_data
from bert_jax.finetuning.task_data import EVAL, PREDICT, TRAIN, Predictions, Split, TaskFacts
from bert_jax.models.heads import Outputs
from bert_jax.tasks.finetuning import TaggingTask

Tags = list[list[str]]  # a tag for each word of each sentence


@dataclasses.dataclass(frozen=True)
class _ScoredTaggingTask(TaggingTask):
    """The task that also predicts the probability of each tag or, with `all_scores`, of each label.
    An evaluation does not need it."""

    all_scores: bool = False

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """tags: see `TaggingTask`. probabilities: float32[batch, length] or, with `all_scores`,
        float32[batch, length, labels]."""
        probabilities = jax.nn.softmax(outputs['logits'])
        if not self.all_scores:
            probabilities = jnp.max(probabilities, axis=-1)
        return super().predictions(outputs, batch) | {'probabilities': probabilities}


class TaggingProcessor(task_data.Processor):
    """Processes sentences with a tag for each word.

    An unknown tag is an error in TRAIN. In other splits any prediction for its word is wrong.
    """

    head = 'tagger'
    has_classes = True
    writes_eval = True

    @property
    def task(self) -> TaggingTask:
        return TaggingTask(self.config.model, len(self.facts.labels))

    @property
    def metric(self) -> str:
        return 'f1' if tags.mark_entities({*self.facts.labels}) else 'accuracy'

    @property
    def prediction_task(self) -> TaggingTask:
        count = len(self.facts.labels)
        return _ScoredTaggingTask(self.config.model, count, all_scores=self.all_scores)

    def read(
        self, path: str, summary: Summary, split: str = PREDICT, on_error: OnError | None = None
    ) -> Iterator[Sentence]:
        if split == PREDICT:
            return conll.iter_file(
                path, tagged=False, summary=summary, columns=True, on_error=on_error
            )
        columns = bool(self.config.data.split_field)
        tagged = True if split in (TRAIN, EVAL) and not columns else None
        names = numbered_names(self.config.data.label_names)
        sentences = conll.read(path, tagged=tagged, summary=summary, columns=columns, names=names)
        found = {tag for sentence in sentences for tag in sentence.tags or ()}
        if split == TRAIN:
            scheme = tags.scheme([sentence.tags or [] for sentence in sentences]).name
            name = f'sentences to train on, their tags read as {scheme}'
            summary.count(name, number=len(sentences))
            if scheme == 'plain' and 'O' in found:
                name = 'tag sets with O but without B- and I-: words are scored, and not entities'
                summary.count(name, path)
        elif split != EVAL and found and not found & ({*self.facts.labels} - {'O'}):
            # The last column does not contain tags.
            summary.count('test files without a known tag, not scored', path)
            sentences = [dataclasses.replace(sentence, tags=None) for sentence in sentences]
        return iter(sentences)

    def from_texts(self, texts: Sequence[Any]) -> list[Sentence]:
        """The sentences of texts, which are split into words, and of lists of words."""
        words = [split_words(text) if isinstance(text, str) else listed(text) for text in texts]
        if [] in words:
            raise ValueError(f'text {words.index([])} has no words')
        return [Sentence(found, None, f'text {i}') for i, found in enumerate(words)]

    def check_together(self, examples: Sequence[Sentence]) -> None:
        conll.check(examples, 'the set of files')

    def missing(self, example: Sentence) -> str:
        return 'tag' if example.tags is None else ''

    def find_facts(self, train: list[Sentence], held_out: list[Sentence]) -> TaskFacts:
        labels = tuple(tags.label_names(train))
        if len(labels) == 1:
            file = self.config.data.train_file
            raise ValueError(f'{file} has no tag but {labels[0]}; expected two tags or more')
        return TaskFacts(labels)

    def text_and_label(self, example: Sentence) -> tuple[str, str]:
        return ' '.join(example.words), ''

    def encode(self, examples: Sequence[Sentence], summary: Summary, split: str = PREDICT) -> Split:
        windows = tagging.windows(
            examples,
            self.tokenizer,
            self.facts.labels,
            max_seq_length=self.config.data.max_seq_length,
            allow_unknown=split != TRAIN,
            summary=summary,
            row_format=self.row_format,
        )
        labels = np.concatenate([np.zeros(0, np.int32), *windows.labels])
        arrays = {'label_ids': np.maximum(labels, 0), 'label_weights': np.float32(labels >= 0)}
        if split == TRAIN and (setting := self.config.data.class_weights):
            ids = labels[labels >= 0]
            weights = class_weights.of_classes(setting, self.facts.labels, ids)
            arrays['label_weights'] *= weights[arrays['label_ids']]
        rows = self.encoded(windows.rows, arrays)
        tagged = [sentence.tags is not None for sentence in examples]
        if any(tagged) and not all(tagged):
            where = examples[tagged.index(False)].where
            summary.count(f'sentences without tags, so {split} is not scored', where)
        return Split(split, examples, rows, all(tagged), windows)

    def decode(self, split: Split, outputs: Predictions) -> Tags:
        return tagging.decode(split.examples, split.windows, list(outputs.get('tags', ())))

    def records(self, split: Split, outputs: Predictions) -> Iterator[task_data.Record]:
        of_rows = list(outputs.get('probabilities', ()))
        probabilities = tagging.by_word(split.examples, split.windows, of_rows)
        decoded = self.decode(split, outputs)
        for sentence, names, shares in zip(split.examples, decoded, probabilities, strict=True):
            if self.all_scores:
                labels = self.facts.labels
                shares = [x and dict(zip(labels, x, strict=True)) for x in shares]
            yield {'words': sentence.words, 'tags': names, 'probabilities': shares}

    def baseline(self, train: EncodedExamples, split: Split) -> tuple[str, Tags]:
        labels = train.labels['label_ids'][train.labels['label_weights'] > 0]
        tag = self.facts.labels[int(np.bincount(labels).argmax())]
        decoded = [[tag] * len(sentence.words) for sentence in split.examples]
        return f'if every tag is {tag}, the most frequent', decoded

    def score(self, split: Split, decoded: Tags) -> dict[str, float]:
        scores = official_scores.entities([sentence.tags for sentence in split.examples], decoded)
        return scores | {'score': scores.get('f1', scores['accuracy'])}

    def report(self, split: Split, decoded: Tags) -> task_data.Report:
        gold = [sentence.tags for sentence in split.examples]
        return class_report.of_tags(decoded, gold)

    def write(self, split: Split, decoded: Tags, folder: epath.Path) -> None:
        name = 'predictions' if split.name == EVAL else f'{split.name}_predictions'
        conll.write(split.examples, decoded, folder / f'{name}.conll')
