#pragma once

// A copy of a tensor with zeros around it, written once: at::constant_pad_nd fills the whole with
// zeros first.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <samepad/padding.h>

namespace samepad::kernels {

/// Whether `padded_copy` takes the tensor: dense on the CPU, contiguous or channels_last.
bool can_copy_padded(const at::Tensor& input);

/// `input` (N, C, ...) with `pads` zeros, none negative, around each dimension but the first two,
/// in the layout of `input`. Bytes alone are moved, so any type will do; autograd sees nothing.
at::Tensor padded_copy(const at::Tensor& input, at::ArrayRef<Pads<int64_t>> pads);

}  // namespace samepad::kernels
