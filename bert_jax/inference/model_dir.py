"""A trained model as it lies on disk: a workdir, or a folder that `bert_jax.convert` wrote."""

import dataclasses
import json
import pathlib
from typing import Any

import jax
import numpy as np
from etils import epath
from flax import linen as nn

from bert_jax.config import Config, DataConfig, EvalConfig, ModelConfig, from_saved
from bert_jax.data.tokenizers import tokenizer
from bert_jax.models.heads import HeadedEncoder, heads_in
from bert_jax.models.inputs import EncoderInputs
from bert_jax.parallel.sharding import path_name
from bert_jax.training import checkpoint
from bert_jax.training.initialization import VOCABULARY_TABLES

CONFIG = 'config.json'


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """params: a tree of float32 arrays. vocabulary: None where the folder has none. data, eval:
    of the run it comes from. labels: of the classifier or tagger, by id. pairs: whether it was
    fine-tuned on pairs of texts, None if unknown. no_answer: whether questions may have no
    answer."""

    config: ModelConfig
    heads: tuple[str, ...]
    params: Any
    vocabulary: tokenizer.Tokenizer | None
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    labels: tuple[str, ...] = ()
    pairs: bool | None = None
    no_answer: bool = False

    @property
    def model(self) -> HeadedEncoder:
        return HeadedEncoder(self.config, self.heads, max(len(self.labels), 1))

    def unpadded(self) -> 'Pretrained':
        """The model without the rows that config.data.pad_vocab_to_multiple_of added to its
        vocabulary tables. Other rows beyond the vocabulary belong to the model and stay."""
        size = self.vocabulary.vocab_size if self.vocabulary else self.config.vocab_size
        if self.data.pad_vocab_to_multiple_of == 1 or (
            self.data.padded(size) != self.config.vocab_size
        ):
            return self
        params = jax.tree_util.tree_map_with_path(
            lambda path, x: x[:size] if path_name(path) in VOCABULARY_TABLES else x, self.params
        )
        config = dataclasses.replace(self.config, vocab_size=size)
        return dataclasses.replace(self, config=config, params=params)

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by path, on the host."""
        leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(self.params))
        return {path_name(path): x for path, x in leaves}


def abstract_params(config: ModelConfig, heads: tuple[str, ...], num_labels: int = 1) -> Any:
    """Shapes and dtypes of the parameters of such a model."""
    model = HeadedEncoder(config, heads, num_labels)
    return nn.unbox(jax.eval_shape(model.init, jax.random.key(0), EncoderInputs.example()))[
        'params'
    ]


def load(directory: epath.PathLike, sharding: jax.sharding.Sharding | None = None) -> Pretrained:
    """The newest checkpoint of a workdir, or a converted folder, with the heads that it has.

    Raises ValueError where there is none or it is damaged.
    """
    folder = epath.Path(directory).expanduser()
    config, vocabulary = read_config(folder)
    heads = heads_in(checkpoint.saved_params(folder))
    task = _task(folder)
    labels = tuple(task.get('labels', ()))
    no_answer = task.get('no_answer', False)
    if labels == ('no_answer',):  # how workdirs of before marked SQuAD 2.0
        labels, no_answer = (), True
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract_params(config.model, heads, max(len(labels), 1)),
    )
    params = checkpoint.load_params(folder, abstract)
    return Pretrained(
        config.model,
        heads,
        params,
        vocabulary,
        config.data,
        config.eval,
        labels,
        task.get('pairs'),
        no_answer,
    )


def save(
    directory: pathlib.Path, config: Config, params: Any, vocabulary: tokenizer.Tokenizer | None
) -> None:
    """Writes a folder that `load` and config.init_from read."""
    (directory / CONFIG).write_text(config.to_json())
    if vocabulary is not None:
        vocabulary.save(directory)
    checkpoint.save_params(directory, params)


def read_config(directory: epath.PathLike) -> tuple[Config, tokenizer.Tokenizer | None]:
    """The configuration and the vocabulary of a workdir or a converted folder. Raises ValueError
    where it is neither."""
    folder = epath.Path(directory).expanduser()
    if not (folder / CONFIG).exists():
        found = (*folder.glob(f'*/{CONFIG}'), *folder.glob(f'*/*/{CONFIG}'))  # of tasks and seeds
        if runs := sorted(str(path.parent) for path in found):
            raise ValueError(
                f'{folder} has no {CONFIG}; it holds {", ".join(runs)}, give one of them'
            )
        wrong = f'has no {CONFIG}' if folder.exists() else 'does not exist'
        raise ValueError(
            f'{folder} {wrong}: give a workdir, or a folder written by python -m bert_jax.convert'
        )
    config = _config(folder / CONFIG)
    return config, _vocabulary(folder, config)


def check_vocabulary(config: Config, vocabulary: tokenizer.Tokenizer) -> int:
    """The vocab_size of a model to pretrain: the vocabulary's, or that of init_from's table if it
    is larger, padded.

    Raises ValueError if the parameters of init_from were trained with other token ids or in a
    model that computes something else.
    """
    source = epath.Path(config.init_from).expanduser()
    for name, content in vocabulary.files.items() if config.init_from else ():
        there = source / name
        if there.exists() and there.read_bytes() != content:
            raise ValueError(
                f'config.init_from={config.init_from} has another vocabulary than the corpus; '
                f'tokenise the text with it: --config.data.vocab_file={there}'
            )
    if not config.init_from or not (source / CONFIG).exists():
        return config.data.padded(vocabulary.vocab_size)
    start, theirs = read_config(source)
    compared = {
        f'model.{name}': (getattr(start.model, name), getattr(config.model, name))
        for name in ('hidden_act', 'layer_norm_eps')
    }
    if theirs is not None:
        compared['data.lowercase'] = theirs.lowercase, vocabulary.lowercase
    for key, (value, mine) in compared.items():
        if value != mine:
            raise ValueError(
                f'config.init_from={config.init_from} was trained with {key} {value!r}, not '
                f'{mine!r}: --config.{key}={value}'
            )
    return config.data.padded(max(start.model.vocab_size, vocabulary.vocab_size))


def _config(path: epath.Path) -> Config:
    try:
        values = json.loads(path.read_text())
        if isinstance(values, dict) and 'hidden_size' in values:  # ours has it under 'model'
            raise ValueError(
                "it is transformers'; make a folder of ours from it: python -m bert_jax.convert "
                f'--from=hf --input={path.parent} --output=DIR'
            )
        return from_saved(values, path)
    except ValueError as error:
        raise ValueError(f'{path} is not a configuration of bert_jax: {error}') from error


def _task(folder: epath.Path) -> dict[str, Any]:
    """What a workdir of fine-tuning notes of its data."""
    path = folder / 'corpus.json'
    return json.loads(path.read_text()) if path.exists() else {}


def _vocabulary(folder: epath.Path, config: Config) -> tokenizer.Tokenizer | None:
    lowercase = config.data.lowercase
    if (folder / 'corpus.json').exists():  # of a workdir: what the corpus was in fact made with
        lowercase = json.loads((folder / 'corpus.json').read_text())['lowercase']
    if not any((folder / name).exists() for name in ('vocab.txt', 'tokenizer.model')):
        return None
    return tokenizer.load(folder, lowercase)
