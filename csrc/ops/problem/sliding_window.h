#pragma once

// A window that slides over a tensor's last dimensions, which is what convolutions and pools have
// in common.

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <c10/core/SymIntArrayRef.h>
#include <c10/util/SmallVector.h>
#include <samepad/padding.h>
#include <samepad/padding_argument.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace samepad::detail {

/// One value per spatial dimension.
using Dims = c10::SmallVector<int64_t, 3>;
using SymDims = c10::SmallVector<c10::SymInt, 3>;

/// The padding of each spatial dimension; symbolic if the input's sizes are.
using PadList = c10::SmallVector<Pads<c10::SymInt>, 3>;
using KnownPads = c10::SmallVector<Pads<int64_t>, 3>;

/// The range of an argument's valid values.
struct Range {
  int64_t least = 1;
  int64_t most = std::numeric_limits<int64_t>::max();
};

/// PyTorch's pools and transposed convolutions store these arguments as `int`.
inline constexpr Range kInt{.least = 1, .most = std::numeric_limits<int>::max()};

/// Expands `argument`, one integer or `dimensions` integers, to one value per dimension and checks
/// that each is in the range. Symbolic values are specialised, because a computation is made for
/// one stride and one kernel size.
Dims expand(const char* argument, c10::SymIntArrayRef values, int64_t dimensions, Range range = {});

/// Throws if the extent of a dilated kernel exceeds int64_t.
void check_extents(const Dims& kernel, const Dims& dilation);

struct SlidingWindow {
  at::Tensor input;
  Dims kernel;
  Dims stride;
  Dims dilation;

  int64_t dimensions() const { return static_cast<int64_t>(stride.size()); }

  /// The axis of spatial dimension i in the tensor. It is counted from the last one, so it is the
  /// same with and without a batch.
  int64_t axis(int64_t i) const { return i - dimensions(); }

  /// The input size of spatial dimension i.
  c10::SymInt size(int64_t i) const { return input.sym_size(axis(i)); }

  bool is_empty(int64_t i) const { return size(i).maybe_as_int() == 0; }

  int64_t extent(int64_t i) const { return kernel_extent(kernel[i], dilation[i]); }
};

/// Throws if there is not a mode for each of `dimensions` dimensions.
void check_count(const Modes& modes, int64_t dimensions);

/// Writes modes as they are written in Python: 'same' or ('causal', 'same', 'same').
std::string quoted(const Modes& modes);

/// Which layers have causal padding: only convolutions, since pools and transposed convolutions do
/// not.
enum class Causal : uint8_t { allowed, refused };

/// Like `check_count`, and also throws if modes are causal where `function` has no causal padding.
/// Convolutions of several dimensions are causal only in the dimensions for which a list of modes
/// says so, because it is rarely all of them that are meant.
void check_modes(const Modes& modes, int64_t dimensions, Causal causal, const char* function);

/// The padding that `modes` prescribe for `window`.
PadList pads_for_modes(const SlidingWindow& window, const Modes& modes);

/// The same, plus the `unread_padding` of symbolic sizes. It keeps the symbolic expressions of
/// output sizes short, and may be used where only complete windows are computed from the padded
/// input.
PadList pads_for_windows(const SlidingWindow& window, const Modes& modes);

/// Converts amounts as the operators take them: one for all dimensions, one per dimension, or
/// before and after of each dimension in turn. Only the latter may be negative.
PadList pads_for_amounts(int64_t dimensions, c10::SymIntArrayRef amounts);

/// The padding that `padding`, modes or amounts, prescribes for `window`.
PadList pads_for(const SlidingWindow& window, const Padding& padding);

/// The pads of one dimension as numbers, or nothing if one of them is symbolic.
std::optional<Pads<int64_t>> known(const Pads<c10::SymInt>& pads);

/// Whether no pad of any dimension is symbolic.
bool are_known(const PadList& pads);

/// The pads of all dimensions as numbers. None may be symbolic.
KnownPads expect_known(const PadList& pads);

// The following functions check pads. They skip symbolic values, which are checked and guarded by
// the operators that are called with them.

/// Throws if a pad is negative, which `function` does not support.
void check_not_negative(const char* function, const PadList& pads);

/// Throws if `fill`, a mode of at::pad, cannot add that much padding to an input of this size. Only
/// "constant" has no limit.
void check_fill(const SlidingWindow& window, const PadList& pads, std::string_view fill);

/// Throws if the padded input's size overflows int64_t.
void check_countable(const SlidingWindow& window, const PadList& pads);

/// Like `check_countable`, and also throws if the kernel does not fit into the padded input.
void check_fits(const SlidingWindow& window, const PadList& pads);

/// Pads the last dimensions of `input` with `pads`. `fill` is one of at::pad's modes, and `value`
/// is what "constant" fills with. Negative amounts that are known crop, after the others have been
/// added.
at::Tensor add_padding(const at::Tensor& input, const PadList& pads, std::string_view fill,
                       std::optional<double> value = std::nullopt);

/// Elements [start, end) of a dimension. A negative end counts from the dimension's end.
struct Part {
  int64_t axis;
  c10::SymInt start;
  c10::SymInt end;
};

/// Copies a part of `whole`, so that the result is dense in its layout and callers may `view` it.
/// Even a part that is dense already is copied, so that the memory of the rest is freed. Returns
/// `whole` itself if nothing has to be cut off.
at::Tensor dense_part(const at::Tensor& whole, const std::vector<Part>& parts);

// The SAME or causal result of an empty dimension is empty, but PyTorch's convolutions and pools
// reject such inputs. `fill_empty` replaces an empty dimension by just enough zeros for one window,
// without dilation and padding; `drop_filled` then drops what is computed from them. In this way
// shape, type, layout and gradients are correct. A "valid" dimension stays empty, because no window
// fits into it.

/// Whether dimension i is empty and its result is, too.
bool is_filled(const SlidingWindow& window, const Modes& modes, int64_t i);

/// Whether any dimension is.
bool is_filled(const SlidingWindow& window, const Modes& modes);

/// Fills these dimensions and changes their pads.
void fill_empty(SlidingWindow& window, const Modes& modes, PadList& pads);

/// Turns the `output` computed after `fill_empty` into the result for the original `window`.
at::Tensor drop_filled(const SlidingWindow& window, const Modes& modes, at::Tensor output);

}  // namespace samepad::detail
