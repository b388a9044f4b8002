#pragma once

// Convolutions that PyTorch's CPU libraries compute wrongly, or for which they write outside of
// their memory: how they are told, and what they are computed as instead.
// docs/pytorch-convolution-faults.md lists them with scripts that show them.

#include <ATen/core/Tensor.h>

#include "conv_args.h"
#include "padded_conv.h"

namespace samepad::detail {

/// `weight` itself where its strides are exactly those of a memory format, otherwise a contiguous
/// copy of it. PyTorch takes some others for what they are not: where an axis of the kernel has
/// size 1, its stride is looked at by one function and not by the next.
at::Tensor with_plain_strides(const at::Tensor& weight);

/// `tensor` itself where its strides are exactly the contiguous ones, otherwise a contiguous copy.
/// at::Tensor::contiguous leaves the strides of axes of size 1 as they are, by which PyTorch may
/// take the tensor for one in channels_last.
at::Tensor plainly_contiguous(const at::Tensor& tensor);

/// What is computed: not all that is wrong in a weight's gradient is wrong in the output.
enum class Pass : uint8_t {
  inference,  ///< The output alone.
  training,   ///< The output and the gradients.
};

/// Why PyTorch would compute this convolution wrongly; null where it does not, and where sizes are
/// symbolic. `size` is that of the image: of the input, or of a transposed convolution's output;
/// `pads` are before and after of each dimension in turn.
const char* library_fault(Pass pass, const at::Tensor& input, const at::Tensor& weight,
                          at::IntArrayRef size, at::IntArrayRef stride, at::IntArrayRef dilation,
                          at::IntArrayRef pads);

const char* library_fault(Pass pass, const ConvArgs& args, const PadList& pads);

/// What a convolution of these is for. Transforms, and graphs that are traced, do not tell.
Pass pass_for(const at::Tensor& input, const at::Tensor& weight,
              const std::optional<at::Tensor>& bias);

/// Whether what PyTorch computes wrongly is right in float32 alone: in three dimensions oneDNN is
/// wrong in half precision in every layout.
bool needs_single_precision(const at::Tensor& weight);

/// The same convolution as one that PyTorch computes rightly: all pads are in the copy, and where a
/// dimension has one output there is neither a stride nor more of the input than that output needs.
/// `input` and `weight` are the tensors that it is given.
PaddedConv without_fault(const PaddedConv& conv, const at::Tensor& input, const at::Tensor& weight);

}  // namespace samepad::detail
