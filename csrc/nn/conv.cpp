#include <samepad/conv.h>
#include <samepad/nn/conv.h>
#include <samepad/nn/separable.h>

#include <array>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>

#include "module.h"

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
  detail::check_channels(options);
  detail::check_padding(options.padding(), D, /*is_convolution=*/true,
                        "SamePadConv" + std::to_string(D) + "d");
}

template <class Module>
constexpr bool kIsDepthwise = std::is_same_v<Module, SamePadDepthwiseConv1dImpl> ||
                              std::is_same_v<Module, SamePadDepthwiseConv2dImpl>;

constexpr std::array kConvolve{conv1d, conv2d, conv3d};

}  // namespace

template <size_t D, typename Derived>
SamePadConvNdImpl<D, Derived>::SamePadConvNdImpl(SamePadConvOptions<D> options_)
    : options(std::move(options_)) {
  // The qualified call is not virtual. As in torch::nn::ConvNdImpl, no derived class overrides it.
  SamePadConvNdImpl::reset();
}

template <size_t D, typename Derived>
void SamePadConvNdImpl<D, Derived>::reset() {
  check(options);
  TORCH_CHECK(!kIsDepthwise<Derived> || options.groups() == options.in_channels(),
              "a depthwise convolution has a group for each of its ", options.in_channels(),
              " channels, but got groups=", options.groups());
  detail::register_parameters(*this, options.out_channels(),
                              options.in_channels() / options.groups());
  reset_parameters();
}

template <size_t D, typename Derived>
void SamePadConvNdImpl<D, Derived>::reset_parameters() {
  detail::draw_parameters(*this);
}

template <size_t D, typename Derived>
void SamePadConvNdImpl<D, Derived>::pretty_print(std::ostream& stream) const {
  detail::print_options(*this, stream);
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
template class SamePadConvNdImpl<1, SamePadDepthwiseConv1dImpl>;
template class SamePadConvNdImpl<2, SamePadDepthwiseConv2dImpl>;

}  // namespace samepad
