#include "conv_problem.h"

#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <c10/util/irange.h>

#include "../plans/library_faults.h"

namespace samepad::detail {
namespace {

/// Throws if `tensor` differs from the input in type or device.
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

/// Symbolic channel counts are not checked here; the convolution checks and guards them.
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

/// PyTorch's transposed convolutions store strides and dilations as `int`.
Range limits(WeightLayout layout) { return layout == WeightLayout::input_first ? kInt : Range{}; }

bool is_symmetric(const ConvProblem& problem) {
  for (const auto i : c10::irange(problem.dimensions())) {
    const auto amounts = known(problem.pads[i]);
    // PyTorch's convolution accepts a symbolic amount for both sides as it is.
    if (problem.as_torch && problem.pads_with_zeros() && !amounts && !problem.is_empty(i) &&
        problem.pads[i].before.is_same(problem.pads[i].after)) {
      continue;
    }
    if (!amounts || amounts->before != amounts->after || amounts->before < 0 ||
        problem.is_empty(i) || (!problem.pads_with_zeros() && amounts->before != 0)) {
      return false;
    }
  }
  return true;
}

bool is_depthwise(const ConvArgs& args) {
  const auto groups = args.groups.maybe_as_int();
  return groups && *groups > 1 && args.input.sym_size(1).maybe_as_int() == groups;
}

}  // namespace

bool is_plain(const at::Tensor& tensor) {
  return !at::isTensorSubclassLike(tensor) && !tensor.is_neg() && !tensor._is_zerotensor() &&
         !tensor._fw_grad(/*level=*/0).defined();
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

ConvTensors cast_for_autocast(ConvTensors tensors) {
  if (!tensors.input.defined() || !tensors.weight.defined()) {
    return tensors;  // ConvArgs reports which one is missing
  }
  const auto device = tensors.input.device().type();
  if (at::autocast::is_autocast_available(device) && at::autocast::is_autocast_enabled(device)) {
    const auto type = at::autocast::get_autocast_dtype(device);
    tensors.input = at::autocast::cached_cast(type, tensors.input, device);
    tensors.weight = at::autocast::cached_cast(type, tensors.weight, device);
    tensors.bias = at::autocast::cached_cast(type, tensors.bias, device);
  }
  return tensors;
}

ConvTensors to_be_computed(ConvTensors tensors) {
  tensors = cast_for_autocast(std::move(tensors));
  if (tensors.weight.defined()) {
    tensors.weight = with_plain_strides(tensors.weight);
  }
  return tensors;
}

ConvArgs::ConvArgs(const char* function, int64_t dimensions, WeightLayout layout,
                   ConvTensors tensors, c10::SymIntArrayRef stride_, c10::SymIntArrayRef dilation_,
                   c10::SymInt groups_)
    : SlidingWindow{std::move(tensors.input),
                    {},
                    expand("stride", stride_, dimensions, limits(layout)),
                    expand("dilation", dilation_, dimensions, limits(layout))},
      weight(std::move(tensors.weight)),
      bias(tensors.bias && tensors.bias->defined() ? std::move(tensors.bias) : std::nullopt),
      groups(std::move(groups_)) {
  TORCH_CHECK(input.defined() && weight.defined(),
              "expected input and weight to be tensors, but one is undefined");
  check_tensors(function, *this, dimensions);
  check_channels(*this, layout);
  kernel = expand("kernel_size", weight.sym_sizes().slice(2), dimensions);
  check_extents(kernel, dilation);
  batched = input.dim() == dimensions + 2;
  if (!batched) {
    input = input.unsqueeze(0);
  }
  plain = is_plain(input) && is_plain(weight) && (!bias || is_plain(*bias));
}

bool ConvArgs::needs_gradient() const {
  return at::GradMode::is_enabled() &&
         (input.requires_grad() || weight.requires_grad() || (bias && bias->requires_grad()));
}

at::MemoryFormat layout_of_output(const at::Tensor& input, const at::Tensor& weight) {
  // In three dimensions, PyTorch returns convolutions of doubles in NCDHW, whatever the input's
  // layout.
  if (weight.dim() == 5 && input.scalar_type() == at::kDouble) {
    return at::MemoryFormat::Contiguous;
  }
  const auto channels_last =
      weight.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast;
  return weight.dim() >= 4 && (input.suggest_memory_format() == channels_last ||
                               weight.suggest_memory_format() == channels_last)
             ? channels_last
             : at::MemoryFormat::Contiguous;
}

ConvProblem::ConvProblem(ConvArgs args, PadList pads_, std::string fill_, bool as_torch_)
    : ConvArgs(std::move(args)),
      pads(std::move(pads_)),
      fill(std::move(fill_)),
      as_torch(as_torch_),
      has_known_pads(are_known(pads)),
      known_pads(has_known_pads ? expect_known(pads) : KnownPads{}),
      symmetric(is_symmetric(*this)),
      depthwise(is_depthwise(*this)) {
  check_fill(*this, pads, fill);
  check_fits(*this, pads);
  TORCH_CHECK(symmetric || input.layout() == at::kStrided,
              "padding that differs between the sides of a dimension needs a strided input, but "
              "got layout ",
              input.layout());
}

ConvProblem ConvProblem::of_modes(const ConvArgs& args, const Modes& modes,
                                  const std::string& fill) {
  ConvProblem problem(args, pads_for_windows(args, modes), fill,
                      /*as_torch=*/modes.all(PadMode::valid));
  if (!problem.has_known_pads) {
    problem.modes = modes;
  }
  return problem;
}

ConvProblem ConvProblem::of_operator(const char* function, const ConvTensors& tensors,
                                     std::optional<std::string_view> mode, c10::SymIntArrayRef pads,
                                     c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
                                     const c10::SymInt& groups) {
  const auto dimensions = static_cast<int64_t>(stride.size());
  const ConvArgs args(function, dimensions, WeightLayout::output_first,
                      {tensors.input, with_plain_strides(tensors.weight), tensors.bias}, stride,
                      dilation, groups);
  if (mode) {
    const Modes modes = Modes::from_text(*mode);
    check_count(modes, dimensions);
    return of_modes(args, modes, "constant");
  }
  return {args, pads_for_amounts(dimensions, pads), "constant", /*as_torch=*/false};
}

const char* ConvProblem::library_fault() const {
  if (!library_fault_) {
    library_fault_ = detail::library_fault(purpose_of(*this), *this);
  }
  return *library_fault_;
}

Dims ConvProblem::output_size() const {
  Dims sizes;
  for (const auto i : c10::irange(dimensions())) {
    sizes.push_back(padded_output_size(size(i).expect_int(), extent(i), stride[i], known_pads[i]));
  }
  return sizes;
}

std::vector<c10::SymInt> ConvProblem::output_sizes() const {
  std::vector<c10::SymInt> sizes{input.sym_size(0), weight.sym_size(0)};
  for (const auto i : c10::irange(dimensions())) {
    sizes.push_back(padded_output_size(size(i), extent(i), stride[i], pads[i]));
  }
  return sizes;
}

}  // namespace samepad::detail
