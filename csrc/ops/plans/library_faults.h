#pragma once

// Finds the convolutions that PyTorch's CPU libraries compute wrongly, or for which they write out
// of bounds, so that they can be computed differently. docs/pytorch-convolution-faults.md lists
// them, with scripts that reproduce them.

#include <ATen/core/Tensor.h>

#include "../problem/conv_problem.h"

namespace samepad::detail {

/// Returns `weight` itself if its strides are exactly those of a memory format, otherwise a
/// contiguous copy. PyTorch mistakes some other strides for a memory format: if an axis of the
/// kernel has size 1, one of its functions considers the stride of that axis and the next one does
/// not.
at::Tensor with_plain_strides(const at::Tensor& weight);

/// Returns `tensor` itself if its strides are exactly the contiguous ones, otherwise a contiguous
/// copy. at::Tensor::contiguous does not change the strides of axes of size 1, because of which
/// PyTorch may take the tensor for one in channels_last.
at::Tensor plainly_contiguous(const at::Tensor& tensor);

/// Whether the type is bfloat16 or half. Most of the faults concern these types.
bool is_half_type(at::ScalarType type);

/// Whether this is a tensor of bfloat16 or half on a CPU.
bool is_half_on_cpu(const at::Tensor& tensor);

/// Whether oneDNN may read or write out of bounds when it computes the gradients of a convolution
/// with this weight and these strides; the input's gradient is also the output of a transposed
/// convolution. The convolutions found to be so have horizontal strides of 22 and more, larger than
/// the kernel; to be safe, this holds for strides above 8.
bool has_faulty_stride(const at::Tensor& weight, at::IntArrayRef stride);

/// The use of a convolution. Some faults only concern the gradients, not the output.
enum class Purpose : uint8_t {
  inference,  ///< Only the output is needed.
  training,   ///< The output and the gradients are needed.
  /// Only the output is needed, and something else is computed from each of its elements. Own
  /// kernels do that on the way; after other plans, the output is read and written once more.
  fused_inference,
};

/// What a convolution of these tensors is used for. Under transforms and in traced graphs this is
/// not known, and training is assumed.
Purpose purpose_of(const ConvArgs& args);

/// Why PyTorch would compute this convolution wrongly; null if it would not, or if sizes are
/// symbolic. `size` is the size of the input, or of a transposed convolution's output. `pads` holds
/// the padding before and after each dimension.
const char* library_fault(Purpose purpose, const at::Tensor& input, const at::Tensor& weight,
                          at::IntArrayRef size, at::IntArrayRef stride, at::IntArrayRef dilation,
                          at::ArrayRef<Pads<int64_t>> pads);

const char* library_fault(Purpose purpose, const ConvProblem& problem);

/// The type in which a convolution with these strides that PyTorch computes wrongly has to be
/// computed: that of the weight, float32 where oneDNN is wrong in half precision in every layout,
/// or float64 where it is wrong in float32 too.
at::ScalarType precision_without_fault(const at::Tensor& weight, at::IntArrayRef stride);

}  // namespace samepad::detail
