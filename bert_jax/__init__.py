"""Pretrain, adapt and fine-tune BERT-family encoders in JAX."""
