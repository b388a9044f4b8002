#pragma once

// What the modules share: their names, parameters and the checks of them.

#include <c10/util/Exception.h>
#include <torch/nn/init.h>
#include <torch/nn/module.h>
#include <torch/types.h>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

namespace samepad::detail {

/// The name that a module prints: that of its holder, such as samepad::SamePadConv2d, or of a class
/// that somebody derived from it.
inline std::string printed_name(const torch::nn::Module& module) {
  constexpr std::string_view kSuffix = "Impl";
  const std::string& name = module.name();
  return name.ends_with(kSuffix) ? name.substr(0, name.size() - kSuffix.size()) : name;
}

/// Channels, groups and kernel as torch::nn checks them.
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

/// Registers `weight`, (first, second, kernel...), and `bias`, undefined without one.
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

/// Draws `weight` and `bias` from the distributions that torch::nn's convolutions draw from.
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
