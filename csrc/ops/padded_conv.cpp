#include "padded_conv.h"

#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <functional>

#include "sliding_window.h"

namespace samepad::detail {
namespace {

std::vector<int64_t> no_output_padding(const PaddedConv& conv) {
  return std::vector<int64_t>(conv.stride.size(), 0);
}

/// `tensor` with `amounts` of zeros added; negative ones crop.
at::Tensor pad(const at::Tensor& tensor, const std::vector<int64_t>& amounts) {
  return add_padding(
      tensor,
      pads_for_amounts(static_cast<int64_t>(amounts.size()) / 2, c10::fromIntArrayRefSlow(amounts)),
      "constant");
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
    return at::convolution(pad(input, conv.pads), weight, bias, conv.stride, conv.padding,
                           conv.dilation, /*transposed=*/false, no_output_padding(conv),
                           conv.groups);
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
  return Function::apply(input, weight, bias, conv);
}

std::array<at::Tensor, 3> padded_conv_gradients(const PaddedConv& conv, const at::Tensor& gradient,
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
