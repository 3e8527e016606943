"""A trained model on disk: a workdir, or a folder that `bert_jax.convert` wrote."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from flax import linen as nn

from bert_jax.config import Config, DataConfig, EvalConfig, ModelConfig
from bert_jax.data.tokenizers import tokenizer
from bert_jax.models.heads import HeadedEncoder, heads_in
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.parameters import describe
from bert_jax.parallel.sharding import path_name
from bert_jax.training import checkpoint, workdir
from bert_jax.training.workdir import CONFIG, DATA


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A trained model in memory.

    params: a tree of float32 arrays. vocabulary: None if the folder has none. data, eval: the
    configuration of the run that trained the model. labels: the names of the classifier's or the
    tagger's labels by id. pairs: whether the model was fine-tuned on pairs of texts, None if
    unknown. no_answer: whether a question may have no answer.
    """

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
        info = describe(_boxed_params(self.config, self.heads, max(len(self.labels), 1)))
        params = jax.tree.map(
            lambda fact, x: x[:size] if fact.axes[0] == 'vocab' else x, info, self.params
        )
        config = dataclasses.replace(self.config, vocab_size=size)
        return dataclasses.replace(self, config=config, params=params)

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by path, on the host."""
        leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(self.params))
        return {path_name(path): x for path, x in leaves}


def abstract_params(config: ModelConfig, heads: tuple[str, ...], num_labels: int = 1) -> Any:
    """The parameters of a model as shapes and dtypes."""
    return nn.unbox(_boxed_params(config, heads, num_labels))


def _boxed_params(config: ModelConfig, heads: tuple[str, ...], num_labels: int) -> Any:
    model = HeadedEncoder(config, heads, num_labels)
    return jax.eval_shape(model.init, jax.random.key(0), EncoderInputs.example())['params']


def load(directory: epath.PathLike, sharding: jax.sharding.Sharding | None = None) -> Pretrained:
    """The newest or best checkpoint of a workdir, or a converted folder, with the heads it has.

    sharding: of the parameters; by default they are on the first device. Raises ValueError if the
    folder holds no model or a damaged one.
    """
    folder = epath.Path(directory).expanduser()
    config, vocabulary = read_config(folder)
    heads = heads_in(checkpoint.saved_params(folder))
    data = _read_data(folder)
    labels, no_answer = tuple(data.get('labels', ())), data.get('no_answer', False)
    if labels == ('no_answer',):  # the mark of SQuAD 2.0 in older workdirs
        labels, no_answer = (), True
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract_params(config.model, heads, max(len(labels), 1)),
    )
    return Pretrained(
        config=config.model,
        heads=heads,
        params=checkpoint.load_params(folder, abstract),
        vocabulary=vocabulary,
        data=config.data,
        eval=config.eval,
        labels=labels,
        pairs=data.get('pairs'),
        no_answer=no_answer,
    )


def save(
    directory: pathlib.Path,
    config: Config,
    params: Any,
    vocabulary: tokenizer.Tokenizer | None,
    task: Mapping[str, Any] | None = None,
) -> None:
    """Writes a folder that `load` and config.init_from read. task: `labels`, `pairs` and
    `no_answer` of a fine-tuned model, as in the fields of `Pretrained`."""
    (directory / CONFIG).write_text(config.to_json())
    if task:
        facts = {'fingerprint': '', 'lowercase': config.data.lowercase, **task}
        (directory / DATA).write_text(json.dumps(facts, indent=2) + '\n')
    if vocabulary is not None:
        vocabulary.save(directory)
    checkpoint.save_params(directory, params)


def read_config(directory: epath.PathLike) -> tuple[Config, tokenizer.Tokenizer | None]:
    """The configuration and the vocabulary of a workdir or a converted folder. Raises ValueError
    if it is neither."""
    folder = epath.Path(directory).expanduser()
    if not (folder / CONFIG).exists():
        configs = (*folder.glob(f'*/{CONFIG}'), *folder.glob(f'*/*/{CONFIG}'))  # tasks and seeds
        if runs := sorted(str(path.parent) for path in configs):
            raise ValueError(
                f'{folder} has no {CONFIG}; it holds {", ".join(runs)}, give one of them'
            )
        wrong = f'has no {CONFIG}' if folder.exists() else 'does not exist'
        raise ValueError(
            f'{folder} {wrong}: give a workdir, or a folder written by python -m bert_jax.convert'
        )
    try:
        config = workdir.read_config(folder)
    except ValueError as error:
        raise ValueError(
            f'{error}. A folder of transformers has to be converted: '
            f'python -m bert_jax.convert --from=hf --input={folder} --output=DIR'
        ) from error
    if tokenizer.find(folder) is None:
        return config, None
    # A run's data say how its text was in fact tokenised.
    lowercase = _read_data(folder).get('lowercase', config.data.lowercase)
    return config, tokenizer.load(folder, lowercase)


def check_vocabulary(config: Config, vocabulary: tokenizer.Tokenizer) -> int:
    """The vocab_size of a model to pretrain: the vocabulary's, or that of init_from's table if it
    is larger, padded.

    Raises ValueError if the parameters of init_from were trained with other token ids or in a
    model that computes something else.
    """
    source = epath.Path(config.init_from).expanduser()
    for name, content in vocabulary.files.items() if config.init_from else ():
        file = source / name
        if file.exists() and file.read_bytes() != content:
            raise ValueError(
                f'config.init_from={config.init_from} has another vocabulary than the corpus; '
                f'tokenise the text with it: --config.data.vocab_file={file}'
            )
    if not config.init_from or not (source / CONFIG).exists():
        return config.data.padded(vocabulary.vocab_size)
    pretrained, pretrained_vocabulary = read_config(source)
    compared = {
        f'model.{name}': (getattr(pretrained.model, name), getattr(config.model, name))
        for name in ('hidden_act', 'layer_norm_eps')
    }
    if pretrained_vocabulary is not None:
        compared['data.lowercase'] = pretrained_vocabulary.lowercase, vocabulary.lowercase
    for key, (trained, given) in compared.items():
        if trained != given:
            raise ValueError(
                f'config.init_from={config.init_from} was trained with {key} {trained!r}, not '
                f'{given!r}: --config.{key}={trained}'
            )
    return config.data.padded(max(pretrained.model.vocab_size, vocabulary.vocab_size))


def _read_data(folder: epath.Path) -> dict[str, Any]:
    """The description of a run's data; nothing for a converted folder."""
    return workdir.read_data(folder) if (folder / DATA).exists() else {}
