// Compares this project's own kernels with a loop in float64, on random convolutions. All memory
// that they read and write, including scratch memory, is fenced (fenced.h).
//
// Environment variables: SAMEPAD_KERNEL_CASES is the number of convolutions that each test draws,
// SAMEPAD_KERNEL_SEED the first seed, and ATEN_CPU_CAPABILITY (default, avx2, avx512) the
// instruction set of the kernels.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <ops/choice/choice.h>
#include <samepad/backends.h>
#include <samepad/conv.h>
#include <samepad/conv_transpose.h>
#include <samepad/fused_conv.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string_view>

#include "fenced.h"
#include "naive.h"

namespace samepad {
namespace {

/// One value for depth, height and width.
using Triple = std::array<int64_t, 3>;

int64_t from_environment(const char* name, int64_t otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : std::stoll(value);
}

constexpr std::string_view kDepthwise = "depthwise";
constexpr std::string_view kDense = "dense";

/// A random convolution. One of two dimensions has a depth of 1 in all that is written for three.
struct Problem {
  int64_t dimensions;
  std::string_view plan;
  at::ScalarType type;
  bool channels_last;
  int64_t batch;
  int64_t channels;
  int64_t filters;
  int64_t groups;
  Triple size;
  Triple kernel;
  Triple stride;
  Triple dilation;
  std::optional<PadMode> mode;  ///< the mode that prescribes the pads, if they are not given
  std::array<Padding::Pair, 3> pads;
  Triple output{};
  bool has_bias;

  int64_t extent(int axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t outputs() const { return output[0] * output[1] * output[2]; }
  int64_t channels_of_group() const { return channels / groups; }
  /// The values of the dimensions that there are.
  template <class T>
  std::vector<T> spatial(const std::array<T, 3>& values) const {
    return {values.end() - dimensions, values.end()};
  }
  /// The sizes of a tensor.
  std::vector<int64_t> sizes(int64_t first, int64_t second, const Triple& values) const {
    std::vector<int64_t> result = spatial(values);
    result.insert(result.begin(), {first, second});
    return result;
  }
  at::MemoryFormat format() const {
    return !channels_last    ? at::MemoryFormat::Contiguous
           : dimensions == 3 ? at::MemoryFormat::ChannelsLast3d
                             : at::MemoryFormat::ChannelsLast;
  }
  Padding padding() const { return mode ? Padding(*mode) : Padding(spatial(pads)); }
  int64_t multiplications() const {
    return batch * filters * outputs() * channels_of_group() * taps();
  }
};

void PrintTo(const Problem& p, std::ostream* stream) {
  *stream << c10::IntArrayRef(p.sizes(p.batch, p.channels, p.size)) << " by "
          << c10::IntArrayRef(p.sizes(p.filters, p.channels_of_group(), p.kernel)) << ", stride "
          << c10::IntArrayRef(p.stride) << ", dilation " << c10::IntArrayRef(p.dilation)
          << ", pads";
  for (const auto& [before, after] : p.pads) {
    *stream << " (" << before << ", " << after << ")";
  }
  *stream << (p.mode ? " by mode" : " given") << ", " << (p.has_bias ? "with" : "without")
          << " bias";
}

class Random {
 public:
  explicit Random(int64_t seed) : engine_(seed) {}

  int64_t between(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(engine_);
  }
  Triple triple(int64_t least, int64_t most) {
    return {between(least, most), between(least, most), between(least, most)};
  }
  int64_t one_of(std::initializer_list<int64_t> values) {
    return values.begin()[between(0, static_cast<int64_t>(values.size()) - 1)];
  }
  /// True with a probability of 1 / `count`.
  bool once_in(int64_t count) { return between(1, count) == 1; }

