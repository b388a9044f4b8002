#include "own_conv.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "../kernels/dense.h"
#include "../kernels/depthwise.h"
#include "padded_conv.h"

namespace samepad::detail {
namespace {

using kernels::ConvShape;

bool is_depthwise(const ConvShape& shape) { return shape.groups == shape.channels; }

/// Whether there are kernels for the gradients.
bool has_input_gradient(const ConvShape& shape) {
  return is_depthwise(shape) || (shape.groups == 1 && kernels::can_run_dense_input_gradient(shape));
}

bool has_weight_gradient(const ConvShape& shape) {
  return is_depthwise(shape) ||
         (shape.groups == 1 && kernels::can_run_dense_weight_gradient(shape));
}

at::Tensor forward(const ConvShape& shape, at::MemoryFormat memory_format, const at::Tensor& input,
                   const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const auto run = is_depthwise(shape) ? kernels::depthwise_output : kernels::dense_output;
  return run(shape, memory_format, input, weight, bias);
}

/// What PyTorch is to compute where there is no kernel for a gradient, or gradients are to be
/// differentiated again.
PaddedConv padded_conv(const ConvShape& shape) {
  PaddedConv conv{{},
                  {0, 0},
                  {shape.stride.begin(), shape.stride.end()},
                  {shape.dilation.begin(), shape.dilation.end()},
                  shape.groups};
  for (const int axis : {0, 1}) {
    const int64_t spanned = (shape.output[axis] - 1) * shape.stride[axis] + shape.extent(axis);
    conv.pads.push_back(shape.before[axis]);
    conv.pads.push_back(spanned - shape.input[axis] - shape.before[axis]);
  }
  return conv;
}

/// The shape as a value that autograd can keep.
std::vector<int64_t> pack(const ConvShape& shape) {
  std::vector<int64_t> values{shape.batch, shape.channels, shape.filters, shape.groups};
  for (const auto& pair :
       {shape.input, shape.output, shape.kernel, shape.stride, shape.dilation, shape.before}) {
    values.insert(values.end(), pair.begin(), pair.end());
  }
  return values;
}

ConvShape unpack(const std::vector<int64_t>& v) {
  return {v[0],         v[1],         v[2],           v[3],           {v[4], v[5]},
          {v[6], v[7]}, {v[8], v[9]}, {v[10], v[11]}, {v[12], v[13]}, {v[14], v[15]}};
}

using Context = torch::autograd::AutogradContext;

void save(Context* context, const at::Tensor& input, const at::Tensor& weight,
          const std::optional<at::Tensor>& bias, const ConvShape& shape,
          at::MemoryFormat memory_format) {
  context->save_for_backward({input, weight});
  context->saved_data["shape"] = pack(shape);
  context->saved_data["channels_last"] = memory_format == at::MemoryFormat::ChannelsLast;
  context->saved_data["has_bias"] = bias.has_value();
}

/// What `save` has kept.
struct Saved {
  at::Tensor input;
  at::Tensor weight;
  ConvShape shape;
  at::MemoryFormat memory_format;
  std::array<bool, 3> wanted;  ///< gradients of input, weight and bias

