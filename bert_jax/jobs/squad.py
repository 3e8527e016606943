"""Questions on texts: windows of tokens in, answers out."""

from etils import epath

from bert_jax import squad_metrics
from bert_jax.config import Config
from bert_jax.data import squad, squad_answers, squad_windows
from bert_jax.data.readers import Summary
from bert_jax.data.rows import Rows, make_rows
from bert_jax.data.squad import Question
from bert_jax.data.squad_windows import Windows
from bert_jax.data.tokenizer import Tokenizer
from bert_jax.jobs.job import Job, Predictions, Write, files, some
from bert_jax.tasks.qa import QuestionAnsweringTask

POSITIONS = ('start_positions', 'end_positions')


def job(config: Config, vocabulary: Tokenizer) -> Job:
    data, limits, summary = config.data, config.eval, Summary()
    train_file, eval_file = files(data)
    train = some(squad.read(train_file, summary), data)
    held_out = _answered(squad.read(eval_file, summary))
    version_2 = any(question.is_impossible for question in (*train, *held_out))

    def rows(questions: list[Question], training: bool = False) -> tuple[Windows, Rows]:
        found = squad_windows.windows(
            questions,
            vocabulary,
            max_seq_length=data.max_seq_length,
            doc_stride=data.doc_stride,
            max_query_length=data.max_query_length,
            training=training,
            summary=summary,
        )
        labels = {name: getattr(found, name) for name in POSITIONS}
        return found, make_rows(found, labels, vocabulary.pad_id)

    def answers(
        questions: list[Question], shown: Windows, predictions: Predictions
    ) -> squad_answers.Answers:
        return squad_answers.decode(
            questions,
            shown,
            predictions['start_logits'],
            predictions['end_logits'],
            n_best=limits.n_best,
            max_answer_length=limits.max_answer_length,
            null_threshold=limits.null_threshold,
            version_2=version_2,
        )

    shown, evaluation = rows(held_out)

    def score(predictions: Predictions) -> dict[str, float]:
        found = answers(held_out, shown, predictions)
        return squad_metrics.squad(
            squad.references(held_out),
            found.predictions,
            version_2=version_2,
            null_odds=found.null_odds if version_2 else None,
            best=found.best if version_2 else None,
        )

    def writer(questions: list[Question], of: Windows, name: str) -> Write:
        def write(predictions: Predictions, folder: epath.Path) -> None:
            squad_answers.write(answers(questions, of, predictions), folder / name)

        return write

    tests = {}
    if data.test_file:
        asked = squad.read(data.test_file, summary)
        of, found = rows(asked)
        tests['test'] = (found, writer(asked, of, 'test'))
    return Job(
        task=QuestionAnsweringTask(config.model),
        train=rows(train, training=True)[1],
        held_out=evaluation,
        score=score,
        main_score='f1',
        labels=('no_answer',) if version_2 else (),
        summary=summary,
        write=writer(held_out, shown, ''),
        tests=tests,
    )


def _answered(questions: list[Question]) -> list[Question]:
    for question in questions:
        if not question.answers and not question.is_impossible:
            raise ValueError(
                f"{question.where} has no 'answers' to score by; add them, or give the file as "
                'config.data.test_file'
            )
    return questions