 private:
  std::mt19937_64 engine_;
};

/// Draws a convolution that the kernels of the plan might support.
Problem draw(Random& random, std::string_view plan, at::ScalarType type, bool channels_last) {
  Problem p{};
  p.plan = plan;
  p.type = type;
  p.channels_last = channels_last;
  p.dimensions = random.once_in(3) ? 3 : 2;
  p.batch = random.once_in(6) ? random.between(4, 20) : random.between(1, 3);
  // The channels and filters include numbers below and above the size of a vector and of a register
  // tile.
  if (plan == kDepthwise) {
    p.groups = p.channels = random.one_of({1, 2, 3, 8, 16, 17, 40, 70});
    p.filters = p.channels * (channels_last ? 1 : random.one_of({1, 1, 2, 3}));
  } else {
    p.groups = channels_last ? 1 : random.one_of({1, 1, 2, 3});
    p.channels = p.groups * random.one_of({1, 2, 3, 5, 8, 17, 40, 130});
    p.filters = p.groups * random.one_of({1, 2, 5, 6, 16, 33, 64, 70, 130});
  }
  p.size = random.triple(1, random.one_of({4, 20, 70}));
  if (random.once_in(2)) {
    // Half of the convolutions are typical of layers; some kernels are made for them.
    const int64_t kernel = random.one_of({1, 3, 5, 7});
    const int64_t stride = random.between(1, 2);
    p.kernel = {kernel, kernel, kernel};
    p.stride = {stride, stride, stride};
    p.dilation = {1, 1, 1};
  } else {
    p.kernel = random.triple(1, 6);
    p.stride = random.triple(1, random.one_of({4, 9}));
    p.dilation = random.once_in(2) ? Triple{1, 1, 1} : random.triple(1, 3);
  }
  if (random.once_in(6)) {
    p.size[1] = p.kernel[1] = 1;  // a one-dimensional convolution
  }
  if (p.dimensions == 2) {
    p.size[0] = p.kernel[0] = p.stride[0] = p.dilation[0] = 1;
  } else {
    p.size[0] = random.between(1, 7);
    p.kernel[0] = std::min<int64_t>(p.kernel[0], 4);
    if (random.once_in(4)) {
      // A single slice, as in two dimensions, except that the pads may make it one of padding.
      p.size[0] = p.kernel[0] = 1;
    }
  }
  if (random.once_in(8)) {
    // Strides that are large for the width, with as many outputs as fill a vector or a few more.
    p.stride[2] = random.between(10, 40);
    p.size[2] = p.stride[2] * random.one_of({4, 8, 16, 32}) - random.between(0, 9);
  }
  if (!random.once_in(3)) {
    p.mode = random.once_in(2) ? PadMode::same : PadMode::same_lower;
  }
  for (const int axis : {0, 1, 2}) {
    if (p.mode) {
      p.pads[axis] =
          naive::pads(*p.mode, p.size[axis], p.kernel[axis], p.stride[axis], p.dilation[axis]);
    } else if (axis >= 3 - p.dimensions) {
      p.pads[axis] = {random.between(-2, p.kernel[axis]), random.between(-2, p.kernel[axis])};
    }
    const auto [before, after] = p.pads[axis];
    const int64_t rest = p.size[axis] + before + after - p.extent(axis);
    p.output[axis] = rest < 0 ? 0 : rest / p.stride[axis] + 1;
  }
  p.has_bias = random.once_in(2);
  return p;
}

/// The tensors of the problem, or their gradients.
struct Tensors {
  at::Tensor input;
  at::Tensor weight;
  at::Tensor bias;
  at::Tensor output;
};

/// The output for an input, weight and bias, and the gradients for an output's gradient, according
/// to the definition.
struct Expected {
  at::Tensor output;
  Tensors gradients;
};

const double* data(const at::Tensor& tensor) { return tensor.const_data_ptr<double>(); }

Expected loop(const Problem& p, const Tensors& given, const at::Tensor& gradient) {
  const auto in_double = [](const at::Tensor& tensor) {
    return tensor.to(at::kDouble).contiguous();
  };
  const at::Tensor input = in_double(given.input);
  const at::Tensor weight = in_double(given.weight);
  const at::Tensor cotangent = in_double(gradient);
  Expected result;
  result.output = at::zeros_like(cotangent);
  result.gradients.input = at::zeros_like(input);
  result.gradients.weight = at::zeros_like(weight);
  if (p.has_bias) {
    result.output += in_double(given.bias).view(p.sizes(1, p.filters, {1, 1, 1}));
  }
  const double* const x = data(input);
  const double* const w = data(weight);
  const double* const g = data(cotangent);
  double* const y = result.output.mutable_data_ptr<double>();
  double* const gx = result.gradients.input.mutable_data_ptr<double>();
  double* const gw = result.gradients.weight.mutable_data_ptr<double>();
  const int64_t channels = p.channels_of_group();
  for (int64_t i = 0; i < cotangent.numel(); ++i) {
    const int64_t column = i % p.output[2];
    const int64_t row = i / p.output[2] % p.output[1];
    const int64_t slice = i / (p.output[1] * p.output[2]) % p.output[0];
    const int64_t f = i / p.outputs() % p.filters;
    const int64_t image = i / (p.outputs() * p.filters);
    for (int64_t k = 0; k < channels * p.taps(); ++k) {
      const int64_t c = f / (p.filters / p.groups) * channels + k / p.taps();
      const int64_t k_z = k / (p.kernel[1] * p.kernel[2]) % p.kernel[0];
      const int64_t k_y = k / p.kernel[2] % p.kernel[1];
      const int64_t k_x = k % p.kernel[2];
      const int64_t from_z = slice * p.stride[0] + k_z * p.dilation[0] - p.pads[0].first;
      const int64_t from_y = row * p.stride[1] + k_y * p.dilation[1] - p.pads[1].first;
      const int64_t from_x = column * p.stride[2] + k_x * p.dilation[2] - p.pads[2].first;
      if (from_z < 0 || from_z >= p.size[0] || from_y < 0 || from_y >= p.size[1] || from_x < 0 ||
          from_x >= p.size[2]) {
        continue;
      }
      const int64_t place =
          (((image * p.channels + c) * p.size[0] + from_z) * p.size[1] + from_y) * p.size[2] +
          from_x;
      const int64_t factor = f * channels * p.taps() + k;
      y[i] += x[place] * w[factor];
      gx[place] += g[i] * w[factor];
      gw[factor] += g[i] * x[place];
    }
  }
  return result;
}

/// Compares a result within the rounding errors to be expected. Those of a sum of `terms` terms of
/// either sign grow with about the square root of `terms`. The result is rounded to its type so
/// many times.
void expect_close(const char* name, const at::Tensor& result, const at::Tensor& expected,
                  int64_t terms, at::ScalarType type, double roundings = 1) {
  ASSERT_TRUE(result.defined()) << name;
  ASSERT_EQ(result.sizes(), expected.sizes()) << name;
  EXPECT_EQ(result.scalar_type(), type) << name;
  const double bound = type == at::kDouble     ? 1e-14
                       : type == at::kFloat    ? 2e-6
                       : type == at::kBFloat16 ? std::ldexp(1, -8)
                                               : std::ldexp(1, -11);
  const double root = std::sqrt(static_cast<double>(terms));
  const double scale = std::max(expected.abs().max().item<double>(), root);
  const double error =
      (result.detach().to(at::kDouble) - expected).abs().max().item<double>() / scale;
  EXPECT_LE(error, roundings * bound * (1 + root / 50))
      << "of the " << name;  // fails if the error is NaN
}

/// The plan, the type and whether the layout is channels_last.
using Setting = std::tuple<std::string_view, at::ScalarType, bool>;

class Kernels : public ::testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    const auto& [plan, type, channels_last] = GetParam();
    const std::string capability = at::get_cpu_capability();
    if (plan == kDense && capability == "DEFAULT") {
      GTEST_SKIP() << "there are dense kernels for AVX2 and AVX-512 alone";
    }
    if (plan == kDense && type == at::kBFloat16 && capability != "AVX512") {
      GTEST_SKIP() << "there are dense kernels of bfloat16 for AVX-512 alone";
    }
    threads_ = at::get_num_threads();
  }
  void TearDown() override { at::set_num_threads(threads_); }

