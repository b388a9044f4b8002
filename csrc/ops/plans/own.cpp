#include "own.h"

#include <c10/util/irange.h>

#include "../../kernels/common/tensors.h"
#include "../autograd/differentiable.h"
#include "library.h"

namespace samepad::detail {
namespace {

using kernels::ConvKernels;
using kernels::ConvShape;
using kernels::Pass;

const ConvKernels& kernels_for(const ConvProblem& problem) {
  return problem.depthwise ? kernels::kDepthwiseKernels : kernels::kDenseKernels;
}

/// The kernels work in two or three spatial dimensions; a one-dimensional tensor gets a height
/// of 1.
at::Tensor in_two_dimensions(int64_t dimensions, const at::Tensor& tensor) {
  return dimensions == 1 ? tensor.unsqueeze(2) : tensor;
}

at::Tensor in_given_dimensions(int64_t dimensions, const at::Tensor& tensor) {
  return dimensions == 1 ? tensor.squeeze(2) : tensor;
}

/// Describes this convolution to the kernels. Its input and output have the given sizes, and
/// `before` is the padding before the input.
ConvShape shape_of(const ConvArgs& args, int64_t batch, const Dims& input, const Dims& output,
                   const Dims& before) {
  std::array<kernels::Axis, 3> axes;
  for (const auto i : c10::irange(args.dimensions())) {
    axes[3 - args.dimensions() + i] = {input[i],       output[i],        args.kernel[i],
                                       args.stride[i], args.dilation[i], before[i]};
  }
  const auto& [depth, height, width] = axes;
  return {.batch = batch,
          .channels = args.weight.size(1) * args.groups.expect_int(),
          .filters = args.weight.size(0),
          .groups = args.groups.expect_int(),
          .input = {height.input, width.input},
          .output = {height.output, width.output},
          .kernel = {height.kernel, width.kernel},
          .stride = {height.stride, width.stride},
          .dilation = {height.dilation, width.dilation},
          .before = {height.before, width.before},
          .depth = depth};
}

ConvShape shape_of(const ConvProblem& problem) {
  Dims input;
  Dims before;
  for (const auto i : c10::irange(problem.dimensions())) {
    input.push_back(problem.size(i).expect_int());
    before.push_back(problem.known_pads[i].before);
  }
  return shape_of(problem, problem.input.size(0), input, problem.output_size(), before);
}

/// The conditions that do not depend on sizes.
bool takes_tensors(const ConvArgs& args, const ConvKernels& kernels) {
  return args.input.is_cpu() && args.input.layout() == at::kStrided &&
         args.weight.layout() == at::kStrided && kernels.takes_type(args.input.scalar_type());
}

at::Tensor fused_output(const ConvProblem& problem, kernels::Fusion fusion) {
  const int64_t dimensions = problem.dimensions();
  if (fusion.residual) {
    fusion.residual = in_two_dimensions(dimensions, *fusion.residual);
  }
  return in_given_dimensions(
      dimensions, kernels_for(problem).output(shape_of(problem), problem.output_format(),
                                              in_two_dimensions(dimensions, problem.input),
                                              in_two_dimensions(dimensions, problem.weight),
                                              problem.bias, fusion));
}

at::Tensor output(const ConvProblem& problem) { return fused_output(problem, {}); }

/// Whether the kernels, which autograd cannot see through, may compute this backward pass: there
/// are no transforms or subclasses, and it need not be differentiated again.
bool is_last(const ConvProblem& problem, const at::Tensor& gradient) {
  return !at::GradMode::is_enabled() && problem.plain && is_plain(gradient);
}

/// The sum over all dimensions but the channels.
at::Tensor bias_gradient(const at::Tensor& gradient) {
  std::vector<int64_t> axes{0};
  for (const auto axis : c10::irange(2, gradient.dim())) {
    axes.push_back(axis);
  }
  return gradient.sum(axes);
}

// A transposed convolution is computed as the input's gradient of a convolution. What autograd
// saves describes that convolution, whose output has the size of the transposed convolution's
// input.

/// The padding of the convolution whose input's gradient is the transposed convolution.
PadList transposed_pads(const ConvArgs& args, const Dims& output_size, const Dims& before) {
  PadList pads;
  for (const auto i : c10::irange(args.dimensions())) {
    const int64_t spanned = (args.size(i).expect_int() - 1) * args.stride[i] + args.extent(i);
    pads.push_back({before[i], spanned - output_size[i] - before[i]});
  }
  return pads;
}

ConvShape transposed_shape(const ConvArgs& args, const Dims& output_size, const Dims& before) {
  Dims input_size;
  for (const auto i : c10::irange(args.dimensions())) {
    input_size.push_back(args.size(i).expect_int());
  }
  return shape_of(args, args.input.size(0), output_size, input_size, before);
}

at::Tensor transposed_output(const ConvArgs& args, const Dims& output_size, const Dims& before) {
  const int64_t dimensions = args.dimensions();
  return in_given_dimensions(dimensions,
                             kernels::kDenseKernels.input_gradient(
                                 transposed_shape(args, output_size, before), args.output_format(),
                                 in_two_dimensions(dimensions, args.input),
                                 in_two_dimensions(dimensions, args.weight), args.bias));
}

class Transposed : public torch::autograd::Function<Transposed> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const std::optional<at::Tensor>& /*bias*/,
                            const ConvArgs& args, const Dims& output_size, const Dims& before) {
    save(context, input, weight, args, transposed_pads(args, output_size, before), std::nullopt);
    return transposed_output(args, output_size, before);
  }

