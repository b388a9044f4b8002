// Implements samepad::max_pool*d, max_pool*d_with_indices and avg_pool*d as composite operators
// over PyTorch's pools.
//
// PyTorch's pools add the same padding on both sides. Most pools with asymmetric padding can still
// be computed by one of them without a copy of the input (`fit_pool`). For the others the input is
// padded first, and so it is for symbolic sizes, because there the method must not depend on the
// size.

#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/avg_pool1d.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/avg_pool3d.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/floor_divide.h>
#include <ATen/ops/max_pool1d.h>
#include <ATen/ops/max_pool1d_with_indices.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/max_pool2d_with_indices.h>
#include <ATen/ops/max_pool3d.h>
#include <ATen/ops/max_pool3d_with_indices.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/remainder.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/where.h>
#include <c10/util/Exception.h>
#include <c10/util/irange.h>
#include <samepad/pool.h>
#include <torch/library.h>

#include <array>
#include <cmath>
#include <limits>

#include "dispatch.h"
#include "problem/conv_problem.h"
#include "static_layer.h"

namespace samepad {
namespace {

using detail::Dims;
using detail::KnownPads;
using detail::PadList;
using detail::SlidingWindow;
using detail::StaticLayer;

/// The result and, if asked for, the indices.
using Outputs = std::vector<at::Tensor>;

template <int64_t D>
SlidingWindow arguments(const char* function, const at::Tensor& input,
                        c10::SymIntArrayRef kernel_size, c10::SymIntArrayRef stride,
                        c10::SymIntArrayRef dilation) {
  detail::check_input_dimensions(function, D, input);
  SlidingWindow window{
      input, detail::expand("kernel_size", kernel_size, D, detail::kInt),
      detail::expand("stride", stride.empty() ? kernel_size : stride, D, detail::kInt),
      detail::expand("dilation", dilation, D, detail::kInt)};
  detail::check_extents(window.kernel, window.dilation);
  return window;
}

/// The lowest value of the type, which never exceeds another element in a maximum.
double lowest(at::ScalarType type) {
  if (!c10::isIntegralType(type, /*includeBool=*/true)) {
    return -std::numeric_limits<double>::infinity();
  }
  const bool is_signed = c10::isSignedType(type);
  return is_signed ? -std::pow(2.0, 8.0 * static_cast<double>(c10::elementSize(type)) - 1) : 0;
}

struct MaxPool : SlidingWindow {
  bool with_indices;

  /// Whether PyTorch's pool accepts the size of dimension i.
  bool fits(int64_t /*i*/) const { return true; }

  /// Whether padding counts as elements.
  bool counts_padding() const { return false; }

  Outputs run(const at::Tensor& x, at::IntArrayRef padding, bool ceil_mode) const {
    // at::max_pool1d reads its input's size as a plain integer, which would specialise a graph.
    const bool fixes_size =
        dimensions() == 1 && x.unsafeGetTensorImpl()->has_symbolic_sizes_strides();
    if (!with_indices && !fixes_size) {
      const auto pool = dimensions() == 1   ? at::max_pool1d
                        : dimensions() == 2 ? at::max_pool2d
                                            : at::max_pool3d;
      return {pool(x, kernel, stride, padding, dilation, ceil_mode)};
    }
    const auto pool = dimensions() == 1   ? at::max_pool1d_with_indices
                      : dimensions() == 2 ? at::max_pool2d_with_indices
                                          : at::max_pool3d_with_indices;
    auto [values, indices] = pool(x, kernel, stride, padding, dilation, ceil_mode);
    return {values, indices};
  }

  Outputs run_padded(const PadList& pads, bool ceil_mode) const {
    const at::Tensor padded =
        detail::add_padding(input, pads, "constant", lowest(input.scalar_type()));
    Outputs outputs = run(padded, std::vector<int64_t>(dimensions(), 0), ceil_mode);
    if (with_indices) {
      outputs[1] = without_padding(outputs[1], padded, pads);
    }
    return outputs;
  }

