#include "differentiable.h"

#include <c10/util/irange.h>

namespace samepad::detail {

using torch::autograd::AutogradContext;

// Autograd saves one list of integers: groups, whether there is a bias, and for each dimension the
// stride, the dilation, the mode or -1, and the padding before and after, which is 0 if there is a
// mode.

namespace {

constexpr int64_t kPerConvolution = 2;
constexpr int64_t kPerDimension = 5;

}  // namespace

void save(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight,
          const ConvArgs& args, const PadList& pads, const std::optional<Modes>& modes) {
  context->save_for_backward({input, weight});
  std::vector<c10::SymInt> settings{args.groups, args.bias.has_value() ? 1 : 0};
  for (const auto i : c10::irange(args.dimensions())) {
    const Pads<c10::SymInt> kept = modes ? Pads<c10::SymInt>{0, 0} : pads[i];
    const int64_t mode = modes ? static_cast<int64_t>((*modes)[i]) : -1;
    settings.insert(settings.end(),
                    {args.stride[i], args.dilation[i], mode, kept.before, kept.after});
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
  const int64_t dimensions =
      (static_cast<int64_t>(settings.size()) - kPerConvolution) / kPerDimension;
  SymDims stride;
  SymDims dilation;
  PadList pads;
  std::vector<PadMode> modes;
  for (const auto i : c10::irange(dimensions)) {
    const c10::SymInt* const value = &settings[kPerConvolution + kPerDimension * i];
    stride.push_back(value[0]);
    dilation.push_back(value[1]);
    const int64_t mode = value[2].expect_int();
    if (mode >= 0) {
      modes.push_back(static_cast<PadMode>(mode));
    }
    pads.push_back({value[3], value[4]});
  }
  const ConvArgs args("the backward pass of a convolution", dimensions, WeightLayout::output_first,
                      {input, weight, std::nullopt}, stride, dilation, settings[0]);
  if (modes.empty()) {
    return {args, pads, "constant", /*as_torch=*/false};
  }
  return ConvProblem::of_modes(args, modes, "constant");
}

}  // namespace samepad::detail
