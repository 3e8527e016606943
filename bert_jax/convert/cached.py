"""Converts checkpoints of other projects into a cache, once, so that commands can read them
directly.

The commands use it for config.init_from and --checkpoint. Nothing else imports it, because the
trainer reads one format only.
"""

import hashlib
import json
import os
import pathlib

from bert_jax import __version__
from bert_jax.config.build_once import build_once
from bert_jax.config.console import say
from bert_jax.convert import adapters, hf_weights, hub, sentence_folders
from bert_jax.convert.folders import convert_in
from bert_jax.convert.tf1 import CONFIGS

CASED = '--nolowercase'  # an option of `convert`, which some of its errors and lines name
FORMATS = {'hf': 'Hugging Face', 'tf1': 'TensorFlow 1'}
# The files whose hash names a conversion: all files of the folder, and small files of its
# sub-folders, such as those of sentence-transformers. Weights for other libraries are not hashed.
OTHER_LIBRARIES = ('.h5', '.msgpack', '.onnx', '.ot', '.gguf')


def model_folder(
    directory: str | os.PathLike,
    cache: pathlib.Path,
    lowercase: bool | None = None,
    main_cache: pathlib.Path | None = None,
) -> str:
    """The folder of bert_jax that has the model of `directory`.

    This is `directory` itself, unless it is a folder of a Hugging Face or TensorFlow 1 checkpoint,
    or the name of a model of the Hugging Face Hub, which is downloaded. In that case it is
    converted into the folder `cache`, once for each content of its files. Of several processes, one
    converts and the others wait. lowercase: see `convert_in`. main_cache: another cache. If it
    has the conversion, that one is used; no conversion is added to it. Raises ValueError if the
    checkpoint cannot be downloaded or converted.
    """
    folder = hub.local_folder(directory) or pathlib.Path(directory).expanduser()
    origin = None if '://' in str(directory) else origin_of(folder)
    if origin is None:
        return os.fspath(directory)
    place = pathlib.Path('converted') / _key(folder, lowercase)
    if main_cache is not None and (main_cache / place).exists():
        return str(main_cache / place / 'model')
    output = cache / place
    lines: list[str] = []

    def write(partial: pathlib.Path) -> None:
        convert_in(origin, folder, partial / 'model', False, lowercase, lines.append)

    def with_options(line: str) -> str:
        """The line with advice for users of other commands than `convert`."""
        cased = '; in training, --config.data.lowercase=false' if CASED in line else ''
        return (
            f'{line}{cased}. To choose options, convert it yourself: bert_jax convert '
            f'--from={origin} --input={directory} --output=DIR'
        )

    try:
        built = build_once(output, write, f'converting {directory}', output.exists)
    except ValueError as error:
        raise ValueError(with_options(str(error))) from error
    if built:
        say(f'{directory} is a {FORMATS[origin]} checkpoint; converted into {output}')
        for line in lines[:-1]:  # the last one names the folder while it was incomplete
            say(f'  {with_options(line) if CASED in line else line}')
    return str(output / 'model')


def origin_of(folder: pathlib.Path) -> str | None:
    """The format of a checkpoint, an entry of FORMATS; None if it is not one of those."""
    try:
        values = json.loads((folder / 'config.json').read_text('utf-8-sig'))
    except FileNotFoundError:
        if any((folder / name).is_file() for name in (adapters.CONFIG, sentence_folders.MODULES)):
            return 'hf'
        return 'tf1' if any((folder / name).is_file() for name in CONFIGS.values()) else None
    except (ValueError, OSError):
        return None
    if not isinstance(values, dict) or 'model' in values:
        return None
    tensorflow = any(folder.glob('*.index')) and not any(
        path.name.startswith(hf_weights.FORMATS) for path in folder.iterdir()
    )
    return 'tf1' if tensorflow else 'hf'


def _key(folder: pathlib.Path, lowercase: bool | None) -> str:
    """A hash of the contents of all files. Sizes and times are not enough: two checkpoints of one
    architecture have the same size, and copies may have any time."""
    files = [path for path in (*folder.glob('*'), *folder.glob('*_*/*')) if path.is_file()]
    digest = hashlib.sha256(f'{__version__} {lowercase}'.encode())
    for path in sorted(files):
        if path.suffix not in OTHER_LIBRARIES:
            digest.update(f'\0{path.relative_to(folder)}\0'.encode())
            with path.open('rb') as file:
                digest.update(hashlib.file_digest(file, 'sha256').digest())
    if (adapter := adapters.read(folder)) is not None:
        digest.update(_key(adapter.base, None).encode())
    return digest.hexdigest()[:16]
