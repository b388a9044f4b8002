#pragma once

// Integer arithmetic on sizes, and the type of accumulators.

#include <cstdint>
#include <type_traits>

namespace samepad::kernels {

/// Division that rounds up or down, and the matching remainder, for any sign of a and b > 0.
/// ceil_div does not compute a + b - 1, which overflows for a large b.
constexpr int64_t ceil_div(int64_t a, int64_t b) { return a > 0 ? (a - 1) / b + 1 : -(-a / b); }
constexpr int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }
constexpr int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

/// The type in which sums of products of T are accumulated: T itself, or float for half types.
template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

}  // namespace samepad::kernels
