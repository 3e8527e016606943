"""The tasks of the GLUE benchmark (Wang et al. 2018, gluebenchmark.com) as data."""

import dataclasses
from collections.abc import Mapping

import numpy as np

NLI = ('entailment', 'neutral', 'contradiction')


@dataclasses.dataclass(frozen=True)
class GlueTask:
    """texts, label: the columns, by their names in the files' first lines; test files have no
    label. labels: in the order of their ids; none if the task is a regression. metrics: the
    official ones, by their names in official_scores; their mean is the main score. splits: how
    many examples each officially has. submissions: the leaderboard's file for each test split.
    features: the names of the texts in TFDS. columns: of the train and dev files, if they don't
    name them.
    """

    name: str
    folder: str
    texts: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    splits: Mapping[str, int]
    submissions: Mapping[str, str]
    features: tuple[str, ...]
    columns: tuple[str, ...] = ()

    @property
    def regression(self) -> bool:
        return not self.labels

    def main_score(self, scores: Mapping[str, float]) -> float:
        """The one score that GLUE ranks by: the mean of the task's metrics (Wang et al. 2018,
        section 3)."""
        return float(np.mean([scores[metric] for metric in self.metrics]))

    def check_split(self, split: str) -> None:
        """Raises ValueError where the task has no such split."""
        if split not in self.splits:
            raise ValueError(f'{self.name} has no split {split!r}; it has {", ".join(self.splits)}')


TASKS = {
    'cola': GlueTask(
        name='cola',
        folder='CoLA',
        texts=('sentence',),
        label='label',
        labels=('0', '1'),
        metrics=('matthews',),
        splits={'train': 8551, 'dev': 1043, 'test': 1063},
        submissions={'test': 'CoLA.tsv'},
        features=('sentence',),
        columns=('source', 'label', 'original_label', 'sentence'),
    ),
    'sst2': GlueTask(
        name='sst2',
        folder='SST-2',
        texts=('sentence',),
        label='label',
        labels=('0', '1'),
        metrics=('accuracy',),
        splits={'train': 67_349, 'dev': 872, 'test': 1821},
        submissions={'test': 'SST-2.tsv'},
        features=('sentence',),
    ),
    'mrpc': GlueTask(
        name='mrpc',
        folder='MRPC',
        texts=('#1 String', '#2 String'),
        label='Quality',
        labels=('0', '1'),
        metrics=('accuracy', 'f1'),
        splits={'train': 3668, 'dev': 408, 'test': 1725},
        submissions={'test': 'MRPC.tsv'},
        features=('sentence1', 'sentence2'),
    ),
    'stsb': GlueTask(
        name='stsb',
        folder='STS-B',
        texts=('sentence1', 'sentence2'),
        label='score',
        labels=(),
        metrics=('pearson', 'spearman'),
        splits={'train': 5749, 'dev': 1500, 'test': 1379},
        submissions={'test': 'STS-B.tsv'},
        features=('sentence1', 'sentence2'),
    ),
    'qqp': GlueTask(
        name='qqp',
        folder='QQP',
        texts=('question1', 'question2'),
        label='is_duplicate',
        labels=('0', '1'),
        metrics=('accuracy', 'f1'),
        # by the count of its second release, which has 3 lines less
        splits={'train': 363_846, 'dev': 40_430, 'test': 390_965},
        submissions={'test': 'QQP.tsv'},
        features=('question1', 'question2'),
    ),
    'mnli': GlueTask(
        name='mnli',
        folder='MNLI',
        texts=('sentence1', 'sentence2'),
        label='gold_label',
        labels=NLI,
        metrics=('accuracy',),
        splits={
            'train': 392_702,
            'dev_matched': 9815,
            'dev_mismatched': 9832,
            'test_matched': 9796,
            'test_mismatched': 9847,
        },
        submissions={'test_matched': 'MNLI-m.tsv', 'test_mismatched': 'MNLI-mm.tsv'},
        features=('premise', 'hypothesis'),
    ),
    'qnli': GlueTask(
        name='qnli',
        folder='QNLI',
        texts=('question', 'sentence'),
        label='label',
        labels=('entailment', 'not_entailment'),
        metrics=('accuracy',),
        splits={'train': 104_743, 'dev': 5463, 'test': 5463},
        submissions={'test': 'QNLI.tsv'},
        features=('question', 'sentence'),
    ),
    'rte': GlueTask(
        name='rte',
        folder='RTE',
        texts=('sentence1', 'sentence2'),
        label='label',
        labels=('entailment', 'not_entailment'),
        metrics=('accuracy',),
        splits={'train': 2490, 'dev': 277, 'test': 3000},
        submissions={'test': 'RTE.tsv'},
        features=('sentence1', 'sentence2'),
    ),
    'wnli': GlueTask(
        name='wnli',
        folder='WNLI',
        texts=('sentence1', 'sentence2'),
        label='label',
        labels=('0', '1'),
        metrics=('accuracy',),
        splits={'train': 635, 'dev': 71, 'test': 146},
        submissions={'test': 'WNLI.tsv'},
        features=('sentence1', 'sentence2'),
    ),
    'ax': GlueTask(  # the diagnostic set: for what was trained on MNLI
        name='ax',
        folder='diagnostic',
        texts=('sentence1', 'sentence2'),
        label='label',
        labels=NLI,
        metrics=('matthews',),
        splits={'test': 1104},
        submissions={'test': 'AX.tsv'},
        features=('premise', 'hypothesis'),
    ),
}


def named(task: str) -> GlueTask:
    """TASKS[task]. Raises ValueError where there is none of that name."""
    if task not in TASKS:
        raise ValueError(f'no GLUE task {task!r}; expected one of {", ".join(TASKS)}')
    return TASKS[task]


def glue_average(scores: Mapping[str, float]) -> float:
    """The mean of the main scores of the given tasks, {task: score}; a task counts once.

    WNLI is left out, because its dev set contradicts its training set and the average in BERT's
    paper (Devlin et al. 2019, section 4.1) leaves it out, and so is `ax`, which is a diagnostic
    set. An average compares with a published one only if it is over the same tasks.
    """
    return float(np.mean([s for name, s in scores.items() if name not in ('wnli', 'ax')]))
