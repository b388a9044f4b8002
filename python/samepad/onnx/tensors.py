"""Converts tensors and types of ONNX files to PyTorch's."""

from typing import Any

import numpy as np
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from samepad._building import UnsupportedError

#: PyTorch's type for each number of a type in TensorProto.
TYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT8: torch.int8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.FLOAT8E4M3FN: torch.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: torch.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
}


def dtype(number: int) -> torch.dtype:
    """Return PyTorch's type for the number of a type in TensorProto.

    Raises:
        UnsupportedError: PyTorch has no such type.
    """
    if number not in TYPES:
        names = {value: name for name, value in TensorProto.DataType.items()}
        name = names.get(number, number)
        raise UnsupportedError(f"type {name}, which PyTorch does not compute with")
    return TYPES[number]


def tensor(proto: Any) -> Tensor:
    """Return the values of a TensorProto.

    Raises:
        UnsupportedError: PyTorch lacks their type, or they are in a file that was not read.
    """
    wanted = dtype(proto.data_type)
    if proto.data_location == TensorProto.EXTERNAL:
        raise UnsupportedError(
            "its values are kept in a file beside the model: pass the path of the model, or read "
            "them first with onnx.load_external_data_for_model"
        )
    array = numpy_helper.to_array(proto)
    if array.dtype.isbuiltin != 1:  # torch takes types of ml_dtypes only as bytes
        array = array.view(f"u{array.dtype.itemsize}")
    return torch.from_numpy(np.array(array)).view(wanted)


def dense(proto: Any) -> Tensor:
    """Return the values of a SparseTensorProto as a dense tensor.

    Raises:
        UnsupportedError: As `tensor`.
    """
    values, indices = tensor(proto.values), tensor(proto.indices)
    result = values.new_zeros(tuple(proto.dims))
    if indices.dim() == 1:  # they are positions in the flattened tensor
        result.view(-1)[indices] = values
    else:
        result[tuple(indices.T)] = values
    return result
