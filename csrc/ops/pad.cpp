// Implements samepad::pad and samepad::same_padding.

#include <c10/util/Exception.h>
#include <c10/util/irange.h>
#include <samepad/pad.h>
#include <samepad/padding_argument.h>
#include <torch/library.h>

#include "dispatch.h"
#include "problem/sliding_window.h"

namespace samepad {
namespace {

/// Checks the arguments and describes a kernel that slides over the last dimensions of `input`.
detail::SlidingWindow window(const at::Tensor& input, c10::SymIntArrayRef kernel_size,
                             c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation) {
  TORCH_CHECK(input.defined(), "expected input to be a tensor, but it is undefined");
  const auto given = static_cast<int64_t>(kernel_size.size());
  const int64_t dimensions = given == 1 ? std::max<int64_t>(input.dim() - 2, 1) : given;
  TORCH_CHECK(
      given >= 1 && dimensions <= 3 && dimensions <= input.dim(),
      "expected kernel_size to be a single integer value for a (N, C, spatial...) input, or "
      "1 to 3 values for as many last dimensions of the input, but got kernel_size=",
      kernel_size, " for input of size: ", input.sym_sizes());
  detail::SlidingWindow window{input, detail::expand("kernel_size", kernel_size, dimensions),
                               detail::expand("stride", stride, dimensions),
                               detail::expand("dilation", dilation, dimensions)};
  detail::check_extents(window.kernel, window.dilation);
  return window;
}

/// Whether causal padding of several dimensions is asked for by one mode, which it is only for one
/// dimension.
bool is_causal_for_all(const Modes& modes, int64_t dimensions) {
  return modes.count() == 1 && modes[0] == PadMode::causal && dimensions > 1;
}

at::Tensor pad_modes(const at::Tensor& input, c10::SymIntArrayRef kernel_size,
                     c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
                     std::string_view padding, std::string_view mode, std::optional<double> value) {
  const auto padded = window(input, kernel_size, stride, dilation);
  const Modes modes = Modes::from_text(padding);
  detail::check_count(modes, padded.dimensions());
  TORCH_CHECK(
      !is_causal_for_all(modes, padded.dimensions()),
      "padding='causal' is for one dimension alone; for more, give a mode per dimension; but got "
      "kernel_size=",
      kernel_size, " for input of size: ", input.sym_sizes());
  TORCH_CHECK(mode == "constant" || mode == "reflect" || mode == "replicate" || mode == "circular",
              "mode must be 'constant', 'reflect', 'replicate' or 'circular', but got mode='", mode,
              "'");
  TORCH_CHECK(mode == "constant" || !value,
              "value is for mode='constant', but got value=", value.value_or(0), " with mode='",
              mode, "'");
  const auto pads = pads_for_modes(padded, modes);
  check_countable(padded, pads);
  check_fill(padded, pads, mode);
  return detail::add_padding(input, pads, mode, value);
}

void register_kernels(torch::Library& m) { m.impl("pad", pad_modes); }

}  // namespace

at::Tensor pad(const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride,
               at::IntArrayRef dilation, const Modes& padding, std::string_view mode,
               std::optional<double> value) {
  static const auto op = detail::find_operator<decltype(pad_modes)>("pad", "");
  return op.call(input, c10::fromIntArrayRefSlow(kernel_size), c10::fromIntArrayRefSlow(stride),
                 c10::fromIntArrayRefSlow(dilation), padding.text(), mode, value);
}

std::vector<Pads<int64_t>> same_padding(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                                        at::IntArrayRef stride, at::IntArrayRef dilation,
                                        const Modes& mode) {
  const auto dimensions = static_cast<int64_t>(input_size.size());
  TORCH_CHECK(dimensions >= 1, "expected input_size to have a value per dimension, but got none");
  TORCH_CHECK(mode.fit(dimensions), "expected mode to be one mode or a list of ", dimensions,
              " modes, as many as input_size has values, but got mode=", detail::quoted(mode));
  TORCH_CHECK(!is_causal_for_all(mode, dimensions),
              "mode='causal' is for one dimension alone; for more, give a mode per dimension; but "
              "got input_size=",
              input_size);
  const auto expand = [&](const char* argument, at::IntArrayRef values) {
    return detail::expand(argument, c10::fromIntArrayRefSlow(values), dimensions);
  };
  const auto kernels = expand("kernel_size", kernel_size);
  const auto strides = expand("stride", stride);
  const auto dilations = expand("dilation", dilation);
  detail::check_extents(kernels, dilations);
  std::vector<Pads<int64_t>> pads;
  for (const auto i : c10::irange(dimensions)) {
    TORCH_CHECK(input_size[i] >= 0,
                "expected input_size to be at least 0, but got input_size=", input_size);
    pads.push_back(
        mode_pads(mode[i], input_size[i], kernel_extent(kernels[i], dilations[i]), strides[i]));
  }
  return pads;
}

SAMEPAD_REGISTER_COMPOSITE(register_kernels)

}  // namespace samepad
