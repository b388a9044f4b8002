#pragma once

// A window that slides over a tensor's last dimensions: what convolutions and pools have in common.

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <c10/core/SymIntArrayRef.h>
#include <c10/util/SmallVector.h>
#include <samepad/padding.h>
#include <samepad/padding_argument.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

namespace samepad::detail {

/// One value per spatial dimension.
using Dims = c10::SmallVector<int64_t, 3>;
using SymDims = c10::SmallVector<c10::SymInt, 3>;

/// Padding of each spatial dimension; symbolic where the input's sizes are.
using PadList = c10::SmallVector<Pads<c10::SymInt>, 3>;
using KnownPads = c10::SmallVector<Pads<int64_t>, 3>;

/// What an argument's values may be.
struct Range {
  int64_t least = 1;
  int64_t most = std::numeric_limits<int64_t>::max();
};

/// What PyTorch's pools and transposed convolutions count with `int`.
inline constexpr Range kInt{.least = 1, .most = std::numeric_limits<int>::max()};

/// The values of `argument`, one integer or `dimensions` integers, each in the range.
/// Symbolic values are specialised: a computation is for one stride and one kernel.
Dims expand(const char* argument, c10::SymIntArrayRef values, int64_t dimensions, Range range = {});

/// Throws where the extent of a dilated kernel exceeds int64_t.
void check_extents(const Dims& kernel, const Dims& dilation);

struct SlidingWindow {
  at::Tensor input;
  Dims kernel;
  Dims stride;
  Dims dilation;

  int64_t dimensions() const { return static_cast<int64_t>(stride.size()); }

  /// Where spatial dimension i is among the tensor's, batched or not: counted from the last.
  int64_t axis(int64_t i) const { return i - dimensions(); }

  /// Input size of spatial dimension i.
  c10::SymInt size(int64_t i) const { return input.sym_size(axis(i)); }

  bool is_empty(int64_t i) const { return size(i).maybe_as_int() == 0; }
  bool is_empty() const;

  int64_t extent(int64_t i) const { return kernel_extent(kernel[i], dilation[i]); }
};

/// Causal padding is for convolutions of one dimension alone: throws, naming `function`, where
/// `mode` asks for it and it is not `allowed`.
void check_causal(PadMode mode, bool allowed, const char* function);

/// What `mode` pads `window` by.
PadList pads_for_mode(const SlidingWindow& window, PadMode mode);

/// The same with the `unread_padding` of sizes that are symbolic: for what computes windows, to
/// keep the symbols of its output's sizes short.
PadList pads_for_windows(const SlidingWindow& window, PadMode mode);

/// Amounts as the operators take them: one for all dimensions, one per dimension, or before and
/// after of each dimension in turn, which alone may be negative.
PadList pads_for_amounts(int64_t dimensions, c10::SymIntArrayRef amounts);

/// What `padding`, a mode or amounts, pads `window` by.
PadList pads_for(const SlidingWindow& window, const Padding& padding);

/// The pads of one dimension as numbers, where both are known.
std::optional<Pads<int64_t>> known(const Pads<c10::SymInt>& pads);

/// Whether the pads of all dimensions are known.
bool are_known(const PadList& pads);

/// The pads of all dimensions as numbers; all are known.
KnownPads expect_known(const PadList& pads);

// Checks of pads. What is symbolic is left to what is called with it, which guards.

/// A pair must not be negative where `function` has no meaning for it.
void check_not_negative(const char* function, const PadList& pads);

/// What at::pad's modes other than "constant" can fill is limited by the input's size.
void check_fill(const SlidingWindow& window, const PadList& pads, std::string_view fill);

/// The padded input's size must be countable.
void check_countable(const SlidingWindow& window, const PadList& pads);

/// That, and it must hold the kernel at least once.
void check_fits(const SlidingWindow& window, const PadList& pads);

/// `input` with `pads` around its last dimensions; `fill` is one of at::pad's modes, `value` what
/// "constant" fills with. Known negative amounts crop, after the others have been added.
at::Tensor add_padding(const at::Tensor& input, const PadList& pads, std::string_view fill,
                       std::optional<double> value = std::nullopt);

/// Elements [start, end) of a dimension; a negative end counts from the dimension's end.
struct Part {
  int64_t axis;
  c10::SymInt start;
  c10::SymInt end;
};

/// A part of `whole`, dense in its layout, as callers may `view` the result: a copy even where the
/// part is dense already, so that the rest is freed. `whole` itself where there is nothing to cut.
at::Tensor dense_part(const at::Tensor& whole, const std::vector<Part>& parts);

/// SAME of an empty dimension is empty, but PyTorch's convolutions and pools refuse it. Zeros that
/// hold the kernel once, undilated and unpadded, take its place here, and `drop_filled` drops what
/// is computed from them: shape, type, layout and gradients follow.
void fill_empty(SlidingWindow& window, PadList& pads);

/// The result for `window` from the `output` for the window that `fill_empty` made of it.
at::Tensor drop_filled(const SlidingWindow& window, at::Tensor output);

}  // namespace samepad::detail