  /// Converts indices into `padded` to indices into the input. Padding can only tie with the
  /// maximum if that is the type's lowest value; PyTorch then returns the window's first element,
  /// which is padding. It is replaced by the window's first element inside the input, as
  /// at::max_pool would return, or by the nearest element of the input if the window contains only
  /// padding.
  at::Tensor without_padding(at::Tensor rest, const at::Tensor& padded, const PadList& pads) const {
    at::Tensor result;
    c10::SymInt step = 1;
    for (int64_t i = dimensions() - 1; i >= 0; --i) {
      const c10::SymInt length = padded.sym_size(axis(i));
      const at::Tensor position =
          at::remainder(rest, at::Scalar(length)) - at::Scalar(pads[i].before);
      const at::Tensor inside =
          at::where(position < 0, at::remainder(position, dilation[i]), position);
      const at::Tensor nearest = at::clamp_max(inside, at::Scalar(size(i) - 1));
      result = result.defined() ? result + nearest * at::Scalar(step) : nearest;
      rest = at::floor_divide(rest, at::Scalar(length));
      step = step * size(i);
    }
    return result;
  }
};

struct AvgPool : SlidingWindow {
  bool count_include_pad;
  std::optional<int64_t> divisor_override;

  /// at::avg_pool3d rejects an input that is shorter than the kernel, however it is padded.
  bool fits(int64_t i) const { return dimensions() < 3 || size(i) >= kernel[i]; }

  bool counts_padding() const { return count_include_pad && !divisor_override; }

  at::Tensor mean(const at::Tensor& x, at::IntArrayRef padding, bool ceil_mode) const {
    if (dimensions() == 1) {
      return at::avg_pool1d(x, kernel, stride, padding, ceil_mode, count_include_pad);
    }
    const auto pool = dimensions() == 2 ? at::avg_pool2d : at::avg_pool3d;
    return pool(x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override);
  }

  Outputs run(const at::Tensor& x, at::IntArrayRef padding, bool ceil_mode) const {
    return {mean(x, padding, ceil_mode)};
  }

