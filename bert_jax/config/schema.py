"""The configuration: frozen dataclasses inside, an ml_collections.ConfigDict at the flag edge.

A file in `configs/` takes `default()`, changes the few values that differ and returns it; flags
change single values (`--config.optim.learning_rate=1e-4`); `from_config_dict` turns the result
into a frozen, validated `Config`, which is what the rest of the code sees.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Field names are those of BERT's config.json."""

    vocab_size: int = 30522  # tokens; a vocabulary trained or read replaces it by its own size
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = 'gelu'  # 'gelu' is exact (erf); 'gelu_new' is the tanh approximation
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02  # standard deviation of the truncated normal
    layer_norm_eps: float = 1e-12
    tie_word_embeddings: bool = True  # the masked-LM decoder's table is the word embeddings
    dtype: str = 'auto'  # compute type; 'auto': bfloat16 on TPU and GPU, float32 on CPU
    attention: str = 'dense'  # 'flash': the device's own kernel, without dropout of probabilities
    remat: str = 'none'  # what the backward pass recomputes: 'none', 'dots' or 'full'
    scan_unroll: int = 0  # layers per iteration of the scan over them; 0: all on CPU, 1 elsewhere


@dataclasses.dataclass(frozen=True)
class DataConfig:
    task: str = 'pretrain'  # or of GLUE (sst2, mrpc,cola, all...), 'text', 'squad', 'ner'
    # For pretraining:
    corpus: str = 'builtin'  # 'builtin', 'text:GLOB', 'tfds:NAME[/CONFIG]:SPLIT', 'tokens:DIR'
    data_dir: str = ''  # where TFDS keeps its data; '' is TFDS's own default
    cache_dir: str = ''  # where prepared stores go; '' is $XDG_CACHE_HOME/bert_jax
    vocab_file: str = ''  # vocab.txt or a SentencePiece .model; '' trains a WordPiece vocabulary
    pad_vocab_to_multiple_of: int = 1  # rows of the model's table; mesh.tensor wants a multiple
    lowercase: bool = True  # also strips accents, as BERT's uncased models do
    text_field: str = 'text'  # field of .jsonl records and of TFDS examples
    documents: str = 'blank_line'  # what ends a document in a text file: 'blank_line' or 'file'
    sentences: str = 'split'  # 'split': prose, split into sentences; 'line': one sentence per line
    language: str = 'en'  # of the prose, for the sentence splitter
    holdout: float = 0.02  # share of the documents held out for evaluation
    seed: int = 0  # of pairs, masks and order
    masked_lm_prob: float = 0.15
    whole_word_masking: bool = False
    short_seq_prob: float = 0.1
    random_next_prob: float = 0.5
    static_copies: int = 0  # 0 draws pairs and masks anew every epoch; n > 0 reuses n fixed copies
    # For fine-tuning:
    dir: str = ''  # of GLUE tasks: the task's folder, or the one with all their folders; 'tfds'
    train_file: str = ''
    eval_file: str = ''
    test_file: str = ''  # predictions are written for it when training is done
    text_b_field: str = 'text_b'  # columns of the user's own files; `text_field` is the first
    label_field: str = 'label'
    regression: bool = False  # of the user's own files: labels are numbers to come close to
    max_seq_length: int = 128  # tokens; batches are as long as their longest row needs
    group_by_length: bool = True  # batches of rows of like length: less padding, less mixed
    doc_stride: int = 128  # tokens from window to window of a long context, of questions
    max_query_length: int = 64  # tokens of a question that are kept
    max_train_examples: int = 0  # a random part of the training examples; 0: all

    def padded(self, vocab_size: int) -> int:
        """Rounded up to `pad_vocab_to_multiple_of`."""
        return -(-vocab_size // self.pad_vocab_to_multiple_of) * self.pad_vocab_to_multiple_of


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    name: str = 'adamw'  # or 'lamb'
    learning_rate: float = 1e-4  # the peak
    schedule: str = 'linear'  # after warm-up: linear, cosine, constant, polynomial, inverse_sqrt
    warmup_steps: int = 10_000
    warmup_fraction: float = 0.1  # of the steps, in its place when fine-tuning
    end_learning_rate: float = 0.0
    power: float = 2.0  # of the polynomial schedule
    weight_decay: float = 0.01  # decoupled; none on biases and layer norms
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-6
    bias_correction: bool = True  # False as in google-research/bert
    grad_clip_norm: float = 1.0  # global norm; 0 switches clipping off
    layer_decay: float = 1.0  # each layer's rate by that of the layer above it


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Sizes of the mesh axes; one of them may be -1: whatever devices are left."""

    data: int = -1  # splits the batch
    fsdp: int = 1  # splits the batch, parameters and optimizer state
    tensor: int = 1  # splits heads, MLP and vocabulary, and the work on them


class Phase(NamedTuple):
    """A stretch of training with one batch shape."""

    steps: int
    max_seq_length: int
    batch_size: int  # sequences per step over all hosts and devices
    max_predictions_per_seq: int


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    phases: tuple[Phase, ...] = (Phase(900_000, 128, 256, 20), Phase(100_000, 512, 256, 77))
    epochs: float = 3.0  # when fine-tuning; `phases` and how often to evaluate follow from it
    batch_size: int = 32  # when fine-tuning
    seeds: int = 1  # when fine-tuning: that many runs, from `seed` up
    best: bool = False  # when fine-tuning: score and keep the best epoch instead of the last
    num_steps: int = 0  # 0: the sum over phases; fewer end the run early, same schedule
    seed: int = 0  # of initial parameters and dropout
    prng_impl: str = 'auto'  # threefry2x32, rbg or unsafe_rbg; 'auto': rbg, threefry2x32 on CPU
    accum_steps: int = 1  # micro-batches per step
    log_every: int = 100  # steps
    eval_every: int = 10_000  # steps; 0: only at the end
    checkpoint_every: int = 5_000  # steps
    keep: int = 3  # checkpoints
    nonfinite: str = 'stop'  # on a NaN or infinite loss or gradient: 'stop' or 'skip' the update


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    batch_size: int = 0  # sequences; 0: the phase's
    max_batches: int = 0  # 0: all of the held-out documents
    n_best: int = 20  # answers looked at for a question
    max_answer_length: int = 30  # tokens
    null_threshold: float = 0.0  # no answer where its score is more than this above the best one's


@dataclasses.dataclass(frozen=True)
class Config:
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    init_from: str = ''  # workdir or checkpoint whose parameters start a fresh run
    reinit_layers: int = 0  # so many top layers, and the pooler, start afresh all the same

    @property
    def schedule_steps(self) -> int:
        """Steps the learning-rate schedule spans: the sum over phases."""
        return sum(phase.steps for phase in self.train.phases)

    @property
    def num_steps(self) -> int:
        """Steps the run takes."""
        return self.train.num_steps or self.schedule_steps

    def padded(self) -> 'Config':
        """With the model's table as long as a run makes it for a vocabulary of `vocab_size`."""
        model = dataclasses.replace(self.model, vocab_size=self.data.padded(self.model.vocab_size))
        return dataclasses.replace(self, model=model)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dicts, ready for JSON; `from_dict` reads them back."""
        values = dataclasses.asdict(self)
        values['train']['phases'] = [list(phase) for phase in self.train.phases]
        return values

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + '\n'


def default() -> ConfigDict:
    """The default configuration (BERT base as published) in the form that `configs/` and flags
    change. Unknown keys and wrong types raise when they are set."""
    values = dataclasses.asdict(Config())
    values['train']['phases'] = tuple(tuple(phase) for phase in TrainConfig.phases)
    return ConfigDict(values)


def model_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """The model alone, its values not yet checked together. Raises ValueError naming the key."""
    model: ModelConfig = build(ModelConfig, values, 'config.model')
    return model


def build(cls: Any, values: Mapping[str, Any], path: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if not isinstance(values, Mapping):
        raise ValueError(f'{path} is {values!r}; expected its keys and values')
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1, cutoff=0.0)
            raise ValueError(
                f'{path}.{key} is not a configuration key; did you mean {path}.{near[0]}?'
            )
    built = {}
    for key, value in values.items():
        kind = fields[key].type
        if dataclasses.is_dataclass(kind):
            built[key] = build(kind, value, f'{path}.{key}')
        elif key == 'phases':
            built[key] = _phases(value, f'{path}.{key}')
        else:
            built[key] = _scalar(kind, value, f'{path}.{key}')
    return cls(**built)


def _scalar(kind: Any, value: Any, path: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f'{path} must be {kind.__name__}, not {value!r} ({type(value).__name__})')
    if kind is float and not math.isfinite(value):
        raise ValueError(f'{path} must be a finite number, not {value}')
    return value


def _phases(value: Any, path: str) -> tuple[Phase, ...]:
    names = ', '.join(Phase._fields)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f'{path} must be a list of ({names}), not {value!r}')
    for i, phase in enumerate(value):
        whole = isinstance(phase, list | tuple) and all(type(n) is int and n > 0 for n in phase)
        if not whole or len(phase) != len(Phase._fields):
            raise ValueError(f'{path}[{i}] must be positive integers ({names}), not {phase!r}')
    return tuple(Phase(*phase) for phase in value)


def flat(values: dict, prefix: str = '') -> dict:
    """Nested dicts as one, with keys like `model.hidden_size`."""
    found: dict = {}
    for key, value in values.items():
        nested = isinstance(value, dict)
        found |= flat(value, f'{prefix}{key}.') if nested else {prefix + key: value}
    return found
