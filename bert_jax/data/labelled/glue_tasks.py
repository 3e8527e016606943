"""The tasks of the GLUE benchmark (Wang et al. 2018, gluebenchmark.com) as data."""

import dataclasses
from collections.abc import Mapping

import numpy as np

PAIR = ('sentence1', 'sentence2')
NLI, QA_NLI = ('entailment', 'neutral', 'contradiction'), ('entailment', 'not_entailment')


@dataclasses.dataclass(frozen=True)
class GlueTask:
    """texts, label: the columns, by their names in the first lines of the files; test files have no
    label. metrics: the official ones, by their names in official_scores. splits: the official
    number of examples of each. labels: by their ids; none if the task is a regression. features:
    the names of the texts in TFDS, if they differ. submissions: the leaderboard's file for a test
    split, if it is not the folder's name with .tsv. columns: of the train and dev files, if they
    don't name them.
    """

    name: str
    folder: str
    texts: tuple[str, ...]
    metrics: tuple[str, ...]
    splits: Mapping[str, int]
    label: str = 'label'
    labels: tuple[str, ...] = ('0', '1')
    features: tuple[str, ...] = ()
    submissions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    columns: tuple[str, ...] = ()

    @property
    def test_splits(self) -> list[str]:
        return [split for split in self.splits if split.startswith('test')]

    def main_score(self, scores: Mapping[str, float]) -> float:
        """The score that GLUE ranks by: the mean of the task's metrics (Wang et al. 2018, section
        3)."""
        return float(np.mean([scores[metric] for metric in self.metrics]))


TASKS = {
    task.name: task
    for task in (
        GlueTask(
            'cola',
            'CoLA',
            ('sentence',),
            ('matthews',),
            {'train': 8551, 'dev': 1043, 'test': 1063},
            columns=('source', 'label', 'original_label', 'sentence'),
        ),
        GlueTask(
            'sst2',
            'SST-2',
            ('sentence',),
            ('accuracy',),
            {'train': 67_349, 'dev': 872, 'test': 1821},
        ),
        GlueTask(
            'mrpc',
            'MRPC',
            ('#1 String', '#2 String'),
            ('accuracy', 'f1'),
            {'train': 3668, 'dev': 408, 'test': 1725},
            label='Quality',
            features=PAIR,
        ),
        GlueTask(
            'stsb',
            'STS-B',
            PAIR,
            ('pearson', 'spearman'),
            {'train': 5749, 'dev': 1500, 'test': 1379},
            label='score',
            labels=(),
        ),
        GlueTask(
            'qqp',
            'QQP',
            ('question1', 'question2'),
            ('accuracy', 'f1'),
            # The counts of the first release; the second has 3 lines less.
            {'train': 363_846, 'dev': 40_430, 'test': 390_965},
            label='is_duplicate',
        ),
        GlueTask(
            'mnli',
            'MNLI',
            PAIR,
            ('accuracy',),
            {
                **{'train': 392_702, 'dev_matched': 9815, 'dev_mismatched': 9832},
                **{'test_matched': 9796, 'test_mismatched': 9847},
            },
            label='gold_label',
            labels=NLI,
            features=('premise', 'hypothesis'),
            submissions={'test_matched': 'MNLI-m.tsv', 'test_mismatched': 'MNLI-mm.tsv'},
        ),
        GlueTask(
            'qnli',
            'QNLI',
            ('question', 'sentence'),
            ('accuracy',),
            {'train': 104_743, 'dev': 5463, 'test': 5463},
            labels=QA_NLI,
        ),
        GlueTask(
            'rte',
            'RTE',
            PAIR,
            ('accuracy',),
            {'train': 2490, 'dev': 277, 'test': 3000},
            labels=QA_NLI,
        ),
        GlueTask('wnli', 'WNLI', PAIR, ('accuracy',), {'train': 635, 'dev': 71, 'test': 146}),
        GlueTask(  # the diagnostic set, for models trained on MNLI
            'ax',
            'diagnostic',
            PAIR,
            ('matthews',),
            {'test': 1104},
            labels=NLI,
            features=('premise', 'hypothesis'),
            submissions={'test': 'AX.tsv'},
        ),
    )
}


def glue_average(scores: Mapping[str, float]) -> float:
    """The mean of the main scores of the given tasks, {task: score}.

    WNLI is left out, because its dev set contradicts its training set and the average in BERT's
    paper (Devlin et al. 2019, section 4.1) leaves it out, and so is `ax`, which is a diagnostic
    set. An average compares with a published one only if it is over the same tasks.
    """
    return float(np.mean([s for name, s in scores.items() if name not in ('wnli', 'ax')]))
