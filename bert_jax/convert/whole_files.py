"""Recognizes files and folders that are not a usable checkpoint, for messages with advice."""

import pathlib
import re

POINTERS = (b'version https://git-lfs', b'# xet version')  # the first bytes of pointer files
WEB_PAGES = (b'<!doctype html', b'<html', b'<?xml')
SMALL = 1 << 20  # bytes; a larger file is no pointer and no web page
CHECKED = ('.json', '.txt', '.model', '.safetensors', '.bin', '.index', '.h5', '.ckpt')
# Files of other libraries that bert_jax does not read -> the end of a message with advice.
OTHERS = {
    'tf_model.h5': 'those of TensorFlow (tf_model.h5): load them with from_tf=True in transformers '
    '4, and save them with save_pretrained',
    'flax_model.msgpack': 'those of Flax (flax_model.msgpack): load them with from_flax=True in '
    'transformers 4, and save them with save_pretrained',
    'saved_model.pb': 'a SavedModel of TensorFlow: give a checkpoint (*.ckpt.index, '
    '*.ckpt.data-*) or a folder of transformers',
    'zero_to_fp32.py': 'a checkpoint of DeepSpeed: run python zero_to_fp32.py . '
    'pytorch_model.bin in the folder',
    'pytorch_model_fsdp_0': 'a distributed checkpoint: run accelerate merge-weights',
}
TRAINING = re.compile(r'(optimizer|scheduler|scaler|training_args|rng_state|adapter_)')
SHARD = re.compile(r'-\d{5}-of-\d{5}\.')
FILES = ('*.safetensors', '*.bin', '*.pt', '*.pth', '*.ckpt')


def check(path: pathlib.Path) -> None:
    """Raises ValueError if the file is a Git LFS pointer, a web page or empty, in place of the
    real file."""
    if not path.is_file() or path.stat().st_size > SMALL:
        return
    with path.open('rb') as file:
        first = file.read(512).lstrip().lower()
    if first.startswith(POINTERS):
        raise ValueError(
            f'{path} is a Git LFS pointer, not the file itself; run git lfs pull in {path.parent}'
        )
    if first.startswith(WEB_PAGES):
        raise ValueError(f'{path} is a web page, not the file itself; download it again')
    if not first and path.suffix in CHECKED and path.suffix != '.index':
        raise ValueError(f'{path} is empty; download it again')


def check_all(directory: pathlib.Path) -> None:
    """Calls `check` for the files of a folder and of its sub-folders."""
    for path in sorted((*directory.glob('*'), *directory.glob('*_*/*'))):
        if path.suffix in CHECKED or '.ckpt' in path.name:
            check(path)


def other_weights(directory: pathlib.Path) -> str:
    """Returns the end of a message about a folder without weights of the usual names: the other
    weights that it has, and advice. It is '' if the folder has no weights."""
    for name, what in OTHERS.items():
        if (directory / name).exists():
            return f'; it has {what}'
    names = [path.name for pattern in FILES for path in sorted(directory.glob(pattern))]
    if any(SHARD.search(name) for name in names):
        return '; it has shards, but no *.index.json, which lists them: add this file'
    if names := [name for name in names if not TRAINING.match(name)]:
        right = 'model.safetensors' if names[0].endswith('.safetensors') else 'pytorch_model.bin'
        return f'; it has {", ".join(names[:3])}: rename the one that you want to {right}'
    return ''


def inner_folders(directory: pathlib.Path, names: tuple[str, ...]) -> str:
    """Returns a message that lists the inner folders that have one of the files `names`; '' if
    there are none.

    The newest checkpoint, by the number at the end of the name, comes first.
    """

    def number(path: pathlib.Path) -> tuple[int, str]:
        """The place of a folder in the order: names without a number come last."""
        digits = re.search(r'\d+$', path.name)
        return (-int(digits[0]) if digits else 1, str(path))

    for pattern in ('*', '*/*', '*/snapshots/*'):  # the last is the layout of the Hub's cache
        found = {path.parent for name in names for path in directory.glob(f'{pattern}/{name}')}
        if found:
            folders = [str(path) for path in sorted(found, key=number)]
            has = 'its folder has' if len(folders) == 1 else 'its folders have'
            return f'{directory} has no {names[0]}, but {has}; give {" or ".join(folders[:4])}'
    return ''
