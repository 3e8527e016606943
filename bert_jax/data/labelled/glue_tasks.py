"""The table of GLUE's tasks (Wang et al. 2018, gluebenchmark.com)."""

import dataclasses
from collections.abc import Mapping

import numpy as np

PAIR = ('sentence1', 'sentence2')
TFDS_PAIR = ('premise', 'hypothesis')
NLI, QA_NLI = ('entailment', 'neutral', 'contradiction'), ('entailment', 'not_entailment')


@dataclasses.dataclass(frozen=True)
class GlueTask:
    """A task and the layout of its files.

    splits: the official number of examples of each split. texts, label: the names of the columns;
    test files have no label. metrics: the official ones, named as in official_scores. labels: the
    names of the labels by id; a regression has none. columns: the names of all columns, if the
    first line does not have them. tfds_texts: the names of the texts in TFDS, if they differ.
    submissions: the leaderboard's file for a test split, if it is not the folder's name with .tsv.
    """

    name: str
    folder: str
    splits: Mapping[str, int]
    texts: tuple[str, ...] = PAIR
    metrics: tuple[str, ...] = ('accuracy',)
    label: str = 'label'
    labels: tuple[str, ...] = ('0', '1')
    columns: tuple[str, ...] = ()
    tfds_texts: tuple[str, ...] = ()
    submissions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def test_splits(self) -> list[str]:
        return [split for split in self.splits if split.startswith('test')]

    def main_score(self, scores: Mapping[str, float]) -> float:
        """The score that GLUE ranks by: the mean of `metrics` (Wang et al. 2018, section 3)."""
        return float(np.mean([scores[metric] for metric in self.metrics]))


TASKS = {
    task.name: task
    for task in (
        GlueTask(
            'cola',
            'CoLA',
            {'train': 8551, 'dev': 1043, 'test': 1063},
            texts=('sentence',),
            metrics=('matthews',),
            columns=('source', 'label', 'original_label', 'sentence'),
        ),
        GlueTask('sst2', 'SST-2', {'train': 67_349, 'dev': 872, 'test': 1821}, ('sentence',)),
        GlueTask(
            'mrpc',
            'MRPC',
            {'train': 3668, 'dev': 408, 'test': 1725},
            texts=('#1 String', '#2 String'),
            metrics=('accuracy', 'f1'),
            label='Quality',
            tfds_texts=PAIR,
        ),
        GlueTask(
            'stsb',
            'STS-B',
            {'train': 5749, 'dev': 1500, 'test': 1379},
            metrics=('pearson', 'spearman'),
            label='score',
            labels=(),
        ),
        GlueTask(  # The numbers of the first release. The second release has 3 lines fewer.
            'qqp',
            'QQP',
            {'train': 363_846, 'dev': 40_430, 'test': 390_965},
            texts=('question1', 'question2'),
            metrics=('accuracy', 'f1'),
            label='is_duplicate',
        ),
        GlueTask(
            'mnli',
            'MNLI',
            {
                **{'train': 392_702, 'dev_matched': 9815, 'dev_mismatched': 9832},
                **{'test_matched': 9796, 'test_mismatched': 9847},
            },
            label='gold_label',
            labels=NLI,
            tfds_texts=TFDS_PAIR,
            submissions={'test_matched': 'MNLI-m.tsv', 'test_mismatched': 'MNLI-mm.tsv'},
        ),
        GlueTask(
            'qnli',
            'QNLI',
            {'train': 104_743, 'dev': 5463, 'test': 5463},
            texts=('question', 'sentence'),
            labels=QA_NLI,
        ),
        GlueTask('rte', 'RTE', {'train': 2490, 'dev': 277, 'test': 3000}, labels=QA_NLI),
        GlueTask('wnli', 'WNLI', {'train': 635, 'dev': 71, 'test': 146}),
        GlueTask(  # The diagnostic set, for models trained on MNLI.
            'ax',
            'diagnostic',
            {'test': 1104},
            metrics=('matthews',),
            labels=NLI,
            tfds_texts=TFDS_PAIR,
            submissions={'test': 'AX.tsv'},
        ),
    )
}


def glue_average(scores: Mapping[str, float]) -> float:
    """The mean of the main scores of the given tasks, {task: score}, without WNLI and `ax`.

    The average in BERT's paper leaves out WNLI, because its dev set contradicts its training set
    (Devlin et al. 2019, section 4.1); `ax` is a diagnostic set. An average compares with a
    published one only if both are over the same tasks.
    """
    return float(np.mean([s for name, s in scores.items() if name not in ('wnli', 'ax')]))
