#pragma once

// What the project's own kernels offer to whoever calls them on tensors.

#include <ATen/core/Tensor.h>

#include "common/conv_shape.h"

namespace samepad::kernels {

/// What kernels compute of a convolution.
enum class Pass : uint8_t { output, input_gradient, weight_gradient };

/// The kernels for one kind of convolution. Tensors are 4-D and of one type, on the CPU;
/// `memory_format`, contiguous or channels_last, says how inputs and outputs are to lie in memory,
/// and tensors of another layout are copied. Work is shared out among all threads, and results are
/// the same for any number of them.
struct ConvKernels {
  /// Whether there are kernels for this type.
  bool (*takes_type)(at::ScalarType type);

  /// Whether there is a kernel for this pass of a convolution of a type that is taken, and what it
  /// lays out in scratch memory is not too large.
  bool (*takes)(Pass pass, const ConvShape& shape, at::MemoryFormat memory_format,
                at::ScalarType type);

  /// The output, (batch, filters, output height, output width).
  at::Tensor (*output)(const ConvShape& shape, at::MemoryFormat memory_format,
                       const at::Tensor& input, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias);

  /// The gradient of the input, (batch, channels, input height, input width), from the output's.
  /// `bias`, if there is one, is added to each of its channels: this is a transposed convolution.
  at::Tensor (*input_gradient)(const ConvShape& shape, at::MemoryFormat memory_format,
                               const at::Tensor& gradient, const at::Tensor& weight,
                               const std::optional<at::Tensor>& bias);

  /// The gradient of the weight, (filters, channels / groups, kernel height, kernel width), from
  /// the output's.
  at::Tensor (*weight_gradient)(const ConvShape& shape, at::MemoryFormat memory_format,
                                const at::Tensor& gradient, const at::Tensor& input);
};

/// Depthwise convolutions: as many groups as channels, and more than one.
extern const ConvKernels kDepthwiseKernels;

/// All others.
extern const ConvKernels kDenseKernels;

}  // namespace samepad::kernels
