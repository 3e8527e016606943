"""Trains an encoder-decoder on pairs of texts: translation, summaries and the like.

    bert_jax train --config=translate --config.data.train_file=train.tsv \\
        --config.data.eval_file=dev.tsv --config.init_from=DIR --workdir=runs/en-fr
    bert_jax predict --checkpoint=runs/en-fr --input=english.txt --output=french.txt

The files are csv, tsv or jsonl with the columns source and target. Encoder and decoder start from
the encoder in DIR: a workdir, a folder of bert_jax convert or a Hugging Face folder. Its vocabulary
has to have both languages. config.init_decoder_from names another checkpoint for the decoder.

The results in bert_jax/finetuning/README.md are those of a tiny model, which has no dropout.
both.txt has the captions of both languages, one on each line with a blank line after it; vocab.txt
is a cased WordPiece vocabulary of 4,000 tokens that was trained on them:

    bert_jax train --config=adapt --config.data.corpus=text:both.txt \\
        --config.data.sentences=line --config.data.vocab_file=vocab.txt \\
        --config.data.lowercase=false --config.model.num_hidden_layers=2 \\
        --config.model.hidden_size=128 --config.model.num_attention_heads=4 \\
        --config.model.intermediate_size=512 --config.model.max_position_embeddings=64 \\
        --config.model.initializer_range=0.08 --config.model.hidden_dropout_prob=0.0 \\
        --config.model.attention_probs_dropout_prob=0.0 --config.optim.learning_rate=2e-3 \\
        --config.train.phases='((500,32,64,5),)' --config.train.eval_every=500 \\
        --workdir=runs/mlm
    bert_jax train --config=translate --config.init_from=runs/mlm \\
        --config.data.train_file=train.tsv --config.data.eval_file=dev.tsv \\
        --config.data.test_file=test.tsv --config.data.max_seq_length=32 \\
        --config.model.hidden_dropout_prob=0.0 \\
        --config.model.attention_probs_dropout_prob=0.0 --config.train.batch_size=32 \\
        --config.train.epochs=1 --config.optim.learning_rate=2e-3 \\
        --config.optim.fresh_learning_rate=0 --workdir=runs/en-fr

The run from random values has the options of the model and the vocabulary of the first command in
place of init_from; the runs of 181 steps have config.train.epochs=0.2.
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
