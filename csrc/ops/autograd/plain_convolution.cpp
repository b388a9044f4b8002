#include "plain_convolution.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>

#include "../plans/library_faults.h"

namespace samepad::detail {
namespace {

at::Tensor output(const ConvTensors& tensors, const LibrarySettings& settings, bool transposed,
                  const c10::SymInt& groups) {
  return at::convolution_symint(tensors.input, tensors.weight, tensors.bias, settings.stride,
                                settings.padding, settings.dilation, transposed,
                                settings.output_padding, groups);
}

/// PyTorch's convolution in half precision, with gradients that have correct gradients themselves.
class HalfConvolution : public torch::autograd::Function<HalfConvolution> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            const LibrarySettings& settings, bool transposed,
                            const c10::SymInt& groups) {
    context->save_for_backward({input, weight});
    context->saved_data["stride"] = c10::SymIntArrayRef(settings.stride);
    context->saved_data["padding"] = c10::SymIntArrayRef(settings.padding);
    context->saved_data["dilation"] = c10::SymIntArrayRef(settings.dilation);
    context->saved_data["output_padding"] = c10::SymIntArrayRef(settings.output_padding);
    context->saved_data["transposed"] = transposed;
    context->saved_data["groups"] = groups;
    context->saved_data["has_bias"] = bias.has_value();
    return output({input, weight, bias}, settings, transposed, groups);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outputs) {
    torch::autograd::variable_list result(6);
    const at::Tensor& gradient = outputs[0];
    if (!gradient.defined()) {
      return result;
    }
    const auto tensors = context->get_saved_variables();
    const auto sizes = [&](const char* name) { return context->saved_data[name].toSymIntVector(); };
    const at::ScalarType given = gradient.scalar_type();
    // Strides could only require float32, which is the least precision here anyway.
    const at::ScalarType type =
        at::GradMode::is_enabled()
            ? c10::promoteTypes(at::kFloat, precision_without_fault(tensors[1], {}))
            : given;
    auto [input, weight, bias] = at::convolution_backward_symint(
        gradient.to(type), tensors[0].to(type), tensors[1].to(type),
        at::OptionalSymIntArrayRef(gradient.sym_size(1)), sizes("stride"), sizes("padding"),
        sizes("dilation"), context->saved_data["transposed"].toBool(), sizes("output_padding"),
        context->saved_data["groups"].toSymInt(),
        {context->needs_input_grad(0), context->needs_input_grad(1),
         context->saved_data["has_bias"].toBool() && context->needs_input_grad(2)});
    const std::array gradients{input, weight, bias};
    std::ranges::transform(gradients, result.begin(), [&](const at::Tensor& tensor) {
      return tensor.defined() ? tensor.to(given) : tensor;
    });
    return result;
  }
};

}  // namespace

at::Tensor plain_convolution(const ConvTensors& tensors, const LibrarySettings& settings,
                             bool transposed, const c10::SymInt& groups) {
  const auto& [input, weight, bias] = tensors;
  const bool needs_gradient =
      at::GradMode::is_enabled() && (input.requires_grad() || weight.requires_grad() ||
                                     (bias.has_value() && bias->requires_grad()));
  return needs_gradient && is_half_on_cpu(input)
             ? HalfConvolution::apply(input, weight, bias, settings, transposed, groups)
             : output(tensors, settings, transposed, groups);
}

}  // namespace samepad::detail
