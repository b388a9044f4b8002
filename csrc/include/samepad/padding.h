#pragma once

/// \file
/// The arithmetic of SAME padding, one spatial dimension at a time. It needs the standard library
/// alone, so it can be used without LibTorch.
///
/// Every function is a template over the integer type: `int64_t`, or a symbolic integer such as
/// `c10::SymInt`, for which no function branches on a size. All quantities count elements:
///
///     n  input size       k  kernel size     s  stride     d  dilation
///     e  kernel extent = (k - 1) d + 1       o  output size = ceil(n / s)
///
/// Preconditions, which the callers check: n >= 0, k, s, d >= 1, and sums that fit the type
/// (`extent_overflows` tells for the only product).
///
/// Source of the formulas: TensorFlow's "Notes on padding" (tf.nn) and the ONNX operators'
/// `auto_pad`; the identities were brute-forced against both.

#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>

namespace samepad {

/// Which rule chooses the padding.
enum class PadMode : uint8_t {
  same,        ///< TensorFlow SAME, ONNX SAME_UPPER: the odd element goes after.
  same_lower,  ///< ONNX SAME_LOWER: the odd element goes before.
  causal,      ///< Keras causal (1-D): everything goes before.
  valid,       ///< No padding.
};

/// Elements added before and after one dimension.
template <class Int>
struct Pads {
  Int before;
  Int after;

  friend bool operator==(const Pads&, const Pads&) = default;
};

namespace detail {

/// How many elements SAME adds in all, P = max(0, (o - 1) s + e - n), for e > 1 and s > 1. It
/// equals max(0, e - 1 - r), r = (n - 1) mod s, where nothing can overflow.
template <class Int>
constexpr Int same_total(const Int& n, int64_t extent, int64_t stride) {
  if constexpr (std::is_integral_v<Int>) {
    const Int phase = n == 0 ? stride - 1 : (n - 1) % stride;
    return extent - 1 > phase ? extent - 1 - phase : 0;
  } else if (extent >= stride) {
    // Not by the remainder: written like this, n cancels where the padded size is computed, n + P
    // is (o - 1) s + e, and the symbol of the output's size is that of o. What does not cancel is
    // in that symbol twice, so that the next layer's is twice as long, and that of the next again.
    return (n - 1) / stride * stride + extent - n;
  } else {
    // The second factor is 1 where e - 1 > r and 0 elsewhere. A symbolic maximum would do, but
    // torch.export's decompositions guard on which of its operands is the larger. Here n cancels
    // with `unread_padding`.
    const Int phase = (n - 1) % stride;
    return (Int(extent - 1) - phase) * (Int(1) - (phase + (stride + 1 - extent)) / stride);
  }
}

/// P elements in all, split by `mode`; the odd one goes to the side that the mode favours.
template <class Int>
constexpr Pads<Int> split(const Int& total, PadMode mode) {
  const Int half = total / 2;
  const Int rest = total - half;
  return mode == PadMode::same_lower ? Pads<Int>{rest, half} : Pads<Int>{half, rest};
}

}  // namespace detail

/// a b for a, b >= 0, or the largest int64_t where the product exceeds it.
constexpr int64_t saturating_product(int64_t a, int64_t b) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  return a > 0 && b > kMost / a ? kMost : a * b;
}

/// Whether the kernel's extent (k - 1) d + 1 exceeds int64_t.
constexpr bool extent_overflows(int64_t kernel, int64_t dilation) {
  return kernel - 1 > (std::numeric_limits<int64_t>::max() - 1) / dilation;
}

/// Elements that a dilated kernel spans: e = (k - 1) d + 1.
constexpr int64_t kernel_extent(int64_t kernel, int64_t dilation) {
  return (kernel - 1) * dilation + 1;
}

/// Output size of a SAME or causal convolution or pool: o = ceil(n / s), 0 for n = 0. A symbolic n
/// is taken to be at least 1.
template <class Int>
constexpr Int same_output_size(const Int& n, int64_t stride) {
  if constexpr (std::is_integral_v<Int>) {
    return n / stride + (n % stride != 0 ? 1 : 0);
  } else {
    return (n - 1) / stride + 1;
  }
}

/// Output size of a convolution with given padding: floor((n + before + after - e) / s) + 1.
/// Requires n + before + after >= e.
template <class Int>
constexpr Int padded_output_size(const Int& n, int64_t extent, int64_t stride,
                                 const Pads<Int>& pads) {
  return (n + pads.before + pads.after - extent) / stride + 1;
}

/// Padding that `mode` asks for.
///
/// SAME pads P = max(0, (o - 1) s + e - n) in all, which is e - 1 for s = 1 and 0 for e = 1; for
/// e >= s the maximum is not needed. Causal pads e - 1, whatever the stride.
template <class Int>
constexpr Pads<Int> mode_pads(PadMode mode, const Int& n, int64_t extent, int64_t stride) {
  switch (mode) {
    case PadMode::valid:
      return {Int(0), Int(0)};
    case PadMode::causal:
      return {Int(extent - 1), Int(0)};
    case PadMode::same:
    case PadMode::same_lower:
      break;
  }
  if (extent == 1 || stride == 1) {
    return detail::split(Int(extent - 1), mode);
  }
  return detail::split(detail::same_total(n, extent, stride), mode);
}

