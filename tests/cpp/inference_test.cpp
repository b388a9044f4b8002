// Fused modules and optimize_for_inference.

#include <gtest/gtest.h>
#include <samepad/samepad.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/pooling.h>
#include <torch/serialize.h>

#include <cmath>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace samepad {
namespace {

using torch::Tensor;

void expect_close(const Tensor& result, const Tensor& expected) {
  ASSERT_EQ(result.sizes(), expected.sizes());
  EXPECT_LE((result - expected).abs().max().item<double>(),
            1e-5 * expected.abs().max().item<double>());
}

FusedConv2dOptions strided() {
  FusedConv2dOptions options(8, 16, 3);
  options.activation({"clamp", {0, 6}}).stride(2);
  return options;
}

TEST(FusedConv, AddsAndActivates) {
  const torch::NoGradGuard no_gradients;
  FusedConv2d layer(strided());
  const Tensor input = torch::randn({2, 8, 9, 7});
  const Tensor residual = torch::randn({2, 16, 5, 4});
  const Tensor sums = samepad::conv2d(input, layer->weight, layer->bias, 2);
  expect_close(layer(input), sums.clamp(0, 6));
  expect_close(layer(input, residual), (sums + residual).clamp(0, 6));
}

/// Activations of numbers over the whole range, by a convolution that copies its input.
TEST(FusedConv, ActivatesExtremes) {
  const torch::NoGradGuard no_gradients;
  const double inf = std::numeric_limits<double>::infinity();
  const Tensor special =
      torch::tensor({inf, -inf, 3e38, -3e38, 88.5, -88.5, 0.0, -0.0, 1e-30}, torch::kFloat);
  const Tensor input =
      torch::cat({special, torch::linspace(-110, 110, 5000), torch::linspace(-4, 4, 5000)});
  for (const auto& [name, function] :
       std::vector<std::pair<std::string, std::function<Tensor(const Tensor&)>>>{
           {"sigmoid", [](const Tensor& x) { return torch::sigmoid(x); }},
           {"silu", [](const Tensor& x) { return torch::silu(x); }}}) {
    const Tensor result = fused_conv(input.view({1, 1, 1, -1}), torch::ones({1, 1, 1, 1}), {}, 1,
                                     "valid", 1, 1, {name})
                              .flatten();
    const Tensor expected = function(input.to(torch::kDouble));
    // silu(-inf) is a NaN by its formula, and the limit 0 here.
    const Tensor counts = expected.isfinite();
    const Tensor error = (result.to(torch::kDouble) - expected).abs() / (expected.abs() + 1e-30);
    EXPECT_LE(error.masked_select(counts).max().item<double>(), 6e-7) << name;
    EXPECT_TRUE(torch::isnan(fused_conv(torch::full({1, 1, 40}, NAN), torch::ones({1, 1, 1}), {}, 1,
                                        "valid", 1, 1, {name}))
                    .all()
                    .item<bool>())
        << name;
  }
}

TEST(FusedConv, IsLoadedFromAConvolutionAndPrints) {
  const torch::NoGradGuard no_gradients;
  SamePadConv2d conv(SamePadConv2dOptions(8, 16, 3).stride(2));
  FusedConv2d layer(strided());
  layer->pack();
  std::stringstream stream;
  torch::save(conv, stream);
  torch::load(layer, stream);
  const Tensor input = torch::randn({2, 8, 9, 7}).contiguous(at::MemoryFormat::ChannelsLast);
  expect_close(layer(input), conv(input).clamp(0, 6));
  std::ostringstream printed;
  printed << layer;
  EXPECT_EQ(printed.str(),
            "samepad::FusedConv2d(8, 16, kernel_size=[3, 3], stride=[2, 2], padding=same, "
            "activation=clamp[0, 6])");
}

TEST(FusedConv, NeverUsesAWeightThatWasPackedBeforeItChanged) {
  const torch::NoGradGuard no_gradients;
  const Tensor input = torch::randn({2, 8, 9, 7}).contiguous(at::MemoryFormat::ChannelsLast);
  FusedConv2d layer(strided());
  layer->pack();
  const auto expected = [&] {
    return samepad::conv2d(input, layer->weight, layer->bias, 2).clamp(0, 6);
  };
  expect_close(layer(input), expected());
  layer->weight.mul_(-2);
  expect_close(layer(input), expected());
  layer->pack();
  const auto clone = std::dynamic_pointer_cast<FusedConv2dImpl>(layer->clone());
  clone->weight.mul_(-1);
  expect_close(clone->forward(input),
               samepad::conv2d(input, clone->weight, clone->bias, 2).clamp(0, 6));
  expect_close(layer(input), expected());
}

TEST(FusedConv, RefusesTrainingGradientsAndMisfits) {
  FusedConv2d layer(strided());
  const Tensor input = torch::randn({2, 8, 9, 7});
  layer->train();
  EXPECT_THROW(layer(input), c10::Error);
  layer->eval();
  EXPECT_NO_THROW(layer(input));
  EXPECT_THROW(layer(torch::randn({2, 8, 9, 7}, torch::requires_grad())), c10::Error);
  EXPECT_THROW(layer(input, torch::randn({2, 16, 9, 7})), c10::Error);
  EXPECT_THROW(layer(input, torch::randn({2, 16, 5, 4}, torch::kDouble)), c10::Error);
  EXPECT_THROW(fused_conv(input, layer->weight, {}, 2, "same", 1, 1, {"swish"}), c10::Error);
  EXPECT_THROW(fused_conv(input, layer->weight, {}, 2, "same", 1, 1, {"clamp", {1}}), c10::Error);
  EXPECT_THROW(
      FusedConv2d(FusedConv2dOptions(SamePadConv2dOptions(8, 8, 3).padding_mode(torch::kReflect))),
      c10::Error);
}

/// A model with everything that is fused and some things that are not.
torch::nn::Sequential model() {
  torch::nn::Sequential result(
      torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 8, 3).padding(1)), torch::nn::ReLU(),
      SamePadMaxPool2d(2), SamePadConv2d(SamePadConv2dOptions(8, 16, 3).stride(2)),
      torch::nn::LeakyReLU(), SamePadConv2d(SamePadConv2dOptions(16, 16, 3).groups(16).bias(false)),
      torch::nn::BatchNorm2d(16), torch::nn::SiLU(), torch::nn::Conv2d(16, 8, 1),
      torch::nn::MaxPool2d(2), torch::nn::BatchNorm2d(8),
      torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 8, 3).padding_mode(torch::kReflect).padding(1)),
      torch::nn::Tanh());
  for (auto& buffer : result->named_buffers()) {
    if (buffer.key().ends_with("running_var")) {
      buffer.value().uniform_(0.5, 2);
    } else if (buffer.key().ends_with("running_mean")) {
      buffer.value().normal_();
    }
  }
  result->eval();
  return result;
}

TEST(OptimizeForInference, GivesTheSameResultsWithFewerModules) {
  const torch::NoGradGuard no_gradients;
  torch::nn::Sequential original = model();
  const Tensor input = torch::randn({2, 3, 21, 18});
  const Tensor expected = original->forward(input);
  for (const bool channels_last : {false, true}) {
    torch::nn::Sequential optimized = optimize_for_inference(original, channels_last);
    EXPECT_EQ(optimized->size(), 9);
    const auto given = input.contiguous(channels_last ? at::MemoryFormat::ChannelsLast
                                                      : at::MemoryFormat::Contiguous);
    expect_close(optimized->forward(given), expected);
    std::stringstream stream;
    torch::save(optimized, stream);
    torch::nn::Sequential loaded = optimize_for_inference(model(), channels_last);
    torch::load(loaded, stream);
    expect_close(loaded->forward(given), expected);
  }
  EXPECT_TRUE(torch::equal(original->forward(input), expected));
}

TEST(OptimizeForInference, RefusesTrainingMode) {
  torch::nn::Sequential original = model();
  original->train();
  EXPECT_THROW(optimize_for_inference(original), c10::Error);
}

}  // namespace
}  // namespace samepad
