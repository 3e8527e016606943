"""A trained model with methods for its task: labels, numbers, tags, answers and texts for texts."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.sentence import Sentence, split_words
from bert_jax.data.labelled.squad import Question
from bert_jax.data.labelled.texts import Text, listed
from bert_jax.data.summary import Summary
from bert_jax.finetuning import predictions
from bert_jax.finetuning.task_data import Record
from bert_jax.inference.model_dir import Pretrained
from bert_jax.inference.trained_model import Bert
from bert_jax.models.heads import DECODER

# The method for each head. If a model has several of these heads, the first one has its task.
METHODS = {'tagger': 'tag', 'span': 'answer', DECODER: 'generate', 'masked_lm': 'fill_mask'}


class Model(Bert):
    """A trained model, with its predictions for texts in memory.

    Methods that take a list return a list; for one text they return one result. They raise
    ValueError if the checkpoint does not have the head, and for wrong inputs.

    counted: how many of the texts so far were unusual, for example cut because they were too long.
    """

    def __init__(self, source: Pretrained, mesh: Mesh, folder: str = ''):
        super().__init__(source, mesh, folder)
        self.counted = Summary()

    def classify(self, texts: Text | Sequence[Text], all_labels: bool = False) -> Any:
        """The label and its probability, (str, float), for each text or pair of texts.

        With all_labels, a dict of all labels, the most likely first. If a text may have several
        labels, a list of those with a probability above `eval.threshold`, with their probabilities.
        A list of two strings is two texts; a pair is a tuple.
        """
        self._check_head('classifier', bool(self.labels), 'classify')
        several, one = _several(texts, (str, tuple))
        found = [ranked(record['probabilities']) for record in self.text_records(several)]
        results: list[Any] = found
        if self.multi_label and not all_labels:
            least = self.eval.threshold
            results = [[(x, p) for x, p in scores.items() if p > least] for scores in found]
        elif not all_labels:
            results = [next(iter(scores.items())) for scores in found]
        return results[0] if one else results

    def regress(self, texts: Text | Sequence[Text]) -> Any:
        """The number, a float, for each text or pair of texts."""
        self._check_head('classifier', not self.labels, 'regress')
        several, one = _several(texts, (str, tuple))
        values = [record['value'] for record in self.text_records(several)]
        return values[0] if one else values

    def tag(self, texts: str | Sequence[str | Sequence[str]]) -> Any:
        """The words with their tags and probabilities, (str, str, float), for each text.

        A text is a string, which is split into words and punctuation, or a list of its words, as in
        the training file. The probability is None for a word that the tokenizer drops.
        """
        self._check_head('tagger', True, 'tag')
        several, one = _several(texts, (str,))
        found = [
            list(zip(r['words'], r['tags'], r['probabilities'], strict=True))
            for r in self.sentence_records(several)
        ]
        return found[0] if one else found

    def answer(self, questions: str | Sequence[str], contexts: str | Sequence[str]) -> Any:
        """The answer and its probability, (str, float), for each question about its text.

        contexts: a text for each question, or one for all. The answer is '' if the text has none,
        which only models of SQuAD 2.0 can say.
        """
        self._check_head('span', True, 'answer')
        several, one = _several(questions, (str,))
        texts = [contexts] * len(several) if isinstance(contexts, str) else listed(contexts)
        records = self.question_records(several, texts)
        found = [(record['answer'], record['probability']) for record in records]
        return found[0] if one else found

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
        several, one = _several(texts, (str,))
        written = [record[self.data.target_field] for record in self.written_records(several)]
        return written[0] if one else written

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

    def written_records(self, texts: Sequence[str]) -> list[Record]:
        """The records of `predictions.records` for texts to translate."""
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(f'text {i} is {text!r:.60}; expected a string')
        pairs = [Example(text.strip(), None, None, f'text {i}') for i, text in enumerate(texts)]
        return predictions.of_examples(self, pairs, self.counted)

    def text_records(self, texts: Sequence[Text]) -> list[Record]:
        """The records of `predictions.records` for texts and pairs of texts."""
        for i, text in enumerate(texts):
            pair = isinstance(text, tuple | list) and len(text) == 2
            if not isinstance(text, str) and not (pair and all(isinstance(t, str) for t in text)):
                raise ValueError(f'text {i} is {text!r:.60}; expected a string, or a pair of them')
        pairs = [(text, None) if isinstance(text, str) else text for text in texts]
        examples = [Example(a, b, None, f'text {i}') for i, (a, b) in enumerate(pairs)]
        wanted = {example.text_b is not None for example in examples}
        if self.pairs is not None and wanted - {self.pairs}:
            expected = 'pairs of texts' if self.pairs else 'single texts'
            raise ValueError(f'the texts do not fit: this model was trained on {expected}')
        return predictions.of_examples(self, examples, self.counted)

    def sentence_records(self, texts: Sequence[str | Sequence[str]]) -> list[Record]:
        """The records of `predictions.records` for texts or lists of words."""
        words = [split_words(text) if isinstance(text, str) else listed(text) for text in texts]
        if [] in words:
            raise ValueError(f'text {words.index([])} has no words')
        sentences = [Sentence(w, None, f'text {i}') for i, w in enumerate(words)]
        return predictions.of_examples(self, sentences, self.counted)

    def question_records(self, questions: Sequence[str], contexts: Sequence[str]) -> list[Record]:
        """The records of `predictions.records` for questions with their contexts."""
        if len(questions) != len(contexts):
            raise ValueError(
                f'questions: {len(questions)}, contexts: {len(contexts)}; expected one '
                'context for each question, or one for all'
            )
        pairs = enumerate(zip(questions, contexts, strict=True))
        if wrong := [text for text in (*questions, *contexts) if not isinstance(text, str)]:
            raise ValueError(f'a question or its context is {wrong[0]!r:.60}; expected a string')
        if empty := [i for i, context in enumerate(contexts) if not context.strip()]:
            raise ValueError(f'the text of question {empty[0]} is empty')
        examples = [Question(str(i), q, c, [], False, f'question {i}') for i, (q, c) in pairs]
        records = predictions.of_examples(self, examples, self.counted)
        self.counted.counts.pop('windows', None)  # not unusual
        return records

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


def _several(texts: Any, single: tuple[type, ...]) -> tuple[list[Any], bool]:
    """A list of texts, and whether `texts` was one text."""
    return ([texts], True) if isinstance(texts, single) else (listed(texts), False)
