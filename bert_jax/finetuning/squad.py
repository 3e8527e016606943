"""Answers to questions about texts: SQuAD and jsonl files in, SQuAD's scores and files out."""

import os
from collections.abc import Iterator, Sequence

from etils import epath

from bert_jax.config import Config
from bert_jax.data.labelled import squad, squad_answers, squad_windows
from bert_jax.data.labelled.squad import Question
from bert_jax.data.labelled.squad_answers import Answers
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import squad_scores, task_data
from bert_jax.finetuning.task_data import (
    EVAL,
    PREDICT,
    TRAIN,
    Predictions,
    Record,
    Split,
    TaskFacts,
)
from bert_jax.tasks.finetuning import QuestionAnsweringTask


class QuestionAnsweringProcessor(task_data.Processor):
    head = 'span'
    main_score = 'f1'
    writes_eval = True
    window = 256  # each question is several rows

    @property
    def task(self) -> QuestionAnsweringTask:
        return QuestionAnsweringTask(self.config.model)

    def read(self, path: str | os.PathLike[str], summary: Summary) -> Iterator[Question]:
        return squad.iter_file(path, summary)

    def encode(self, examples: Sequence[Question], summary: Summary, split: str = PREDICT) -> Split:
        windows = squad_windows.windows(
            examples, self.tokenizer, self.config.data, training=split == TRAIN, summary=summary
        )
        names = ('start_positions', 'end_positions')
        rows = self.encoded(windows, {name: getattr(windows, name) for name in names})
        is_scored = split == EVAL or self._can_be_scored(examples)
        return Split(split, examples, rows, is_scored, windows)

    def _can_be_scored(self, questions: Sequence[Question]) -> bool:
        """Whether all have answers. A 2.0 file without its answers reads as impossible questions
        alone."""
        possible = [not question.is_impossible for question in questions]
        answered = all(map(_has_answer, questions))
        return answered and any(possible) and (self.facts.no_answer or all(possible))

    def decode(self, split: Split, outputs: Predictions) -> Answers:
        return squad_answers.decode(
            split.examples,
            split.windows,
            outputs['start_logits'],
            outputs['end_logits'],
            self.config.eval,
            no_answer=self.facts.no_answer,
        )

    def records(self, split: Split, outputs: Predictions) -> Iterator[Record]:
        answers = self.decode(split, outputs)
        for name in (question.id for question in split.examples):
            answer, best = answers.predictions[name], answers.nbest[name]
            probability = next((n['probability'] for n in best if n['text'] == answer), None)
            record = {'id': name, 'answer': answer, 'probability': probability}
            yield record | {'n_best': best[:3]}

    def score(self, split: Split, decoded: Answers) -> dict[str, float]:
        references = squad.references(split.examples)
        if not self.facts.no_answer:
            return squad_scores.squad(references, decoded.predictions, version_2=False)
        return squad_scores.squad(
            references,
            decoded.predictions,
            version_2=True,
            null_odds=decoded.null_odds,
            best=decoded.best,
        )

    def write(self, split: Split, decoded: Answers, folder: epath.Path) -> None:
        squad_answers.write(decoded, folder if split.name == EVAL else folder / split.name)


def load(config: Config, tokenizer: Tokenizer) -> task_data.TaskData:
    """The user's files. Raises ValueError for what is wrong in them."""
    data, summary = config.data, Summary()
    files = task_data.train_and_eval_files(data)
    train, held_out = (squad.read(path, summary) for path in files)
    for question in held_out:
        if not _has_answer(question):
            raise ValueError(
                f"{question.where} has no 'answers' to score by; add them, or give the file as "
                'config.data.test_file'
            )
    no_answer = any(question.is_impossible for question in (*train, *held_out))
    processor = QuestionAnsweringProcessor(config, tokenizer, TaskFacts(no_answer=no_answer))
    tests = {'test': squad.read(data.test_file, summary)} if data.test_file else {}
    made = task_data.make_task_data(processor, summary, train, held_out, tests)
    if any(not split.is_scored for split in made.tests):
        summary.count('test files that can not be scored', data.test_file)
    return made


def _has_answer(question: Question) -> bool:
    return bool(question.answers) or question.is_impossible
