#include <samepad/nn/fused_conv.h>

#include <ostream>

#include "module.h"

namespace samepad {

template <size_t D, typename Derived>
FusedConvNdImpl<D, Derived>::FusedConvNdImpl(FusedConvOptions<D> options_)
    : options(std::move(options_)) {
  FusedConvNdImpl::reset();
}

template <size_t D, typename Derived>
void FusedConvNdImpl<D, Derived>::reset() {
  detail::check_channels(options);
  detail::check_padding(options.padding(), D, /*is_convolution=*/true,
                        "FusedConv" + std::to_string(D) + "d");
  TORCH_CHECK(std::holds_alternative<torch::enumtype::kZeros>(options.padding_mode()),
              "fused convolutions pad with zeros, but got another padding_mode");
  detail::register_parameters(*this, options.out_channels(),
                              options.in_channels() / options.groups());
  detail::draw_parameters(*this);
  for (const at::Tensor& parameter : this->parameters()) {
    parameter.requires_grad_(false);
  }
  this->eval();
}

template <size_t D, typename Derived>
void FusedConvNdImpl<D, Derived>::pretty_print(std::ostream& stream) const {
  detail::print_options(*this, stream);
  stream << ", activation=" << options.activation().name;
  if (!options.activation().parameters.empty()) {
    stream << at::ArrayRef<double>(options.activation().parameters);
  }
  stream << ')';
}

template <size_t D, typename Derived>
at::Tensor FusedConvNdImpl<D, Derived>::forward(const at::Tensor& input,
                                                const at::Tensor& residual) {
  TORCH_CHECK(!this->is_training(), detail::printed_name(*this),
              " is for inference, but it is in training mode; call eval()");
  return fused_conv(input, weight, bias.defined() ? std::optional(bias) : std::nullopt,
                    options.stride(), options.padding(), options.dilation(), options.groups(),
                    options.activation(),
                    residual.defined() ? std::optional(residual) : std::nullopt, packed());
}

template <size_t D, typename Derived>
void FusedConvNdImpl<D, Derived>::pack() {
  packed_ = packed_weight(weight, options.groups(), /*channels_last=*/true);
  packed_from_ = weight.detach();
  version_ = weight._version();
}

template <size_t D, typename Derived>
std::optional<at::Tensor> FusedConvNdImpl<D, Derived>::packed() const {
  const bool is_current = packed_ && packed_from_.is_alias_of(weight) &&
                          packed_from_.const_data_ptr() == weight.const_data_ptr() &&
                          weight._version() == version_;
  return is_current ? packed_ : std::nullopt;
}

template class FusedConvNdImpl<1, FusedConv1dImpl>;
template class FusedConvNdImpl<2, FusedConv2dImpl>;
template class FusedConvNdImpl<3, FusedConv3dImpl>;

}  // namespace samepad
