#pragma once

// What follows the sums of a fused convolution: a residual is added and an activation function
// applied.

#include <array>
#include <cstdint>

namespace samepad::kernels {

/// The activation functions. Their formulas are in finish.h.
enum class Activation : uint8_t {
  identity,
  relu,
  clamp,       ///< between parameters[0] and parameters[1]
  leaky_relu,  ///< parameters[0] is the slope of negative values
  hardswish,
  hardsigmoid,
  silu,
  sigmoid,
  tanh,
  gelu,
  gelu_tanh,  ///< gelu, approximated by a hyperbolic tangent
  elu,        ///< parameters[0] is the scale of negative values
};

using ActivationParameters = std::array<double, 2>;

/// The epilogue of one call of a kernel, on plain memory.
template <class T>
struct Epilogue {
  Activation activation = Activation::identity;
  ActivationParameters parameters = {};
  const T* residual = nullptr;  ///< what to add, laid out as the output; null for nothing
  bool residual_last = false;   ///< whether it is added to the activation rather than to the sums
  const T* output = nullptr;    ///< where the output begins
};

}  // namespace samepad::kernels
