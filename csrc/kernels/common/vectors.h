#pragma once

// Adds to at::vec what the kernels need: whole or partial vectors of any type, loaded as and stored
// from vectors of the accumulators' type.

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

#include "arithmetic.h"

namespace samepad::kernels::SAMEPAD_ISA {

template <class Acc>
using Vec = at::vec::Vectorized<Acc>;

/// The number of elements in a vector of Acc.
template <class Acc>
inline constexpr int64_t kLanes = Vec<Acc>::size();

/// Two vectors of accumulators, to which one vector of a half-precision type widens.
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

/// Loads the first `count` elements of a pair. The others are 0.
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

// One vector of T, as vectors of accumulators: one if T is their type, and two if it is a
// half-precision type.

template <class T>
inline constexpr int kAccVectors = std::is_same_v<T, Accumulator<T>> ? 1 : 2;

/// The number of elements in these vectors.
template <class T>
inline constexpr int64_t kStepElements = kAccVectors<T> * kLanes<Accumulator<T>>;

template <class T>
using AccVectors = std::array<Vec<Accumulator<T>>, kAccVectors<T>>;

/// Loads them from elements of T or of the accumulators' type.
template <class T, class From>
AccVectors<T> load_vectors(const From* from) {
  if constexpr (kAccVectors<T> == 1) {
    return {Vec<T>::loadu(from)};
  } else {
    return load_pair(from);
  }
}

/// Loads the first `count` elements. The others are 0.
template <class T>
AccVectors<T> load_vectors(const T* from, int64_t count) {
  if constexpr (kAccVectors<T> == 1) {
    return {Vec<T>::loadu(from, count)};
  } else {
    return load_pair(from, count);
  }
}

template <class T>
void store_vectors(const AccVectors<T>& values, T* to) {
  if constexpr (kAccVectors<T> == 1) {
    values[0].store(to);
  } else {
    store_pair<T>(values, to);
  }
}

template <class T>
void store_vectors(const AccVectors<T>& values, T* to, int64_t count) {
  if constexpr (kAccVectors<T> == 1) {
    values[0].store(to, count);
  } else {
    store_pair<T>(values, to, count);
  }
}

/// Copies elements to or from the type of the accumulators.
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

/// Transposes a matrix: `to` has `columns` rows. Rows are `pitch` and `to_pitch` elements apart.
template <class From, class To>
void transpose(const From* from, int64_t rows, int64_t columns, int64_t pitch, To* to,
               int64_t to_pitch) {
  int64_t done = 0;
  if constexpr (std::is_same_v<From, float> && std::is_same_v<To, float>) {
    constexpr int64_t kV = kLanes<float>;
    for (int64_t i = 0; i + kV <= rows; i += kV) {
      int64_t j = 0;
      for (; j + kV <= columns; j += kV) {
        at::vec::transpose_mxn<float, kV, kV>(from + i * pitch + j, pitch, to + j * to_pitch + i,
                                              to_pitch);
      }
      if (j < columns) {
        at::vec::transpose_mxn<float>(from + i * pitch + j, pitch, to + j * to_pitch + i, to_pitch,
                                      static_cast<int>(kV), static_cast<int>(columns - j));
      }
      done = i + kV;
    }
  }
#ifdef CPU_CAPABILITY_AVX512
  if constexpr (std::is_same_v<From, c10::BFloat16> && std::is_same_v<To, c10::BFloat16>) {
    constexpr int64_t kBlock = 32;
    // A block takes as long as some 200 single elements, whatever part of it there is.
    constexpr int64_t kFew = 6;
    for (; std::min(rows, columns) > kFew && done < rows; done += std::min(kBlock, rows - done)) {
      for (int64_t j = 0; j < columns; j += kBlock) {
        at::vec::transpose_mxn<c10::BFloat16>(from + done * pitch + j, pitch,
                                              to + j * to_pitch + done, to_pitch,
                                              static_cast<int>(std::min(kBlock, rows - done)),
                                              static_cast<int>(std::min(kBlock, columns - j)));
      }
    }
  }
#endif
  for (int64_t i = done; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      to[j * to_pitch + i] = static_cast<To>(from[i * pitch + j]);
    }
  }
}

}  // namespace samepad::kernels::SAMEPAD_ISA
