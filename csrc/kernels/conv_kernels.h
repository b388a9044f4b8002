#pragma once

// The interface of this project's own kernels, on tensors.

#include <ATen/core/Tensor.h>

#include <optional>

#include "common/conv_shape.h"
#include "common/epilogue.h"

namespace samepad::kernels {

/// What a fused convolution is in addition to a convolution.
struct Fusion {
  Activation activation = Activation::identity;
  ActivationParameters parameters = {};
  std::optional<at::Tensor> residual;  ///< is added; of the output's size and type
  bool residual_last = false;  ///< whether it is added to the activation rather than to the sums
  std::optional<at::Tensor> packed;  ///< what ConvKernels::packed_weight has returned
};

/// The kernels for one kind of convolution, of two or three dimensions. Tensors are 4-D or 5-D, of
/// one type and on the CPU. `memory_format`, contiguous or channels_last, is the layout that inputs
/// and outputs have to have; tensors in another layout are copied. The work is shared among all
/// threads, and the results are the same for any number of them.
struct ConvKernels {
  /// Whether there are kernels for this type.
  bool (*takes_type)(at::ScalarType type);

  /// Whether there is a kernel for this pass of a convolution of a supported type, and the scratch
  /// memory that it needs is not too large.
  bool (*takes)(Pass pass, const ConvShape& shape, at::MemoryFormat memory_format,
                at::ScalarType type);

  /// Computes the output, (batch, filters, spatial sizes of the output).
  at::Tensor (*output)(const ConvShape& shape, at::MemoryFormat memory_format,
                       const at::Tensor& input, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias, const Fusion& fusion);

  /// Computes the gradient of the input, (batch, channels, spatial sizes of the input), from that
  /// of the output. If there is a `bias`, it is added to each channel, for transposed convolutions.
  at::Tensor (*input_gradient)(const ConvShape& shape, at::MemoryFormat memory_format,
                               const at::Tensor& gradient, const at::Tensor& weight,
                               const std::optional<at::Tensor>& bias);

  /// Returns a weight in the order in which the kernels read it, for convolutions of inputs in this
  /// layout; nothing if they read it as it is. The order depends on the instruction set. `output`
  /// ignores a packed weight that does not fit.
  std::optional<at::Tensor> (*packed_weight)(at::MemoryFormat memory_format,
                                             const at::Tensor& weight);

  /// Computes the gradient of the weight, (filters, channels / groups, sizes of the kernel), from
  /// that of the output.
  at::Tensor (*weight_gradient)(const ConvShape& shape, at::MemoryFormat memory_format,
                                const at::Tensor& gradient, const at::Tensor& input);
};

/// The kernels for depthwise convolutions, which have as many groups as channels, and more than
/// one.
extern const ConvKernels kDepthwiseKernels;

/// The kernels for all other convolutions.
extern const ConvKernels kDenseKernels;

}  // namespace samepad::kernels
