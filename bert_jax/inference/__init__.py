"""Trained models: loading, predictions, embeddings."""

# How the vectors of a text's tokens become one vector; here, because commands read it without JAX.
POOLINGS = ('mean', 'cls', 'pooler')
