"""Questions on texts: windows of tokens in, answers out."""

from bert_jax import squad_metrics
from bert_jax.config import Config
from bert_jax.data import squad, squad_answers, squad_windows
from bert_jax.data.readers import Summary
from bert_jax.data.rows import Rows, make_rows
from bert_jax.data.tokenizer import Tokenizer
from bert_jax.jobs.job import Job, Predictions, files, some
from bert_jax.tasks.qa import QuestionAnsweringTask


def job(config: Config, vocabulary: Tokenizer) -> Job:
    data, limits, summary = config.data, config.eval, Summary()
    train_file, eval_file = files(data)
    train = some(squad.read(train_file, summary), data)
    held_out = squad.read(eval_file, summary)
    version_2 = any(question.is_impossible for question in (*train, *held_out))

    def windows(questions: list[squad.Question], training: bool) -> squad_windows.Windows:
        return squad_windows.windows(
            questions,
            vocabulary,
            max_seq_length=data.max_seq_length,
            doc_stride=data.doc_stride,
            max_query_length=data.max_query_length,
            training=training,
            summary=summary,
        )

    def rows(found: squad_windows.Windows) -> Rows:
        names = ('start_positions', 'end_positions')
        return make_rows(found, {name: getattr(found, name) for name in names}, vocabulary.pad_id)

    shown = windows(held_out, False)

    def answers(predictions: Predictions) -> squad_answers.Answers:
        return squad_answers.decode(
            held_out,
            shown,
            predictions['start_logits'],
            predictions['end_logits'],
            n_best=limits.n_best,
            max_answer_length=limits.max_answer_length,
            null_threshold=limits.null_threshold,
            version_2=version_2,
        )

    def score(predictions: Predictions) -> dict[str, float]:
        found = answers(predictions)
        return squad_metrics.squad(
            squad.references(held_out),
            found.predictions,
            version_2=version_2,
            null_odds=found.null_odds if version_2 else None,
            best=found.best if version_2 else None,
        )

    return Job(
        task=QuestionAnsweringTask(config.model),
        train=rows(windows(train, True)),
        held_out=rows(shown),
        score=score,
        main_score='f1',
        labels=('no_answer',) if version_2 else (),
        summary=summary,
        write=lambda predictions, folder: squad_answers.write(answers(predictions), folder),
    )
