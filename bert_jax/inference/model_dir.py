"""A trained model on disk: a workdir, or a folder that `bert_jax convert` wrote."""

import dataclasses
import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from flax import linen as nn

from bert_jax.config import Config, DataConfig, EvalConfig, ModelConfig, architecture_fields, keys
from bert_jax.config.errors import config_error
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import sentence_embedding
from bert_jax.inference.sentence_embedding import SentenceEmbedding
from bert_jax.models.encoder_decoder import EncoderDecoder, model_of
from bert_jax.models.heads import HeadedEncoder, heads_in
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.parameters import describe
from bert_jax.training import checkpoint, workdir
from bert_jax.training.checksums import named
from bert_jax.training.workdir import CONFIG, DATA


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A trained model in memory.

    params: a tree of float32 arrays. vocabulary: None if the folder has none. data, eval: the
    configuration of the run that trained the model. labels: the names of the labels of the
    classifier or tagger, by id. pairs: whether the model was fine-tuned on pairs of texts, None if
    unknown. no_answer: whether a question may have no answer. multi_label: whether a text may have
    several labels, or none. embedding: the sentence embedding, None if the folder has none.
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
    multi_label: bool = False
    embedding: SentenceEmbedding | None = None

    @property
    def model(self) -> HeadedEncoder | EncoderDecoder:
        return model_of(self.config, self.heads, max(len(self.labels), 1))

    def unpadded(self) -> 'Pretrained':
        """The model without the rows that config.data.pad_vocab_to_multiple_of added to its
        vocabulary tables. Other rows without a token are part of the model and are kept."""
        size = self.vocabulary.vocab_size if self.vocabulary else self.config.vocab_size
        if self.data.padded(size) != self.config.vocab_size or size == self.config.vocab_size:
            return self
        info = describe(_boxed_params(self.config, self.heads, max(len(self.labels), 1)))
        params = jax.tree.map(
            lambda fact, x: x[:size] if fact.axes[0] == 'vocab' else x, info, self.params
        )
        config = dataclasses.replace(self.config, vocab_size=size)
        return dataclasses.replace(self, config=config, params=params)

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by path, on the host."""
        return named(jax.device_get(self.params))


def abstract_params(config: ModelConfig, heads: tuple[str, ...], num_labels: int = 1) -> Any:
    """The parameters of a model as shapes and dtypes."""
    return nn.unbox(_boxed_params(config, heads, num_labels))


def _boxed_params(config: ModelConfig, heads: tuple[str, ...], num_labels: int) -> Any:
    model = model_of(config, heads, num_labels)
    return jax.eval_shape(model.init, jax.random.key(0), EncoderInputs.example())['params']


def load(directory: epath.PathLike, sharding: jax.sharding.Sharding | None = None) -> Pretrained:
    """Loads a model from a converted folder, or from the best or newest checkpoint of a workdir.

    sharding: the sharding of the parameters; by default they are on the first device. Raises
    ValueError if the folder has no model or a damaged one.
    """
    folder = epath.Path(directory).expanduser()
    config, vocabulary = read_config(folder)
    heads = heads_in(checkpoint.saved_params(folder))
    data = _read_data(folder)
    labels = workdir.labels_in(data)
    no_answer = data.get('no_answer', labels != tuple(data.get('labels') or ()))
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
        multi_label=bool(data.get('multi_label')),
        embedding=sentence_embedding.load(folder),
    )


def save(
    directory: pathlib.Path,
    config: Config,
    params: Any,
    vocabulary: tokenizer.Tokenizer | None,
    task: Mapping[str, Any] | None = None,
    embedding: SentenceEmbedding | None = None,
) -> None:
    """Writes a folder that `load` and config.init_from read. task: `labels`, `pairs`, `no_answer`
    and `multi_label` of a fine-tuned model, as in `Pretrained`."""
    (directory / CONFIG).write_text(config.to_json())
    if task:
        facts = {'fingerprint': '', 'lowercase': config.data.lowercase, **task}
        (directory / DATA).write_text(json.dumps(facts, indent=2) + '\n')
    if vocabulary is not None:
        vocabulary.save(directory)
    if embedding is not None:
        embedding.save(directory)
    checkpoint.save_params(directory, params)


def read_config(directory: epath.PathLike) -> tuple[Config, tokenizer.Tokenizer | None]:
    """The configuration and the vocabulary of a workdir or a converted folder. Raises ValueError
    if it is neither."""
    folder = epath.Path(directory).expanduser()
    if not (folder / CONFIG).exists():
        configs = (*folder.glob(f'*/{CONFIG}'), *folder.glob(f'*/*/{CONFIG}'))  # tasks and seeds
        if found := {path.parent for path in configs}:
            # A folder in a model's folder, such as Sentence Transformers' 1_Pooling, is part of it.
            runs = ', '.join(sorted(str(run) for run in found if run.parent not in found))
            raise ValueError(f'{folder} has no {CONFIG}, but its folders have; give {runs}')
        wrong = f'has no {CONFIG}' if folder.exists() else 'does not exist'
        raise ValueError(
            f'{folder} {wrong}; give a workdir, a folder written by bert_jax convert, '
            'the folder of a Hugging Face checkpoint, or a name on the Hugging Face Hub, such as '
            'google-bert/bert-base-uncased'
        )
    try:
        config = workdir.read_config(folder)
    except ValueError as error:
        raise ValueError(
            f'{error}. Convert a Hugging Face checkpoint first: '
            f'bert_jax convert --from=hf --input={folder} --output=DIR'
        ) from error
    if tokenizer.find(folder) is None:
        return config, None
    # The setting in the configuration may differ from that of the vocabulary that was used.
    lowercase = _read_data(folder).get('lowercase', config.data.lowercase)
    return config, tokenizer.load(folder, lowercase)


def start_from(
    config: Config, free: Collection[str] = (), fields: Collection[str] = ()
) -> tuple[Config, tokenizer.Tokenizer | None]:
    """`config` with the architecture and the case of config.init_from, and its vocabulary, if any.

    free: keys that may have any value in `config`. fields: fields of the model that are taken from
    config.init_from, too. Raises ValueError if `config` sets another key to something else than
    config.init_from has, or as `read_config` does.
    """
    source, vocabulary = read_config(config.init_from)
    names = (*architecture_fields(), 'tie_word_embeddings', *fields)
    values: dict[str, Any] = {f'model.{name}': getattr(source.model, name) for name in names}
    if vocabulary is not None:
        values['data.lowercase'] = vocabulary.lowercase
    for key, value in values.items():
        given = keys.get(config, key)
        if key not in free and given not in (value, keys.get(Config(), key)):
            raise ValueError(
                f'config.{key} is {given!r}, but config.init_from has {value!r}; remove the key'
            )
    layers = source.model.num_hidden_layers
    if config.optim.freeze.isdecimal() and int(config.optim.freeze) > layers:
        expected = f'at most {layers}, the number of layers of config.init_from'
        raise config_error('optim.freeze', config.optim.freeze, expected)
    if config.reinit_layers > layers:
        expected = f'0 to {layers}, the number of layers of config.init_from'
        raise config_error('reinit_layers', config.reinit_layers, expected)
    unset = [name for name in keys.inherited_fields() if keys.unset(config, f'model.{name}')]
    model = dataclasses.replace(
        config.model, **{name: getattr(source.model, name) for name in (*names, *unset)}
    )
    lowercase = values.get('data.lowercase', config.data.lowercase)
    language = config.data.language or source.data.language
    data = dataclasses.replace(config.data, lowercase=lowercase, language=language)
    return dataclasses.replace(config, model=model, data=data), vocabulary


def _read_data(folder: epath.Path) -> dict[str, Any]:
    """The description of a run's data; nothing for a converted folder."""
    return workdir.read_data(folder) if (folder / DATA).exists() else {}