  Outputs run_padded(const PadList& pads, bool ceil_mode) const {
    const std::vector<int64_t> none(dimensions(), 0);
    const auto pad_and_pool = [&](const at::Tensor& x) {
      return mean(detail::add_padding(x, pads, "constant"), none, ceil_mode);
    };
    if (count_include_pad || divisor_override) {
      return {pad_and_pool(input)};
    }
    // Pooling ones gives the fraction of each window that is not padding.
    c10::SymDimVector sizes(1, 1);
    for (const auto i : c10::irange(dimensions())) {
      sizes.push_back(size(i));
    }
    const bool integral = !input.is_floating_point();
    const auto type = integral ? at::kDouble : at::toOpMathType(input.scalar_type());
    const at::Tensor fraction = pad_and_pool(at::ones_symint(sizes, input.options().dtype(type)));
    if (!integral) {
      return {(pad_and_pool(input) / fraction).to(input.scalar_type())};
    }
    // PyTorch rounds means of integers towards zero. The exact quotient is either an integer or
    // differs from one by at least 1 / elements, which is more than any rounding error. So adding
    // half of that before truncating gives the exact result.
    int64_t elements = 1;
    for (const int64_t k : kernel) {
      elements *= k;
    }
    const at::Tensor quotient = pad_and_pool(input.to(type)) / fraction;
    return {(quotient + at::sign(quotient) * (0.5 / static_cast<double>(elements)))
                .trunc()
                .to(input.scalar_type())};
  }
};

/// The settings with which PyTorch's pool computes the wanted windows among its own, if it can.
template <class Pool>
std::optional<StaticLayer> fit(const Pool& pool, const KnownPads& pads, const Dims& wanted,
                               bool ceil_mode) {
  StaticLayer layer{.ceil_mode = ceil_mode};
  for (const auto i : c10::irange(pool.dimensions())) {
    const int64_t n = pool.size(i).expect_int();
    const auto found = fit_pool(n, pool.kernel[i], pool.stride[i], pool.dilation[i], pads[i],
                                ceil_mode, wanted[i], pool.counts_padding());
    if (!found || !pool.fits(i)) {
      return std::nullopt;
    }
    const int64_t p = found->padding;
    const int64_t windows =
        pooled_output_size(n, pool.extent(i), pool.stride[i], {p, p}, ceil_mode);
    layer.padding.push_back(p);
    layer.crops.push_back({found->skipped, windows - found->skipped - wanted[i]});
  }
  return layer;
}

/// The settings with which PyTorch's pool computes the wanted windows: on the input itself if that
/// is possible, otherwise on a padded copy.
template <class Pool>
StaticLayer static_pool(const Pool& pool, const KnownPads& pads, const Dims& wanted,
                        bool ceil_mode) {
  for (const bool rounding_up : {ceil_mode, true}) {
    if (const auto found = fit(pool, pads, wanted, rounding_up)) {
      return *found;
    }
  }
  StaticLayer layer{.padding = Dims(pool.dimensions(), 0), .ceil_mode = ceil_mode, .pads = pads};
  for (const auto i : c10::irange(pool.dimensions())) {
    const int64_t padded = pool.size(i).expect_int() + pads[i].before + pads[i].after;
    // The padding is part of the input by now. With sizes rounded up, a last window that starts in
    // it is computed as well, and has to be cropped.
    layer.crops.push_back(
        {0, pooled_output_size(padded, pool.extent(i), pool.stride[i], {0, 0}, ceil_mode) -
                wanted[i]});
  }
  return layer;
}

/// The output sizes, or nothing if they are symbolic. With `ceil_mode`, whether a last window would
/// start in the padding depends on the input's size, so a symbolic size is specialised.
std::optional<Dims> output_sizes(const SlidingWindow& window, const PadList& pads, bool ceil_mode) {
  Dims sizes;
  for (const auto i : c10::irange(window.dimensions())) {
    const c10::SymInt size = window.size(i);
    const std::optional<int64_t> n =
        ceil_mode ? size.guard_int(__FILE__, __LINE__) : size.maybe_as_int();
    const auto amounts = detail::known(pads[i]);
    if (!n || !amounts) {
      return std::nullopt;
    }
    sizes.push_back(
        pooled_output_size(*n, window.extent(i), window.stride[i], *amounts, ceil_mode));
  }
  return sizes;
}

/// The pads as the `padding` of PyTorch's pool, or nothing if it does not accept them for every
/// input size.
std::optional<Dims> symmetric(const SlidingWindow& window, const PadList& pads) {
  Dims padding;
  for (const auto i : c10::irange(window.dimensions())) {
    const auto amounts = detail::known(pads[i]);
    if (!amounts || amounts->before != amounts->after || amounts->before > window.kernel[i] / 2 ||
        (window.dilation[i] > 1 && amounts->before > 0)) {
      return std::nullopt;
    }
    padding.push_back(amounts->before);
  }
  return padding;
}

/// Crops the outputs so that the wanted windows remain.
void crop(Outputs& outputs, const SlidingWindow& window, const KnownPads& crops,
          const Dims& wanted) {
  std::vector<detail::Part> parts;
  for (const auto i : c10::irange(window.dimensions())) {
    if (crops[i].before > 0 || crops[i].after > 0) {
      parts.push_back({window.axis(i), crops[i].before, crops[i].before + wanted[i]});
    }
  }
  for (at::Tensor& output : outputs) {
    output = detail::dense_part(output, parts);
  }
}

template <class Pool>
Outputs run(const Pool& pool, const PadList& pads, bool ceil_mode) {
  detail::check_fits(pool, pads);
  const auto wanted = output_sizes(pool, pads, ceil_mode);
  if (!wanted) {
    const auto padding = symmetric(pool, pads);
    return padding ? pool.run(pool.input, *padding, ceil_mode) : pool.run_padded(pads, ceil_mode);
  }
  const StaticLayer layer = static_pool(pool, detail::expect_known(pads), *wanted, ceil_mode);
  Outputs outputs = layer.pads.empty() ? pool.run(pool.input, layer.padding, layer.ceil_mode)
                                       : pool.run_padded(pads, ceil_mode);
  crop(outputs, pool, layer.crops, *wanted);
  return outputs;
}

/// Whether there is anything to round up. The last window of SAME starts inside the input and ends
/// inside the padding, so its sizes are the same with `ceil_mode` and without.
bool rounds_up(const Modes& modes, bool ceil_mode) {
  return ceil_mode && modes.any(PadMode::valid);
}

template <class Pool>
Outputs run_modes(const char* function, const Pool& pool, const Modes& modes, bool ceil_mode) {
  detail::check_modes(modes, pool.dimensions(), detail::Causal::refused, function);
  if (modes.all(PadMode::valid)) {
    return pool.run(pool.input, std::vector<int64_t>(pool.dimensions(), 0), ceil_mode);
  }
  PadList pads = pads_for_windows(pool, modes);
  const bool rounding = rounds_up(modes, ceil_mode);
  if (!is_filled(pool, modes)) {
    return run(pool, pads, rounding);
  }
  Pool filled = pool;
  fill_empty(filled, modes, pads);
  Outputs outputs = run(filled, pads, rounding);
  for (at::Tensor& output : outputs) {
    output = drop_filled(pool, modes, output);
  }
  return outputs;
}

/// Amounts that hold for both sides are passed to PyTorch, which rejects those that it does not
/// support.
template <class Pool>
Outputs run_amounts(const char* function, const Pool& pool, c10::SymIntArrayRef amounts,
                    bool ceil_mode) {
  const PadList pads = detail::pads_for_amounts(pool.dimensions(), amounts);
  if (static_cast<int64_t>(amounts.size()) <= pool.dimensions()) {
    Dims padding;
    for (const auto& pad : pads) {
      padding.push_back(pad.before.guard_int(__FILE__, __LINE__));
    }
    return pool.run(pool.input, padding, ceil_mode);
  }
  detail::check_not_negative(function, pads);
  for (const auto i : c10::irange(pool.dimensions())) {
    const auto pad = detail::known(pads[i]);
    TORCH_CHECK(!pad || std::max(pad->before, pad->after) < pool.extent(i), "expected padding of ",
                function, " to be at most ", pool.extent(i) - 1, " elements, as the kernel spans ",
                pool.extent(i), ", but got padding (", pads[i].before, ", ", pads[i].after,
                ") in spatial dimension ", i);
  }
  return run(pool, pads, ceil_mode);
}

/// Runs the overload for one form of `padding`: the text of modes, or amounts.
template <class Pool>
Outputs run_any(const char* function, const Pool& pool, std::string_view padding, bool ceil_mode) {
  return run_modes(function, pool, Modes::from_text(padding), ceil_mode);
}

template <class Pool>
Outputs run_any(const char* function, const Pool& pool, c10::SymIntArrayRef padding,
                bool ceil_mode) {
  return run_amounts(function, pool, padding, ceil_mode);
}

constexpr std::array kMaxNames{"max_pool1d", "max_pool2d", "max_pool3d"};
constexpr std::array kIndicesNames{"max_pool1d_with_indices", "max_pool2d_with_indices",
                                   "max_pool3d_with_indices"};
constexpr std::array kAvgNames{"avg_pool1d", "avg_pool2d", "avg_pool3d"};

// The following kernels implement both overloads: `PaddingArg` is std::string_view or
// c10::SymIntArrayRef.

template <int64_t D, class PaddingArg>
at::Tensor max_pool(const at::Tensor& input, c10::SymIntArrayRef kernel_size,
                    c10::SymIntArrayRef stride, PaddingArg padding, c10::SymIntArrayRef dilation,
                    bool ceil_mode) {
  const MaxPool pool{arguments<D>(kMaxNames[D - 1], input, kernel_size, stride, dilation),
                     /*with_indices=*/false};
  return run_any(kMaxNames[D - 1], pool, padding, ceil_mode)[0];
}

template <int64_t D, class PaddingArg>
std::tuple<at::Tensor, at::Tensor> max_pool_with_indices(
    const at::Tensor& input, c10::SymIntArrayRef kernel_size, c10::SymIntArrayRef stride,
    PaddingArg padding, c10::SymIntArrayRef dilation, bool ceil_mode) {
  const MaxPool pool{arguments<D>(kIndicesNames[D - 1], input, kernel_size, stride, dilation),
                     /*with_indices=*/true};
  auto outputs = run_any(kIndicesNames[D - 1], pool, padding, ceil_mode);
  return {outputs[0], outputs[1]};
}

template <int64_t D, class PaddingArg>
at::Tensor avg_pool(const at::Tensor& input, c10::SymIntArrayRef kernel_size,
                    c10::SymIntArrayRef stride, PaddingArg padding, bool ceil_mode,
                    std::optional<bool> count_include_pad,
                    std::optional<int64_t> divisor_override) {
  constexpr const char* kName = kAvgNames[D - 1];
  TORCH_CHECK(divisor_override != 0, "expected divisor_override not to be 0");
  const bool counts = count_include_pad.value_or(std::is_same_v<PaddingArg, c10::SymIntArrayRef>);
  const AvgPool pool{arguments<D>(kName, input, kernel_size, stride, c10::SymInt(1)), counts,
                     divisor_override};
  return run_any(kName, pool, padding, ceil_mode)[0];
}

/// In one dimension PyTorch's average pool has no divisor.
template <class PaddingArg>
at::Tensor avg_pool_1d(const at::Tensor& input, c10::SymIntArrayRef kernel_size,
                       c10::SymIntArrayRef stride, PaddingArg padding, bool ceil_mode,
                       std::optional<bool> count_include_pad) {
  return avg_pool<1>(input, kernel_size, stride, padding, ceil_mode, count_include_pad,
                     std::nullopt);
}

using ModeText = std::string_view;
using Amounts = c10::SymIntArrayRef;

/// Calls the overload for the form of `padding`. `ByMode` and `ByAmounts` are the types of the two
/// kernels.
template <int64_t D, class ByMode, class ByAmounts, class... Rest>
auto call(const char* operator_name, const at::Tensor& input, at::IntArrayRef kernel_size,
          at::IntArrayRef stride, const Padding& padding, const Rest&... rest) {
  const auto kernel = c10::fromIntArrayRefSlow(kernel_size);
  const auto steps = c10::fromIntArrayRefSlow(stride);
  if (const Modes* modes = padding.modes()) {
    static const auto op = detail::find_operator<ByMode>(operator_name, "");
    return op.call(input, kernel, steps, modes->text(), rest...);
  }
  static const auto op = detail::find_operator<ByAmounts>(operator_name, "padding");
  return op.call(input, kernel, steps, c10::fromIntArrayRefSlow(padding.amounts(D)), rest...);
}

template <int64_t D>
at::Tensor call_max_pool(const at::Tensor& input, at::IntArrayRef kernel_size,
                         at::IntArrayRef stride, const Padding& padding, at::IntArrayRef dilation,
                         bool ceil_mode) {
  return call<D, decltype(max_pool<D, ModeText>), decltype(max_pool<D, Amounts>)>(
      kMaxNames[D - 1], input, kernel_size, stride, padding, c10::fromIntArrayRefSlow(dilation),
      ceil_mode);
}

template <int64_t D>
std::tuple<at::Tensor, at::Tensor> call_max_pool_with_indices(
    const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
    const Padding& padding, at::IntArrayRef dilation, bool ceil_mode) {
  return call<D, decltype(max_pool_with_indices<D, ModeText>),
              decltype(max_pool_with_indices<D, Amounts>)>(
      kIndicesNames[D - 1], input, kernel_size, stride, padding, c10::fromIntArrayRefSlow(dilation),
      ceil_mode);
}

template <int64_t D>
at::Tensor call_avg_pool(const at::Tensor& input, at::IntArrayRef kernel_size,
                         at::IntArrayRef stride, const Padding& padding, bool ceil_mode,
                         std::optional<bool> count_include_pad,
                         std::optional<int64_t> divisor_override) {
  return call<D, decltype(avg_pool<D, ModeText>), decltype(avg_pool<D, Amounts>)>(
      kAvgNames[D - 1], input, kernel_size, stride, padding, ceil_mode, count_include_pad,
      divisor_override);
}

/// A window over an input of this size, which needs no memory because only sizes are computed.
SlidingWindow window_of_size(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                             at::IntArrayRef stride, at::IntArrayRef dilation) {
  std::vector<int64_t> sizes{1, 1};
  sizes.insert(sizes.end(), input_size.begin(), input_size.end());
  return {at::empty(sizes, at::TensorOptions(at::kMeta)), Dims(kernel_size), Dims(stride),
          Dims(dilation)};
}

template <class Pool>
StaticLayer static_pool(const Pool& pool, const Padding& padding, bool ceil_mode) {
  const Modes* const modes = padding.modes();
  const bool rounding = modes != nullptr ? rounds_up(*modes, ceil_mode) : ceil_mode;
  const KnownPads pads = detail::expect_known(detail::pads_for(pool, padding));
  Dims wanted;
  for (const auto i : c10::irange(pool.dimensions())) {
    wanted.push_back(pooled_output_size(pool.size(i).expect_int(), pool.extent(i), pool.stride[i],
                                        pads[i], rounding));
  }
  return static_pool(pool, pads, wanted, rounding);
}

template <int64_t D>
void register_max_pool(torch::Library& m) {
  const std::string max = kMaxNames[D - 1];
  m.impl(max.c_str(), max_pool<D, ModeText>);
  m.impl((max + ".padding").c_str(), max_pool<D, Amounts>);
  const std::string indices = kIndicesNames[D - 1];
  m.impl(indices.c_str(), max_pool_with_indices<D, ModeText>);
  m.impl((indices + ".padding").c_str(), max_pool_with_indices<D, Amounts>);
}

void register_kernels(torch::Library& m) {
  register_max_pool<1>(m);
  register_max_pool<2>(m);
  register_max_pool<3>(m);
  m.impl("avg_pool1d", avg_pool_1d<ModeText>);
  m.impl("avg_pool1d.padding", avg_pool_1d<Amounts>);
  m.impl("avg_pool2d", avg_pool<2, ModeText>);
  m.impl("avg_pool2d.padding", avg_pool<2, Amounts>);
  m.impl("avg_pool3d", avg_pool<3, ModeText>);
  m.impl("avg_pool3d.padding", avg_pool<3, Amounts>);
}

}  // namespace

at::Tensor max_pool1d(const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                      const Padding& padding, at::IntArrayRef dilation, bool ceil_mode) {
  return call_max_pool<1>(input, kernel_size, stride, padding, dilation, ceil_mode);
}

at::Tensor max_pool2d(const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                      const Padding& padding, at::IntArrayRef dilation, bool ceil_mode) {
  return call_max_pool<2>(input, kernel_size, stride, padding, dilation, ceil_mode);
}

at::Tensor max_pool3d(const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                      const Padding& padding, at::IntArrayRef dilation, bool ceil_mode) {
  return call_max_pool<3>(input, kernel_size, stride, padding, dilation, ceil_mode);
}

std::tuple<at::Tensor, at::Tensor> max_pool1d_with_indices(
    const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
    const Padding& padding, at::IntArrayRef dilation, bool ceil_mode) {
  return call_max_pool_with_indices<1>(input, kernel_size, stride, padding, dilation, ceil_mode);
}

std::tuple<at::Tensor, at::Tensor> max_pool2d_with_indices(
    const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
    const Padding& padding, at::IntArrayRef dilation, bool ceil_mode) {
  return call_max_pool_with_indices<2>(input, kernel_size, stride, padding, dilation, ceil_mode);
}

std::tuple<at::Tensor, at::Tensor> max_pool3d_with_indices(
    const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
    const Padding& padding, at::IntArrayRef dilation, bool ceil_mode) {
  return call_max_pool_with_indices<3>(input, kernel_size, stride, padding, dilation, ceil_mode);
}

at::Tensor avg_pool1d(const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                      const Padding& padding, bool ceil_mode,
                      std::optional<bool> count_include_pad) {
  return call<1, decltype(avg_pool_1d<ModeText>), decltype(avg_pool_1d<Amounts>)>(
      kAvgNames[0], input, kernel_size, stride, padding, ceil_mode, count_include_pad);
}

at::Tensor avg_pool2d(const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                      const Padding& padding, bool ceil_mode, std::optional<bool> count_include_pad,
                      std::optional<int64_t> divisor_override) {
  return call_avg_pool<2>(input, kernel_size, stride, padding, ceil_mode, count_include_pad,
                          divisor_override);
}

at::Tensor avg_pool3d(const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                      const Padding& padding, bool ceil_mode, std::optional<bool> count_include_pad,
                      std::optional<int64_t> divisor_override) {
  return call_avg_pool<3>(input, kernel_size, stride, padding, ceil_mode, count_include_pad,
                          divisor_override);
}

namespace detail {

StaticLayer static_max_pool(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                            at::IntArrayRef stride, at::IntArrayRef dilation,
                            const Padding& padding, bool ceil_mode) {
  const MaxPool pool{window_of_size(input_size, kernel_size, stride, dilation),
                     /*with_indices=*/false};
  return static_pool(pool, padding, ceil_mode);
}

StaticLayer static_avg_pool(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                            at::IntArrayRef stride, const Padding& padding, bool ceil_mode,
                            bool count_include_pad, bool divided) {
  const std::vector<int64_t> undilated(input_size.size(), 1);
  const AvgPool pool{window_of_size(input_size, kernel_size, stride, undilated), count_include_pad,
                     divided ? std::make_optional<int64_t>(1) : std::nullopt};
  return static_pool(pool, padding, ceil_mode);
}

}  // namespace detail

SAMEPAD_REGISTER_COMPOSITE(register_kernels)

}  // namespace samepad
