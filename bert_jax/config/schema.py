"""The configuration: frozen dataclasses, and an ml_collections.ConfigDict for files and flags.

A file in `configs/` takes `default()` or `finetuning()`, changes the values that differ and returns
it. Flags change single values (`--config.optim.learning_rate=1e-4`). `from_config_dict` turns the
result into a frozen, validated `Config`, which the rest of the code receives.
"""

import dataclasses
import json
from typing import Any, Literal, NamedTuple

from ml_collections import ConfigDict

from bert_jax import __version__
from bert_jax.config.fields import (
    Count,
    DropoutRate,
    Fact,
    LayerDecay,
    NotNegative,
    Positive,
    PositiveFloat,
    Probability,
    Seed,
    VocabSize,
    setting,
)

Kind = Literal['pretraining', 'finetuning']
ARCHITECTURE, FREE_ON_RESUME, PRETRAINING, FINETUNING = Fact


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Field names are those of BERT's config.json."""

    # Tokens. A run replaces it by the size of its vocabulary.
    vocab_size: VocabSize = setting(30522, ARCHITECTURE)
    hidden_size: Positive = setting(768, ARCHITECTURE)
    num_hidden_layers: Positive = setting(12, ARCHITECTURE)
    num_attention_heads: Positive = setting(12, ARCHITECTURE)
    intermediate_size: Positive = setting(3072, ARCHITECTURE)
    # 'gelu' is exact (erf); 'gelu_new' is the tanh approximation.
    hidden_act: Literal['gelu', 'gelu_new', 'relu'] = setting('gelu', ARCHITECTURE)
    hidden_dropout_prob: DropoutRate = 0.1
    attention_probs_dropout_prob: DropoutRate = 0.1
    max_position_embeddings: Positive = setting(512, ARCHITECTURE)
    type_vocab_size: Positive = setting(2, ARCHITECTURE)
    # The standard deviation of the truncated normal distribution.
    initializer_range: NotNegative = setting(0.02, ARCHITECTURE)
    layer_norm_eps: NotNegative = setting(1e-12, ARCHITECTURE)
    # The masked-LM decoder uses the table of word embeddings.
    tie_word_embeddings: bool = setting(True, PRETRAINING)
    # The compute type. 'auto' is bfloat16 on TPU and GPU, float32 on CPU.
    dtype: Literal['auto', 'float32', 'bfloat16'] = 'auto'
    # 'flash' is the device's own kernel; it has no dropout of attention probabilities.
    attention: Literal['dense', 'flash'] = setting('dense', FREE_ON_RESUME)
    # Which activations the backward pass recomputes: none, all but matrix products, or all.
    remat: Literal['none', 'dots', 'full'] = setting('none', FREE_ON_RESUME)
    # Layers per iteration of the scan over layers. 0 is all of them on CPU, 1 elsewhere.
    scan_unroll: Count = setting(0, FREE_ON_RESUME)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    # 'pretrain', a GLUE task (sst2, mrpc,cola, all, ...), 'text', 'squad' or 'ner'.
    task: str = 'pretrain'
    seed: int = 0  # of pairs, masks and the order of rows
    data_dir: str = setting('', FREE_ON_RESUME)  # where TFDS keeps its data; '' is TFDS's default
    # Where prepared stores and copies go; '' is $XDG_CACHE_HOME/bert_jax.
    cache_dir: str = setting('', FREE_ON_RESUME)
    # vocab.txt or a SentencePiece .model. '' trains a WordPiece vocabulary in pretraining and takes
    # the vocabulary of init_from in fine-tuning.
    vocab_file: str = setting('', FREE_ON_RESUME)
    pad_vocab_to_multiple_of: Positive = 1  # rows of the token table; mesh.tensor has to divide it
    # Also strips accents, as BERT's uncased models do.
    lowercase: bool = setting(True, FREE_ON_RESUME)
    # The field of .jsonl records, of TFDS examples and of labelled files that holds the text.
    text_field: str = setting('text', FREE_ON_RESUME)

    # 'builtin', 'text:GLOB', 'tfds:NAME[/CONFIG]:SPLIT' or 'tokens:DIR'.
    corpus: str = setting('builtin', PRETRAINING, FREE_ON_RESUME)
    # What ends a document in a text file: a blank line, or the end of the file.
    documents: Literal['blank_line', 'file'] = setting('blank_line', PRETRAINING, FREE_ON_RESUME)
    # 'split' splits prose into sentences; 'line' takes each line as a sentence.
    sentences: Literal['split', 'line'] = setting('split', PRETRAINING, FREE_ON_RESUME)
    language: str = setting('en', PRETRAINING, FREE_ON_RESUME)  # for the sentence splitter
    # The share of the documents that is held out for evaluation.
    holdout: Probability = setting(0.02, PRETRAINING, FREE_ON_RESUME)
    masked_lm_prob: Probability = setting(0.15, PRETRAINING)
    whole_word_masking: bool = setting(False, PRETRAINING)
    short_seq_prob: Probability = setting(0.1, PRETRAINING)
    random_next_prob: Probability = setting(0.5, PRETRAINING)
    # 0 draws new pairs and masks in every epoch; n > 0 reuses n fixed copies.
    static_copies: Count = setting(0, PRETRAINING)

    # For GLUE: the task's folder, the folder that holds all tasks' folders, or 'tfds'.
    dir: str = setting('', FINETUNING, FREE_ON_RESUME)
    train_file: str = setting('', FINETUNING, FREE_ON_RESUME)
    eval_file: str = setting('', FINETUNING, FREE_ON_RESUME)
    test_file: str = setting('', FINETUNING, FREE_ON_RESUME)  # predicted at the end of training
    text_b_field: str = setting('text_b', FINETUNING)  # the second text, if texts are paired
    label_field: str = setting('label', FINETUNING)
    regression: bool = setting(False, FINETUNING)  # labels of the task 'text' are numbers
    max_seq_length: int = setting(128, FINETUNING)  # tokens; a batch is padded to its longest row
    group_by_length: bool = setting(True, FINETUNING)  # less padding, but less random batches
    doc_stride: Positive = setting(128, FINETUNING)  # tokens between windows of a long context
    max_query_length: Positive = setting(64, FINETUNING)  # tokens of a question that are kept
    max_train_examples: Count = setting(0, FINETUNING)  # a random subset of this size; 0: all

    def padded(self, vocab_size: int) -> int:
        """`vocab_size`, rounded up to a multiple of `pad_vocab_to_multiple_of`."""
        return -(-vocab_size // self.pad_vocab_to_multiple_of) * self.pad_vocab_to_multiple_of


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    name: Literal['adamw', 'lamb'] = 'adamw'
    learning_rate: NotNegative = 1e-4  # the peak
    # What follows the linear warm-up.
    schedule: Literal['linear', 'cosine', 'constant', 'polynomial', 'inverse_sqrt'] = 'linear'
    warmup_steps: int = 10_000  # in fine-tuning, 0 stands for warmup_fraction of the steps
    warmup_fraction: Probability = setting(0.1, FINETUNING)  # counts if warmup_steps is 0
    end_learning_rate: NotNegative = 0.0  # of the schedules linear, cosine and polynomial
    power: NotNegative = 2.0  # of the polynomial schedule
    weight_decay: NotNegative = 0.01  # decoupled; not applied to biases and layer norms
    beta1: Probability = 0.9
    beta2: Probability = 0.999
    eps: PositiveFloat = 1e-6
    bias_correction: bool = True  # False as in google-research/bert
    grad_clip_norm: NotNegative = 1.0  # global norm; 0 turns clipping off
    layer_decay: LayerDecay = 1.0  # times the learning rate of the layer above gives a layer's


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Sizes of the mesh axes. One of them may be -1, which takes the remaining devices."""

    data: int = setting(-1, FREE_ON_RESUME)  # splits the batch
    fsdp: int = setting(1, FREE_ON_RESUME)  # splits the batch, parameters and optimizer state
    tensor: int = setting(1, FREE_ON_RESUME)  # splits heads, MLP and vocabulary


class Phase(NamedTuple):
    """A part of pretraining with one batch shape."""

    steps: int
    max_seq_length: int
    batch_size: int  # sequences per step over all hosts and devices
    max_predictions_per_seq: int


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    phases: tuple[Phase, ...] = setting(
        (Phase(900_000, 128, 256, 20), Phase(100_000, 512, 256, 77)), PRETRAINING
    )
    epochs: PositiveFloat = setting(3.0, FINETUNING)  # each one ends with an evaluation
    batch_size: Positive = setting(32, FINETUNING)
    seeds: Positive = setting(1, FINETUNING, FREE_ON_RESUME)  # runs, with `seed`, `seed` + 1, ...
    best: bool = setting(False, FINETUNING)  # keep and score the best epoch instead of the last
    # 0 is the sum over phases; fewer steps end the run early with the same schedule.
    num_steps: int = setting(0, FREE_ON_RESUME)
    seed: Seed = 0  # of the initial parameters and dropout
    # JAX's generator. 'auto' is rbg, or threefry2x32 on CPU and on several GPUs.
    prng_impl: Literal['auto', 'threefry2x32', 'rbg', 'unsafe_rbg'] = 'auto'
    accum_steps: Positive = setting(1, FREE_ON_RESUME)  # micro-batches per step
    log_every: Positive = setting(100, FREE_ON_RESUME)  # steps
    # Steps; 0 evaluates only at the end.
    eval_every: Count = setting(10_000, PRETRAINING, FREE_ON_RESUME)
    checkpoint_every: Positive = setting(5_000, FREE_ON_RESUME)  # steps
    keep: Positive = setting(3, FREE_ON_RESUME)  # checkpoints
    # On a loss or gradient that is not finite: stop the run, or skip the update.
    nonfinite: Literal['stop', 'skip'] = setting('stop', FREE_ON_RESUME)


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    batch_size: Count = setting(0, FREE_ON_RESUME)  # sequences; 0: as in training
    # 0 takes all of the held-out documents.
    max_batches: Count = setting(0, PRETRAINING, FREE_ON_RESUME)
    n_best: Positive = setting(20, FINETUNING)  # candidate answers per question
    max_answer_length: Positive = setting(30, FINETUNING)  # tokens
    # A question has no answer if the null score exceeds the best answer's score by more than this.
    null_threshold: float = setting(0.0, FINETUNING)


@dataclasses.dataclass(frozen=True)
class Config:
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    init_from: str = setting('', FREE_ON_RESUME)  # the workdir or checkpoint a new run starts from
    reinit_layers: int = 0  # this many top layers of init_from, and its pooler, start fresh

    @property
    def kind(self) -> Kind:
        """The kind of run: 'pretraining' or 'finetuning'."""
        return 'pretraining' if self.data.task == 'pretrain' else 'finetuning'

    @property
    def schedule_steps(self) -> int:
        """Steps that the learning-rate schedule spans: the sum over phases."""
        return sum(phase.steps for phase in self.train.phases)

    @property
    def num_steps(self) -> int:
        """Steps that the run takes."""
        return self.train.num_steps or self.schedule_steps

    def padded(self) -> 'Config':
        """This configuration with `model.vocab_size` padded as a run pads the token table."""
        model = dataclasses.replace(self.model, vocab_size=self.data.padded(self.model.vocab_size))
        return dataclasses.replace(self, model=model)

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts of plain values; `from_dict` reads them."""
        values = dataclasses.asdict(self)
        values['train']['phases'] = [list(phase) for phase in self.train.phases]
        return values

    def to_json(self) -> str:
        """The text of a config.json; `from_saved` reads it."""
        return json.dumps({'version': __version__} | self.to_dict(), indent=2) + '\n'


def default() -> ConfigDict:
    """The default configuration (BERT base as published), for `configs/` and flags to change.

    The ConfigDict raises an error if an unknown key or a value of the wrong type is set.
    """
    values = dataclasses.asdict(Config())
    values['train']['phases'] = tuple(tuple(phase) for phase in TrainConfig.phases)
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
