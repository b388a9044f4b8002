// samepad::conv1d, conv2d and conv3d: composite operators, so that autograd, autocast, functorch,
// compilation and export see the ATen operators they are made of.

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/constant_pad_nd.h>
#include <c10/util/Exception.h>
#include <c10/util/irange.h>
#include <samepad/conv.h>
#include <torch/library.h>

#include "plan.h"

namespace samepad {
namespace {

using detail::ConvArgs;
using detail::PadList;
using detail::Plan;

PadList pads_for_mode(const ConvArgs& args, PadMode mode) {
  PadList pads;
  for (const auto i : c10::irange(args.dimensions())) {
    const c10::SymInt size = args.size(i);
    if (const auto n = size.maybe_as_int()) {
      const auto amounts = mode_pads(mode, *n, args.extent(i), args.stride[i]);
      pads.push_back({amounts.before, amounts.after});
    } else {
      pads.push_back(mode_pads(mode, size, args.extent(i), args.stride[i]));
    }
  }
  return pads;
}

PadList pads_for_amounts(const ConvArgs& args, c10::SymIntArrayRef amounts) {
  const int64_t dimensions = args.dimensions();
  const auto count = static_cast<int64_t>(amounts.size());
  TORCH_CHECK(count == 1 || count == dimensions || count == 2 * dimensions,
              "expected padding to be a mode, a single integer, ", dimensions, " integers or ",
              dimensions, " (before, after) pairs, but got padding=", amounts);
  PadList pads;
  for (const auto i : c10::irange(dimensions)) {
    if (count == 2 * dimensions) {
      pads.push_back({amounts[2 * i], amounts[2 * i + 1]});
    } else {
      const c10::SymInt& both = amounts[count == 1 ? 0 : i];
      const auto value = both.maybe_as_int();
      TORCH_CHECK(!value || *value >= 0,
                  "negative padding is not supported, but got padding=", amounts);
      pads.push_back({both, both});
    }
  }
  return pads;
}

/// What the `padding_mode`s can fill depends on the size n of spatial dimension i.
void check_fill(const ConvArgs& args, int64_t i, int64_t n, const Pads<int64_t>& pads) {
  const int64_t wider = std::max(pads.before, pads.after);
  const int64_t most = args.fill == "reflect"    ? std::max<int64_t>(n - 1, 0)
                       : args.fill == "circular" ? n
                       : n > 0                   ? wider
                                                 : 0;
  TORCH_CHECK(std::min(pads.before, pads.after) >= 0 && wider <= most, "padding_mode='", args.fill,
              "' can add 0 to ", most, " elements on a side of ", n,
              " elements, but padding asks for (", pads.before, ", ", pads.after,
              ") in spatial dimension ", i, " of input of size ", args.input.sizes());
}

/// The padded input must hold the kernel at least once, and its size must be countable.
void check_padded_size(const ConvArgs& args, int64_t i, int64_t n, const Pads<int64_t>& pads) {
  int64_t padded = 0;
  TORCH_CHECK(!__builtin_add_overflow(n, pads.before, &padded) &&
                  !__builtin_add_overflow(padded, pads.after, &padded),
              "padding (", pads.before, ", ", pads.after, ") in spatial dimension ", i,
              " makes the input larger than int64 can count");
  TORCH_CHECK(padded >= args.extent(i), "Calculated padded input size in spatial dimension ", i,
              ": ", padded, ". Kernel size: ", args.kernel[i], ", dilation: ", args.dilation[i],
              ". The kernel spans ", args.extent(i),
              " elements, which can't be greater than the padded input size");
}

/// Symbolic sizes are left to what is called with them, which guards.
void check_pads(const ConvArgs& args, const PadList& pads) {
  for (const auto i : c10::irange(args.dimensions())) {
    const auto n = args.size(i).maybe_as_int();
    const auto before = pads[i].before.maybe_as_int();
    const auto after = pads[i].after.maybe_as_int();
    if (!n || !before || !after) {
      continue;
    }
    if (args.fill != "constant") {
      check_fill(args, i, *n, {*before, *after});
    }
    check_padded_size(args, i, *n, {*before, *after});
  }
}

at::Tensor run(const ConvArgs& args, const PadList& pads) {
  check_pads(args, pads);
  const Plan plan = choose_plan(args, pads);
  TORCH_CHECK(
      plan == Plan::symmetric || args.input.layout() == at::kStrided,
      "padding that differs between the sides of a dimension needs a strided input, but got "
      "layout ",
      args.input.layout());
  return run_plan(plan, args, pads);
}

/// SAME of an empty dimension is empty. PyTorch's convolutions refuse it, so zeros that hold the
/// kernel once, undilated, stand in for the dimension and their one output is dropped: shape, type,
/// layout and gradients follow.
at::Tensor run_empty(const ConvArgs& args, PadList pads) {
  ConvArgs filled = args;
  std::vector<c10::SymInt> added;
  for (int64_t i = args.dimensions() - 1; i >= 0; --i) {
    const bool empty = args.is_empty(i);
    added.insert(added.end(), {0, empty ? args.kernel[i] : 0});
    if (empty) {
      pads[i] = {0, 0};
      filled.dilation[i] = 1;
    }
  }
  filled.input = at::constant_pad_nd_symint(args.input, added);
  at::Tensor output = run(filled, pads);
  for (const auto i : c10::irange(args.dimensions())) {
    if (args.is_empty(i)) {
      output = output.narrow(i - args.dimensions(), 0, 0);
    }
  }
  return output;
}

at::Tensor run_mode(const ConvArgs& args, PadMode mode) {
  TORCH_CHECK(mode != PadMode::causal || args.dimensions() == 1,
              "padding='causal' is for conv1d alone, but got it in conv", args.dimensions(), "d");
  const PadList pads = pads_for_mode(args, mode);
  for (const auto i : c10::irange(args.dimensions())) {
    if (mode != PadMode::valid && args.is_empty(i)) {
      return run_empty(args, pads);
    }
  }
  return run(args, pads);
}

template <int64_t D>
at::Tensor conv_mode(const at::Tensor& input, const at::Tensor& weight,
                     const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                     std::string_view padding, c10::SymIntArrayRef dilation, c10::SymInt groups,
                     std::string_view padding_mode) {
  return run_mode({D, input, weight, bias, stride, dilation, std::move(groups), padding_mode},
                  *Padding(padding).mode());
}

template <int64_t D>
at::Tensor conv_amounts(const at::Tensor& input, const at::Tensor& weight,
                        const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                        c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                        c10::SymInt groups, std::string_view padding_mode) {
  const ConvArgs args(D, input, weight, bias, stride, dilation, std::move(groups), padding_mode);
  return run(args, pads_for_amounts(args, padding));
}

/// Calls the operator through the dispatcher, as at::conv2d does, so that every feature that
/// lives in a dispatch key sees the call.
template <int64_t D>
at::Tensor call(const at::Tensor& input, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                std::string_view padding_mode) {
  static const std::string op = "samepad::conv" + std::to_string(D) + "d";
  const auto sym_stride = c10::fromIntArrayRefSlow(stride);
  const auto sym_dilation = c10::fromIntArrayRefSlow(dilation);
  if (const PadMode* mode = padding.mode()) {
    static const auto handle = c10::Dispatcher::singleton()
                                   .findSchemaOrThrow(op.c_str(), "")
                                   .typed<decltype(conv_mode<D>)>();
    return handle.call(input, weight, bias, sym_stride, name(*mode), sym_dilation, groups,
                       padding_mode);
  }
  static const auto handle = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow(op.c_str(), "padding")
                                 .typed<decltype(conv_amounts<D>)>();
  return handle.call(input, weight, bias, sym_stride, c10::fromIntArrayRefSlow(padding.amounts(D)),
                     sym_dilation, groups, padding_mode);
}

}  // namespace

at::Tensor conv1d(const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                  const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                  std::string_view padding_mode) {
  return call<1>(input, weight, bias, stride, padding, dilation, groups, padding_mode);
}

at::Tensor conv2d(const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                  const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                  std::string_view padding_mode) {
  return call<2>(input, weight, bias, stride, padding, dilation, groups, padding_mode);
}

at::Tensor conv3d(const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                  const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                  std::string_view padding_mode) {
  return call<3>(input, weight, bias, stride, padding, dilation, groups, padding_mode);
}

std::vector<Pads<int64_t>> same_padding(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                                        at::IntArrayRef stride, at::IntArrayRef dilation,
                                        PadMode mode) {
  const auto dimensions = static_cast<int64_t>(input_size.size());
  TORCH_CHECK(dimensions >= 1, "expected input_size to have a value per dimension, but got none");
  TORCH_CHECK(mode != PadMode::causal || dimensions == 1,
              "mode='causal' is for one dimension alone, but got input_size=", input_size);
  const auto expand = [&](const char* argument, at::IntArrayRef values) {
    return detail::expand_positive(argument, c10::fromIntArrayRefSlow(values), dimensions);
  };
  const auto kernels = expand("kernel_size", kernel_size);
  const auto strides = expand("stride", stride);
  const auto dilations = expand("dilation", dilation);
  detail::check_extents(kernels, dilations);
  std::vector<Pads<int64_t>> pads;
  for (const auto i : c10::irange(dimensions)) {
    TORCH_CHECK(input_size[i] >= 0,
                "expected input_size to be at least 0, but got input_size=", input_size);
    pads.push_back(
        mode_pads(mode, input_size[i], kernel_extent(kernels[i], dilations[i]), strides[i]));
  }
  return pads;
}

namespace {

void register_kernels(torch::Library& m) {
  m.impl("conv1d", conv_mode<1>);
  m.impl("conv1d.padding", conv_amounts<1>);
  m.impl("conv2d", conv_mode<2>);
  m.impl("conv2d.padding", conv_amounts<2>);
  m.impl("conv3d", conv_mode<3>);
  m.impl("conv3d.padding", conv_amounts<3>);
}

}  // namespace

TORCH_LIBRARY_IMPL(samepad, CompositeImplicitAutograd, m) { register_kernels(m); }

// Composite kernels do not reach vmap's key, which would loop over the samples instead.
TORCH_LIBRARY_IMPL(samepad, FuncTorchBatchedDecomposition, m) { register_kernels(m); }

}  // namespace samepad
