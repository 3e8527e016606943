"""Trains an encoder-decoder on pairs of texts: translation, summaries and the like.

    bert_jax train --config=translate --config.data.train_file=train.tsv \\
        --config.data.eval_file=dev.tsv --config.init_from=DIR --workdir=runs/en-fr
    bert_jax predict --checkpoint=runs/en-fr --input=english.txt --output=french.txt

The files are csv, tsv or jsonl with the columns source and target. Encoder and decoder start from
the encoder in DIR: a workdir, a folder of bert_jax convert or a Hugging Face folder. Its vocabulary
has to have both languages. config.init_decoder_from names another checkpoint for the decoder.
"""

from ml_collections import ConfigDict

from bert_jax.config import finetuning


def get_config() -> ConfigDict:
    config = finetuning('translate')
    config.data.max_seq_length = 64
    config.optim.fresh_learning_rate = 5e-4  # attention to the source
    config.train.label_smoothing = 0.1
    config.train.epochs = 10.0
    return config
