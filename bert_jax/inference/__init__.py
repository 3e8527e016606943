"""Trained models: loading, predictions, embeddings."""

# The ways to combine the vectors of a text's tokens. They are in this module so that commands can
# check their flags without JAX.
POOLINGS = ('mean', 'cls', 'pooler')
