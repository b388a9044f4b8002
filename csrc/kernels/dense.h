#pragma once

// Dense and grouped convolutions by the project's own kernels: on tensors, on all threads, by the
// best instruction set that the CPU has.

#include <ATen/core/Tensor.h>

#include "conv_shape.h"

namespace samepad::kernels {

/// Whether there is a kernel, for inputs and outputs of this layout: for float and double, on CPUs
/// with AVX2 or AVX-512; in channels_last of one group. What it copies must fit a thread's
/// workspace, as it does unless strides or dilations are enormous.
bool can_run_dense(const ConvShape& shape, at::MemoryFormat memory_format, at::ScalarType type);

/// The output, (batch, filters, output height, output width), in this layout: contiguous or
/// channels_last. Input and weight of another layout are copied. The same for any number of
/// threads.
at::Tensor dense_output(const ConvShape& shape, at::MemoryFormat memory_format,
                        const at::Tensor& input, const at::Tensor& weight,
                        const std::optional<at::Tensor>& bias);

// Gradients, of convolutions of one group, in this layout.

/// Whether there are kernels for the gradients, too, where can_run_dense has said yes: what they
/// copy is not what the output's kernel does.
bool can_run_dense_input_gradient(const ConvShape& shape);
bool can_run_dense_weight_gradient(const ConvShape& shape);

/// The input's gradient from the output's; `bias` is added to each of its channels. Of many
/// channels it is computed in channels_last; tensors of another layout are copied there and back.
at::Tensor dense_input_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                                const at::Tensor& gradient, const at::Tensor& weight,
                                const std::optional<at::Tensor>& bias = std::nullopt);

/// The weight's gradient from the output's.
at::Tensor dense_weight_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                                 const at::Tensor& gradient, const at::Tensor& input);

}  // namespace samepad::kernels
