"""Arrow tables and torch tensors: values of packages that need not be there.

What lives here: their form inside a msgpack extension. What does not: anything that would import these packages before
a value of theirs was seen. Pure functions; any thread.

An Arrow table or record batch is its IPC stream, behind one letter that tells the two apart. A tensor is the frame of
its numpy array, behind the name of its dtype (numpy has no bfloat16); it comes back as a tensor with memory of its own,
because torch has no tensors that refuse to be written to.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from raycache.codec.arrays import decode_array, split_array
from raycache.codec.refusal import unsupported

ARROW: Final = 16
"""The msgpack extension type of Arrow tables and record batches."""
TENSOR: Final = 17
"""That of torch tensors."""

_TABLE, _BATCH = b"T", b"B"
_EXT32: Final = struct.Struct(">BIb")
"""How msgpack begins an extension of any length: 0xC9, the length, the type."""
_EXT32_MARK: Final = 0xC9
_TENSOR_MODULE: Final = "torch"
_ARROW_NAMES: Final = frozenset({"Table", "RecordBatch"})
_AS_INTEGERS: Final = "bfloat16"


def is_foreign(value: object) -> bool:
    """Return whether `value` is one of these, exactly: subclasses are not."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if package == "pyarrow":
        return kind.__name__ in _ARROW_NAMES
    return package == _TENSOR_MODULE and kind.__name__ == "Tensor"


def size_bytes(value: Any) -> int:
    """Return about how many bytes the value's own buffers have."""
    return int(value.nbytes)


def extension(value: Any) -> tuple[int, bytes]:
    """Return the msgpack extension type and data of a value for which `is_foreign`.

    Raises:
        UnsupportedTypeError: a tensor that is not plain memory of this machine.
    """
    head, body = _parts(value)
    return (TENSOR if type(value).__module__ == _TENSOR_MODULE else ARROW), head + bytes(body)


def split(value: Any) -> tuple[bytes, npt.NDArray[np.uint8]]:
    """Return the two parts of what msgpack would write: all but the last bytes, and those. Errors as `extension`."""
    head, body = _parts(value)
    code = TENSOR if type(value).__module__ == _TENSOR_MODULE else ARROW
    return _EXT32.pack(_EXT32_MARK, len(head) + len(body), code) + head, body


def view(head: bytes, body: Any) -> Any:
    """Return the value of what `split` made. An Arrow table shares memory with `body`."""
    mark, _, code = _EXT32.unpack_from(head)
    rest = head[_EXT32.size :]
    if mark != _EXT32_MARK or code not in (ARROW, TENSOR):
        raise ValueError(f"no parts of a table or tensor: {head[:8]!r}")
    if code == ARROW:
        return _arrow_from(rest, body)
    return _tensor_from(rest + bytes(body))


def decode(code: int, data: bytes) -> Any:
    """Return the value of an extension's data."""
    return _arrow_from(data[:1], memoryview(data)[1:]) if code == ARROW else _tensor_from(data)


def _parts(value: Any) -> tuple[bytes, npt.NDArray[np.uint8]]:
    if type(value).__module__ == _TENSOR_MODULE:
        return _tensor_parts(value)
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, value.schema) as writer:
        writer.write(value)
    return (_TABLE if type(value).__name__ == "Table" else _BATCH), np.frombuffer(sink.getvalue(), dtype=np.uint8)


def _arrow_from(letter: bytes, stream: Any) -> Any:
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
        if letter == _TABLE:
            return reader.read_all()
        if letter != _BATCH:
            raise ValueError(f"neither a table nor a record batch: {letter!r}")
        return reader.read_next_batch()


def _tensor_parts(tensor: Any) -> tuple[bytes, npt.NDArray[np.uint8]]:
    import torch

    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.is_quantized or tensor.requires_grad:
        raise unsupported(tensor)
    name = str(tensor.dtype).partition(".")[2]
    array = tensor.contiguous().view(torch.int16).numpy() if name == _AS_INTEGERS else tensor.contiguous().numpy()
    head, body = split_array(array)
    return bytes([len(name)]) + name.encode() + head, body


def _tensor_from(data: bytes) -> Any:
    import torch

    start = 1 + data[0]
    tensor = torch.from_numpy(decode_array(memoryview(data)[start:]))
    name = data[1:start].decode()
    return tensor.view(torch.bfloat16) if name == _AS_INTEGERS else tensor


