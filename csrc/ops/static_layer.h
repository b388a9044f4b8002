#pragma once

// SAME layers as layers of torch.nn, for one size of input: what the operators themselves would
// run, told to whoever makes such layers (samepad.resolve_static). Each function stands beside its
// operator.

#include <samepad/export.h>
#include <samepad/padding_argument.h>

#include "problem/sliding_window.h"

namespace samepad::detail {

/// A layer of torch.nn, and what is added to its input and taken from its output, that compute what
/// a SAME layer computes for one size. One value per spatial dimension; empty where there is none.
struct StaticLayer {
  Dims padding{};          ///< the layer's own
  Dims output_padding{};   ///< of a transposed convolution
  bool ceil_mode = false;  ///< of a pool
  KnownPads pads{};        ///< to add to the input
  KnownPads crops{};       ///< to take from the output
};

/// `padding_mode` is torch.nn's. Where the layer can't pad as it says, `pads` is to be filled so.
SAMEPAD_API StaticLayer static_conv(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                                    at::IntArrayRef stride, at::IntArrayRef dilation,
                                    const Padding& padding, std::string_view padding_mode);

/// `output_size` is what the layer's output has.
SAMEPAD_API StaticLayer static_conv_transpose(at::IntArrayRef input_size,
                                              at::IntArrayRef output_size,
                                              at::IntArrayRef kernel_size, at::IntArrayRef stride,
                                              at::IntArrayRef dilation, const Padding& padding);

/// `pads`, where there are any, are to be filled with what a maximum ignores.
SAMEPAD_API StaticLayer static_max_pool(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                                        at::IntArrayRef stride, at::IntArrayRef dilation,
                                        const Padding& padding, bool ceil_mode);

/// `pads`, where there are any, are counted as elements of the means. `divided` says whether the
/// means have a divisor of their own.
SAMEPAD_API StaticLayer static_avg_pool(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                                        at::IntArrayRef stride, const Padding& padding,
                                        bool ceil_mode, bool count_include_pad, bool divided);

}  // namespace samepad::detail
