#pragma once

// What the kernels need of at::vec: whole or partial vectors of any type as vectors of the type
// that sums are kept in.

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

#include "depthwise_kernels.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// Division that rounds up, or down, for any sign of a.
constexpr int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
constexpr int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }
constexpr int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

template <class Acc>
using Vec = at::vec::Vectorized<Acc>;

/// Elements of a vector of Acc.
template <class Acc>
inline constexpr int64_t kLanes = Vec<Acc>::size();

/// Two vectors of sums: what one vector of a half-size type widens to.
template <class Acc>
using VecPair = std::array<Vec<Acc>, 2>;

template <class T>
VecPair<Accumulator<T>> load_pair(const T* from) {
  using Acc = Accumulator<T>;
  if constexpr (std::is_same_v<T, Acc>) {
    return {Vec<T>::loadu(from), Vec<T>::loadu(from + kLanes<T>)};
  } else {
    const auto [low, high] = at::vec::convert_to_float<T>(at::vec::Vectorized<T>::loadu(from));
    return {low, high};
  }
}

/// The first `count` elements of a pair; the others are 0.
template <class T>
VecPair<Accumulator<T>> load_pair(const T* from, int64_t count) {
  using Acc = Accumulator<T>;
  if constexpr (std::is_same_v<T, Acc>) {
    const int64_t low = std::min(count, kLanes<T>);
    return {Vec<T>::loadu(from, low), Vec<T>::loadu(from + low, count - low)};
  } else {
    const auto [low, high] =
        at::vec::convert_to_float<T>(at::vec::Vectorized<T>::loadu(from, count));
    return {low, high};
  }
}

template <class T>
void store_pair(const VecPair<Accumulator<T>>& values, T* to) {
  if constexpr (std::is_same_v<T, Accumulator<T>>) {
    values[0].store(to);
    values[1].store(to + kLanes<T>);
  } else {
    at::vec::convert_from_float<T>(values[0], values[1]).store(to);
  }
}

template <class T>
void store_pair(const VecPair<Accumulator<T>>& values, T* to, int64_t count) {
  if constexpr (std::is_same_v<T, Accumulator<T>>) {
    const int64_t low = std::min(count, kLanes<T>);
    values[0].store(to, low);
    values[1].store(to + low, count - low);
  } else {
    at::vec::convert_from_float<T>(values[0], values[1]).store(to, count);
  }
}

/// Copies elements to or from the type that sums are kept in.
template <class From, class To>
void convert(const From* from, int64_t count, To* to) {
  constexpr int64_t kStep = 2 * kLanes<Accumulator<To>>;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    store_pair<To>(load_pair(from + i), to + i);
  }
  if (i < count) {
    store_pair<To>(load_pair(from + i, count - i), to + i, count - i);
  }
}

}  // namespace samepad::kernels::SAMEPAD_ISA
