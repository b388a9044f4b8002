#pragma once

// Code that all modules share: their printed names, the registration of their parameters and the
// checks of their options.

#include <c10/util/Exception.h>
#include <samepad/padding_argument.h>
#include <torch/nn/init.h>
#include <torch/nn/module.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace samepad::detail {

/// The name that a module prints: that of its holder, such as samepad::SamePadConv2d, or that of a
/// user class derived from the implementation.
inline std::string printed_name(const torch::nn::Module& module) {
  constexpr std::string_view kSuffix = "Impl";
  const std::string& name = module.name();
  return name.ends_with(kSuffix) ? name.substr(0, name.size() - kSuffix.size()) : name;
}

/// Checks channels, groups and kernel size as torch::nn does.
template <class Options>
void check_channels(const Options& options) {
  TORCH_CHECK(options.in_channels() > 0 && options.out_channels() > 0 && options.groups() > 0,
              "in_channels, out_channels and groups must be positive integers, but got ",
              options.in_channels(), ", ", options.out_channels(), " and ", options.groups());
  TORCH_CHECK(options.in_channels() % options.groups() == 0, "in_channels (", options.in_channels(),
              ") must be divisible by groups (", options.groups(), ")");
  TORCH_CHECK(options.out_channels() % options.groups() == 0, "out_channels (",
              options.out_channels(), ") must be divisible by groups (", options.groups(), ")");
  for (const int64_t kernel : *options.kernel_size()) {
    TORCH_CHECK(kernel >= 1, "kernel_size must be at least 1, but got ", options.kernel_size());
  }
}

/// Checks that there are as many modes or amounts as a layer of `dimensions` dimensions needs, and
/// that modes are causal only in convolutions, where causal padding of several dimensions has to be
/// given as a list.
inline void check_padding(const Padding& padding, int64_t dimensions, bool is_convolution,
                          const std::string& layer) {
  const Modes* const modes = padding.modes();
  if (modes == nullptr) {
    padding.amounts(dimensions);
    return;
  }
  TORCH_CHECK(modes->fit(dimensions), "expected padding to be a mode or a list of ", dimensions,
              " modes, but got padding=", *modes);
  TORCH_CHECK(
      !modes->any(PadMode::causal) || modes->count() > 1 || (is_convolution && dimensions == 1),
      "padding='causal' is for SamePadConv1d alone, but got it in ", layer,
      is_convolution ? ", which takes a mode per dimension" : "");
  TORCH_CHECK(!modes->any(PadMode::causal) || is_convolution,
              "padding='causal' is for convolutions alone, but got padding=", *modes, " in ",
              layer);
}

/// Registers `weight`, of size (first, second, kernel...), and `bias`, which is undefined if the
/// options ask for none.
template <class Module>
void register_parameters(Module& module, int64_t first, int64_t second) {
  std::vector<int64_t> sizes{first, second};
  const auto& kernel = *module.options.kernel_size();
  sizes.insert(sizes.end(), kernel.begin(), kernel.end());
  module.weight = module.register_parameter("weight", torch::empty(sizes));
  if (module.options.bias()) {
    module.bias = module.register_parameter("bias", torch::empty({module.options.out_channels()}));
  } else {
    module.register_parameter("bias", at::Tensor(), /*requires_grad=*/false);
  }
}

/// Writes a convolution's name and options, up to what only some convolutions have.
template <class Module>
void print_options(const Module& module, std::ostream& stream) {
  const auto& options = module.options;
  stream << printed_name(module) << '(' << options.in_channels() << ", " << options.out_channels()
         << ", kernel_size=" << options.kernel_size() << ", stride=" << options.stride()
         << ", padding=" << options.padding();
  if (std::ranges::any_of(*options.dilation(), [](int64_t value) { return value != 1; })) {
    stream << ", dilation=" << options.dilation();
  }
  if (options.groups() != 1) {
    stream << ", groups=" << options.groups();
  }
  if (!options.bias()) {
    stream << ", bias=false";
  }
}

/// Initialises `weight` and `bias` from the distributions that torch::nn's convolutions use.
template <class Module>
void draw_parameters(Module& module) {
  torch::nn::init::kaiming_uniform_(module.weight, std::sqrt(5));
  if (module.bias.defined()) {
    const auto fan_in = std::get<0>(torch::nn::init::_calculate_fan_in_and_fan_out(module.weight));
    const double bound = 1 / std::sqrt(fan_in);
    torch::nn::init::uniform_(module.bias, -bound, bound);
  }
}

}  // namespace samepad::detail
