"""Torch tensors, where torch is installed: it is no dependency, and too large to be one of the tests'."""

from __future__ import annotations

import pytest

from raycache.codec import decode, encode
from raycache.codec.parts import restore, split
from raycache.errors import UnsupportedTypeError

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "bfloat16"])
def test_a_tensor_comes_back_with_memory_of_its_own(dtype: str) -> None:
    tensor = torch.ones(3, 40, dtype=getattr(torch, dtype)).t()
    parts = split(tensor, 1)
    assert parts is not None
    for again in (restore(*parts), decode(*encode(tensor)), decode(*encode([tensor]))[0]):
        assert again.dtype == tensor.dtype
        assert torch.equal(again, tensor)
        again[0, 0] = 0


def test_a_tensor_that_is_more_than_its_memory_is_refused() -> None:
    for tensor in (torch.ones(3, requires_grad=True), torch.eye(3).to_sparse(), torch.nn.Parameter(torch.ones(3))):
        with pytest.raises(UnsupportedTypeError, match=r"Tensor|Parameter"):
            encode(tensor)
