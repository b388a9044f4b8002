#pragma once

/// \file
/// The arithmetic of SAME padding, one spatial dimension at a time. It needs only the standard
/// library, so it can be used without LibTorch.
///
/// Functions of an input size are templates over the integer type: `int64_t`, or a symbolic integer
/// such as `c10::SymInt`. For a symbolic integer they never branch on a size, because a branch
/// would restrict a traced graph to some sizes. All quantities count elements:
///
///     n  input size       k  kernel size     s  stride     d  dilation
///     e  kernel extent = (k - 1) d + 1       o  output size = ceil(n / s)
///
/// The callers check the preconditions: n >= 0; k, s and d >= 1; and all sums fit the integer type.
/// The only product that can overflow is the one in the kernel's extent, which `extent_overflows`
/// checks.
///
/// The formulas come from TensorFlow's "Notes on padding" (tf.nn) and from `auto_pad` of the ONNX
/// operators. They were compared with both by brute force over small sizes.

#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>

namespace samepad {

/// The rule that determines the amounts of padding.
enum class PadMode : uint8_t {
  same,        ///< TensorFlow SAME and ONNX SAME_UPPER: an odd total puts its extra element after.
  same_lower,  ///< ONNX SAME_LOWER: an odd total puts its extra element before.
  causal,      ///< Keras causal: all padding goes before.
  valid,       ///< No padding.
};

/// The numbers of elements added before and after one dimension.
template <class Int>
struct Pads {
  Int before;
  Int after;

  friend bool operator==(const Pads&, const Pads&) = default;
};

namespace detail {

/// The total number of elements that SAME adds, P = max(0, (o - 1) s + e - n), for e > 1 and s > 1.
/// It is computed as max(0, e - 1 - r) with r = (n - 1) mod s, in which nothing can overflow.
template <class Int>
constexpr Int same_total(const Int& n, int64_t extent, int64_t stride) {
  if constexpr (std::is_integral_v<Int>) {
    const Int phase = n == 0 ? stride - 1 : (n - 1) % stride;
    return extent - 1 > phase ? extent - 1 - phase : 0;
  } else if (extent >= stride) {
    // This form has no remainder, so that n cancels in the padded size, n + P = (o - 1) s + e, and
    // the symbolic output size simplifies to o. If n did not cancel, the output size would contain
    // the expression for n twice, and symbolic sizes would double in length with every layer.
    return (n - 1) / stride * stride + extent - n;
  } else {
    // The second factor is 1 if e - 1 > r and 0 otherwise. A symbolic maximum would give the same,
    // but torch.export's decompositions add a guard on which of its operands is larger. In this
    // case n cancels once `unread_padding` has been added.
    const Int phase = (n - 1) % stride;
    return (Int(extent - 1) - phase) * (Int(1) - (phase + (stride + 1 - extent)) / stride);
  }
}

/// Splits `total` elements into before and after. The extra element of an odd total goes to the
/// side that `mode` prescribes.
template <class Int>
constexpr Pads<Int> split(const Int& total, PadMode mode) {
  const Int half = total / 2;
  const Int rest = total - half;
  return mode == PadMode::same_lower ? Pads<Int>{rest, half} : Pads<Int>{half, rest};
}

}  // namespace detail

/// The product of a and b, both at least 0, or the largest int64_t if the product exceeds it.
constexpr int64_t saturating_product(int64_t a, int64_t b) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  return a > 0 && b > kMost / a ? kMost : a * b;
}

/// Whether the kernel's extent (k - 1) d + 1 exceeds int64_t.
constexpr bool extent_overflows(int64_t kernel, int64_t dilation) {
  return kernel - 1 > (std::numeric_limits<int64_t>::max() - 1) / dilation;
}

/// The number of elements that a dilated kernel spans: e = (k - 1) d + 1.
constexpr int64_t kernel_extent(int64_t kernel, int64_t dilation) {
  return (kernel - 1) * dilation + 1;
}

/// The output size of a SAME or causal convolution or pool: o = ceil(n / s), which is 0 for n = 0.
/// A symbolic n is assumed to be at least 1.
template <class Int>
constexpr Int same_output_size(const Int& n, int64_t stride) {
  if constexpr (std::is_integral_v<Int>) {
    return n / stride + (n % stride != 0 ? 1 : 0);
  } else {
    return (n - 1) / stride + 1;
  }
}

/// The output size of a convolution with given padding: floor((n + before + after - e) / s) + 1.
/// Requires n + before + after >= e.
template <class Int>
constexpr Int padded_output_size(const Int& n, int64_t extent, int64_t stride,
                                 const Pads<Int>& pads) {
  return (n + pads.before + pads.after - extent) / stride + 1;
}

/// The padding that `mode` prescribes.
///
/// SAME adds P = max(0, (o - 1) s + e - n) elements in all. That is e - 1 for s = 1 and 0 for e =
/// 1; for e >= s the maximum is not needed. Causal adds e - 1, whatever the stride.
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