  explicit Saved(Context* context)
      : shape(unpack(context->saved_data["shape"].toIntVector())),
        memory_format(context->saved_data["channels_last"].toBool() ? at::MemoryFormat::ChannelsLast
                                                                    : at::MemoryFormat::Contiguous),
        wanted{context->needs_input_grad(0), context->needs_input_grad(1),
               context->saved_data["has_bias"].toBool() && context->needs_input_grad(2)} {
    const auto tensors = context->get_saved_variables();
    input = tensors[0];
    weight = tensors[1];
  }
};

/// Whether kernels may compute a gradient that autograd does not see.
bool is_last(const at::Tensor& gradient) {
  return !at::GradMode::is_enabled() && is_plain(gradient);
}

Gradients gradients(const ConvShape& shape, at::MemoryFormat format, const at::Tensor& gradient,
                    const at::Tensor& input, const at::Tensor& weight, std::array<bool, 3> wanted) {
  Gradients result;
  const bool own = is_last(gradient);
  const std::array<bool, 3> ours{own && wanted[0] && has_input_gradient(shape),
                                 own && wanted[1] && has_weight_gradient(shape),
                                 own && wanted[2] && has_weight_gradient(shape)};
  const std::array<bool, 3> theirs{wanted[0] && !ours[0], wanted[1] && !ours[1],
                                   wanted[2] && !ours[2]};
  if (theirs[0] || theirs[1] || theirs[2]) {
    result = padded_conv_gradients(padded_conv(shape), gradient, input, weight, theirs);
  }
  const bool depthwise = is_depthwise(shape);
  if (ours[0]) {
    result[0] = depthwise ? kernels::depthwise_input_gradient(shape, format, gradient, weight)
                          : kernels::dense_input_gradient(shape, format, gradient, weight);
  }
  if (ours[1]) {
    result[1] = depthwise ? kernels::depthwise_weight_gradient(shape, format, gradient, input)
                          : kernels::dense_weight_gradient(shape, format, gradient, input);
  }
  if (ours[2]) {
    result[2] = gradient.sum({0, 2, 3});
  }
  return result;
}

class OwnConv : public torch::autograd::Function<OwnConv> {
 public:
  static at::Tensor forward(Context* context, const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const ConvShape& shape,
                            at::MemoryFormat memory_format) {
    save(context, input, weight, bias, shape, memory_format);
    return detail::forward(shape, memory_format, input, weight, bias);
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 const torch::autograd::variable_list& outputs) {
    const at::Tensor& gradient = outputs[0];
    torch::autograd::variable_list result(5);
    if (!gradient.defined()) {
      return result;
    }
    const auto& [input, weight, shape, format, wanted] = Saved(context);
    std::ranges::move(gradients(shape, format, gradient, input, weight, wanted), result.begin());
    return result;
  }
};

/// The transposed convolution, which is the gradient of the input of the convolution of this shape.
class OwnTransposed : public torch::autograd::Function<OwnTransposed> {
 public:
  static at::Tensor forward(Context* context, const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const ConvShape& shape,
                            at::MemoryFormat memory_format) {
    save(context, input, weight, bias, shape, memory_format);
    return kernels::dense_input_gradient(shape, memory_format, input, weight, bias);
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 const torch::autograd::variable_list& gradients) {
    const at::Tensor& gradient = gradients[0];
    torch::autograd::variable_list result(5);
    if (!gradient.defined()) {
      return result;
    }
    const auto& [input, weight, shape, format, wanted] = Saved(context);
    const bool own = is_last(gradient);
    if (wanted[0]) {
      result[0] = own ? kernels::dense_output(shape, format, gradient, weight, std::nullopt)
                      : run_padded_conv(padded_conv(shape), gradient, weight, std::nullopt);
    }
    if (wanted[1]) {
      result[1] = own ? kernels::dense_weight_gradient(shape, format, input, gradient)
                      : padded_conv_gradients(padded_conv(shape), input, gradient, weight,
                                              {false, true, false})[1];
    }
    if (wanted[2]) {
      result[2] = gradient.sum({0, 2, 3});
    }
    return result;
  }
};

/// The convolution in two dimensions: one dimension has a height of 1.
ConvShape shape_of(const ConvArgs& args, const PadList& pads) {
  ConvShape shape{};
  const bool batched = args.input.dim() == args.dimensions() + 2;
  shape.batch = batched ? args.input.size(0) : 1;
  shape.channels = args.input.size(args.axis(-1));
  shape.filters = args.weight.size(0);
  shape.groups = args.groups.expect_int();
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

/// `tensor` in two dimensions, and batched.
at::Tensor in_two_dimensions(const ConvArgs& args, at::Tensor tensor) {
  if (tensor.dim() == args.dimensions() + 1) {
    tensor = tensor.unsqueeze(0);
  }
  return args.dimensions() == 1 ? tensor.unsqueeze(2) : tensor;
}

/// What the kernels have in common: where they could run, if they take the sizes.
bool can_run(const ConvArgs& args, const PadList& pads) {
  return args.dimensions() <= 2 && args.fill == "constant" && args.input.is_cpu() &&
         args.input.layout() == at::kStrided && args.weight.layout() == at::kStrided &&
         is_plain(args) && args.input.numel() > 0 && args.weight.numel() > 0 &&
         std::ranges::all_of(pads, [](const auto& pad) { return known(pad).has_value(); });
}

/// The shape of the convolution that a transposed one is the gradient of.
ConvShape transposed_shape(const ConvArgs& args, const Dims& output_size, const Dims& before) {
  PadList pads;
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    pads.push_back({before[i], 0});
  }
  ConvShape shape = shape_of(args, pads);
  shape.channels = args.weight.size(1);
  shape.filters = args.weight.size(0);
  shape.output = shape.input;
  const size_t first = args.dimensions() == 1 ? 1 : 0;
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    shape.input[first + static_cast<size_t>(i)] = output_size[i];
  }
  return shape;
}

/// `output` with as many dimensions as the input has.
at::Tensor in_given_dimensions(const ConvArgs& args, at::Tensor output) {
  if (args.dimensions() == 1) {
    output = output.squeeze(2);
  }
  return args.input.dim() == args.dimensions() + 1 ? output.squeeze(0) : output;
}

at::Tensor run(const ConvArgs& args, const PadList& pads) {
  const at::Tensor input = in_two_dimensions(args, args.input);
  const at::Tensor weight = in_two_dimensions(args, args.weight);
  const ConvShape shape = shape_of(args, pads);
  const at::MemoryFormat format = output_format(args);
  return in_given_dimensions(args, needs_gradient(input, weight, args.bias)
                                       ? OwnConv::apply(input, weight, args.bias, shape, format)
                                       : forward(shape, format, input, weight, args.bias));
}

}  // namespace

