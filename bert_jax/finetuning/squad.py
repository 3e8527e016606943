"""Answers to questions about texts: SQuAD and jsonl files in, SQuAD's scores and files out."""

import os
from collections.abc import Iterator, Sequence

from etils import epath

from bert_jax.config import Config
from bert_jax.data.labelled import squad, squad_answers, squad_windows
from bert_jax.data.labelled.squad import Question
from bert_jax.data.labelled.squad_answers import Answers
from bert_jax.data.labelled.squad_windows import QuestionWindows
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import squad_scores
from bert_jax.finetuning.task_data import (
    EVAL,
    Encoded,
    Predictions,
    Processor,
    Record,
    TaskData,
    TaskFacts,
    make_task_data,
    subsample,
    train_and_eval_files,
)
from bert_jax.tasks.question_answering import QuestionAnsweringTask


class QuestionAnsweringProcessor(Processor[Question, QuestionWindows, Answers]):
    head = 'span'
    main_score = 'f1'
    writes_eval = True
    window = 256  # each question is several rows

    @property
    def task(self) -> QuestionAnsweringTask:
        return QuestionAnsweringTask(self.config.model)

    def read(self, path: str | os.PathLike[str], summary: Summary) -> Iterator[Question]:
        return squad.iter_file(path, summary)

    def encode(
        self,
        examples: Sequence[Question],
        summary: Summary,
        *,
        training: bool = False,
        labelled: bool = False,
    ) -> Encoded[Question, QuestionWindows]:
        windows = squad_windows.windows(
            examples, self.tokenizer, self.config.data, training=training, summary=summary
        )
        labels = {
            'start_positions': windows.start_positions,
            'end_positions': windows.end_positions,
        }
        return self._encoded(examples, windows, labels, windows)

    def decode(self, encoded: Encoded[Question, QuestionWindows], outputs: Predictions) -> Answers:
        return squad_answers.decode(
            encoded.examples,
            encoded.windows,
            outputs['start_logits'],
            outputs['end_logits'],
            self.config.eval,
            no_answer=self.facts.no_answer,
        )

    def records(
        self, encoded: Encoded[Question, QuestionWindows], outputs: Predictions
    ) -> Iterator[Record]:
        answers = self.decode(encoded, outputs)
        for question in encoded.examples:
            answer, best = answers.predictions[question.id], answers.nbest[question.id]
            probability = next((n['probability'] for n in best if n['text'] == answer), None)
            yield {
                'id': question.id,
                'answer': answer,
                'probability': probability,
                'n_best': best[:3],
            }

    def can_score(self, examples: Sequence[Question]) -> bool:
        """A 2.0 file without its answers reads as one of impossible questions alone."""
        possible = [not question.is_impossible for question in examples]
        answered = all(map(_has_answer, examples))
        return answered and any(possible) and (self.facts.no_answer or all(possible))

    def score(
        self, encoded: Encoded[Question, QuestionWindows], decoded: Answers
    ) -> dict[str, float]:
        no_answer = self.facts.no_answer
        return squad_scores.squad(
            squad.references(encoded.examples),
            decoded.predictions,
            version_2=no_answer,
            null_odds=decoded.null_odds if no_answer else None,
            best=decoded.best if no_answer else None,
        )

    def write(
        self,
        split: str,
        encoded: Encoded[Question, QuestionWindows],
        decoded: Answers,
        folder: epath.Path,
    ) -> None:
        squad_answers.write(decoded, folder / ('' if split == EVAL else split))


def load(config: Config, tokenizer: Tokenizer) -> TaskData:
    """The user's files. Raises ValueError for what is wrong in them."""
    data, summary = config.data, Summary()
    train_file, eval_file = train_and_eval_files(data)
    train = subsample(squad.read(train_file, summary), data)
    held_out = squad.read(eval_file, summary)
    for question in held_out:
        if not _has_answer(question):
            raise ValueError(
                f"{question.where} has no 'answers' to score by; add them, or give the file as "
                'config.data.test_file'
            )
    no_answer = any(question.is_impossible for question in (*train, *held_out))
    processor = QuestionAnsweringProcessor(config, tokenizer, TaskFacts(no_answer=no_answer))
    test = squad.read(data.test_file, summary) if data.test_file else []
    if test and not processor.can_score(test):
        summary.count('test files that can not be scored', data.test_file)
    return make_task_data(
        processor,
        summary,
        train=train,
        held_out=held_out,
        tests={'test': test} if test else {},
    )


def _has_answer(question: Question) -> bool:
    return bool(question.answers) or question.is_impossible
