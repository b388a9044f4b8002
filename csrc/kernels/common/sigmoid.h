#pragma once

// The logistic sigmoid on vectors, for activation functions.

#include "vectors.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// exp(x) within a few units in the last place, for x in [-87, 88]; x outside is taken for the
/// nearest limit, and NaN stays NaN. Since x = n ln 2 + r with an integer n and |r| <= ln 2 / 2,
/// exp(x) is 2^n exp(r), and few terms of the series of exp(r) are enough. The method is Cephes's
/// (Moshier, expf.c): ln 2 is split in two, so that r has no rounding error.
inline Vec<float> bounded_exp(const Vec<float>& x) {
  using V = Vec<float>;
  const V bounded = at::vec::clamp(x, V(-87), V(88));
  const V n = (bounded * V(1.44269504F)).round();  // 1 / ln 2
  const V r = at::vec::fmadd(n, V(2.12194440e-4F), at::vec::fmadd(n, V(-0.693359375F), bounded));
  V series(1.0F / 720);
  for (const float term : {1.0F / 120, 1.0F / 24, 1.0F / 6, 1.0F / 2, 1.0F, 1.0F}) {
    series = at::vec::fmadd(series, r, V(term));
  }
  constexpr int kMantissaBits = 23;
  constexpr int kExponentBias = 127;
  const auto exponent =
      at::vec::convert_to_int_of_same_size(n) + Vec<int32_t>(int32_t{kExponentBias});
  return series * at::vec::cast<float>(exponent << Vec<int32_t>(int32_t{kMantissaBits}));
}

/// 1 / x for x >= 1, within a few units in the last place: a division would take most of the time
/// of a sigmoid.
inline Vec<float> fast_reciprocal(const Vec<float>& x) {
#ifdef CPU_CAPABILITY_AVX512
  // One step of Newton's method doubles the 14 bits of the CPU's estimate.
  const Vec<float> estimate = _mm512_rcp14_ps(x);
  return estimate * at::vec::fmadd(x.neg(), estimate, Vec<float>(2));
#else
  return Vec<float>(1) / x;
#endif
}

/// 1 / (1 + exp(-x)). Below -88, where it is smaller than 1e-38, the result is 0.
inline Vec<float> sigmoid(const Vec<float>& x) {
  const Vec<float> result = fast_reciprocal(Vec<float>(1) + bounded_exp(x.neg()));
  return Vec<float>::blendv(result, Vec<float>(0), x < Vec<float>(-88));
}
inline Vec<double> sigmoid(const Vec<double>& x) {
  return Vec<double>(1) / (Vec<double>(1) + x.neg().exp());
}

}  // namespace samepad::kernels::SAMEPAD_ISA
