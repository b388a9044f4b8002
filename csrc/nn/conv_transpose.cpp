#include <samepad/conv_transpose.h>
#include <samepad/nn/conv_transpose.h>

#include <algorithm>
#include <array>
#include <ostream>
#include <string>

#include "module.h"

namespace samepad {
namespace {

constexpr std::array kConvolve{conv_transpose1d, conv_transpose2d, conv_transpose3d};

template <size_t D>
void check(const SamePadConvTransposeOptions<D>& options) {
  detail::check_channels(options);
  detail::check_padding(options.padding(), D, /*is_convolution=*/false,
                        "SamePadConvTranspose" + std::to_string(D) + "d");
  const Modes* const modes = options.padding().modes();
  for (size_t i = 0; modes != nullptr && i < D; ++i) {
    TORCH_CHECK(
        (*modes)[i] == PadMode::valid || (*options.output_padding())[i] == 0,
        "output_padding is for amounts of padding: with padding='", *modes,
        "' call the module with an output_size, but got output_padding=", options.output_padding());
  }
}

}  // namespace

template <size_t D, typename Derived>
SamePadConvTransposeNdImpl<D, Derived>::SamePadConvTransposeNdImpl(
    SamePadConvTransposeOptions<D> options_)
    : options(std::move(options_)) {
  // The qualified call is not virtual. As in torch::nn::ConvNdImpl, no derived class overrides it.
  SamePadConvTransposeNdImpl::reset();
}

template <size_t D, typename Derived>
void SamePadConvTransposeNdImpl<D, Derived>::reset() {
  check(options);
  detail::register_parameters(*this, options.in_channels(),
                              options.out_channels() / options.groups());
  reset_parameters();
}

template <size_t D, typename Derived>
void SamePadConvTransposeNdImpl<D, Derived>::reset_parameters() {
  detail::draw_parameters(*this);
}

template <size_t D, typename Derived>
void SamePadConvTransposeNdImpl<D, Derived>::pretty_print(std::ostream& stream) const {
  stream << detail::printed_name(*this) << '(' << options.in_channels() << ", "
         << options.out_channels() << ", kernel_size=" << options.kernel_size()
         << ", stride=" << options.stride() << ", padding=" << options.padding();
  if (*options.dilation() != *torch::ExpandingArray<D>(1)) {
    stream << ", dilation=" << options.dilation();
  }
  if (*options.output_padding() != *torch::ExpandingArray<D>(0)) {
    stream << ", output_padding=" << options.output_padding();
  }
  if (options.groups() != 1) {
    stream << ", groups=" << options.groups();
  }
  if (!options.bias()) {
    stream << ", bias=false";
  }
  stream << ')';
}

template <size_t D, typename Derived>
at::Tensor SamePadConvTransposeNdImpl<D, Derived>::forward(
    const at::Tensor& input, const std::optional<at::IntArrayRef>& output_size) {
  at::OptionalIntArrayRef spatial = std::nullopt;
  torch::ExpandingArray<D> output_padding = options.output_padding();
  if (output_size.has_value()) {
    const size_t count = output_size->size();
    const bool whole = static_cast<int64_t>(count) == input.dim() && count > D;
    spatial = whole ? output_size->slice(count - D) : *output_size;
    // The requested sizes determine how many elements to append, so output_padding is not needed.
    output_padding = 0;
  }
  return kConvolve[D - 1](input, weight, bias, options.stride(), options.padding(), output_padding,
                          options.groups(), options.dilation(), spatial);
}

template class SamePadConvTransposeNdImpl<1, SamePadConvTranspose1dImpl>;
template class SamePadConvTransposeNdImpl<2, SamePadConvTranspose2dImpl>;
template class SamePadConvTransposeNdImpl<3, SamePadConvTranspose3dImpl>;

}  // namespace samepad
