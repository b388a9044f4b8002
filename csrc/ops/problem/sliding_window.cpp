#include "sliding_window.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/pad.h>
#include <ATen/ops/slice.h>
#include <c10/util/Exception.h>
#include <c10/util/irange.h>
#include <samepad/padding_argument.h>

#include <algorithm>

namespace samepad::detail {

Dims expand(const char* argument, c10::SymIntArrayRef values, int64_t dimensions, Range range) {
  const auto count = static_cast<int64_t>(values.size());
  TORCH_CHECK(count == 1 || count == dimensions, "expected ", argument,
              " to be a single integer value or a list of ", dimensions,
              " values to match the spatial dimensions, but got ", argument, "=", values);
  Dims expanded;
  for (const auto i : c10::irange(dimensions)) {
    expanded.push_back(values[count == 1 ? 0 : i].guard_int(__FILE__, __LINE__));
    TORCH_CHECK(expanded.back() >= range.least, "expected ", argument, " to be at least ",
                range.least, ", but got ", argument, "=", values);
    TORCH_CHECK(expanded.back() <= range.most, "expected ", argument, " to be at most ", range.most,
                ", but got ", argument, "=", values);
  }
  return expanded;
}

void check_extents(const Dims& kernel, const Dims& dilation) {
  for (const auto i : c10::irange(kernel.size())) {
    TORCH_CHECK(!extent_overflows(kernel[i], dilation[i]), "kernel_size=", kernel[i],
                " with dilation=", dilation[i], " spans more elements than int64 can count");
  }
}

void check_count(const Modes& modes, int64_t dimensions) {
  TORCH_CHECK(modes.fit(dimensions), "expected padding to be a mode or a list of ", dimensions,
              " modes, but got padding=", quoted(modes));
}

std::string quoted(const Modes& modes) {
  std::string text;
  for (const auto i : c10::irange(modes.count())) {
    text.append(i == 0 ? "'" : ", '").append(name(modes[i])).append("'");
  }
  return modes.count() == 1 ? text : "(" + text + ")";
}

void check_modes(const Modes& modes, int64_t dimensions, Causal causal, const char* function) {
  check_count(modes, dimensions);
  if (!modes.any(PadMode::causal) || (causal == Causal::allowed && modes.count() == dimensions)) {
    return;
  }
  TORCH_CHECK(modes.count() == 1,
              "padding='causal' is for convolutions alone, but got padding=", quoted(modes), " in ",
              function);
  TORCH_CHECK(causal == Causal::allowed, "padding='causal' is for conv1d alone, but got it in ",
              function);
  std::vector<PadMode> example(dimensions, PadMode::same);
  example[0] = PadMode::causal;
  TORCH_CHECK(false, "padding='causal' is for conv1d alone, but got it in ", function,
              ", which takes a mode per dimension, such as padding=", quoted(example));
}

PadList pads_for_modes(const SlidingWindow& window, const Modes& modes) {
  PadList pads;
  for (const auto i : c10::irange(window.dimensions())) {
    const c10::SymInt size = window.size(i);
    if (const auto n = size.maybe_as_int()) {
      const auto amounts = mode_pads(modes[i], *n, window.extent(i), window.stride[i]);
      pads.push_back({amounts.before, amounts.after});
    } else {
      pads.push_back(mode_pads(modes[i], size, window.extent(i), window.stride[i]));
    }
  }
  return pads;
}

PadList pads_for_windows(const SlidingWindow& window, const Modes& modes) {
  PadList pads = pads_for_modes(window, modes);
  for (const auto i : c10::irange(window.dimensions())) {
    if (!known(pads[i])) {
      pads[i].after = pads[i].after +
                      unread_padding(window.size(i), window.extent(i), window.stride[i], pads[i]);
    }
  }
  return pads;
}

PadList pads_for_amounts(int64_t dimensions, c10::SymIntArrayRef amounts) {
  const auto count = static_cast<int64_t>(amounts.size());
  TORCH_CHECK(count == 1 || count == dimensions || count == 2 * dimensions,
              "expected padding to be a mode, ", dimensions, " modes, a single integer, ",
              dimensions, " integers or ", dimensions,
              " (before, after) pairs, but got padding=", amounts);
  PadList pads;
  for (const auto i : c10::irange(dimensions)) {
    if (count == 2 * dimensions) {
      pads.push_back({amounts[2 * i], amounts[2 * i + 1]});
    } else {
      const c10::SymInt& both = amounts[count == 1 ? 0 : i];
      const auto value = both.maybe_as_int();
      TORCH_CHECK(!value || *value >= 0,
                  "negative padding is not supported, but got padding=", amounts);
      pads.push_back({both, both});
    }
  }
  return pads;
}

PadList pads_for(const SlidingWindow& window, const Padding& padding) {
  const int64_t dimensions = window.dimensions();
  if (const Modes* modes = padding.modes()) {
    check_count(*modes, dimensions);
    return pads_for_modes(window, *modes);
  }
  return pads_for_amounts(dimensions, c10::fromIntArrayRefSlow(padding.amounts(dimensions)));
}

void check_not_negative(const char* function, const PadList& pads) {
  for (const auto& pad : pads) {
    const auto amounts = known(pad);
    TORCH_CHECK(!amounts || (amounts->before >= 0 && amounts->after >= 0),
                "negative padding is not supported in ", function, ", but got padding=(",
                pad.before, ", ", pad.after, ")");
  }
}

std::optional<Pads<int64_t>> known(const Pads<c10::SymInt>& pads) {
  const auto before = pads.before.maybe_as_int();
  const auto after = pads.after.maybe_as_int();
  return before && after ? std::make_optional(Pads<int64_t>{*before, *after}) : std::nullopt;
}

bool are_known(const PadList& pads) {
  return std::ranges::all_of(pads, [](const auto& pad) { return known(pad).has_value(); });
}

KnownPads expect_known(const PadList& pads) {
  KnownPads numbers;
  for (const auto& [before, after] : pads) {
    numbers.push_back({before.expect_int(), after.expect_int()});
  }
  return numbers;
}

void check_fill(const SlidingWindow& window, const PadList& pads, std::string_view fill) {
  for (const auto i : c10::irange(window.dimensions())) {
    const auto n = window.size(i).maybe_as_int();
    const auto amounts = known(pads[i]);
    if (fill == "constant" || !n || !amounts) {
      continue;
    }
    const auto [before, after] = *amounts;
    const int64_t wider = std::max(before, after);
    const int64_t most = fill == "reflect"    ? std::max<int64_t>(*n - 1, 0)
                         : fill == "circular" ? *n
                         : *n > 0             ? wider
                                              : 0;
    TORCH_CHECK(std::min(before, after) >= 0 && wider <= most, "padding_mode='", fill,
                "' can add 0 to ", most, " elements on a side of ", *n,
                " elements, but padding asks for (", before, ", ", after, ") in spatial dimension ",
                i, " of input of size ", window.input.sizes());
  }
}

void check_countable(const SlidingWindow& window, const PadList& pads) {
  for (const auto i : c10::irange(window.dimensions())) {
    const auto n = window.size(i).maybe_as_int();
    const auto amounts = known(pads[i]);
    int64_t padded = 0;
    TORCH_CHECK(!n || !amounts ||
                    (!__builtin_add_overflow(*n, amounts->before, &padded) &&
                     !__builtin_add_overflow(padded, amounts->after, &padded)),
                "padding (", pads[i].before, ", ", pads[i].after, ") in spatial dimension ", i,
                " makes the input larger than int64 can count");
  }
}

void check_fits(const SlidingWindow& window, const PadList& pads) {
  check_countable(window, pads);
  for (const auto i : c10::irange(window.dimensions())) {
    const auto n = window.size(i).maybe_as_int();
    const auto amounts = known(pads[i]);
    if (!n || !amounts) {
      continue;
    }
    const int64_t padded = *n + amounts->before + amounts->after;
    TORCH_CHECK(padded >= window.extent(i), "Calculated padded input size in spatial dimension ", i,
                ": ", padded, ". Kernel size: ", window.kernel[i],
                ", dilation: ", window.dilation[i], ". The kernel spans ", window.extent(i),
                " elements, which can't be greater than the padded input size");
  }
}

at::Tensor add_padding(const at::Tensor& input, const PadList& pads, std::string_view fill,
                       std::optional<double> value) {
  std::vector<c10::SymInt> added;    // last dimension first, the order of at::pad
  std::vector<c10::SymInt> cropped;  // negative amounts, applied after the others have been added
  for (auto i = static_cast<int64_t>(pads.size()) - 1; i >= 0; --i) {
    for (const auto& amount : {pads[i].before, pads[i].after}) {
      const bool crops = amount.maybe_as_int().value_or(0) < 0;
      added.push_back(crops ? 0 : amount);
      cropped.push_back(crops ? amount : 0);
    }
  }
  const at::Tensor padded = at::pad_symint(input, added, fill, value);
  const bool crops = std::ranges::any_of(cropped, [](const auto& amount) { return amount != 0; });
  return crops ? at::constant_pad_nd_symint(padded, cropped) : padded;
}

at::Tensor dense_part(const at::Tensor& whole, const std::vector<Part>& parts) {
  if (parts.empty()) {
    return whole;
  }
  at::Tensor part = whole;
  for (const auto& [axis, start, end] : parts) {
    part = at::slice_symint(part, axis, start, end);
  }
  return part.clone(whole.suggest_memory_format());
}

bool is_filled(const SlidingWindow& window, const Modes& modes, int64_t i) {
  return modes[i] != PadMode::valid && window.is_empty(i);
}

bool is_filled(const SlidingWindow& window, const Modes& modes) {
  for (const auto i : c10::irange(window.dimensions())) {
    if (is_filled(window, modes, i)) {
      return true;
    }
  }
  return false;
}

void fill_empty(SlidingWindow& window, const Modes& modes, PadList& pads) {
  PadList added;
  for (const auto i : c10::irange(window.dimensions())) {
    added.push_back({0, 0});
    if (is_filled(window, modes, i)) {
      added[i].after = window.kernel[i];
      pads[i] = {0, 0};
      window.dilation[i] = 1;
    }
  }
  window.input = add_padding(window.input, added, "constant");
}

at::Tensor drop_filled(const SlidingWindow& window, const Modes& modes, at::Tensor output) {
  for (const auto i : c10::irange(window.dimensions())) {
    if (is_filled(window, modes, i)) {
      output = output.narrow(window.axis(i), 0, 0);
    }
  }
  return output;
}

}  // namespace samepad::detail
