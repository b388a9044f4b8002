#include "padded_conv.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv1d_ops.h>
#include <ATen/ops/conv2d_ops.h>
#include <ATen/ops/conv3d_ops.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <functional>

#include "../kernels/padded_copy.h"
#include "conv_args.h"
#include "library_faults.h"

namespace samepad::detail {
namespace {

std::vector<int64_t> no_output_padding(const PaddedConv& conv) {
  return std::vector<int64_t>(conv.stride.size(), 0);
}

/// `tensor` (N, C, ...) with `amounts` of zeros added; negative ones crop.
at::Tensor pad(const at::Tensor& tensor, const std::vector<int64_t>& amounts) {
  if (std::ranges::all_of(amounts, [](int64_t amount) { return amount == 0; })) {
    return tensor;
  }
  const auto dimensions = static_cast<int64_t>(amounts.size()) / 2;
  const bool differentiable = at::GradMode::is_enabled() && tensor.requires_grad();
  if (!differentiable && is_plain(tensor) && kernels::can_copy_padded(tensor) &&
      std::ranges::min(amounts) >= 0) {
    std::vector<Pads<int64_t>> pads;
    pads.reserve(dimensions);
    for (int64_t i = 0; i < dimensions; ++i) {
      pads.push_back({amounts[2 * i], amounts[2 * i + 1]});
    }
    return kernels::padded_copy(tensor, pads);
  }
  return add_padding(tensor, pads_for_amounts(dimensions, c10::fromIntArrayRefSlow(amounts)),
                     "constant");
}

/// Whether nothing looks on at what is done with them.
bool is_plain(const at::Tensor& input, const at::Tensor& weight,
              const std::optional<at::Tensor>& bias) {
  return detail::is_plain(input) && detail::is_plain(weight) && (!bias || detail::is_plain(*bias));
}

/// `conv`, or the one that stands for it where PyTorch would be wrong.
PaddedConv right(Pass pass, const PaddedConv& conv, const at::Tensor& input,
                 const at::Tensor& weight) {
  std::vector<int64_t> pads = conv.pads;
  std::vector<int64_t> size;
  for (size_t i = 0; i < conv.padding.size(); ++i) {
    pads[2 * i] += conv.padding[i];
    pads[2 * i + 1] += conv.padding[i];
    size.push_back(input.sym_size(static_cast<int64_t>(i) + 2).expect_int());
  }
  const bool faulty =
      library_fault(pass, input, weight, size, conv.stride, conv.dilation, pads) != nullptr;
  return faulty ? without_fault(conv, input, weight) : conv;
}

/// A tensor as `conv` takes it.
at::Tensor prepared(const PaddedConv& conv, const at::Tensor& tensor) {
  const at::Tensor laid_out = conv.contiguous ? plainly_contiguous(tensor) : tensor;
  return conv.single_precision ? laid_out.to(at::kFloat) : laid_out;
}

at::Tensor output(Pass pass, const PaddedConv& given, const at::Tensor& input,
                  const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const PaddedConv conv = right(pass, given, input, weight);
  const at::Tensor result =
      call_library(prepared(conv, pad(input, conv.pads)), prepared(conv, weight),
                   bias ? std::optional(prepared(conv, *bias)) : bias,
                   c10::fromIntArrayRefSlow(conv.stride), c10::fromIntArrayRefSlow(conv.padding),
                   c10::fromIntArrayRefSlow(conv.dilation), conv.groups)
          .to(input.scalar_type());
  return conv.contiguous && is_plain(input, weight, bias)
             ? result.contiguous(output_format(input, weight))
             : result;
}

class Function : public torch::autograd::Function<Function> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            const PaddedConv& conv) {
    context->save_for_backward({input, weight});
    auto& saved = context->saved_data;
    saved["pads"] = conv.pads;
    saved["padding"] = conv.padding;
    saved["stride"] = conv.stride;
    saved["dilation"] = conv.dilation;
    saved["groups"] = conv.groups;
    saved["has_bias"] = bias.has_value();
    return output(Pass::inference, conv, input, weight, bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    torch::autograd::variable_list result(4);
    if (!gradients[0].defined()) {
      return result;
    }
    const auto tensors = context->get_saved_variables();
    auto& saved = context->saved_data;
    const PaddedConv conv{saved["pads"].toIntVector(), saved["padding"].toIntVector(),
                          saved["stride"].toIntVector(), saved["dilation"].toIntVector(),
                          saved["groups"].toInt()};
    const std::array<bool, 3> wanted{context->needs_input_grad(0), context->needs_input_grad(1),
                                     saved["has_bias"].toBool() && context->needs_input_grad(2)};
    std::ranges::move(padded_conv_gradients(conv, gradients[0], tensors[0], tensors[1], wanted),
                      result.begin());
    return result;
  }
};

}  // namespace

at::Tensor call_library(const at::Tensor& input, const at::Tensor& weight,
                        const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                        c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                        const c10::SymInt& groups) {
  // What the operators below come to, where nothing looks on.
  if (input.dim() == weight.dim() && input.is_floating_point() && is_plain(input, weight, bias)) {
    const std::vector<c10::SymInt> no_output_padding(stride.size(), 0);
    return at::convolution_symint(input, weight, bias, stride, padding, dilation,
                                  /*transposed=*/false, no_output_padding, groups);
  }
  const auto run = stride.size() == 1   ? at::_ops::conv1d::call
                   : stride.size() == 2 ? at::_ops::conv2d::call
                                        : at::_ops::conv3d::call;
  return run(input, weight, bias, stride, padding, dilation, groups);
}

at::Tensor run_padded_conv(const PaddedConv& conv, const at::Tensor& input,
                           const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const Pass pass = pass_for(input, weight, bias);
  return pass == Pass::training && input.is_floating_point() && is_plain(input, weight, bias)
             ? Function::apply(input, weight, bias, conv)
             : output(pass, conv, input, weight, bias);
}

Gradients padded_conv_gradients(const PaddedConv& given, const at::Tensor& gradient,
                                const at::Tensor& input, const at::Tensor& weight,
                                std::array<bool, 3> wanted) {
  const PaddedConv conv = right(Pass::training, given, input, weight);
  const std::vector<int64_t> channels{weight.size(0)};
  auto [padded, filters, bias] = at::convolution_backward(
      prepared(conv, gradient), prepared(conv, pad(input, conv.pads)), prepared(conv, weight),
      at::OptionalIntArrayRef(channels), conv.stride, conv.padding, conv.dilation,
      /*transposed=*/false, no_output_padding(conv), conv.groups, wanted);
  if (wanted[0]) {
    std::vector<int64_t> crops(conv.pads.size());
    std::ranges::transform(conv.pads, crops.begin(), std::negate<>());
    padded = pad(padded, crops);
  }
  Gradients result{padded, filters, bias};
  for (at::Tensor& tensor : result) {
    if (tensor.defined()) {
      tensor = tensor.to(gradient.scalar_type());
    }
  }
  return result;
}

}  // namespace samepad::detail