/// The number of further elements to append after the SAME padding of a symbolic n. No window of a
/// convolution or pool reads them, so they do not change the result. For e < s they make n cancel:
/// the padded size becomes o s, and the output size (o s - e) / s + 1 = o. For e >= s, n cancels
/// without them, and their number is 0.
template <class Int>
constexpr Int unread_padding(const Int& n, int64_t extent, int64_t stride, const Pads<Int>& pads) {
  return extent >= stride ? Int(0)
                          : same_output_size(n, stride) * stride - n - pads.before - pads.after;
}

/// The elements to crop from a transposed convolution's full result, which is (n - 1) s + e long,
/// so that n s remain: C = max(0, e - s), split as `mode` splits a padding. This equals the padding
/// of the SAME convolution of n s elements, whose gradient the transposed convolution is. To keep m
/// elements, (n - 1) s < m <= n s, crop `mode_pads` of m instead. A full result that is shorter
/// than the wanted size is extended by elements that contain only the bias.
constexpr Pads<int64_t> transposed_crop(PadMode mode, int64_t extent, int64_t stride) {
  if (mode == PadMode::valid) {
    return {0, 0};
  }
  return detail::split(extent > stride ? extent - stride : 0, mode);
}

/// The settings with which PyTorch's transposed convolution, which crops both sides by the same
/// amount and then appends `output_padding` elements, computes one that crops its two sides
/// differently.
template <class Int>
struct TransposedFit {
  int64_t padding;     ///< number of elements to crop from each side
  Int output_padding;  ///< number of elements to append at the end
  int64_t skipped;     ///< number of leading elements to drop from the result
  int64_t dropped;     ///< number of trailing elements to drop from the result
};

/// Finds the settings for a transposed convolution that crops `crop` from its full result and then
/// appends `tail` elements that contain only the bias. Cropping the smaller of the two amounts from
/// both sides leaves surplus elements on the other side, which are dropped afterwards. If `before`
/// is the larger amount, it can also be cropped from both sides: a larger output_padding brings
/// back what is lost at the end, as long as it does not exceed PyTorch's limit, max(s, d) - 1.
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

/// The crop identity: a convolution padded by p on both sides computes the outputs of the
/// asymmetric convolution and some more around them, without a padded copy of the input, provided
/// that p >= max(before, after) and p - before is a multiple of s. Returns the smallest such p.
constexpr int64_t crop_padding(const Pads<int64_t>& pads, int64_t stride) {
  const int64_t lacking = pads.after > pads.before ? pads.after - pads.before : 0;
  return pads.before + (lacking / stride + (lacking % stride != 0 ? 1 : 0)) * stride;
}

/// The number of leading outputs to drop from the convolution padded by `crop_padding`.
constexpr int64_t crop_offset(const Pads<int64_t>& pads, int64_t stride) {
  return (crop_padding(pads, stride) - pads.before) / stride;
}

/// The output size of a pool with given padding, as PyTorch computes it: that of a convolution, or
/// with `ceil_mode` rounded up, unless the last window would then start in the padding after the
/// input.
constexpr int64_t pooled_output_size(int64_t n, int64_t extent, int64_t stride,
                                     const Pads<int64_t>& pads, bool ceil_mode) {
  const int64_t steps = n + pads.before + pads.after - extent + (ceil_mode ? stride - 1 : 0);
  // C++ division rounds towards zero. Subtracting 1 rounds a negative `steps`, which occurs where
  // the kernel exceeds the padded input, down as well.
  const int64_t size = steps / stride + 1 - (steps % stride < 0 ? 1 : 0);
  return ceil_mode && (size - 1) * stride >= n + pads.before ? size - 1 : size;
}

/// How a pool with equal padding on both sides computes the windows of one with asymmetric padding.
struct PoolFit {
  int64_t padding;  ///< padding on each side
  int64_t skipped;  ///< number of leading windows to drop
};

/// The pool identity: PyTorch's pools ignore what lies outside of the input, so the windows of an
/// asymmetric padding are among those of a symmetric padding p, where p is `before` or the p of the
/// crop identity. For strides over 1, `ceil_mode` adds the last window of SAME to them.
///
/// \param wanted  the number of windows that are needed
/// \param counts  whether padding counts as elements of a mean. If so, the padding after has to
///                have its given length wherever a window may end in it.
/// \return        empty if no such p is within PyTorch's limit of half the kernel size, or if a
///                dilated window might contain only padding, which PyTorch's pools do not handle
constexpr std::optional<PoolFit> fit_pool(int64_t n, int64_t kernel, int64_t stride,
                                          int64_t dilation, const Pads<int64_t>& pads,
                                          bool ceil_mode, int64_t wanted, bool counts = false) {
  const int64_t extent = kernel_extent(kernel, dilation);
  // With a stride over 1, the crop identity's p exceeds half the kernel size for every SAME
  // padding.
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