/// How many more elements may follow the pads of a symbolic n that SAME adds P of, for a
/// convolution or a pool, which reads none of them. With them n cancels where e < s too: the padded
/// size is o s, and the output's (o s - e) / s + 1 = o. For e >= s it cancels without.
template <class Int>
constexpr Int unread_padding(const Int& n, int64_t extent, int64_t stride, const Pads<Int>& pads) {
  return extent >= stride ? Int(0)
                          : same_output_size(n, stride) * stride - n - pads.before - pads.after;
}

/// Elements to crop from a transposed convolution's full result, (n - 1) s + e long, so that n s
/// stay: C = max(0, e - s), split as `mode` splits a padding. It is the padding of the SAME
/// convolution of n s elements, whose gradient this is; where m elements are to stay,
/// (n - 1) s < m <= n s, it is `mode_pads` of m. A full result shorter than that gets a tail of
/// bias alone.
constexpr Pads<int64_t> transposed_crop(PadMode mode, int64_t extent, int64_t stride) {
  if (mode == PadMode::valid) {
    return {0, 0};
  }
  return detail::split(extent > stride ? extent - stride : 0, mode);
}

/// How PyTorch's transposed convolution, which crops both sides alike and then adds a tail,
/// computes one that crops `crop`.
template <class Int>
struct TransposedFit {
  int64_t padding;     ///< cropped from both sides
  Int output_padding;  ///< the tail to add
  int64_t skipped;     ///< leading elements to drop from the result
  int64_t dropped;     ///< trailing elements to drop from it
};

/// The transposed identity: cropping the smaller amount from both sides leaves a few elements too
/// many on the other side. Cropping `before` from both sides, where that is the larger, takes
/// elements away that a longer tail brings back, where PyTorch allows it: up to max(s, d) - 1.
/// `tail` is how many elements of bias alone come after the full result's.
template <class Int>
constexpr TransposedFit<Int> fit_transposed(int64_t stride, int64_t dilation,
                                            const Pads<int64_t>& crop, const Int& tail) {
  const int64_t missing = crop.before - crop.after;
  const int64_t longest = (stride > dilation ? stride : dilation) - 1;
  if (missing >= 0 && tail + missing <= longest) {
    return {crop.before, tail + missing, 0, 0};
  }
  const int64_t p = missing > 0 ? crop.after : crop.before;
  return {p, tail, crop.before - p, crop.after - p};
}

/// The crop identity: a convolution padded by p on both sides, p >= max(before, after) and
/// p = before (mod s), computes the asymmetric convolution's outputs and some more around them,
/// with no padded copy of the input. This is the smallest such p.
constexpr int64_t crop_padding(const Pads<int64_t>& pads, int64_t stride) {
  const int64_t lacking = pads.after > pads.before ? pads.after - pads.before : 0;
  return pads.before + (lacking / stride + (lacking % stride != 0 ? 1 : 0)) * stride;
}

/// How many leading outputs of the convolution padded by `crop_padding` are to be dropped.
constexpr int64_t crop_offset(const Pads<int64_t>& pads, int64_t stride) {
  return (crop_padding(pads, stride) - pads.before) / stride;
}

/// Output size of a pool with given padding, as PyTorch computes it: that of a convolution, rounded
/// up with `ceil_mode`, where the last window has to start before the padding after.
constexpr int64_t pooled_output_size(int64_t n, int64_t extent, int64_t stride,
                                     const Pads<int64_t>& pads, bool ceil_mode) {
  const int64_t steps = n + pads.before + pads.after - extent + (ceil_mode ? stride - 1 : 0);
  // Rounded down, where the kernel exceeds the padded input too.
  const int64_t size = steps / stride + 1 - (steps % stride < 0 ? 1 : 0);
  return ceil_mode && (size - 1) * stride >= n + pads.before ? size - 1 : size;
}

/// How a pool with the same padding on both sides computes the windows of one with `pads`.
struct PoolFit {
  int64_t padding;  ///< on both sides
  int64_t skipped;  ///< leading windows to drop
};

/// The pool identity: PyTorch's pools ignore what lies outside of the input, on either side, so the
/// windows of an asymmetric padding are among those of a symmetric one, p = before, or the crop
/// identity's p. With stride over 1, `ceil_mode` makes SAME's last window one of them. Empty where
/// there is no such p within half the kernel size, which is PyTorch's limit, or where, dilated, a
/// window might hold padding alone, which PyTorch's pools do not check for. Padding that `counts`,
/// as elements of a mean, has to be as long as it is said to be where windows may end in it.
constexpr std::optional<PoolFit> fit_pool(int64_t n, int64_t kernel, int64_t stride,
                                          int64_t dilation, const Pads<int64_t>& pads,
                                          bool ceil_mode, int64_t wanted, bool counts = false) {
  const int64_t extent = kernel_extent(kernel, dilation);
  // The crop identity's p is over half the kernel for every SAME but that of stride 1.
  const int64_t cropping = stride == 1 ? crop_padding(pads, stride) : pads.before;
  for (const int64_t p : {pads.before, cropping}) {
    const int64_t skipped = (p - pads.before) / stride;
    const bool counted = !counts || p == pads.after || (!ceil_mode && p > pads.after);
    if (counted && n >= dilation && p <= kernel / 2 &&
        pooled_output_size(n, extent, stride, {p, p}, ceil_mode) - skipped >= wanted) {
      return PoolFit{p, skipped};
    }
  }
  return std::nullopt;
}

}  // namespace samepad
