#pragma once

// Convolutions that PyTorch's CPU libraries compute wrongly, or for which they write outside of
// their memory: how they are told, and what they are computed as instead.
// docs/pytorch-convolution-faults.md lists them with scripts that show them.

#include <ATen/core/Tensor.h>

#include "../problem/conv_problem.h"

namespace samepad::detail {

/// `weight` itself where its strides are exactly those of a memory format, otherwise a contiguous
/// copy of it. PyTorch takes some others for what they are not: where an axis of the kernel has
/// size 1, its stride is looked at by one function and not by the next.
at::Tensor with_plain_strides(const at::Tensor& weight);

/// `tensor` itself where its strides are exactly the contiguous ones, otherwise a contiguous copy.
/// at::Tensor::contiguous leaves the strides of axes of size 1 as they are, by which PyTorch may
/// take the tensor for one in channels_last.
at::Tensor plainly_contiguous(const at::Tensor& tensor);

/// bfloat16 and half, for which most faults are.
bool is_half_type(at::ScalarType type);

/// What a convolution is for: not all that is wrong in a weight's gradient is wrong in the output.
enum class Purpose : uint8_t {
  inference,  ///< The output alone.
  training,   ///< The output and the gradients.
};

/// What a convolution of these tensors is for. Transforms, and graphs that are traced, do not tell.
Purpose purpose_of(const ConvArgs& args);

/// Why PyTorch would compute this convolution wrongly; null where it does not, and where sizes are
/// symbolic. `size` is that of the image: of the input, or of a transposed convolution's output;
/// `pads` are before and after of each dimension in turn.
const char* library_fault(Purpose purpose, const at::Tensor& input, const at::Tensor& weight,
                          at::IntArrayRef size, at::IntArrayRef stride, at::IntArrayRef dilation,
                          at::ArrayRef<Pads<int64_t>> pads);

const char* library_fault(Purpose purpose, const ConvProblem& problem);

/// Whether what PyTorch computes wrongly is right in float32 alone: in three dimensions oneDNN is
/// wrong in half precision in every layout.
bool needs_single_precision(const at::Tensor& weight);

}  // namespace samepad::detail
