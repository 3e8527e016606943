"""The configuration: frozen dataclasses, and an ml_collections.ConfigDict for files and flags.

A file in `configs/` takes `default()` or `finetuning()`, changes the values that differ and returns
it. Flags change single values (`--config.optim.learning_rate=1e-4`). `from_dict` turns the result
into a frozen, validated `Config`, which the rest of the code receives.
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
    Frozen,
    HeadDropout,
    LayerDecay,
    LayerNumbers,
    NotNegative,
    Positive,
    PositiveFloat,
    Probability,
    Seed,
    Shares,
    VocabSize,
    setting,
)

Kind = Literal['pretraining', 'finetuning']
# The families of models; `convert.families` has an entry for each.
ModelType = Literal[
    'bert',
    'roberta',
    'xlm-roberta',
    'camembert',
    'electra',
    'distilbert',
    'albert',
    'xlm',
    'flaubert',
    'modernbert',
]
ARCHITECTURE, INHERITED, FREE, PRETRAINING, FINETUNING = Fact


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The model. Fields have the names of config.json, where one of the families has a name."""

    vocab_size: VocabSize = setting(30522, ARCHITECTURE)  # a run uses its vocabulary's size
    hidden_size: Positive = setting(768, ARCHITECTURE)  # the width of a token's vector
    num_hidden_layers: Positive = setting(12, ARCHITECTURE)
    num_attention_heads: Positive = setting(12, ARCHITECTURE)  # they divide hidden_size
    intermediate_size: Positive = setting(3072, ARCHITECTURE)  # of the feed-forward network
    # 'gelu' is exact (erf); 'gelu_new' is the tanh approximation.
    hidden_act: Literal['gelu', 'gelu_new', 'relu'] = setting('gelu', ARCHITECTURE)
    hidden_dropout_prob: DropoutRate = 0.1  # after embeddings, attention and MLP
    attention_probs_dropout_prob: DropoutRate = 0.1  # needs attention='dense'
    max_position_embeddings: Positive = setting(512, ARCHITECTURE)
    type_vocab_size: Count = setting(2, ARCHITECTURE)  # token types or languages; 0: no table
    initializer_range: NotNegative = setting(0.02, ARCHITECTURE)  # standard deviation
    layer_norm_eps: NotNegative = setting(1e-12, ARCHITECTURE)
    model_type: ModelType = setting('bert', ARCHITECTURE)

    # The width of the embedding tables, from which a matrix maps to hidden_size (Lan et al., 2020,
    # section 3.1). 0: the tables have the width hidden_size, and there is no matrix.
    embedding_size: Count = setting(0, ARCHITECTURE)
    share_layers: bool = setting(False, ARCHITECTURE)  # one layer, applied num_hidden_layers times
    # 'absolute' is a learned table. 'sinusoidal' (Vaswani et al., 2017) and 'rotary' (Su et al.,
    # 2021) have no parameters.
    position_embedding_type: Literal['absolute', 'sinusoidal', 'rotary', 'none'] = setting(
        'absolute', ARCHITECTURE
    )
    # Rows at the start of the table of positions that no token uses, as RoBERTa's model has them.
    position_offset: Count = setting(0, ARCHITECTURE)
    # Normalization in front of attention and of the feed-forward network, not after them.
    pre_norm: bool = setting(False, ARCHITECTURE)
    # With pre_norm: the output is normalized, and the first layer's input is not, because the
    # embeddings are normalized already.
    final_norm: bool = setting(False, ARCHITECTURE)
    gated_mlp: bool = setting(False, ARCHITECTURE)  # the activation times a second projection
    attention_bias: bool = setting(True, ARCHITECTURE)
    mlp_bias: bool = setting(True, ARCHITECTURE)
    norm_bias: bool = setting(True, ARCHITECTURE)
    # If local_attention is not 0, tokens attend to the local_attention / 2 tokens on each side,
    # except in layers 0, n, 2 n, ... with n = global_attn_every_n_layers.
    local_attention: Count = setting(0, ARCHITECTURE)
    global_attn_every_n_layers: Positive = setting(3, ARCHITECTURE)
    global_rope_theta: PositiveFloat = setting(160_000.0, ARCHITECTURE)  # for rotary positions
    local_rope_theta: PositiveFloat = setting(10_000.0, ARCHITECTURE)
    layerdrop: Probability = 0.0  # the probability to skip a layer in training (Fan et al., 2020)
    attention_output_dropout: bool = True  # whether dropout follows attention

    # The dense layer, activation and normalization in front of the masked-LM decoder.
    masked_lm_transform: bool = setting(True, ARCHITECTURE)
    masked_lm_act: Literal['', 'gelu', 'gelu_new', 'relu'] = setting('', ARCHITECTURE)  # '': as act
    classifier_bias: bool = setting(True, ARCHITECTURE)  # of the dense layers of heads
    # The summary of a row that is classified: a token or the mean of all tokens, [dropout,] a dense
    # layer with an activation [and a normalization]. The pooler computes it.
    summary_type: Literal['first', 'mean'] = setting('first', ARCHITECTURE)
    summary_use_proj: bool = setting(True, ARCHITECTURE)  # whether there is a dense layer
    summary_activation: Literal['tanh', 'gelu', 'relu'] = setting('tanh', ARCHITECTURE)
    summary_norm: bool = setting(False, ARCHITECTURE)
    summary_dropout: bool = setting(False, ARCHITECTURE)  # whether dropout precedes it
    token_transform: bool = setting(False, ARCHITECTURE)  # the same layers for taggers and spans
    # Dropout in front of the scores of fine-tuned heads. -1: hidden_dropout_prob.
    classifier_dropout: HeadDropout = setting(-1.0, INHERITED)
    tagger_dropout: HeadDropout = setting(-1.0, INHERITED)
    span_dropout: HeadDropout = setting(0.0, INHERITED)
    # Whether the masked-LM decoder uses the table of word embeddings.
    tie_word_embeddings: bool = setting(True, PRETRAINING)
    dtype: Literal['auto', 'float32', 'bfloat16'] = 'auto'  # computation; 'auto': float32 on CPU
    # 'flash' is the device's own kernel; it has no dropout of attention probabilities.
    attention: Literal['dense', 'flash'] = setting('dense', FREE)
    # Which activations the backward pass recomputes: none, all but matrix products, or all.
    remat: Literal['none', 'dots', 'full'] = setting('none', FREE)
    # Layers per iteration of the scan over layers. 0 is all of them on CPU, 1 elsewhere.
    scan_unroll: Count = setting(0, FREE)

    @property
    def longest_row(self) -> int:
        """The number of tokens in the longest row."""
        return self.max_position_embeddings - self.position_offset

    @property
    def embedding_width(self) -> int:
        """The width of the embedding tables and of the input of the masked-LM decoder."""
        return self.embedding_size or self.hidden_size

    @property
    def stacked_layers(self) -> int:
        """The number of layers that have parameters of their own."""
        return 1 if self.share_layers else self.num_hidden_layers

    @property
    def has_types(self) -> bool:
        """Whether batches have token types. A single type is the same for all tokens."""
        return self.type_vocab_size > 1


