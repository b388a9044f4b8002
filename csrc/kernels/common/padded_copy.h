#pragma once

// Copies a tensor and pads it with zeros in one pass over the result. at::constant_pad_nd fills the
// whole result with zeros first.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <samepad/padding.h>

namespace samepad::kernels {

/// Whether `padded_copy` supports the tensor, which has to be dense on the CPU, either contiguous
/// or in channels_last.
bool can_copy_padded(const at::Tensor& input);

/// Pads each dimension of `input` (N, C, ...) except the first two with `pads` zeros, none of them
/// negative, and keeps its layout. It copies bytes, so it works for every type. Not differentiable.
at::Tensor padded_copy(const at::Tensor& input, at::ArrayRef<Pads<int64_t>> pads);

}  // namespace samepad::kernels
