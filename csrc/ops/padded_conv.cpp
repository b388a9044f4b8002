#include "padded_conv.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <functional>

#include "../kernels/padded_copy.h"
#include "conv_args.h"

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

at::Tensor output(const PaddedConv& conv, const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias) {
  return at::convolution(pad(input, conv.pads), weight, bias, conv.stride, conv.padding,
                         conv.dilation, /*transposed=*/false, no_output_padding(conv), conv.groups);
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
    return output(conv, input, weight, bias);
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

at::Tensor run_padded_conv(const PaddedConv& conv, const at::Tensor& input,
                           const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  return needs_gradient(input, weight, bias) ? Function::apply(input, weight, bias, conv)
                                             : output(conv, input, weight, bias);
}

Gradients padded_conv_gradients(const PaddedConv& conv, const at::Tensor& gradient,
                                const at::Tensor& input, const at::Tensor& weight,
                                std::array<bool, 3> wanted) {
  const std::vector<int64_t> channels{weight.size(0)};
  auto [padded, filters, bias] = at::convolution_backward(
      gradient, pad(input, conv.pads), weight, at::OptionalIntArrayRef(channels), conv.stride,
      conv.padding, conv.dilation, /*transposed=*/false, no_output_padding(conv), conv.groups,
      wanted);
  if (wanted[0]) {
    std::vector<int64_t> crops(conv.pads.size());
    std::ranges::transform(conv.pads, crops.begin(), std::negate<>());
    padded = pad(padded, crops);
  }
  return {padded, filters, bias};
}

}  // namespace samepad::detail