@dataclasses.dataclass(frozen=True)
class DataConfig:
    # 'pretrain', a GLUE task (sst2, mrpc,cola, all, ...), 'text', 'squad' or 'ner'.
    task: str = 'pretrain'
    seed: int = 0  # for pairs, masks and the order of rows
    data_dir: str = setting('', FREE)  # the folder of TFDS; '' is its default
    cache_dir: str = setting('', FREE)  # for prepared stores; '' is $XDG_CACHE_HOME/bert_jax
    # A vocabulary's file (vocab.txt or a SentencePiece .model) or folder. '' trains a vocabulary in
    # pretraining and takes the vocabulary of init_from in fine-tuning.
    vocab_file: str = setting('', FREE)
    # The kind of a vocabulary that is trained: BERT's, RoBERTa's, ALBERT's, XLM's or FlauBERT's.
    tokenizer: Literal['wordpiece', 'byte_bpe', 'sentencepiece', 'xlm_bpe', 'flaubert_bpe'] = (
        setting('wordpiece', PRETRAINING, FREE)
    )
    # model.vocab_size is rounded up to a multiple of this, so that mesh.tensor divides it.
    pad_vocab_to_multiple_of: Positive = setting(1, FREE)
    lowercase: bool = setting(True, FREE)
    # Whether accents and other combining marks are removed. 'auto': if text is lowercased, as in
    # BERT. They are vowels in some scripts, such as Thai.
    strip_accents: Literal['auto', 'true', 'false'] = setting('auto', FREE)
    text_field: str = setting('text', FREE)  # in .jsonl records, TFDS examples, labelled files

    # 'text:FOLDER', 'text:GLOB', 'tfds:NAME[/CONFIG]:SPLIT', 'tokens:DIR' (a prepared store),
    # 'builtin' (English prose) or 'builtin:code' (Python's standard library).
    corpus: str = setting('builtin', PRETRAINING, FREE)
    # The end of a document in a text file.
    documents: Literal['blank_line', 'line', 'file'] = setting('blank_line', PRETRAINING, FREE)
    # 'split' splits prose into sentences; 'line' takes each line as a sentence.
    sentences: Literal['split', 'line'] = setting('split', PRETRAINING, FREE)
    language: str = setting('en', PRETRAINING, FREE)  # for the sentence splitter
    holdout: Probability = setting(0.02, PRETRAINING, FREE)  # share of documents for evaluation
    # A file or files of held-out text, in the form of `corpus`; '' holds out a share of `corpus`.
    eval_corpus: str = setting('', PRETRAINING, FREE)
    # Words to add to the vocabulary of init_from: 'word,word', or a file with a word on each line.
    add_tokens: str = setting('', PRETRAINING, FREE)
    masked_lm_prob: Probability = setting(0.15, PRETRAINING)
    # Shares of the chosen tokens: become the mask token, become another token, stay as they are.
    mask_shares: Shares = setting((0.8, 0.1, 0.1), PRETRAINING)
    whole_word_masking: bool = setting(False, PRETRAINING)
    # The most words that are masked together; more than 1 masks whole words, as in ALBERT.
    max_ngram: Positive = setting(1, PRETRAINING)
    # Objective 'mlm': whether a row that a document does not fill goes on with the next document.
    cross_documents: bool = setting(True, PRETRAINING)
    short_seq_prob: Probability = setting(0.1, PRETRAINING)
    random_next_prob: Probability = setting(0.5, PRETRAINING)
    static_copies: Count = setting(0, PRETRAINING)  # 0: new pairs and masks in every epoch
    # Lines with [MASK], separated by line breaks, that each evaluation fills in. Held-out lines of
    # the corpus come after them.
    examples: str = setting('', PRETRAINING, FREE)

    # For GLUE: the task's folder, the folder that holds all tasks' folders, or 'tfds'.
    dir: str = setting('', FINETUNING, FREE)
    train_file: str = setting('', FINETUNING, FREE)
    eval_file: str = setting('', FINETUNING, FREE)  # '' holds out a tenth of train_file
    test_file: str = setting('', FINETUNING, FREE)  # predicted at the end of training
    text_b_field: str = setting('text_b', FINETUNING)  # the second text, if texts are paired
    label_field: str = setting('label', FINETUNING)  # the column or key of the label
    regression: bool = setting(False, FINETUNING)  # labels of the task 'text' are numbers
    max_seq_length: int = setting(128, FINETUNING)  # tokens; a batch is padded to its longest row
    group_by_length: bool = setting(True, FINETUNING)  # less padding, but less random batches
    doc_stride: Positive = setting(128, FINETUNING)  # tokens between windows of a long context
    max_query_length: Positive = setting(64, FINETUNING)  # tokens of a question that are kept
    max_train_examples: Count = setting(0, FINETUNING)  # a random subset of this size; 0: all

    @property
    def strips_accents(self) -> bool | None:
        """`strip_accents` for `tokenizer.load`; None is 'auto'."""
        return {'auto': None, 'true': True, 'false': False}[self.strip_accents]

    def padded(self, vocab_size: int) -> int:
        """`vocab_size`, rounded up to a multiple of `pad_vocab_to_multiple_of`."""
        return -(-vocab_size // self.pad_vocab_to_multiple_of) * self.pad_vocab_to_multiple_of


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    name: Literal['adamw', 'lamb'] = 'adamw'  # 'lamb' is for very large batches
    learning_rate: NotNegative = 1e-4  # the peak
    # How the learning rate changes after the linear warm-up.
    schedule: Literal['linear', 'cosine', 'constant', 'polynomial', 'inverse_sqrt'] = 'linear'
    warmup_steps: int = 10_000  # in fine-tuning, 0 means warmup_fraction of the steps
    warmup_fraction: Probability = setting(0.1, FINETUNING)  # used if warmup_steps is 0
    end_learning_rate: NotNegative = 0.0  # for the schedules linear, cosine and polynomial
    power: NotNegative = 2.0  # for the polynomial schedule
    weight_decay: NotNegative = 0.01  # decoupled; not applied to biases and layer norms
    beta1: Probability = 0.9  # decay of the mean of the gradients
    beta2: Probability = 0.999  # decay of the mean of their squares
    eps: PositiveFloat = 1e-6
    bias_correction: bool = True  # False as in google-research/bert
    grad_clip_norm: NotNegative = 1.0  # global norm; 0 turns clipping off
    # 'embeddings', or a number of layers: the embeddings and so many of the lowest layers are not
    # trained.
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

    def saved(self) -> tuple[Any, ...]:
        """The numbers for a config.json, which older versions read if the rate is the default."""
        return tuple(self) if self.masked_lm_prob else tuple(self)[:-1]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    # (steps, max_seq_length, batch_size, max_predictions_per_seq) for each phase.
    phases: tuple[Phase, ...] = setting(
        (Phase(900_000, 128, 256, 20), Phase(100_000, 512, 256, 77)), PRETRAINING
    )
    epochs: PositiveFloat = setting(3.0, FINETUNING)  # each one ends with an evaluation
    batch_size: Positive = setting(32, FINETUNING)  # rows per step over all devices
    seeds: Positive = setting(1, FINETUNING, FREE)  # runs, with `seed`, `seed` + 1, ...
    best: bool = setting(False, FINETUNING)  # keep and score the best epoch instead of the last
    # The step at which the run ends; 0: the sum over phases. It does not change the schedule.
    num_steps: int = setting(0, FREE)
    seed: Seed = 0  # for the initial parameters and dropout
    # 'auto' is rbg, or threefry2x32 on CPU and on several GPUs.
    prng_impl: Literal['auto', 'threefry2x32', 'rbg', 'unsafe_rbg'] = 'auto'
    accum_steps: Positive = setting(1, FREE)  # micro-batches per step
    log_every: Positive = setting(100, FREE)  # steps; less in a short fine-tuning run
    eval_every: Count = setting(10_000, PRETRAINING, FREE)  # steps; 0: only at the end
    checkpoint_every: Positive = setting(5_000, FREE)  # steps
    keep: Positive = setting(3, FREE)  # checkpoints
    # If a loss or an update is not finite: stop the run, or skip the update.
    nonfinite: Literal['stop', 'skip'] = setting('stop', FREE)


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    batch_size: Count = setting(0, FREE)  # sequences; 0: as in training
    max_batches: Count = setting(0, PRETRAINING, FREE)  # 0: all held-out documents
    n_best: Positive = setting(20, FINETUNING)  # candidate answers per question
    max_answer_length: Positive = setting(30, FINETUNING)  # tokens
    # A question has no answer if the null score exceeds the best answer's score by more than this.
    null_threshold: float = setting(0.0, FINETUNING)


@dataclasses.dataclass(frozen=True)
class DistillConfig:
    """Objective 'distill': a model learns from a larger one, the teacher (Sanh et al., 2019)."""

    # The teacher: a workdir, a converted folder or a folder of a Hugging Face checkpoint.
    teacher: str = setting('', PRETRAINING, FREE)
    # Weights of the three losses: scores of the words, masked words, last hidden states.
    kl_weight: NotNegative = setting(5.0, PRETRAINING)
    mlm_weight: NotNegative = setting(2.0, PRETRAINING)
    cosine_weight: NotNegative = setting(1.0, PRETRAINING)  # needs the teacher's hidden_size
    # The scores of student and teacher are divided by it before the softmax.
    temperature: PositiveFloat = setting(2.0, PRETRAINING)
    # Where their scores are compared. 'all' tokens cost as many scores as the batch has tokens,
    # 'masked' ones about a sixth of that.
    positions: Literal['masked', 'all'] = setting('masked', PRETRAINING)
    # Whether a new run starts from layers and embeddings of the teacher.
    init_from_teacher: bool = setting(True, PRETRAINING, FREE)
    # The teacher's layers that it starts from, in order; empty: evenly from first to last.
    layers: LayerNumbers = setting((), PRETRAINING, FREE)


@dataclasses.dataclass(frozen=True)
class Config:
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    distill: DistillConfig = DistillConfig()
    # Masked words, alone or with next sentences (BERT), the order of sentences (ALBERT) or the
    # scores of a teacher (DistilBERT).
    objective: Literal['mlm+nsp', 'mlm', 'mlm+sop', 'distill'] = setting('mlm+nsp', PRETRAINING)
    init_from: str = setting('', FREE)  # the workdir or checkpoint a new run starts from
    # How many of the top layers start from random values, together with the pooler.
    reinit_layers: int = setting(0, FREE)

    @property
    def kind(self) -> Kind:
        """The kind of run: 'pretraining' or 'finetuning'."""
        return kind_of(self.data.task)

    @property
    def min_documents(self) -> int:
        """The documents that each split needs: a random second text is of another document."""
        return 2 if self.objective == 'mlm+nsp' else 1

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
