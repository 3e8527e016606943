"""Pretrain, adapt and fine-tune BERT-family encoders in JAX."""

__version__ = '0.4.0'
