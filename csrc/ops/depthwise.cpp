#include "depthwise.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "../kernels/depthwise.h"
#include "padded_conv.h"

namespace samepad::detail {
namespace {

using kernels::DepthwiseShape;

/// PyTorch's rule for the layout of a convolution's output.
at::MemoryFormat memory_format(const ConvArgs& args) {
  const auto is_channels_last = [](const at::Tensor& tensor) {
    return tensor.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
  };
  return args.dimensions() == 2 && (is_channels_last(args.input) || is_channels_last(args.weight))
             ? at::MemoryFormat::ChannelsLast
             : at::MemoryFormat::Contiguous;
}

/// What PyTorch is to compute where gradients are to be differentiated again.
PaddedConv padded_conv(const DepthwiseShape& shape) {
  PaddedConv conv{{},
                  {0, 0},
                  {shape.stride.begin(), shape.stride.end()},
                  {shape.dilation.begin(), shape.dilation.end()},
                  shape.channels};
  for (const int axis : {0, 1}) {
    const int64_t spanned = (shape.output[axis] - 1) * shape.stride[axis] + shape.extent(axis);
    conv.pads.push_back(shape.before[axis]);
    conv.pads.push_back(spanned - shape.input[axis] - shape.before[axis]);
  }
  return conv;
}

class Depthwise : public torch::autograd::Function<Depthwise> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            const DepthwiseShape& shape, at::MemoryFormat memory_format) {
    context->saved_data["channels_last"] = memory_format == at::MemoryFormat::ChannelsLast;
    context->saved_data["has_bias"] = bias.has_value();
    context->save_for_backward({input, weight});
    context->saved_data["shape"] = pack(shape);
    return kernels::depthwise_output(shape, memory_format, input, weight, bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& input = saved[0];
    const at::Tensor& weight = saved[1];
    const at::Tensor& gradient = gradients[0];
    torch::autograd::variable_list result(5);
    if (!gradient.defined()) {
      return result;
    }
    const DepthwiseShape shape = unpack(context->saved_data["shape"].toIntVector());
    const std::array<bool, 3> wanted{
        context->needs_input_grad(0), context->needs_input_grad(1),
        context->saved_data["has_bias"].toBool() && context->needs_input_grad(2)};
    if (at::GradMode::is_enabled() || !is_plain(gradient)) {
      std::ranges::move(padded_conv_gradients(padded_conv(shape), gradient, input, weight, wanted),
                        result.begin());
      return result;
    }
    const auto format = context->saved_data["channels_last"].toBool()
                            ? at::MemoryFormat::ChannelsLast
                            : at::MemoryFormat::Contiguous;
    if (wanted[0]) {
      result[0] = kernels::depthwise_input_gradient(shape, format, gradient, weight);
    }
    if (wanted[1]) {
      result[1] = kernels::depthwise_weight_gradient(shape, format, gradient, input);
    }
    if (wanted[2]) {
      result[2] = gradient.sum({0, 2, 3});
    }
    return result;
  }

 private:
  /// The shape as a value that autograd can keep.
  static std::vector<int64_t> pack(const DepthwiseShape& shape) {
    std::vector<int64_t> values{shape.batch, shape.channels, shape.multiplier};
    for (const auto& pair :
         {shape.input, shape.output, shape.kernel, shape.stride, shape.dilation, shape.before}) {
      values.insert(values.end(), pair.begin(), pair.end());
    }
    return values;
  }

  static DepthwiseShape unpack(const std::vector<int64_t>& v) {
    return {v[0],         v[1],          v[2],           {v[3], v[4]},  {v[5], v[6]},
            {v[7], v[8]}, {v[9], v[10]}, {v[11], v[12]}, {v[13], v[14]}};
  }
};

/// The convolution in two dimensions: one dimension has a height of 1.
DepthwiseShape shape_of(const ConvArgs& args, const PadList& pads) {
  DepthwiseShape shape{};
  const bool batched = args.input.dim() == args.dimensions() + 2;
  shape.batch = batched ? args.input.size(0) : 1;
  shape.channels = args.input.size(args.axis(-1));
  shape.multiplier = args.weight.size(0) / shape.channels;
  shape.input = shape.output = shape.kernel = shape.stride = shape.dilation = {1, 1};
  const size_t first = args.dimensions() == 1 ? 1 : 0;
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    const size_t axis = first + static_cast<size_t>(i);
    const Pads<int64_t> amounts{pads[i].before.expect_int(), pads[i].after.expect_int()};
    shape.input[axis] = args.size(i).expect_int();
    shape.kernel[axis] = args.kernel[i];
    shape.stride[axis] = args.stride[i];
    shape.dilation[axis] = args.dilation[i];
    shape.before[axis] = amounts.before;
    shape.output[axis] =
        padded_output_size(shape.input[axis], args.extent(i), args.stride[i], amounts);
  }
  return shape;
}

bool is_kernel_type(at::ScalarType type) {
  return type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kHalf;
}

/// `tensor` in two dimensions, and batched.
at::Tensor in_two_dimensions(const ConvArgs& args, at::Tensor tensor) {
  if (tensor.dim() == args.dimensions() + 1) {
    tensor = tensor.unsqueeze(0);
  }
  return args.dimensions() == 1 ? tensor.unsqueeze(2) : tensor;
}

}  // namespace

bool can_run_depthwise(const ConvArgs& args, const PadList& pads) {
  if (args.dimensions() > 2 || args.fill != "constant" ||
      !is_kernel_type(args.input.scalar_type()) || !args.input.is_cpu() || !is_plain(args)) {
    return false;
  }
  for (const auto& pad : pads) {
    if (!known(pad)) {
      return false;
    }
  }
  const int64_t channels = args.input.size(args.axis(-1));
  if (args.input.numel() == 0 || args.weight.numel() == 0 || args.weight.size(1) != 1 ||
      args.groups != channels) {
    return false;
  }
  return (args.weight.size(0) == channels || memory_format(args) == at::MemoryFormat::Contiguous) &&
         kernels::fits_workspace(shape_of(args, pads));
}

at::Tensor run_depthwise(const ConvArgs& args, const PadList& pads) {
  at::Tensor output =
      Depthwise::apply(in_two_dimensions(args, args.input), in_two_dimensions(args, args.weight),
                       args.bias, shape_of(args, pads), memory_format(args));
  if (args.dimensions() == 1) {
    output = output.squeeze(2);
  }
  return args.input.dim() == args.dimensions() + 1 ? output.squeeze(0) : output;
}

}  // namespace samepad::detail
