"""The configuration: frozen dataclasses, and an ml_collections.ConfigDict for files and flags.

A file in `configs/` takes `default()` or `finetuning()`, changes the values that differ and returns
it. Flags change single values (`--config.optim.learning_rate=1e-4`). `from_dict` turns the result
into a frozen, validated `Config`, which the rest of the code receives. The keys of the model are in
`config.model`, those of the data in `config.data`.
"""

import dataclasses
import json
from typing import Any, Literal, NamedTuple

from ml_collections import ConfigDict

from bert_jax import __version__
from bert_jax.config.data import DataConfig
from bert_jax.config.fields import (
    INHERIT,
    Count,
    Fact,
    Frozen,
    LayerDecay,
    LayerNumbers,
    NotNegative,
    Positive,
    PositiveFloat,
    Probability,
    Seed,
    Share,
    setting,
)
from bert_jax.config.model import RATES, ModelConfig

Kind = Literal['pretraining', 'finetuning']
_, _, FREE, PRETRAINING, FINETUNING = Fact


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    name: Literal['adamw', 'lamb'] = 'adamw'  # 'lamb' is for very large batches
    learning_rate: NotNegative = 1e-4  # the peak
    # The peak for parameters that no pretrained encoder has: the head of a task and the decoder's
    # attention to the source. 0: learning_rate.
    fresh_learning_rate: NotNegative = setting(0.0, FINETUNING)
    # The decay of the learning rate after the linear warm-up.
    schedule: Literal['linear', 'cosine', 'constant', 'polynomial', 'inverse_sqrt'] = 'linear'
    warmup_steps: int = 10_000  # in fine-tuning, 0 means warmup_fraction of the steps
    warmup_fraction: Probability = setting(0.1, FINETUNING)  # used if warmup_steps is 0
    end_learning_rate: NotNegative = 0.0  # for the schedules linear, cosine and polynomial
    power: NotNegative = 2.0  # for the polynomial schedule
    weight_decay: NotNegative = 0.01  # decoupled; not applied to biases and layer norms
    beta1: Probability = 0.9  # decay of the mean of the gradients
    beta2: Probability = 0.999  # decay of the mean of their squares
    eps: PositiveFloat = 1e-6  # added to the root of the mean square
    # If true, the two means are corrected for their start at 0. google-research/bert does not
    # correct them.
    bias_correction: bool = True
    grad_clip_norm: NotNegative = 1.0  # global norm; 0 turns clipping off
    # Parameters that are not trained: 'embeddings', or a number N for the embeddings and the lowest
    # N layers.
    freeze: Frozen = ''
    layer_decay: LayerDecay = 1.0  # a layer's learning rate divided by that of the layer above it


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Sizes of the mesh axes. One of them may be -1, which means the remaining devices."""

    data: int = setting(-1, FREE)  # splits the batch
    fsdp: int = setting(1, FREE)  # splits the batch, parameters and optimizer state
    tensor: int = setting(1, FREE)  # splits heads, MLP and vocabulary


class Phase(NamedTuple):
    """A part of pretraining with one batch shape.

    A configuration gives it as a tuple of the first four numbers, or as a dict, which may leave out
    all but `steps`.
    """

    steps: int
    max_seq_length: int = 128
    batch_size: int = 256  # sequences per step over all hosts and devices
    max_predictions_per_seq: int = 0  # 0: masked_lm_prob * max_seq_length, rounded up
    masked_lm_prob: float = 0.0  # 0: config.data.masked_lm_prob

    def __repr__(self) -> str:
        """The phase in the form of a configuration: '(900, 128, 256, 20)'."""
        return str(self.saved())

    def saved(self) -> tuple[Any, ...]:
        """The numbers that config.json stores. Older versions can read them if the masking rate is
        the default."""
        return tuple(self) if self.masked_lm_prob else tuple(self)[:-1]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    # (steps, max_seq_length, batch_size, max_predictions_per_seq) for each phase.
    phases: tuple[Phase, ...] = setting(
        (Phase(900_000, 128, 256, 20), Phase(100_000, 512, 256, 77)), PRETRAINING
    )
    epochs: PositiveFloat = setting(3.0, FINETUNING)  # each one ends with an evaluation, by default
    batch_size: Positive = setting(32, FINETUNING)  # rows per step over all devices
    seeds: Positive = setting(1, FINETUNING, FREE)  # the number of runs, each with its own seed
    # Task 'translate': the share of each target's probability that is spread evenly over the
    # vocabulary (Szegedy et al., 2016, section 7).
    label_smoothing: Probability = setting(0.0, FINETUNING, 'translate')
    best: bool = setting(False, FINETUNING)  # keep and score the best evaluation, not the last one
    # Fine-tuning ends after this many evaluations without a better main score, and keeps the best
    # one; 0 trains for all epochs.
    patience: Count = setting(0, FINETUNING, FREE)
    eval_steps: Count = setting(0, FINETUNING, FREE)  # steps between evaluations; 0: each epoch
    # The score that decides which evaluation and which seed is best; '' is the task's own.
    main_score: str = setting('', FINETUNING)
    # The step at which the run ends; 0: the sum over phases. It does not change the schedule.
    num_steps: int = setting(0, FREE)
    seed: Seed = 0  # for the initial parameters and dropout
    # 'auto' is rbg, or threefry2x32 on CPU and on several GPUs.
    prng_impl: Literal['auto', 'threefry2x32', 'rbg', 'unsafe_rbg'] = 'auto'
    accum_steps: Positive = setting(1, FREE)  # micro-batches per step; more save memory
    log_every: Positive = setting(100, FREE)  # steps between reports; fewer in short fine-tuning
    eval_every: Count = setting(10_000, PRETRAINING, FREE)  # steps; 0 evaluates only at the end
    checkpoint_every: Positive = setting(5_000, FREE)  # steps between checkpoints
    keep: Positive = setting(3, FREE)  # the number of checkpoints that stay; older ones are removed
    # If a loss or an update is not finite: stop the run, or skip the update.
    nonfinite: Literal['stop', 'skip'] = setting('stop', FREE)


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    batch_size: Count = setting(0, FREE)  # rows per batch; 0: as many as in training
    max_batches: Count = setting(0, PRETRAINING, FREE)  # 0 evaluates all held-out documents
    n_best: Positive = setting(20, FINETUNING, 'squad')  # candidate answers per question
    max_answer_length: Positive = setting(30, FINETUNING, 'squad')  # tokens
    # A question has no answer if the null score exceeds the best answer's score by more than this.
    null_threshold: float = setting(0.0, FINETUNING, 'squad')
    # Task 'translate': how texts are generated. 1 beam takes the most likely token at each place;
    # with several, the score of a text is the sum of its tokens' log-probabilities, divided by its
    # number of tokens raised to the power length_penalty.
    num_beams: Positive = setting(1, FINETUNING, FREE, 'translate')
    length_penalty: float = setting(1.0, FINETUNING, FREE, 'translate')
    # If true, a search ends when num_beams texts are complete, even if a better one may follow.
    early_stopping: bool = setting(False, FINETUNING, FREE, 'translate')
    # The smallest number of tokens in a generated text, including the end token.
    min_target_length: Count = setting(0, FINETUNING, FREE, 'translate')
    # No n-gram of this many tokens occurs twice in a generated text; 0 allows all repetitions.
    no_repeat_ngram_size: Count = setting(0, FINETUNING, FREE, 'translate')
    # With data.multi_label, the labels with a larger probability than this are predicted.
    threshold: Share = setting(0.5, FINETUNING)


@dataclasses.dataclass(frozen=True)
class DistillConfig:
    """Objective 'distill': a model learns from a larger one, the teacher (Sanh et al., 2019)."""

    # The teacher: a workdir, a converted folder or a folder of a Hugging Face checkpoint.
    teacher: str = setting('', PRETRAINING, FREE, 'distill')
    # The weight of the loss of the scores.
    kl_weight: NotNegative = setting(5.0, PRETRAINING, 'distill')
    # The weight of the masked-LM loss.
    mlm_weight: NotNegative = setting(2.0, PRETRAINING, 'distill')
    # The weight of the loss of the last hidden states. It needs a teacher of the same hidden_size.
    cosine_weight: NotNegative = setting(1.0, PRETRAINING, 'distill')
    # The scores of student and teacher are divided by it before the softmax.
    temperature: PositiveFloat = setting(2.0, PRETRAINING, 'distill')
    # The tokens at which the scores are compared. 'masked' computes about a sixth of the scores
    # that 'all' computes.
    positions: Literal['masked', 'all'] = setting('masked', PRETRAINING, 'distill')
    # If true, a new run starts from layers and embeddings of the teacher.
    init_from_teacher: bool = setting(True, PRETRAINING, FREE, 'distill')
    # The teacher's layers that the student starts from, in order. If empty, they are spread evenly
    # from the first to the last layer.
    layers: LayerNumbers = setting((), PRETRAINING, FREE, 'distill')


@dataclasses.dataclass(frozen=True)
class Config:
    model: ModelConfig = ModelConfig()  # noqa: RUF009, because it is frozen
    data: DataConfig = DataConfig()  # noqa: RUF009
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    distill: DistillConfig = DistillConfig()
    # Masked words, alone or with next sentences (BERT), the order of sentences (ALBERT), masked
    # words of pairs of translations (XLM) or the scores of a teacher (DistilBERT). 'plm' predicts
    # words in random orders (XLNet).
    objective: Literal['mlm+nsp', 'mlm', 'mlm+sop', 'mlm+tlm', 'distill', 'plm'] = setting(
        'mlm+nsp', PRETRAINING
    )
    # The workdir, the checkpoint or the model of the Hugging Face Hub that a new run starts from.
    init_from: str = setting('', FREE)
    # Task 'translate': the checkpoint that the decoder of a new run starts from; '': init_from.
    init_decoder_from: str = setting('', FINETUNING, FREE, 'translate')
    # The number of top layers that start from random values, together with the pooler.
    reinit_layers: int = 0

    @property
    def kind(self) -> Kind:
        """The kind of run: 'pretraining' or 'finetuning'."""
        return kind_of(self.data.task)

    @property
    def schedule_steps(self) -> int:
        """Steps that the learning-rate schedule spans: the sum over phases."""
        return sum(phase.steps for phase in self.train.phases)

    @property
    def num_steps(self) -> int:
        """Steps that the run takes."""
        return self.train.num_steps or self.schedule_steps

    @property
    def log_every(self) -> int:
        """Steps between reports: `train.log_every`, but a fine-tuning run, which may be short,
        reports at least twenty times."""
        if self.kind == 'pretraining':
            return self.train.log_every
        return min(self.train.log_every, max(self.num_steps // 20, 1))

    def padded(self) -> 'Config':
        """This configuration with a padded `model.vocab_size`."""
        model = dataclasses.replace(self.model, vocab_size=self.data.padded(self.model.vocab_size))
        return dataclasses.replace(self, model=model)

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts of plain values; `from_dict` reads them."""
        values = dataclasses.asdict(self)
        values['train']['phases'] = [list(phase.saved()) for phase in self.train.phases]
        return values

    def to_json(self) -> str:
        """The text of a config.json; `from_saved` reads it."""
        return json.dumps({'version': __version__} | self.to_dict(), indent=2) + '\n'


def kind_of(task: str) -> Kind:
    """The kind of run of a value of config.data.task."""
    return 'pretraining' if task == 'pretrain' else 'finetuning'


def default() -> ConfigDict:
    """The default configuration (BERT base as published), for `configs/` and flags to change.

    The ConfigDict raises an error if an unknown key or a value of the wrong type is set.
    """
    values = dataclasses.asdict(Config())
    values['train']['phases'] = tuple(phase.saved() for phase in TrainConfig.phases)
    values['model'] |= dict.fromkeys(RATES, INHERIT)  # only init_from has other values
    return ConfigDict(values)


def finetuning(task: str) -> ConfigDict:
    """The default configuration for fine-tuning, as in Devlin et al. (2019)."""
    config = default()
    config.data.task = task
    config.model.scan_unroll = 1  # one program per length is compiled; a rolled scan compiles fast
    config.optim.learning_rate = 5e-5
    config.optim.warmup_steps = 0  # use optim.warmup_fraction
    config.train.keep = 1
    return config
