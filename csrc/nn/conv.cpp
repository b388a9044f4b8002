#include <c10/util/Exception.h>
#include <samepad/conv.h>
#include <samepad/nn/conv.h>
#include <torch/nn/init.h>
#include <torch/types.h>

#include <array>
#include <cmath>
#include <ostream>
#include <string_view>

namespace samepad {
namespace {

struct PaddingModeName {
  std::string_view operator()(torch::enumtype::kZeros) const { return "zeros"; }
  std::string_view operator()(torch::enumtype::kReflect) const { return "reflect"; }
  std::string_view operator()(torch::enumtype::kReplicate) const { return "replicate"; }
  std::string_view operator()(torch::enumtype::kCircular) const { return "circular"; }
};

template <size_t D>
std::string_view padding_mode_name(const SamePadConvOptions<D>& options) {
  return std::visit(PaddingModeName{}, options.padding_mode());
}

template <size_t D>
void check(const SamePadConvOptions<D>& options) {
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
  if (const PadMode* mode = options.padding().mode()) {
    TORCH_CHECK(*mode != PadMode::causal || D == 1,
                "padding='causal' is for SamePadConv1d alone, but got it in SamePadConv", D, "d");
  } else {
    options.padding().amounts(D);
  }
}

constexpr std::array kConvolve{conv1d, conv2d, conv3d};

}  // namespace

template <size_t D, typename Derived>
SamePadConvNdImpl<D, Derived>::SamePadConvNdImpl(SamePadConvOptions<D> options_)
    : options(std::move(options_)) {
  // Virtual only in name: no class below overrides it, as in torch::nn::ConvNdImpl.
  SamePadConvNdImpl::reset();
}

template <size_t D, typename Derived>
void SamePadConvNdImpl<D, Derived>::reset() {
  check(options);
  std::vector<int64_t> sizes{options.out_channels(), options.in_channels() / options.groups()};
  sizes.insert(sizes.end(), options.kernel_size()->begin(), options.kernel_size()->end());
  weight = this->register_parameter("weight", torch::empty(sizes));
  if (options.bias()) {
    bias = this->register_parameter("bias", torch::empty({options.out_channels()}));
  } else {
    this->register_parameter("bias", at::Tensor(), /*requires_grad=*/false);
  }
  reset_parameters();
}

template <size_t D, typename Derived>
void SamePadConvNdImpl<D, Derived>::reset_parameters() {
  torch::nn::init::kaiming_uniform_(weight, std::sqrt(5));
  if (bias.defined()) {
    const auto fan_in = std::get<0>(torch::nn::init::_calculate_fan_in_and_fan_out(weight));
    const double bound = 1 / std::sqrt(fan_in);
    torch::nn::init::uniform_(bias, -bound, bound);
  }
}

template <size_t D, typename Derived>
void SamePadConvNdImpl<D, Derived>::pretty_print(std::ostream& stream) const {
  stream << "samepad::SamePadConv" << D << "d(" << options.in_channels() << ", "
         << options.out_channels() << ", kernel_size=" << options.kernel_size()
         << ", stride=" << options.stride() << ", padding=" << options.padding();
  if (*options.dilation() != *torch::ExpandingArray<D>(1)) {
    stream << ", dilation=" << options.dilation();
  }
  if (options.groups() != 1) {
    stream << ", groups=" << options.groups();
  }
  if (!options.bias()) {
    stream << ", bias=false";
  }
  if (!std::holds_alternative<torch::enumtype::kZeros>(options.padding_mode())) {
    stream << ", padding_mode=" << padding_mode_name(options);
  }
  stream << ')';
}

template <size_t D, typename Derived>
at::Tensor SamePadConvNdImpl<D, Derived>::forward(const at::Tensor& input) {
  return kConvolve[D - 1](input, weight, bias, options.stride(), options.padding(),
                          options.dilation(), options.groups(), padding_mode_name(options));
}

template class SamePadConvNdImpl<1, SamePadConv1dImpl>;
template class SamePadConvNdImpl<2, SamePadConv2dImpl>;
template class SamePadConvNdImpl<3, SamePadConv3dImpl>;

}  // namespace samepad
