#include <c10/util/Exception.h>
#include <samepad/nn/separable.h>

#include <ostream>

#include "module.h"

namespace samepad {

template <size_t D, typename Derived, typename DepthwiseImpl, typename PointwiseImpl>
SamePadSeparableConvNdImpl<D, Derived, DepthwiseImpl, PointwiseImpl>::SamePadSeparableConvNdImpl(
    SamePadConvOptions<D> options_, int64_t depth_multiplier_)
    : options(std::move(options_)), depth_multiplier(depth_multiplier_) {
  // The qualified call is not virtual. As in torch::nn::ConvNdImpl, no derived class overrides it.
  SamePadSeparableConvNdImpl::reset();
}

template <size_t D, typename Derived, typename DepthwiseImpl, typename PointwiseImpl>
void SamePadSeparableConvNdImpl<D, Derived, DepthwiseImpl, PointwiseImpl>::reset() {
  TORCH_CHECK(options.groups() == 1,
              "a separable convolution has no groups, but got groups=", options.groups());
  TORCH_CHECK(depth_multiplier >= 1, "depth_multiplier must be at least 1, but got ",
              depth_multiplier);
  SamePadConvOptions<D> first = options;
  first.out_channels(options.in_channels() * depth_multiplier);
  first.groups(options.in_channels()).bias(false);
  depthwise =
      this->register_module("depthwise", torch::nn::ModuleHolder<DepthwiseImpl>(std::move(first)));
  const int64_t channels = options.in_channels() * depth_multiplier;
  pointwise = this->register_module(
      "pointwise",
      torch::nn::ModuleHolder<PointwiseImpl>(
          SamePadConvOptions<D>(channels, options.out_channels(), 1).bias(options.bias())));
}

template <size_t D, typename Derived, typename DepthwiseImpl, typename PointwiseImpl>
void SamePadSeparableConvNdImpl<D, Derived, DepthwiseImpl, PointwiseImpl>::pretty_print(
    std::ostream& stream) const {
  stream << detail::printed_name(*this);
}

template <size_t D, typename Derived, typename DepthwiseImpl, typename PointwiseImpl>
at::Tensor SamePadSeparableConvNdImpl<D, Derived, DepthwiseImpl, PointwiseImpl>::forward(
    const at::Tensor& input) {
  return pointwise->forward(depthwise->forward(input));
}

template class SamePadSeparableConvNdImpl<1, SamePadSeparableConv1dImpl, SamePadDepthwiseConv1dImpl,
                                          SamePadConv1dImpl>;
template class SamePadSeparableConvNdImpl<2, SamePadSeparableConv2dImpl, SamePadDepthwiseConv2dImpl,
                                          SamePadConv2dImpl>;

}  // namespace samepad
