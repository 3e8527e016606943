"""Downloads models of the Hugging Face Hub by name, such as google-bert/bert-base-uncased."""

import os
import pathlib
import re
from typing import Any

from bert_jax.config.errors import first_line

# Names of the form OWNER/NAME.
OWNED = r'(?![.-])[\w.-]+/[\w.-]+'
# Names without an owner, which the Hub also accepts for the oldest models.
LEGACY = r'(bert|roberta|distilbert|distilroberta|albert|xlm|xlnet|camembert|flaubert)-[\w.-]+'
NAME = re.compile(rf'({OWNED}|{LEGACY})(@[\w./-]+)?')
WANTED = ['*.json', '*.txt', '*.model', '*.safetensors', '?_*/pytorch_model.bin']
OTHERS = ['onnx/*', 'openvino/*', '*/onnx/*', 'coreml/*', 'tf_model*', 'flax_model*']


def is_name(name: str | os.PathLike) -> bool:
    """Returns whether a path may be the name of a model of the Hub.

    A path that exists on this machine is not a name. A path whose parent folder exists is not a
    name either, because it is probably a mistake in a path.
    """
    text = os.fspath(name)
    if not NAME.fullmatch(text) or pathlib.Path(text).exists():
        return False
    has_owner = '/' in text.partition('@')[0]
    return not has_owner or not pathlib.Path(text).parent.exists()


def local_folder(name: str | os.PathLike) -> pathlib.Path | None:
    """Returns the folder of the downloaded model; None if `name` is not a name on the Hub.

    A file that was downloaded before is not downloaded again. A revision may follow the name:
    owner/name@revision. Raises ValueError if the model is not on this machine and cannot be
    downloaded.
    """
    text = os.fspath(name)
    if not is_name(text):
        return None
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(
            f'{text} is not a folder. To download it from the Hugging Face Hub: '
            'pip install bert_jax[hf]'
        ) from error
    model, _, revision = text.partition('@')
    try:
        return _download(huggingface_hub, model, revision or None)
    except Exception as error:  # the library and the network raise errors of many types
        raise ValueError(f'{text} is not a folder, and {_reason(error, model)}') from error


def _download(library: Any, name: str, revision: str | None) -> pathlib.Path:
    folder = pathlib.Path(
        library.snapshot_download(
            name, revision=revision, allow_patterns=WANTED, ignore_patterns=OTHERS
        )
    )
    if not any(folder.glob('*.safetensors')) and not any(folder.glob('*/*.safetensors')):
        weights = ['pytorch_model*', 'adapter_model.bin']
        library.snapshot_download(name, revision=revision, allow_patterns=weights)
    return folder


def _reason(error: Exception, name: str) -> str:
    """Returns why a model cannot be downloaded, and what to do."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if {'GatedRepoError'} & kinds:
        return f'{name} of the Hugging Face Hub needs your consent: accept its terms, and log in'
    if {'RepositoryNotFoundError', 'HFValidationError'} & kinds:
        return f'the Hugging Face Hub has no model {name} that you may read'
    if {'RevisionNotFoundError'} & kinds:
        return f'the model {name} of the Hugging Face Hub has no such revision'
    return (
        f'the Hugging Face Hub cannot be reached to download it ({first_line(error)[:120]}). '
        f'On a machine with a network, run: hf download {name} --local-dir DIR, and give DIR'
    )
