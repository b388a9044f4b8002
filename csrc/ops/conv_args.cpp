#include "conv_args.h"

#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <samepad/padding.h>

#include "library_faults.h"

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

void check_tensors(const char* function, const ConvArgs& args, int64_t dimensions) {
  const auto& [input, weight, bias] = std::tie(args.input, args.weight, args.bias);
  check_input_dimensions(function, dimensions, input);
  TORCH_CHECK(weight.dim() == dimensions + 2, "Expected ", dimensions + 2, "D weight to ", function,
              ", but got weight of size: ", weight.sym_sizes());
  TORCH_CHECK(input.is_floating_point() || input.is_complex(),
              "Expected input of a floating point or complex type, but got ", input.scalar_type());
  check_like_input("weight", weight, input);
  if (bias.has_value()) {
    check_like_input("bias", *bias, input);
  }
}

/// Channel counts that are symbolic are left to the convolution, which guards on them.
void check_channels(const ConvArgs& args, WeightLayout layout) {
  const bool output_first = layout == WeightLayout::output_first;
  const auto groups = args.groups.maybe_as_int();
  const auto in = args.input.sym_size(args.axis(-1)).maybe_as_int();
  const auto first = args.weight.sym_size(0).maybe_as_int();
  const auto second = args.weight.sym_size(1).maybe_as_int();
  if (!groups || !in || !first || !second) {
    return;
  }
  TORCH_CHECK(*groups >= 1, "expected groups to be at least 1, but got groups=", *groups);
  TORCH_CHECK(*first % *groups == 0, "Given groups=", *groups,
              ", expected weight to have a multiple of groups ", output_first ? "output" : "input",
              " channels at dimension 0, but got weight of size ", args.weight.sizes());
  const int64_t expected = output_first ? *second * *groups : *first;
  TORCH_CHECK(*in == expected, "Given groups=", *groups, ", weight of size ", args.weight.sizes(),
              ", expected input to have ", expected, " channels, but got input of size ",
              args.input.sizes(), " with ", *in, " channels");
  const int64_t filters = output_first ? *first : *second * *groups;
  TORCH_CHECK(!args.bias || (args.bias->dim() == 1 &&
                             args.bias->sym_size(0).maybe_as_int().value_or(filters) == filters),
              "Given weight of size ", args.weight.sizes(),
              ", expected bias to be 1-dimensional with ", filters,
              " elements, but got bias of size ", args.bias->sym_sizes(), " instead");
}

/// PyTorch's transposed convolutions count with `int`.
Range limits(WeightLayout layout) { return layout == WeightLayout::input_first ? kInt : Range{}; }

}  // namespace

bool is_plain(const at::Tensor& tensor) {
  return !at::isTensorSubclassLike(tensor) && !tensor.is_neg() && !tensor._is_zerotensor() &&
         !tensor._fw_grad(/*level=*/0).defined();
}

bool is_plain(const ConvArgs& args) {
  return is_plain(args.input) && is_plain(args.weight) && (!args.bias || is_plain(*args.bias));
}

at::MemoryFormat output_format(const at::Tensor& input, const at::Tensor& weight) {
  const auto channels_last =
      weight.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast;
  return weight.dim() >= 4 && (input.suggest_memory_format() == channels_last ||
                               weight.suggest_memory_format() == channels_last)
             ? channels_last
             : at::MemoryFormat::Contiguous;
}

at::MemoryFormat output_format(const ConvArgs& args) {
  return output_format(args.input, args.weight);
}

bool needs_gradient(const at::Tensor& input, const at::Tensor& weight,
                    const std::optional<at::Tensor>& bias) {
  return at::GradMode::is_enabled() &&
         (input.requires_grad() || weight.requires_grad() || (bias && bias->requires_grad()));
}

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

void check_input_dimensions(const char* function, int64_t dimensions, const at::Tensor& input) {
  TORCH_CHECK(input.defined(), "expected input to be a tensor, but it is undefined");
  TORCH_CHECK(input.dim() == dimensions + 1 || input.dim() == dimensions + 2, "Expected ",
              dimensions + 1, "D (unbatched) or ", dimensions + 2, "D (batched) input to ",
              function, ", but got input of size: ", input.sym_sizes());
}

ConvArgs::ConvArgs(const char* function, int64_t dimensions, WeightLayout layout, at::Tensor input_,
                   at::Tensor weight_, std::optional<at::Tensor> bias_, c10::SymIntArrayRef stride_,
                   c10::SymIntArrayRef dilation_, c10::SymInt groups_)
    : SlidingWindow{std::move(input_),
                    {},
                    expand("stride", stride_, dimensions, limits(layout)),
                    expand("dilation", dilation_, dimensions, limits(layout))},
      weight(std::move(weight_)),
      bias(bias_ && bias_->defined() ? std::move(bias_) : std::nullopt),
      groups(std::move(groups_)) {
  TORCH_CHECK(input.defined() && weight.defined(),
              "expected input and weight to be tensors, but one is undefined");
  autocast(*this);
  check_tensors(function, *this, dimensions);
  weight = with_plain_strides(weight);
  check_channels(*this, layout);
  kernel = expand("kernel_size", weight.sym_sizes().slice(2), dimensions);
  check_extents(kernel, dilation);
}

}  // namespace samepad::detail
