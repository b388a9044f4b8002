#pragma once

// Finishes the outputs of fused convolutions. Kernels call this for a few outputs at a time, right
// after they have stored them, when they still lie in the first cache: reading them again from
// there costs little beside the sums, and so the micro-kernels need no instances for each
// activation function.

#include <algorithm>
#include <limits>

#include "epilogue.h"
#include "sigmoid.h"
#include "vectors.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// The activation functions on vectors, as torch.nn.functional defines them.
template <class Acc>
struct Activations {
  using V = Vec<Acc>;

  static V clamp(const V& x, double low, double high) {
    return at::vec::clamp(x, V(static_cast<Acc>(low)), V(static_cast<Acc>(high)));
  }
  /// Chooses `positive` where x > 0, and `negative` elsewhere.
  static V by_sign(const V& x, const V& positive, const V& negative) {
    return V::blendv(negative, positive, x > V(Acc(0)));
  }
  static V hardsigmoid(const V& x) {
    return clamp(x + V(Acc(3)), 0, 6) * V(static_cast<Acc>(1.0 / 6));
  }
  static V gelu(const V& x) {
    constexpr double kRoot = 0.70710678118654752440;  // sqrt(1 / 2)
    return x * V(Acc(0.5)) * (V(Acc(1)) + (x * V(static_cast<Acc>(kRoot))).erf());
  }
  static V gelu_tanh(const V& x) {
    constexpr double kRoot = 0.79788456080286535588;  // sqrt(2 / pi)
    const V cubic = V(Acc(0.044715)) * x * x * x;
    return x * V(Acc(0.5)) * (V(Acc(1)) + (V(static_cast<Acc>(kRoot)) * (x + cubic)).tanh());
  }
};

/// Calls `run` with the activation function, so that the choice is made once for many vectors.
template <class Acc, class Run>
void with_activation(Activation activation, const ActivationParameters& parameters,
                     const Run& run) {
  using V = Vec<Acc>;
  using A = Activations<Acc>;
  const auto [first, second] = parameters;
  switch (activation) {
    case Activation::identity:
      return run([](const V& x) { return x; });
    case Activation::relu:
      return run([](const V& x) { return at::vec::clamp_min(x, V(Acc(0))); });
    case Activation::clamp:
      return run([&](const V& x) { return A::clamp(x, first, second); });
    case Activation::leaky_relu:
      return run([&](const V& x) { return A::by_sign(x, x, x * V(static_cast<Acc>(first))); });
    case Activation::hardswish:
      return run([](const V& x) { return x * A::hardsigmoid(x); });
    case Activation::hardsigmoid:
      return run([](const V& x) { return A::hardsigmoid(x); });
    case Activation::silu:
      return run([](const V& x) { return x * sigmoid(x); });
    case Activation::sigmoid:
      return run([](const V& x) { return sigmoid(x); });
    case Activation::tanh:
      return run([](const V& x) { return x.tanh(); });
    case Activation::gelu:
      return run([](const V& x) { return A::gelu(x); });
    case Activation::gelu_tanh:
      return run([](const V& x) { return A::gelu_tanh(x); });
    case Activation::elu:
      return run(
          [&](const V& x) { return A::by_sign(x, x, x.expm1() * V(static_cast<Acc>(first))); });
  }
}

/// Finishes `rows` rows of `count` outputs, which hold the sums. `row_at` tells where each begins.
template <class T, class RowAt>
void finish_each(const Epilogue<T>& epilogue, int64_t rows, int64_t count, const RowAt& row_at) {
  using Acc = Accumulator<T>;
  constexpr int64_t kStep = kStepElements<T>;
  with_activation<Acc>(epilogue.activation, epilogue.parameters, [&](const auto& activation) {
    const auto finish = [&](AccVectors<T>& values, const AccVectors<T>* residual) {
      for (int v = 0; v < kAccVectors<T>; ++v) {
        if (residual != nullptr && !epilogue.residual_last) {
          values[v] = values[v] + (*residual)[v];
        }
        values[v] = activation(values[v]);
        if (residual != nullptr && epilogue.residual_last) {
          values[v] = values[v] + (*residual)[v];
        }
      }
    };
    for (int64_t r = 0; r < rows; ++r) {
      T* const row = row_at(r);
      const T* const added =
          epilogue.residual == nullptr ? nullptr : epilogue.residual + (row - epilogue.output);
      for (int64_t i = 0; i < count; i += kStep) {
        const int64_t some = std::min(kStep, count - i);
        AccVectors<T> values = load_vectors<T>(row + i, some);
        if (added != nullptr) {
          const AccVectors<T> residual = load_vectors<T>(added + i, some);
          finish(values, &residual);
        } else {
          finish(values, nullptr);
        }
        store_vectors<T>(values, row + i, some);
      }
    }
  });
}

// These are not inlined: each has a loop for every activation function, and micro-kernels have many
// instances.

/// Finishes rows that are `pitch` elements apart.
template <class T>
[[gnu::noinline]] void finish_rows(const Epilogue<T>& epilogue, int64_t rows, int64_t count,
                                   T* first, int64_t pitch) {
  finish_each(epilogue, rows, count, [&](int64_t row) { return first + row * pitch; });
}

/// Finishes rows at any place.
template <class T>
[[gnu::noinline]] void finish_rows(const Epilogue<T>& epilogue, int64_t rows, int64_t count,
                                   T* const* places) {
  finish_each(epilogue, rows, count, [&](int64_t row) { return places[row]; });
}

/// Finishes `count` consecutive outputs.
template <class T>
void finish(const Epilogue<T>& epilogue, T* outputs, int64_t count) {
  finish_rows(epilogue, 1, count, outputs, 0);
}

}  // namespace samepad::kernels::SAMEPAD_ISA
