"""Questions on texts: windows of tokens in, answers out."""

from etils import epath

from bert_jax.config import Config
from bert_jax.data.labelled import squad, squad_answers, squad_windows
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.labelled.squad import Question
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import squad_scores
from bert_jax.finetuning.task_data import Job, Predictions, Split, files, some
from bert_jax.tasks.question_answering import QuestionAnsweringTask

POSITIONS = ('start_positions', 'end_positions')


def job(config: Config, vocabulary: Tokenizer) -> Job:
    data, limits, summary = config.data, config.eval, Summary()
    train_file, eval_file = files(data)
    train = some(squad.read(train_file, summary), data)
    held_out = _answered(squad.read(eval_file, summary))
    version_2 = any(question.is_impossible for question in (*train, *held_out))

    def split(questions: list[Question], name: str, training: bool = False) -> Split:
        shown = squad_windows.windows(
            questions,
            vocabulary,
            max_seq_length=data.max_seq_length,
            doc_stride=data.doc_stride,
            max_query_length=data.max_query_length,
            training=training,
            summary=summary,
        )
        labels = {position: getattr(shown, position) for position in POSITIONS}

        def decode(predictions: Predictions) -> squad_answers.Answers:
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

        def score(found: squad_answers.Answers) -> dict[str, float]:
            return squad_scores.squad(
                squad.references(questions),
                found.predictions,
                version_2=version_2,
                null_odds=found.null_odds if version_2 else None,
                best=found.best if version_2 else None,
            )

        def write(found: squad_answers.Answers, folder: epath.Path) -> None:
            squad_answers.write(found, folder / name)

        rows = EncodedExamples.from_rows(shown, labels, vocabulary.pad_id)
        return Split(rows, decode, score if _can_be_scored(questions, version_2) else None, write)

    test = squad.read(data.test_file, summary) if data.test_file else []
    if test and not _can_be_scored(test, version_2):
        summary.count('test files that can not be scored', data.test_file)
    return Job(
        task=QuestionAnsweringTask(config.model),
        train=split(train, '', training=True).rows,
        held_out=split(held_out, ''),
        main_score='f1',
        labels=('no_answer',) if version_2 else (),
        summary=summary,
        tests={'test': split(test, 'test')} if test else {},
    )


def _can_be_scored(questions: list[Question], version_2: bool) -> bool:
    """Of a test file without answers, a reader makes impossible questions."""
    possible = [not question.is_impossible for question in questions]
    return all(map(_has_answer, questions)) and any(possible) and (version_2 or all(possible))


def _has_answer(question: Question) -> bool:
    return bool(question.answers) or question.is_impossible


def _answered(questions: list[Question]) -> list[Question]:
    for question in questions:
        if not _has_answer(question):
            raise ValueError(
                f"{question.where} has no 'answers' to score by; add them, or give the file as "
                'config.data.test_file'
            )
    return questions
