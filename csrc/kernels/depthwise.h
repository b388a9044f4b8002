#pragma once

// Depthwise convolutions by the project's own kernels: on tensors, on all threads, by the best
// instruction set that the CPU has.

#include <ATen/core/Tensor.h>

#include "conv_shape.h"

namespace samepad::kernels {

/// Layouts, named as PyTorch names them.
///
/// Tensors are 4-D, of one type: float, double, c10::BFloat16 or c10::Half; `memory_format` says
/// how the input and the output lie in memory: contiguous, or, where the shape's multiplier is 1,
/// channels_last. Results are the same for any number of threads.
/// Shapes are ones that fit the workspace.

/// Whether the work fits a thread's workspace: what the kernels copy there is small, unless strides
/// or dilations are enormous.
bool fits_workspace(const ConvShape& shape);

/// The output, (batch, filters, output height, output width). Input of another layout is copied.
at::Tensor depthwise_output(const ConvShape& shape, at::MemoryFormat memory_format,
                            const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias);

/// The input's gradient from the output's.
at::Tensor depthwise_input_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                                    const at::Tensor& gradient, const at::Tensor& weight);

/// The weight's gradient from the output's.
at::Tensor depthwise_weight_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                                     const at::Tensor& gradient, const at::Tensor& input);

}  // namespace samepad::kernels