 private:
  int threads_ = 1;
};

/// Makes tensors of random numbers in fenced memory. For a convolution in channels_last, the input,
/// the weight or both are in channels_last, because either is enough.
Tensors make(const Problem& p, Random& random) {
  const auto normal = [&](at::IntArrayRef sizes, bool format) {
    return at::randn(sizes, at::kDouble)
        .to(at::TensorOptions(p.type).memory_format(format ? p.format()
                                                           : at::MemoryFormat::Contiguous));
  };
  const int64_t which = random.between(0, 2);
  Tensors result;
  result.input = normal(p.sizes(p.batch, p.channels, p.size), which != 0);
  result.weight = normal(p.sizes(p.filters, p.channels_of_group(), p.kernel), which != 1);
  if (p.has_bias) {
    result.bias = normal({p.filters}, false);
  }
  result.output = normal(p.sizes(p.batch, p.filters, p.output), random.once_in(2));
  return result;
}

std::string explained_plan(const Problem& p, const Tensors& given) {
  return explain_conv(given.input, given.weight, given.bias, p.spatial(p.stride), p.padding(),
                      p.spatial(p.dilation), p.groups)
      .plan;
}

/// Runs the convolution and checks every result. `given.output` holds the output's gradient.
void check(const Problem& p, const Tensors& given) {
  const Expected expected = loop(p, given, given.output);
  const int64_t products = p.channels_of_group() * p.taps();
  given.input.requires_grad_();
  given.weight.requires_grad_();
  const at::Tensor output = (p.dimensions == 3 ? conv3d : conv2d)(
      given.input, given.weight, given.bias, p.spatial(p.stride), p.padding(),
      p.spatial(p.dilation), p.groups, "zeros");
  expect_close("output", output, expected.output, products, p.type);
  if (p.plan == kDense && p.groups > 1) {
    return;  // PyTorch computes the gradients of grouped convolutions
  }
  const auto gradients =
      torch::autograd::grad({output}, {given.input, given.weight}, {given.output});
  expect_close("input's gradient", gradients[0], expected.gradients.input,
               p.filters / p.groups * p.taps(), p.type);
  expect_close("weight's gradient", gradients[1], expected.gradients.weight, p.batch * p.outputs(),
               p.type);
}

/// Checks the transposed convolution, which is the input's gradient plus a bias for each channel.
void check_transposed(const Problem& p, const Tensors& given) {
  const at::Tensor bias = at::randn({p.channels}, at::TensorOptions(p.type));
  const at::Tensor output = (p.dimensions == 3 ? conv_transpose3d : conv_transpose2d)(
      given.output, given.weight, bias, p.spatial(p.stride), *p.mode, 0, 1, p.spatial(p.dilation),
      at::IntArrayRef(p.spatial(p.size)));
  const at::Tensor expected = loop(p, given, given.output).gradients.input +
                              bias.to(at::kDouble).view(p.sizes(1, p.channels, {1, 1, 1}));
  // PyTorch, which computes those that it can crop, adds up half types in several steps.
  const double roundings = p.type == at::kBFloat16 ? 3 : 1;
  expect_close("transposed convolution", output, expected, p.filters * p.taps(), p.type, roundings);
}

/// An activation function and PyTorch's operator for it. No function is steeper than 1.2, so that
/// it hardly amplifies the errors of its argument.
struct Function {
  FusedActivation fused;
  at::Tensor (*apply)(const at::Tensor& tensor);
};

const Function& one_function(Random& random) {
  static const std::vector<Function> functions{
      {{"identity"}, [](const at::Tensor& x) { return x; }},
      {{"relu"}, [](const at::Tensor& x) { return at::relu(x); }},
      {{"clamp", {-0.5, 6}}, [](const at::Tensor& x) { return at::clamp(x, -0.5, 6); }},
      {{"leaky_relu", {0.2}}, [](const at::Tensor& x) { return at::leaky_relu(x, 0.2); }},
      {{"hardswish"}, [](const at::Tensor& x) { return at::hardswish(x); }},
      {{"hardsigmoid"}, [](const at::Tensor& x) { return at::hardsigmoid(x); }},
      {{"silu"}, [](const at::Tensor& x) { return at::silu(x); }},
      {{"sigmoid"}, [](const at::Tensor& x) { return at::sigmoid(x); }},
      {{"tanh"}, [](const at::Tensor& x) { return at::tanh(x); }},
      {{"gelu"}, [](const at::Tensor& x) { return at::gelu(x); }},
      {{"gelu_tanh"}, [](const at::Tensor& x) { return at::gelu(x, "tanh"); }},
      {{"elu", {0.7}}, [](const at::Tensor& x) { return at::elu(x, 0.7); }},
  };
  return functions[random.between(0, static_cast<int64_t>(functions.size()) - 1)];
}

/// Checks the convolution with an activation function, a residual and a packed weight.
void check_fused(const Problem& p, const Tensors& given, Random& random) {
  const at::NoGradGuard no_gradients;
  const Function& function = one_function(random);
  FusedActivation activation = function.fused;
  activation.residual_last = random.once_in(2);
  const auto residual = random.once_in(2) ? std::optional(given.output) : std::nullopt;
  const auto packed =
      random.once_in(2) ? packed_weight(given.weight, p.groups, p.channels_last) : std::nullopt;
  at::Tensor expected = loop(p, given, given.output).output;
  const auto add = [&](bool last) {
    if (residual && activation.residual_last == last) {
      expected += residual->to(at::kDouble);
    }
  };
  add(false);
  expected = function.apply(expected);
  add(true);
  SCOPED_TRACE("activation " + activation.name + (residual ? ", residual" : "") +
               (activation.residual_last ? " last" : "") + (packed ? ", packed" : ""));
  const at::Tensor output =
      fused_conv(given.input, given.weight, given.bias, p.spatial(p.stride), p.padding(),
                 p.spatial(p.dilation), p.groups, activation, residual, packed);
  // The activation function amplifies the rounding of the sums by its slope.
  constexpr double kRoundings = 1 + 1.2;
  expect_close("fused convolution", output, expected, p.channels_of_group() * p.taps(), p.type,
               kRoundings);
}

TEST_P(Kernels, AgreeWithALoopAndStayInsideTheirMemory) {
  constexpr int64_t kMostMultiplications = 1'000'000;
  const auto& [plan, type, channels_last] = GetParam();
  const int64_t first = from_environment("SAMEPAD_KERNEL_SEED", 0);
  const int64_t count = from_environment("SAMEPAD_KERNEL_CASES", 50);
  for (int64_t seed = first; seed < first + count; ++seed) {
    Random random(seed);
    at::manual_seed(seed);
    at::set_num_threads(static_cast<int>(random.between(1, 2)));
    const fenced::Everything fences(random.once_in(2) ? fenced::Side::begin : fenced::Side::end);
    const detail::PlanGuard guard(plan);
    Problem problem{};
    Tensors given;
    do {
      do {
        problem = draw(random, plan, type, channels_last);
      } while (problem.multiplications() == 0 || problem.multiplications() > kMostMultiplications);
      given = make(problem, random);
    } while (explained_plan(problem, given) != plan);
    SCOPED_TRACE("SAMEPAD_KERNEL_SEED=" + std::to_string(seed) + ": " +
                 ::testing::PrintToString(problem));
    check(problem, given);
    check_fused(problem, given, random);
    if (plan == kDense && problem.groups == 1 && problem.mode) {
      check_transposed(problem, given);
    }
    if (HasFailure()) {
      return;
    }
  }
}

std::string setting_name(const ::testing::TestParamInfo<Setting>& info) {
  const auto& [plan, type, channels_last] = info.param;
  return std::string(plan) + "_" + c10::toString(type) +
         (channels_last ? "_channels_last" : "_contiguous");
}

INSTANTIATE_TEST_SUITE_P(Depthwise, Kernels,
                         ::testing::Combine(::testing::Values(kDepthwise),
                                            ::testing::Values(at::kFloat, at::kDouble,
                                                              at::kBFloat16, at::kHalf),
                                            ::testing::Bool()),
                         setting_name);
INSTANTIATE_TEST_SUITE_P(Dense, Kernels,
                         ::testing::Combine(::testing::Values(kDense),
                                            ::testing::Values(at::kFloat, at::kDouble,
                                                              at::kBFloat16),
                                            ::testing::Bool()),
                         setting_name);

/// The bytes of a tensor in fenced memory.
volatile char* bytes_of(const at::Tensor& tensor) {
  return static_cast<volatile char*>(tensor.mutable_data_ptr());
}

TEST(Fences, StopAccessOnTheirSide) {
  constexpr int64_t kBytes = 100;
  const fenced::Everything at_end(fenced::Side::end);
  const at::Tensor before = at::empty({kBytes}, at::kChar);
  EXPECT_DEATH(bytes_of(before)[kBytes], "");
  const fenced::Everything at_begin(fenced::Side::begin);
  const at::Tensor after = at::empty({kBytes}, at::kChar);
  EXPECT_DEATH(bytes_of(after)[-1], "");
}

TEST(Fences, TellOfWritingOnTheOtherSide) {
  EXPECT_NONFATAL_FAILURE(
      {
        const fenced::Everything fences(fenced::Side::end);
        bytes_of(at::empty({100}, at::kChar))[-1] = 0;
      },
      "before its begin");
  EXPECT_NONFATAL_FAILURE(
      {
        const fenced::Everything fences(fenced::Side::begin);
        bytes_of(at::empty({100}, at::kChar))[100] = 0;
      },
      "past its end");
}

}  // namespace
}  // namespace samepad