  /// `outputs[0]` has the size of the convolution's input. Convolving it gives the gradient of the
  /// transposed convolution's input.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outputs) {
    torch::autograd::variable_list result(6);
    const at::Tensor& gradient = outputs[0];
    if (!gradient.defined()) {
      return result;
    }
    const Saved saved(context);
    const ConvProblem problem = saved.problem(gradient, saved.weight);
    if (saved.wanted[0]) {
      result[0] = is_last(problem, saved.input) ? output(problem) : padded_output(problem);
    }
    if (saved.wanted[1]) {
      result[1] = own_gradients(problem, saved.input, {false, true, false})[1];
    }
    if (saved.wanted[2]) {
      result[2] = bias_gradient(gradient);
    }
    return result;
  }
};

}  // namespace

bool own_takes(const ConvProblem& problem) {
  return problem.pads_with_zeros() && takes_tensors(problem, kernels_for(problem));
}

bool own_can_run(const ConvProblem& problem) {
  return own_takes(problem) && problem.plain && problem.has_known_pads &&
         problem.input.numel() > 0 && problem.weight.numel() > 0 &&
         kernels_for(problem).takes(Pass::output, shape_of(problem), problem.output_format(),
                                    problem.input.scalar_type());
}

at::Tensor own_run(const ConvProblem& problem) {
  return differentiable<output, own_gradients>(problem);
}

at::Tensor own_run_fused(const ConvProblem& problem, const kernels::Fusion& fusion) {
  return fused_output(problem, fusion);
}

std::optional<at::Tensor> own_packed_weight(const at::Tensor& weight, int64_t groups,
                                            bool channels_last) {
  // Kernels that read packed weights take one group, or one filter for every channel.
  const bool dense = groups == 1;
  const bool depthwise = weight.size(1) == 1 && weight.size(0) == groups;
  const ConvKernels& chosen = dense ? kernels::kDenseKernels : kernels::kDepthwiseKernels;
  if (!(dense || depthwise) || weight.dim() < 4 || weight.numel() == 0 || !weight.is_cpu() ||
      weight.layout() != at::kStrided || !chosen.takes_type(weight.scalar_type())) {
    return std::nullopt;
  }
  return chosen.packed_weight(
      channels_last ? kernels::channels_last_of(weight) : at::MemoryFormat::Contiguous, weight);
}

Gradients own_gradients(const ConvProblem& problem, const at::Tensor& gradient,
                        GradientMask wanted) {
  if (!is_last(problem, gradient)) {
    return padded_gradients(problem, gradient, wanted);
  }
  const ConvKernels& kernels = kernels_for(problem);
  const ConvShape shape = shape_of(problem);
  const at::MemoryFormat format = problem.output_format();
  const auto takes = [&](Pass pass) {
    return kernels.takes(pass, shape, format, problem.input.scalar_type());
  };
  const bool takes_weight = takes(Pass::weight_gradient);
  const GradientMask own{wanted[0] && takes(Pass::input_gradient), wanted[1] && takes_weight,
                         wanted[2] && (takes_weight || !wanted[1])};
  Gradients result;
  if (own != wanted) {
    result = padded_gradients(problem, gradient,
                              {wanted[0] && !own[0], wanted[1] && !own[1], wanted[2] && !own[2]});
  }
  const int64_t dimensions = problem.dimensions();
  const auto two = [&](const at::Tensor& tensor) { return in_two_dimensions(dimensions, tensor); };
  if (own[0]) {
    result[0] = in_given_dimensions(
        dimensions,
        kernels.input_gradient(shape, format, two(gradient), two(problem.weight), std::nullopt));
  }
  if (own[1]) {
    result[1] = in_given_dimensions(
        dimensions, kernels.weight_gradient(shape, format, two(gradient), two(problem.input)));
  }
  if (own[2]) {
    result[2] = bias_gradient(gradient);
  }
  return result;
}

bool own_can_run_transposed(const ConvArgs& args, const Dims& output_size, const Dims& before) {
  if (!takes_tensors(args, kernels::kDenseKernels) || !args.plain || args.groups != 1 ||
      args.input.numel() == 0 || args.weight.numel() == 0) {
    return false;
  }
  const ConvShape shape = transposed_shape(args, output_size, before);
  const auto takes = [&](Pass pass, at::MemoryFormat format) {
    return kernels::kDenseKernels.takes(pass, shape, format, args.input.scalar_type());
  };
  return takes(Pass::input_gradient, args.output_format()) &&
         takes(Pass::output, at::MemoryFormat::ChannelsLast);
}

at::Tensor own_run_transposed(const ConvArgs& args, const Dims& output_size, const Dims& before) {
  return args.needs_gradient()
             ? Transposed::apply(args.input, args.weight, args.bias, args, output_size, before)
             : transposed_output(args, output_size, before);
}

}  // namespace samepad::detail
