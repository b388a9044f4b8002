#include "library.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv1d_ops.h>
#include <ATen/ops/conv2d_ops.h>
#include <ATen/ops/conv3d_ops.h>
#include <ATen/ops/convolution_backward.h>
#include <c10/util/irange.h>

#include <algorithm>

#include "../../kernels/common/padded_copy.h"
#include "../autograd/plain_convolution.h"
#include "library_faults.h"

namespace samepad::detail {
namespace {

/// Pads the spatial dimensions of `tensor` with zeros; negative amounts crop. Differentiable.
at::Tensor add_zeros(const at::Tensor& tensor, const KnownPads& pads) {
  const auto all = [&](const auto& condition) {
    return std::ranges::all_of(
        pads, [&](const auto& pad) { return condition(pad.before) && condition(pad.after); });
  };
  if (all([](int64_t amount) { return amount == 0; })) {
    return tensor;
  }
  const bool differentiable = at::GradMode::is_enabled() && tensor.requires_grad();
  if (!differentiable && is_plain(tensor) && kernels::can_copy_padded(tensor) &&
      all([](int64_t amount) { return amount >= 0; })) {
    return kernels::padded_copy(tensor, pads);
  }
  PadList amounts;
  for (const auto& [before, after] : pads) {
    amounts.push_back({before, after});
  }
  return add_padding(tensor, amounts, "constant");
}

SymDims as_symbols(const Dims& values) { return {values.begin(), values.end()}; }

at::Tensor convolution(const ConvProblem& problem, const at::Tensor& input,
                       const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       const Dims& strides, const SymDims& padding) {
  const SymDims stride = as_symbols(strides);
  const SymDims dilation = as_symbols(problem.dilation);
  // Without transforms or tensor subclasses, the operators called below end in this call. Calling
  // it directly saves their overhead.
  if (problem.plain && input.is_floating_point()) {
    const SymDims no_output_padding(problem.dimensions(), 0);
    return plain_convolution({input, weight, bias}, {stride, padding, dilation, no_output_padding},
                             /*transposed=*/false, problem.groups);
  }
  const auto run = problem.dimensions() == 1   ? at::_ops::conv1d::call
                   : problem.dimensions() == 2 ? at::_ops::conv2d::call
                                               : at::_ops::conv3d::call;
  return run(input, weight, bias, stride, padding, dilation, problem.groups);
}

/// The tensor in the layout and type that the call requires.
at::Tensor prepared(const LibraryCall& call, const at::Tensor& tensor) {
  const at::Tensor laid_out = call.contiguous ? plainly_contiguous(tensor) : tensor;
  return call.type ? laid_out.to(*call.type) : laid_out;
}

}  // namespace

LibraryCall library_call(const ConvProblem& problem, const char* fault) {
  LibraryCall call{{}, {}, problem.stride};
  if (fault != nullptr) {
    call.contiguous = true;
    const at::ScalarType type = precision_without_fault(problem.weight, problem.stride);
    if (type != problem.weight.scalar_type()) {
      call.type = type;
    }
  }
  for (const auto i : c10::irange(problem.dimensions())) {
    Pads<c10::SymInt> copied = problem.pads[i];
    int64_t inside = 0;
    if (fault != nullptr) {
      // All padding goes into the copy. A dimension with a single output is convolved without a
      // stride, and with only as much input as that output needs.
      const c10::SymInt size = problem.size(i);
      if (padded_output_size(size, problem.extent(i), problem.stride[i], copied) == 1) {
        copied.after = problem.extent(i) - size - copied.before;
        call.stride[i] = 1;
      }
    } else if (const auto amounts = known(copied);
               amounts && problem.pads_with_zeros() && !problem.is_empty(i)) {
      // PyTorch's convolutions can add a known number of zeros themselves, except in a dimension
      // without elements.
      inside = std::max<int64_t>(0, std::min(amounts->before, amounts->after));
      copied = {copied.before - inside, copied.after - inside};
    }
    call.inside.push_back(inside);
    call.copied.push_back(copied);
  }
  return call;
}

at::Tensor library_convolution(const ConvProblem& problem) {
  SymDims padding;
  for (const auto& pad : problem.pads) {
    padding.push_back(pad.before);
  }
  return convolution(problem, problem.input, problem.weight, problem.bias, problem.stride, padding);
}

at::Tensor run_library(const ConvProblem& problem, const LibraryCall& call,
                       const at::Tensor& padded) {
  const std::optional<at::Tensor> bias =
      problem.bias ? std::optional(prepared(call, *problem.bias)) : std::nullopt;
  const at::Tensor output =
      convolution(problem, prepared(call, padded), prepared(call, problem.weight), bias,
                  call.stride, as_symbols(call.inside))
          .to(problem.input.scalar_type());
  // The call computed with contiguous tensors. `clone` also sets the strides of dimensions of size
  // 1 as the layout prescribes, which `contiguous` does not.
  const at::MemoryFormat format = problem.output_format();
  return call.contiguous && problem.plain && format != at::MemoryFormat::Contiguous
             ? output.clone(format)
             : output;
}

at::Tensor padded_output(const ConvProblem& problem) {
  const LibraryCall call = library_call(problem, problem.library_fault());
  return run_library(problem, call, add_zeros(problem.input, expect_known(call.copied)));
}

Gradients padded_gradients(const ConvProblem& problem, const at::Tensor& gradient,
                           GradientMask wanted) {
  LibraryCall call = library_call(problem, library_fault(Purpose::training, problem));
  // Where these gradients will have gradients themselves, PyTorch computes those by convolutions of
  // other sizes, of which some are wrong in half precision.
  if (at::GradMode::is_enabled() && is_half_on_cpu(gradient)) {
    call.type =
        c10::promoteTypes(at::kFloat, precision_without_fault(problem.weight, problem.stride));
  }
  KnownPads pads = expect_known(call.copied);
  const c10::SymInt filters = problem.weight.sym_size(0);
  const SymDims no_output_padding(problem.dimensions(), 0);
  auto [input, weight, bias] = at::convolution_backward_symint(
      prepared(call, gradient), prepared(call, add_zeros(problem.input, pads)),
      prepared(call, problem.weight), at::OptionalSymIntArrayRef(filters), as_symbols(call.stride),
      as_symbols(call.inside), as_symbols(problem.dilation), /*transposed=*/false,
      no_output_padding, problem.groups, wanted);
  if (wanted[0]) {
    for (auto& [before, after] : pads) {
      before = -before;
      after = -after;
    }
    input = add_zeros(input, pads);
  }
  Gradients gradients{input, weight, bias};
  for (at::Tensor& tensor : gradients) {
    if (tensor.defined()) {
      tensor = tensor.to(gradient.scalar_type());
    }
  }
  return gradients;
}

int64_t count_bytes(const ConvProblem& problem, int64_t channels, const Dims& size) {
  auto bytes = static_cast<int64_t>(problem.input.element_size());
  Dims factors = size;
  factors.push_back(problem.input.size(0));
  factors.push_back(channels);
  for (const int64_t factor : factors) {
    bytes = saturating_product(bytes, factor);
  }
  return bytes;
}

}  // namespace samepad::detail
