"""PyTorch uses one thread, because waiting threads keep cores busy that other tests need."""

import contextlib

with contextlib.suppress(ImportError):
    import torch

    torch.set_num_threads(1)
