#pragma once

// For one input size, a SAME layer can be replaced by a layer of torch.nn. These functions tell
// samepad.resolve_static the settings of that layer, which are those that the operators would use.
// Each function is defined beside its operator.

#include <samepad/export.h>
#include <samepad/padding_argument.h>

#include "problem/sliding_window.h"

namespace samepad::detail {

/// The settings of a layer of torch.nn, with the padding to add to its input and the elements to
/// crop from its output, so that it computes what a SAME layer computes for one input size. Each
/// list has one value per spatial dimension, or is empty if it is not needed.
struct StaticLayer {
  Dims padding{};          ///< the layer's own padding
  Dims output_padding{};   ///< the output_padding of a transposed convolution
  bool ceil_mode = false;  ///< the ceil_mode of a pool
  KnownPads pads{};        ///< padding to add to the input
  KnownPads crops{};       ///< elements to crop from the output
};

/// `padding_mode` is that of torch.nn. Padding that the layer cannot add itself is returned in
/// `pads`, to be filled in this mode.
SAMEPAD_API StaticLayer static_conv(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                                    at::IntArrayRef stride, at::IntArrayRef dilation,
                                    const Padding& padding, std::string_view padding_mode);

/// `output_size` is the size of the output of the SAME layer.
SAMEPAD_API StaticLayer static_conv_transpose(at::IntArrayRef input_size,
                                              at::IntArrayRef output_size,
                                              at::IntArrayRef kernel_size, at::IntArrayRef stride,
                                              at::IntArrayRef dilation, const Padding& padding);

/// `pads`, if any, have to be filled with the type's lowest value, so that a maximum ignores them.
SAMEPAD_API StaticLayer static_max_pool(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                                        at::IntArrayRef stride, at::IntArrayRef dilation,
                                        const Padding& padding, bool ceil_mode);

/// `pads`, if any, count as elements of the means. `divided` says whether a divisor_override is
/// given.
SAMEPAD_API StaticLayer static_avg_pool(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                                        at::IntArrayRef stride, const Padding& padding,
                                        bool ceil_mode, bool count_include_pad, bool divided);

}  // namespace samepad::detail