bool can_run_depthwise(const ConvArgs& args, const PadList& pads) {
  const auto type = args.input.scalar_type();
  if (!can_run(args, pads) || args.weight.size(1) != 1 ||
      args.groups != args.input.size(args.axis(-1)) ||
      !(type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kHalf)) {
    return false;
  }
  const ConvShape shape = shape_of(args, pads);
  return (shape.multiplier() == 1 || output_format(args) == at::MemoryFormat::Contiguous) &&
         kernels::fits_workspace(shape);
}

at::Tensor run_depthwise(const ConvArgs& args, const PadList& pads) { return run(args, pads); }

bool can_run_dense(const ConvArgs& args, const PadList& pads) {
  return can_run(args, pads) && args.groups != args.input.size(args.axis(-1)) &&
         kernels::can_run_dense(shape_of(args, pads), output_format(args),
                                args.input.scalar_type());
}

at::Tensor run_dense(const ConvArgs& args, const PadList& pads) { return run(args, pads); }

Gradients own_gradients(const ConvArgs& args, const PadList& pads, const at::Tensor& gradient,
                        std::array<bool, 3> wanted) {
  Gradients result =
      gradients(shape_of(args, pads), output_format(args), in_two_dimensions(args, gradient),
                in_two_dimensions(args, args.input), in_two_dimensions(args, args.weight), wanted);
  for (const int i : {0, 1}) {
    if (wanted[i] && args.dimensions() == 1) {
      result[i] = result[i].squeeze(2);
    }
  }
  return result;
}

bool can_run_transposed(const ConvArgs& args, const Dims& output_size, const Dims& before) {
  if (!can_run(args, {}) || args.groups != 1) {
    return false;
  }
  const ConvShape shape = transposed_shape(args, output_size, before);
  return kernels::can_run_dense_input_gradient(shape) &&
         kernels::can_run_dense(shape, at::MemoryFormat::ChannelsLast, args.input.scalar_type());
}

at::Tensor run_transposed(const ConvArgs& args, const Dims& output_size, const Dims& before) {
  const at::Tensor input = in_two_dimensions(args, args.input);
  const at::Tensor weight = in_two_dimensions(args, args.weight);
  const ConvShape shape = transposed_shape(args, output_size, before);
  const at::MemoryFormat format = output_format(args);
  return in_given_dimensions(
      args, needs_gradient(input, weight, args.bias)
                ? OwnTransposed::apply(input, weight, args.bias, shape, format)
                : kernels::dense_input_gradient(shape, format, input, weight, args.bias));
}

}  // namespace samepad::detail
