#include "differentiable.h"

#include <c10/util/irange.h>

namespace samepad::detail {

using torch::autograd::AutogradContext;

// One list of integers for autograd to keep: groups, whether there is a bias, and for each
// dimension the stride, the dilation and the padding before and after.

void save(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight,
          const ConvArgs& args, const PadList& pads) {
  context->save_for_backward({input, weight});
  std::vector<c10::SymInt> settings{args.groups, args.bias.has_value() ? 1 : 0};
  for (const auto i : c10::irange(args.dimensions())) {
    settings.insert(settings.end(),
                    {args.stride[i], args.dilation[i], pads[i].before, pads[i].after});
  }
  context->saved_data["settings"] = c10::SymIntArrayRef(settings);
}

Saved::Saved(AutogradContext* context) {
  const auto tensors = context->get_saved_variables();
  input = tensors[0];
  weight = tensors[1];
  const auto values = context->saved_data["settings"].toSymIntVector();
  settings.assign(values.begin(), values.end());
  wanted = {context->needs_input_grad(0), context->needs_input_grad(1),
            settings[1] == 1 && context->needs_input_grad(2)};
}

ConvProblem Saved::problem(const at::Tensor& input, const at::Tensor& weight) const {
  const int64_t dimensions = (static_cast<int64_t>(settings.size()) - 2) / 4;
  SymDims stride;
  SymDims dilation;
  PadList pads;
  for (const auto i : c10::irange(dimensions)) {
    const c10::SymInt* const value = &settings[2 + 4 * i];
    stride.push_back(value[0]);
    dilation.push_back(value[1]);
    pads.push_back({value[2], value[3]});
  }
  return {ConvArgs("the backward pass of a convolution", dimensions, WeightLayout::output_first,
                   {input, weight, std::nullopt}, stride, dilation, settings[0]),
          pads, "constant", /*as_torch=*/false};
}

}  // namespace samepad::detail
