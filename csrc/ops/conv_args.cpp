#include "conv_args.h"

#include <ATen/autocast_mode.h>
#include <c10/util/Exception.h>
#include <samepad/padding.h>

namespace samepad::detail {
namespace {

/// Casts as the convolution's own autocast rule will, but ahead of the padding, so that a padded
/// copy is made in the smaller type.
void autocast(ConvArgs& args) {
  const auto device = args.input.device().type();
  if (!at::autocast::is_autocast_available(device) || !at::autocast::is_autocast_enabled(device)) {
    return;
  }
  const auto type = at::autocast::get_autocast_dtype(device);
  args.input = at::autocast::cached_cast(type, args.input, device);
  args.weight = at::autocast::cached_cast(type, args.weight, device);
  args.bias = at::autocast::cached_cast(type, args.bias, device);
}

/// `tensor` must be of the input's type and on its device.
void check_like_input(const char* argument, const at::Tensor& tensor, const at::Tensor& input) {
  TORCH_CHECK(tensor.scalar_type() == input.scalar_type(), "Input type (", input.scalar_type(),
              ") and ", argument, " type (", tensor.scalar_type(), ") should be the same");
  TORCH_CHECK(tensor.device() == input.device(), "Input device (", input.device(), ") and ",
              argument, " device (", tensor.device(), ") should be the same");
}

void check_tensors(const ConvArgs& args, int64_t dimensions) {
  const auto& [input, weight, bias] = std::tie(args.input, args.weight, args.bias);
  TORCH_CHECK(input.dim() == dimensions + 1 || input.dim() == dimensions + 2, "Expected ",
              dimensions + 1, "D (unbatched) or ", dimensions + 2, "D (batched) input to conv",
              dimensions, "d, but got input of size: ", input.sym_sizes());
  TORCH_CHECK(weight.dim() == dimensions + 2, "Expected ", dimensions + 2, "D weight to conv",
              dimensions, "d, but got weight of size: ", weight.sym_sizes());
  TORCH_CHECK(input.is_floating_point() || input.is_complex(),
              "Expected input of a floating point or complex type, but got ", input.scalar_type());
  check_like_input("weight", weight, input);
  if (bias.has_value()) {
    check_like_input("bias", *bias, input);
  }
}

/// Channel counts that are symbolic are left to the convolution, which guards on them.
void check_channels(const ConvArgs& args) {
  const auto groups = args.groups.maybe_as_int();
  const auto in = args.input.sym_size(-args.dimensions() - 1).maybe_as_int();
  const auto out = args.weight.sym_size(0).maybe_as_int();
  const auto in_per_group = args.weight.sym_size(1).maybe_as_int();
  if (!groups || !in || !out || !in_per_group) {
    return;
  }
  TORCH_CHECK(*groups >= 1, "expected groups to be at least 1, but got groups=", *groups);
  TORCH_CHECK(*out % *groups == 0, "Given groups=", *groups,
              ", expected weight to have a multiple of groups output channels at dimension 0, "
              "but got weight of size ",
              args.weight.sizes());
  TORCH_CHECK(*in % *groups == 0 && *in / *groups == *in_per_group, "Given groups=", *groups,
              ", weight of size ", args.weight.sizes(), ", expected input to have ", *in_per_group,
              " channels per group, but got input of size ", args.input.sizes(), " with ", *in,
              " channels");
}

/// The name that `at::pad` gives to torch.nn's `padding_mode`.
std::string fill_name(std::string_view padding_mode) {
  if (padding_mode == "zeros") {
    return "constant";
  }
  TORCH_CHECK(
      padding_mode == "reflect" || padding_mode == "replicate" || padding_mode == "circular",
      "padding_mode must be 'zeros', 'reflect', 'replicate' or 'circular', but got "
      "padding_mode='",
      padding_mode, "'");
  return std::string(padding_mode);
}

}  // namespace

Dims expand_positive(const char* argument, c10::SymIntArrayRef values, int64_t dimensions) {
  const auto count = static_cast<int64_t>(values.size());
  TORCH_CHECK(count == 1 || count == dimensions, "expected ", argument,
              " to be a single integer value or a list of ", dimensions,
              " values to match the convolution dimensions, but got ", argument, "=", values);
  Dims expanded;
  for (int64_t i = 0; i < dimensions; ++i) {
    expanded.push_back(values[count == 1 ? 0 : i].guard_int(__FILE__, __LINE__));
    TORCH_CHECK(expanded.back() >= 1, "expected ", argument, " to be at least 1, but got ",
                argument, "=", values);
  }
  return expanded;
}

void check_extents(const Dims& kernel, const Dims& dilation) {
  for (size_t i = 0; i < kernel.size(); ++i) {
    TORCH_CHECK(!extent_overflows(kernel[i], dilation[i]), "kernel_size=", kernel[i],
                " with dilation=", dilation[i], " spans more elements than int64 can count");
  }
}

ConvArgs::ConvArgs(int64_t dimensions, at::Tensor input_, at::Tensor weight_,
                   std::optional<at::Tensor> bias_, c10::SymIntArrayRef stride_,
                   c10::SymIntArrayRef dilation_, c10::SymInt groups_,
                   std::string_view padding_mode)
    : input(std::move(input_)),
      weight(std::move(weight_)),
      bias(bias_ && bias_->defined() ? std::move(bias_) : std::nullopt),
      stride(expand_positive("stride", stride_, dimensions)),
      dilation(expand_positive("dilation", dilation_, dimensions)),
      groups(std::move(groups_)),
      fill(fill_name(padding_mode)) {
  TORCH_CHECK(input.defined() && weight.defined(),
              "expected input and weight to be tensors, but one is undefined");
  autocast(*this);
  check_tensors(*this, dimensions);
  check_channels(*this);
  kernel = expand_positive("kernel_size", weight.sym_sizes().slice(2), dimensions);
  check_extents(kernel, dilation);
}

int64_t ConvArgs::extent(int64_t i) const { return kernel_extent(kernel[i], dilation[i]); }

}  // namespace samepad::detail
