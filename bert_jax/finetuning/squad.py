"""Answers to questions about texts, as in SQuAD."""

from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from bert_jax.config import Config
from bert_jax.data.labelled import squad, squad_answers, squad_windows
from bert_jax.data.labelled.bad_rows import OnError
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.labelled.squad import Question
from bert_jax.data.labelled.squad_answers import Answers
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import squad_scores, task_data
from bert_jax.finetuning.task_data import EVAL, PREDICT, TRAIN, Predictions, Split, TaskFacts
from bert_jax.tasks.finetuning import QuestionAnsweringTask


class QuestionAnsweringProcessor(task_data.Processor):
    """Processes questions about texts. Predictions are `Answers`."""

    head = 'span'
    own_score = metric = 'f1'
    writes_eval = True
    window = 256  # each question is several rows

    @property
    def task(self) -> QuestionAnsweringTask:
        return QuestionAnsweringTask(self.config.model)

    def __init__(self, config: Config, tokenizer: Tokenizer, facts: TaskFacts):
        super().__init__(config, tokenizer, facts)
        self._seen: dict[str, str] = {}  # the place of each id in the files to predict

    def read(
        self, path: str, summary: Summary, split: str = PREDICT, on_error: OnError | None = None
    ) -> Iterator[Question]:
        columns = split == PREDICT or bool(self.config.data.split_field)
        seen = self._seen if split == PREDICT else None
        return squad.iter_file(path, summary, columns, on_error, seen)

    def from_texts(self, texts: Sequence[Any]) -> list[Question]:
        """The questions in pairs (question, context). Raises ValueError if one of the two is
        not a string, and if a context is empty."""
        if wrong := [text for pair in texts for text in pair if not isinstance(text, str)]:
            raise ValueError(f'a question or its context is {wrong[0]!r:.60}; expected a string')
        if empty := [i for i, (_, context) in enumerate(texts) if not context.strip()]:
            raise ValueError(f'the text of question {empty[0]} is empty')
        return [
            Question(str(i), question, context, [], False, f'question {i}')
            for i, (question, context) in enumerate(texts)
        ]

    def check_together(self, examples: Sequence[Question]) -> None:
        seen: dict[str, str] = {}
        for question in examples:
            squad.check_id(question, seen)

    def find_facts(self, train: list[Question], held_out: list[Question]) -> TaskFacts:
        return TaskFacts(no_answer=any(q.is_impossible for q in (*train, *held_out)))

    def text_and_label(self, example: Question) -> tuple[str, str]:
        return example.context, ''

    def encode(self, examples: Sequence[Question], summary: Summary, split: str = PREDICT) -> Split:
        for question in examples if split == EVAL else ():
            if not _has_answer(question):
                raise ValueError(
                    f"{question.where} has no 'answers' to score by; add them, or give the file as "
                    'config.data.test_file'
                )
        windows = squad_windows.windows(
            examples,
            self.tokenizer,
            self.config.data,
            training=split == TRAIN,
            summary=summary,
            row_format=self.row_format,
        )
        # In a file of SQuAD 2.0 without answers, all questions seem to be impossible.
        possible = [not question.is_impossible for question in examples]
        is_scored = split == EVAL or (
            all(map(_has_answer, examples))
            and any(possible)
            and (self.facts.no_answer or all(possible))
        )
        if not is_scored and split not in (TRAIN, PREDICT):
            summary.count('test files that cannot be scored', self.config.data.test_file)
        return Split(split, examples, self.encoded(windows, windows.labels), is_scored, windows)

    def decode(self, split: Split, outputs: Predictions) -> Answers:
        return squad_answers.decode(
            split.examples,
            split.windows,
            outputs['start_logits'],
            outputs['end_logits'],
            self.config.eval,
            no_answer=self.facts.no_answer,
        )

    def records(self, split: Split, outputs: Predictions) -> Iterator[task_data.Record]:
        answers = self.decode(split, outputs)
        for name in (question.id for question in split.examples):
            answer, best = answers.predictions[name], answers.nbest[name]
            found = next((candidate for candidate in best if candidate['text'] == answer), {})
            facts = {key: found.get(key) for key in ('probability', 'start', 'end')}
            yield {'id': name, 'answer': answer, **facts, 'n_best': best[:3]}

    def baseline(self, train: EncodedExamples, split: Split) -> tuple[str, Answers]:
        none = self.facts.no_answer
        predictions = {q.id: '' if none else q.context for q in split.examples}
        odds = dict.fromkeys(predictions, 1.0) if none else {}
        meaning = 'if no question has an answer' if none else 'if every answer is the whole text'
        return meaning, Answers(predictions, {}, odds, predictions)

    def score(self, split: Split, decoded: Answers) -> dict[str, float]:
        return squad_scores.squad(
            squad.references(split.examples),
            decoded.predictions,
            version_2=self.facts.no_answer,
            null_odds=decoded.null_odds,
            best=decoded.best,
        )

    def write(self, split: Split, decoded: Answers, folder: epath.Path) -> None:
        squad_answers.write(decoded, folder if split.name == EVAL else folder / split.name)


def _has_answer(question: Question) -> bool:
    return bool(question.answers) or question.is_impossible
