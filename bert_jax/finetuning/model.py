"""A trained model with methods for its task: labels, numbers, tags, answers and texts for texts."""

import dataclasses
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from bert_jax.data.labelled.texts import Text, listed
from bert_jax.finetuning import predictions
from bert_jax.finetuning.task_data import Record
from bert_jax.inference.trained_model import Bert
from bert_jax.models.heads import DECODER

# The method for each head. If a model has several of these heads, the first one has its task.
METHODS = {'tagger': 'tag', 'span': 'answer', DECODER: 'generate', 'masked_lm': 'fill_mask'}
# The words of a record with their tags and probabilities, three lists.
tagged = operator.itemgetter('words', 'tags', 'probabilities')


class Model(Bert):
    """A trained model, with its predictions for texts in memory.

    Methods that take a list return a list; for one text they return one result. They raise
    ValueError if the checkpoint does not have the head, and for wrong inputs.
    """

    def classify(self, texts: Text | Sequence[Text], all_labels: bool = False) -> Any:
        """The label and its probability, (str, float), for each text or pair of texts.

        With all_labels, a dict of all labels, the most likely first. If a text may have several
        labels, a list of those with a probability above `eval.threshold`, with their probabilities.
        A list of two strings is two texts; a pair is a tuple.
        """
        self._check_head('classifier', bool(self.labels), 'classify')
        least = self.eval.threshold

        def result(record: Record) -> Any:
            scores = ranked(record['probabilities'])
            if all_labels:
                return scores
            if self.multi_label:
                return [(label, p) for label, p in scores.items() if p > least]
            return next(iter(scores.items()))

        return self._results(texts, (str, tuple), result)

    def regress(self, texts: Text | Sequence[Text]) -> Any:
        """The number, a float, for each text or pair of texts."""
        self._check_head('classifier', not self.labels, 'regress')
        return self._results(texts, (str, tuple), operator.itemgetter('value'))

    def tag(self, texts: str | Sequence[str | Sequence[str]]) -> Any:
        """The words with their tags and probabilities, (str, str, float), for each text.

        A text is a string, which is split into words and punctuation, or a list of its words, as in
        the training file. The probability is None for a word that the tokenizer drops.
        """
        self._check_head('tagger', True, 'tag')
        return self._results(texts, str, lambda record: list(zip(*tagged(record), strict=True)))

    def answer(self, questions: str | Sequence[str], contexts: str | Sequence[str]) -> Any:
        """The answer and its probability, (str, float), for each question about its text.

        contexts: a text for each question, or one for all. The answer is '' if the text has none,
        which only models of SQuAD 2.0 can say.
        """
        self._check_head('span', True, 'answer')
        several = [questions] if isinstance(questions, str) else listed(questions)
        pairs = with_contexts(several, contexts)
        result = operator.itemgetter('answer', 'probability')
        return self._results(pairs[0] if isinstance(questions, str) else pairs, tuple, result)

    def generate(
        self,
        texts: str | Sequence[str],
        num_beams: int | None = None,
        length_penalty: float | None = None,
        no_repeat_ngram_size: int | None = None,
    ) -> Any:
        """The text, such as a translation, that the model writes for each text.

        num_beams, length_penalty, no_repeat_ngram_size: see config.eval; by default those of the
        training.
        """
        self._check_head(DECODER, True, 'generate')
        self.configure_search(num_beams, length_penalty, no_repeat_ngram_size)
        return self._results(texts, str, operator.itemgetter(self.data.target_field))

    def configure_search(
        self,
        num_beams: int | None = None,
        length_penalty: float | None = None,
        no_repeat_ngram_size: int | None = None,
    ) -> None:
        """Changes the search for all following texts; None keeps a value. Raises ValueError for a
        number that is too small or not finite, for a length_penalty without beams, and for a model
        that generates no texts."""
        given = {
            'num_beams': num_beams,
            'length_penalty': length_penalty,
            'no_repeat_ngram_size': no_repeat_ngram_size,
        }
        changes: Any = {name: value for name, value in given.items() if value is not None}
        for name, least in (('num_beams', 1), ('no_repeat_ngram_size', 0)):
            if changes.get(name, least) < least:
                raise ValueError(f'{name} is {changes[name]}; expected {least} or more')
        if not math.isfinite(changes.get('length_penalty', 0)):
            raise ValueError(f'length_penalty is {length_penalty}; expected a finite number')
        if changes:
            self._check_head(DECODER, True, ' and '.join(changes))
        settings = dataclasses.replace(self.eval, **changes)
        if length_penalty is not None and settings.num_beams == 1:
            raise ValueError(
                f'length_penalty is {length_penalty}, but it has no effect with 1 beam; give a '
                'num_beams of 2 or more'
            )
        self.eval = settings

    def records(self, texts: Sequence[Any]) -> list[Record]:
        """The records of `predictions.records` for texts in memory (see `Processor.from_texts`)."""
        found = predictions.of_texts(self, texts)
        self.counted.counts.pop('windows', None)  # not unusual
        return found

    def _results(
        self, texts: Any, single: type | tuple[type, ...], result: Callable[[Record], Any]
    ) -> Any:
        """The result for one text, or a list with the result for each of several texts.

        single: the types of one text. result: makes the result from the record of a text.
        """
        if isinstance(texts, single):
            (record,) = self.records([texts])
            return result(record)
        return [result(record) for record in self.records(listed(texts))]

    def _check_head(self, head: str, fits: bool, method: str) -> None:
        if head in self.heads and fits:
            return
        own = 'classify' if self.labels else 'regress'
        methods = {'classifier': own} | METHODS
        other = next((name for head, name in methods.items() if head in self.heads), 'embed')
        hint = f'; use {other}' if method in {'classify', 'regress', *METHODS.values()} else ''
        raise ValueError(f'{method} does not work with this model{hint}: {self!r}')


def ranked(probabilities: dict[str, float]) -> dict[str, float]:
    """The labels in the order of their probabilities, the largest first."""
    return dict(sorted(probabilities.items(), key=lambda item: -item[1]))


def with_contexts(questions: Sequence[str], contexts: str | Sequence[str]) -> list[tuple[str, str]]:
    """Each question with its text. contexts: a text for each question, or one for all. Raises
    ValueError if there are several texts, but not as many as questions."""
    texts = [contexts] * len(questions) if isinstance(contexts, str) else listed(contexts)
    if len(questions) != len(texts):
        raise ValueError(
            f'questions: {len(questions)}, contexts: {len(texts)}; expected one context for each '
            'question, or one for all'
        )
    return list(zip(questions, texts, strict=True))
