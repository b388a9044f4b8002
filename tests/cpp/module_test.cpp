#include <gtest/gtest.h>
#include <samepad/samepad.h>
#include <torch/nn/modules/container/any.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/serialize.h>

#include <array>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace samepad {
namespace {

using torch::Tensor;

template <class Module>
std::string printed(const Module& module) {
  std::ostringstream stream;
  stream << module;
  return stream.str();
}

TEST(SamePadConv, GivesCeilOfSizeOverStride) {
  EXPECT_EQ(
      SamePadConv1d(SamePadConv1dOptions(3, 8, 4).stride(3))(torch::randn({2, 3, 10})).sizes(),
      at::IntArrayRef({2, 8, 4}));
  EXPECT_EQ(
      SamePadConv2d(SamePadConv2dOptions(3, 8, {3, 5}).stride({2, 1}))(torch::randn({2, 3, 9, 7}))
          .sizes(),
      at::IntArrayRef({2, 8, 5, 7}));
  EXPECT_EQ(SamePadConv3d(SamePadConv3dOptions(4, 8, 2).stride(2).groups(2).dilation(2))(
                torch::randn({4, 5, 6, 7}))
                .sizes(),
            at::IntArrayRef({8, 3, 3, 4}));
}

TEST(SamePadConv, IsWhatTheFunctionGives) {
  const auto options =
      SamePadConv2dOptions(4, 8, 3).stride(2).padding("same_lower").padding_mode(torch::kReflect);
  SamePadConv2d layer(options);
  const Tensor input = torch::randn({2, 4, 8, 8});
  EXPECT_TRUE(torch::equal(layer(input), samepad::conv2d(input, layer->weight, layer->bias, 2,
                                                         "same_lower", 1, 1, "reflect")));
}

TEST(SamePadConv, DrawsTheParametersThatTorchDraws) {
  torch::manual_seed(3);
  SamePadConv2d layer(4, 8, 3);
  torch::manual_seed(3);
  torch::nn::Conv2d theirs(4, 8, 3);
  EXPECT_TRUE(torch::equal(layer->weight, theirs->weight));
  EXPECT_TRUE(torch::equal(layer->bias, theirs->bias));
}

TEST(SamePadConv, TakesEveryFormOfPadding) {
  const Tensor input = torch::randn({1, 2, 8, 8});
  const auto height = [&](const SamePadConv2dOptions& options) {
    return SamePadConv2d(options)(input).size(2);
  };
  SamePadConv2dOptions options(2, 2, 3);
  EXPECT_EQ(height(options), 8);
  EXPECT_EQ(height(options.padding("valid")), 6);
  EXPECT_EQ(height(options.padding(torch::kSame)), 8);
  EXPECT_EQ(height(options.padding(2)), 10);
  EXPECT_EQ(height(options.padding({2, 1})), 10);
  EXPECT_EQ(height(options.padding({{0, 1}, {0, 0}})), 7);
}

TEST(SamePadConv, Prints) {
  EXPECT_EQ(printed(SamePadConv2d(SamePadConv2dOptions(3, 8, 3).stride(2))),
            "samepad::SamePadConv2d(3, 8, kernel_size=[3, 3], stride=[2, 2], padding=same)");
  EXPECT_EQ(printed(SamePadConv1d(SamePadConv1dOptions(4, 8, 3)
                                      .padding("causal")
                                      .dilation(2)
                                      .groups(2)
                                      .bias(false)
                                      .padding_mode(torch::kReplicate))),
            "samepad::SamePadConv1d(4, 8, kernel_size=3, stride=1, padding=causal, "
            "dilation=2, groups=2, bias=false, padding_mode=replicate)");
  EXPECT_EQ(printed(SamePadConv2d(SamePadConv2dOptions(3, 8, 3).padding({{0, 1}, {2, 3}}))),
            "samepad::SamePadConv2d(3, 8, kernel_size=[3, 3], stride=[1, 1], "
            "padding=((0, 1), (2, 3)))");
  EXPECT_EQ(
      printed(SamePadConv3d(SamePadConv3dOptions(3, 8, 3).padding({"causal", "same", "same"}))),
      "samepad::SamePadConv3d(3, 8, kernel_size=[3, 3, 3], stride=[1, 1, 1], "
      "padding=(causal, same, same))");
}

TEST(Modules, TakeAModePerDimension) {
  const auto x = at::randn({2, 4, 7, 8});
  SamePadConv2d conv(SamePadConv2dOptions(4, 6, 3).stride(2).padding({"causal", "same_lower"}));
  EXPECT_TRUE(
      at::equal(conv(x), samepad::conv2d(x, conv->weight, conv->bias, 2, Padding{{2, 0}, {1, 0}})));
  SamePadConvTranspose2d transposed(
      SamePadConvTranspose2dOptions(4, 6, 3).stride(2).padding({PadMode::valid, PadMode::same}));
  EXPECT_EQ(transposed(x).sizes(), at::IntArrayRef({2, 6, 15, 16}));
  SamePadMaxPool2d pool(SamePadMaxPool2dOptions(3).stride(2).padding({torch::kValid, "same"}));
  EXPECT_TRUE(at::equal(pool(x), samepad::max_pool2d(x, 3, 2, Padding{{0, 0}, {0, 1}})));
  SamePadSeparableConv2d separable(SamePadConv2dOptions(4, 6, 3).padding({"causal", "valid"}));
  EXPECT_EQ(separable(x).sizes(), at::IntArrayRef({2, 6, 7, 6}));
}

TEST(SamePadConv, SavesAndLoads) {
  const SamePadConv2d saved(SamePadConv2dOptions(3, 8, 3).stride(2));
  const SamePadConv2d loaded(SamePadConv2dOptions(3, 8, 3).stride(2));
  std::stringstream stream;
  torch::save(saved, stream);
  SamePadConv2d target = loaded;
  torch::load(target, stream);
  const Tensor input = torch::randn({1, 3, 9, 9});
  SamePadConv2d source = saved;
  EXPECT_TRUE(torch::equal(source(input), target(input)));
}

TEST(SamePadConv, Clones) {
  SamePadConv2d layer(3, 8, 3);
  const auto copy = std::dynamic_pointer_cast<SamePadConv2dImpl>(layer->clone());
  const Tensor input = torch::randn({1, 3, 9, 9});
  EXPECT_TRUE(torch::equal(layer(input), copy->forward(input)));
  EXPECT_FALSE(copy->weight.is_same(layer->weight));
}

TEST(SamePadConv, TrainsInASequential) {
  torch::manual_seed(0);
  torch::nn::Sequential net(SamePadConv2d(SamePadConv2dOptions(1, 4, 3).stride(2)),
                            SamePadConv2d(SamePadConv2dOptions(4, 1, 3).bias(false)));
  const Tensor loss = net->forward(torch::randn({2, 1, 8, 8})).pow(2).sum();
  loss.backward();
  ASSERT_EQ(net->parameters().size(), 3);
  for (const auto& parameter : net->named_parameters()) {
    EXPECT_GT(parameter.value().grad().abs().sum().item<float>(), 0) << parameter.key();
  }
}

TEST(SamePadConvTranspose, IsWhatTheFunctionGives) {
  SamePadConvTranspose2d layer(SamePadConvTranspose2dOptions(4, 6, 3).stride(2).groups(2));
  const Tensor input = torch::randn({2, 4, 5, 6});
  EXPECT_EQ(layer->weight.sizes(), at::IntArrayRef({4, 3, 3, 3}));
  EXPECT_TRUE(torch::equal(
      layer(input), samepad::conv_transpose2d(input, layer->weight, layer->bias, 2, "same", 0, 2)));
  const std::vector<int64_t> spatial{9, 12};
  const std::vector<int64_t> whole{2, 6, 9, 12};
  EXPECT_EQ(layer(input, spatial).sizes(), at::IntArrayRef(whole));
  EXPECT_TRUE(torch::equal(layer(input, spatial), layer(input, whole)));
}

TEST(SamePadConvTranspose, DrawsAndComputesWhatTorchDoesForAmounts) {
  torch::manual_seed(3);
  SamePadConvTranspose2d layer(
      SamePadConvTranspose2dOptions(4, 8, 3).stride(2).padding(1).output_padding(1));
  torch::manual_seed(3);
  torch::nn::ConvTranspose2d theirs(
      torch::nn::ConvTranspose2dOptions(4, 8, 3).stride(2).padding(1).output_padding(1));
  const Tensor input = torch::randn({2, 4, 5, 6});
  EXPECT_TRUE(torch::equal(layer(input), theirs(input)));
  // As in torch::nn, an output_size replaces the output_padding.
  const std::vector<int64_t> size{9, 11};
  EXPECT_TRUE(torch::equal(layer(input, size), theirs(input, size)));
}

TEST(SamePadPools, AreWhatTheFunctionsGive) {
  const Tensor input = torch::randn({2, 4, 7, 8});
  SamePadMaxPool2d max(SamePadMaxPool2dOptions(3).stride(2).padding("same_lower"));
  EXPECT_TRUE(torch::equal(max(input), samepad::max_pool2d(input, 3, 2, "same_lower")));
  const auto [values, indices] = max->forward_with_indices(input);
  EXPECT_TRUE(torch::equal(values, max(input)));
  EXPECT_TRUE(torch::equal(
      indices, std::get<1>(samepad::max_pool2d_with_indices(input, 3, 2, "same_lower"))));
  EXPECT_TRUE(torch::equal(SamePadMaxPool2d(2)(input), samepad::max_pool2d(input, 2)));
  EXPECT_TRUE(torch::equal(SamePadAvgPool2d(3)(input), samepad::avg_pool2d(input, 3)));
  EXPECT_TRUE(torch::equal(
      SamePadAvgPool2d(SamePadAvgPool2dOptions(3).stride(2).count_include_pad(true))(input),
      samepad::avg_pool2d(input, 3, 2, "same", false, true)));
  EXPECT_TRUE(torch::equal(
      SamePadAvgPool2d(SamePadAvgPool2dOptions(3).padding(1).divisor_override(2))(input),
      at::avg_pool2d(input, 3, 3, 1, false, true, 2)));
  EXPECT_TRUE(torch::equal(SamePadAvgPool1d(2)(input[0]), samepad::avg_pool1d(input[0], 2)));
  EXPECT_TRUE(torch::equal(SamePadMaxPool3d(2)(input), samepad::max_pool3d(input, 2)));
}

TEST(SamePadDepthwiseConv, IsAConvolutionWithAGroupForEachChannel) {
  SamePadDepthwiseConv2d layer(SamePadDepthwiseConv2dOptions(4, 3, 2).stride(2).bias(false));
  const Tensor input = torch::randn({2, 4, 7, 8});
  EXPECT_EQ(layer->weight.sizes(), at::IntArrayRef({8, 1, 3, 3}));
  EXPECT_TRUE(torch::equal(layer(input),
                           samepad::conv2d(input, layer->weight, {}, 2, "same", 1, /*groups=*/4)));
  EXPECT_EQ(SamePadDepthwiseConv1d(4, 3)(torch::randn({4, 9})).sizes(), at::IntArrayRef({4, 9}));
}

TEST(SamePadSeparableConv, IsADepthwiseAndAPointwiseConvolution) {
  SamePadSeparableConv2d layer(SamePadConv2dOptions(4, 6, 3).stride(2), /*depth_multiplier=*/2);
  const Tensor input = torch::randn({2, 4, 7, 8});
  const auto parameters = layer->named_parameters();
  EXPECT_EQ(parameters.keys(),
            (std::vector<std::string>{"depthwise.weight", "pointwise.weight", "pointwise.bias"}));
  EXPECT_EQ(parameters["depthwise.weight"].sizes(), at::IntArrayRef({8, 1, 3, 3}));
  EXPECT_EQ(parameters["pointwise.weight"].sizes(), at::IntArrayRef({6, 8, 1, 1}));
  EXPECT_TRUE(torch::equal(layer(input), layer->pointwise(layer->depthwise(input))));
  EXPECT_EQ(layer(input).sizes(), at::IntArrayRef({2, 6, 4, 4}));
  EXPECT_EQ(SamePadSeparableConv1d(3, 5, 2)(torch::randn({3, 9})).sizes(), at::IntArrayRef({5, 9}));
}

TEST(Modules, Print) {
  EXPECT_EQ(printed(SamePadConvTranspose2d(
                SamePadConvTranspose2dOptions(8, 4, 3).stride(2).padding(1).output_padding(1))),
            "samepad::SamePadConvTranspose2d(8, 4, kernel_size=[3, 3], stride=[2, 2], padding=1, "
            "output_padding=[1, 1])");
  EXPECT_EQ(printed(SamePadMaxPool2d(SamePadMaxPool2dOptions(3).stride(2))),
            "samepad::SamePadMaxPool2d(kernel_size=[3, 3], stride=[2, 2], padding=same, "
            "dilation=[1, 1], ceil_mode=false)");
  EXPECT_EQ(printed(SamePadAvgPool1d(SamePadAvgPool1dOptions(3).padding({{0, 1}}))),
            "samepad::SamePadAvgPool1d(kernel_size=3, stride=3, padding=((0, 1),))");
  EXPECT_EQ(
      printed(SamePadSeparableConv1d(2, 4, 3)),
      "samepad::SamePadSeparableConv1d(\n"
      "  (depthwise): samepad::SamePadDepthwiseConv1d(2, 2, kernel_size=3, stride=1, "
      "padding=same, groups=2, bias=false)\n"
      "  (pointwise): samepad::SamePadConv1d(2, 4, kernel_size=1, stride=1, padding=same)\n)");
}

TEST(Modules, TrainSaveAndCloneInASequential) {
  const auto make = [] {
    return torch::nn::Sequential(
        SamePadConv2d(SamePadConv2dOptions(1, 4, 3).stride(2)), SamePadMaxPool2d(2),
        SamePadSeparableConv2d(4, 6, 3), SamePadAvgPool2d(SamePadAvgPool2dOptions(3).stride(1)),
        SamePadConvTranspose2d(SamePadConvTranspose2dOptions(6, 1, 3).stride(4)));
  };
  torch::nn::Sequential net = make();
  const Tensor input = torch::randn({2, 1, 12, 12});
  const Tensor output = net->forward(input);
  EXPECT_EQ(output.sizes(), input.sizes());
  output.pow(2).sum().backward();
  ASSERT_EQ(net->parameters().size(), 7);
  for (const auto& parameter : net->named_parameters()) {
    EXPECT_GT(parameter.value().grad().abs().sum().item<float>(), 0) << parameter.key();
  }
  std::stringstream stream;
  torch::save(net, stream);
  torch::nn::Sequential loaded = make();
  torch::load(loaded, stream);
  EXPECT_TRUE(torch::equal(loaded->forward(input), output));
  const auto copy = std::dynamic_pointer_cast<torch::nn::SequentialImpl>(net->clone());
  EXPECT_TRUE(torch::equal(copy->forward(input), output));
}

/// One row for each module, with its default options except for the stride.
struct ModuleRow {
  const char* name;
  std::function<torch::nn::AnyModule()> make;
  std::vector<int64_t> input;
  std::vector<int64_t> output;
  std::vector<std::pair<std::string, std::vector<int64_t>>> state;
  std::string printed;
};

void PrintTo(const ModuleRow& row, std::ostream* stream) { *stream << row.name; }

const ModuleRow kModules[] = {
    {"SamePadConv1d",
     [] { return torch::nn::AnyModule(SamePadConv1d(SamePadConv1dOptions(4, 6, 3).stride(2))); },
     {2, 4, 9},
     {2, 6, 5},
     {{"weight", {6, 4, 3}}, {"bias", {6}}},
     "(4, 6, kernel_size=3, stride=2, padding=same)"},
    {"SamePadConv2d",
     [] {
       return torch::nn::AnyModule(SamePadConv2d(SamePadConv2dOptions(4, 6, {3, 2}).stride(2)));
     },
     {2, 4, 9, 8},
     {2, 6, 5, 4},
     {{"weight", {6, 4, 3, 2}}, {"bias", {6}}},
     "(4, 6, kernel_size=[3, 2], stride=[2, 2], padding=same)"},
    {"SamePadConv3d",
     [] { return torch::nn::AnyModule(SamePadConv3d(SamePadConv3dOptions(4, 6, 3).stride(2))); },
     {2, 4, 5, 6, 7},
     {2, 6, 3, 3, 4},
     {{"weight", {6, 4, 3, 3, 3}}, {"bias", {6}}},
     "(4, 6, kernel_size=[3, 3, 3], stride=[2, 2, 2], padding=same)"},
    {"SamePadConvTranspose1d",
     [] {
       return torch::nn::AnyModule(
           SamePadConvTranspose1d(SamePadConvTranspose1dOptions(4, 6, 3).stride(2)));
     },
     {2, 4, 5},
     {2, 6, 10},
     {{"weight", {4, 6, 3}}, {"bias", {6}}},
     "(4, 6, kernel_size=3, stride=2, padding=same)"},
    {"SamePadConvTranspose2d",
     [] {
       return torch::nn::AnyModule(SamePadConvTranspose2d(
           SamePadConvTranspose2dOptions(4, 6, 3).stride({2, 1}).groups(2).dilation(2).bias(
               false)));
     },
     {2, 4, 5, 6},
     {2, 6, 10, 6},
     {{"weight", {4, 3, 3, 3}}},
     "(4, 6, kernel_size=[3, 3], stride=[2, 1], padding=same, dilation=[2, 2], groups=2, "
     "bias=false)"},
    {"SamePadConvTranspose3d",
     [] {
       return torch::nn::AnyModule(SamePadConvTranspose3d(
           SamePadConvTranspose3dOptions(4, 6, 3).stride(2).padding("same_lower")));
     },
     {2, 4, 2, 3, 4},
     {2, 6, 4, 6, 8},
     {{"weight", {4, 6, 3, 3, 3}}, {"bias", {6}}},
     "(4, 6, kernel_size=[3, 3, 3], stride=[2, 2, 2], padding=same_lower)"},
    {"SamePadMaxPool1d",
     [] { return torch::nn::AnyModule(SamePadMaxPool1d(SamePadMaxPool1dOptions(3).stride(2))); },
     {2, 4, 9},
     {2, 4, 5},
     {},
     "(kernel_size=3, stride=2, padding=same, dilation=1, ceil_mode=false)"},
    {"SamePadMaxPool2d",
     [] {
       return torch::nn::AnyModule(
           SamePadMaxPool2d(SamePadMaxPool2dOptions({3, 2}).dilation(2).ceil_mode(true)));
     },
     {2, 4, 9, 8},
     {2, 4, 3, 4},
     {},
     "(kernel_size=[3, 2], stride=[3, 2], padding=same, dilation=[2, 2], ceil_mode=true)"},
    {"SamePadMaxPool3d",
     [] { return torch::nn::AnyModule(SamePadMaxPool3d(2)); },
     {2, 4, 5, 6, 7},
     {2, 4, 3, 3, 4},
     {},
     "(kernel_size=[2, 2, 2], stride=[2, 2, 2], padding=same, dilation=[1, 1, 1], "
     "ceil_mode=false)"},
    {"SamePadAvgPool1d",
     [] { return torch::nn::AnyModule(SamePadAvgPool1d(SamePadAvgPool1dOptions(3).stride(2))); },
     {2, 4, 9},
     {2, 4, 5},
     {},
     "(kernel_size=3, stride=2, padding=same)"},
    {"SamePadAvgPool2d",
     [] { return torch::nn::AnyModule(SamePadAvgPool2d(3)); },
     {2, 4, 9, 8},
     {2, 4, 3, 3},
     {},
     "(kernel_size=[3, 3], stride=[3, 3], padding=same)"},
    {"SamePadAvgPool3d",
     [] {
       return torch::nn::AnyModule(
           SamePadAvgPool3d(SamePadAvgPool3dOptions({3, 2, 1}).stride(2).padding("valid")));
     },
     {2, 4, 5, 6, 7},
     {2, 4, 2, 3, 4},
     {},
     "(kernel_size=[3, 2, 1], stride=[2, 2, 2], padding=valid)"},
    {"SamePadDepthwiseConv1d",
     [] {
       return torch::nn::AnyModule(
           SamePadDepthwiseConv1d(SamePadDepthwiseConv1dOptions(4, 3, 2).padding("causal")));
     },
     {2, 4, 9},
     {2, 8, 9},
     {{"weight", {8, 1, 3}}, {"bias", {8}}},
     "(4, 8, kernel_size=3, stride=1, padding=causal, groups=4)"},
    {"SamePadDepthwiseConv2d",
     [] {
       return torch::nn::AnyModule(SamePadDepthwiseConv2d(
           SamePadDepthwiseConv2dOptions(4, 3).stride({1, 2}).padding_mode(torch::kReflect)));
     },
     {2, 4, 9, 8},
     {2, 4, 9, 4},
     {{"weight", {4, 1, 3, 3}}, {"bias", {4}}},
     "(4, 4, kernel_size=[3, 3], stride=[1, 2], padding=same, groups=4, padding_mode=reflect)"},
    {"SamePadSeparableConv1d",
     [] {
       return torch::nn::AnyModule(
           SamePadSeparableConv1d(SamePadConv1dOptions(4, 6, 3).stride(2).bias(false)));
     },
     {2, 4, 9},
     {2, 6, 5},
     {{"depthwise.weight", {4, 1, 3}}, {"pointwise.weight", {6, 4, 1}}},
     "(\n  (depthwise): samepad::SamePadDepthwiseConv1d(4, 4, kernel_size=3, stride=2, "
     "padding=same, groups=4, bias=false)\n  (pointwise): samepad::SamePadConv1d(4, 6, "
     "kernel_size=1, stride=1, padding=same, bias=false)\n)"},
    {"SamePadSeparableConv2d",
     [] {
       return torch::nn::AnyModule(SamePadSeparableConv2d(
           SamePadConv2dOptions(4, 6, 3).stride(2).dilation(2).padding_mode(torch::kCircular), 3));
     },
     {2, 4, 9, 8},
     {2, 6, 5, 4},
     {{"depthwise.weight", {12, 1, 3, 3}},
      {"pointwise.weight", {6, 12, 1, 1}},
      {"pointwise.bias", {6}}},
     "(\n  (depthwise): samepad::SamePadDepthwiseConv2d(4, 12, kernel_size=[3, 3], stride=[2, 2], "
     "padding=same, dilation=[2, 2], groups=4, bias=false, padding_mode=circular)\n"
     "  (pointwise): samepad::SamePadConv2d(12, 6, kernel_size=[1, 1], stride=[1, 1], "
     "padding=same)\n)"},
};

class EveryModule : public ::testing::TestWithParam<ModuleRow> {
 protected:
  torch::nn::AnyModule module = GetParam().make();
  Tensor input = torch::randn(GetParam().input);

  /// What a module of this type computes for the input.
  Tensor run(torch::nn::AnyModule& any) const { return any.forward(input); }
};

TEST_P(EveryModule, ComputesAsManyElementsAsSaidOfItsType) {
  EXPECT_EQ(run(module).sizes(), at::IntArrayRef(GetParam().output));
  EXPECT_TRUE(torch::allclose(module.forward(input[1]), run(module)[1], 1e-4, 1e-6));
  module.ptr()->to(torch::kDouble);
  EXPECT_EQ(module.forward(input.to(torch::kDouble)).scalar_type(), torch::kDouble);
}

TEST_P(EveryModule, HasTheStateOfItsPythonTwinAndPrintsItsArguments) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> state;
  for (const auto& parameter : module.ptr()->named_parameters()) {
    state.emplace_back(parameter.key(), parameter.value().sizes().vec());
    EXPECT_TRUE(parameter.value().requires_grad()) << parameter.key();
  }
  EXPECT_EQ(state, GetParam().state);
  EXPECT_TRUE(module.ptr()->named_buffers().is_empty());
  EXPECT_EQ(printed(*module.ptr()),
            std::string("samepad::") + GetParam().name + GetParam().printed);
}

TEST_P(EveryModule, SavesLoadsAndClones) {
  std::stringstream stream;
  torch::save(module.ptr(), stream);
  torch::nn::AnyModule loaded = GetParam().make();
  auto pointer = loaded.ptr();
  torch::load(pointer, stream);
  EXPECT_TRUE(torch::equal(run(loaded), run(module)));
  torch::nn::AnyModule copy = module.clone();
  const Tensor before = run(module);
  EXPECT_TRUE(torch::equal(run(copy), before));
  EXPECT_EQ(printed(*copy.ptr()), printed(*module.ptr()));
  torch::NoGradGuard no_grad;
  for (Tensor& parameter : module.ptr()->parameters()) {
    parameter.add_(1);
  }
  EXPECT_TRUE(torch::equal(run(copy), before));
}

TEST_P(EveryModule, TrainsInASequential) {
  torch::nn::Sequential net;
  net->push_back(module);
  input.requires_grad_();
  const Tensor output = net->forward(input);
  EXPECT_TRUE(torch::equal(output, run(module)));
  output.pow(2).sum().backward();
  EXPECT_GT(input.grad().abs().sum().item<float>(), 0);
  for (const auto& parameter : net->named_parameters()) {
    EXPECT_GT(parameter.value().grad().abs().sum().item<float>(), 0) << parameter.key();
  }
}

INSTANTIATE_TEST_SUITE_P(Table, EveryModule, ::testing::ValuesIn(kModules),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Options, HaveTorchsDefaults) {
  const SamePadConvTranspose2dOptions transposed(3, 8, {4, 5});
  EXPECT_EQ(transposed.in_channels(), 3);
  EXPECT_EQ(transposed.out_channels(), 8);
  EXPECT_EQ(*transposed.kernel_size(), (std::array<int64_t, 2>{4, 5}));
  EXPECT_EQ(*transposed.stride(), (std::array<int64_t, 2>{1, 1}));
  EXPECT_EQ(*transposed.padding().modes(), PadMode::same);
  EXPECT_EQ(*transposed.output_padding(), (std::array<int64_t, 2>{0, 0}));
  EXPECT_EQ(*transposed.dilation(), (std::array<int64_t, 2>{1, 1}));
  EXPECT_EQ(transposed.groups(), 1);
  EXPECT_TRUE(transposed.bias());
  const SamePadMaxPool2dOptions max({4, 5});
  EXPECT_EQ(*max.stride(), *max.kernel_size());
  EXPECT_EQ(*max.padding().modes(), PadMode::same);
  EXPECT_EQ(*max.dilation(), (std::array<int64_t, 2>{1, 1}));
  EXPECT_FALSE(max.ceil_mode());
  const SamePadAvgPool3dOptions avg(4);
  EXPECT_EQ(*avg.stride(), *avg.kernel_size());
  EXPECT_EQ(*avg.padding().modes(), PadMode::same);
  EXPECT_FALSE(avg.ceil_mode());
  EXPECT_EQ(avg.count_include_pad(), std::nullopt);
  EXPECT_EQ(avg.divisor_override(), std::nullopt);
  const SamePadDepthwiseConv2dOptions depthwise(3, 5);
  EXPECT_EQ(depthwise.out_channels(), 3);
  EXPECT_EQ(depthwise.groups(), 3);
}

TEST(SamePadConvTranspose, TakesAnOutputSizeInEveryDimension) {
  SamePadConvTranspose1d line(SamePadConvTranspose1dOptions(4, 6, 3).stride(3));
  SamePadConvTranspose3d volume(SamePadConvTranspose3dOptions(4, 6, 3).stride(2).bias(false));
  for (const std::vector<int64_t>& size : {std::vector<int64_t>{13}, std::vector<int64_t>{6, 13}}) {
    const Tensor x = torch::randn({4, 5});
    EXPECT_TRUE(torch::equal(line(x, size), samepad::conv_transpose1d(x, line->weight, line->bias,
                                                                      3, "same", 0, 1, 1, {{13}})));
  }
  for (const std::vector<int64_t>& size :
       {std::vector<int64_t>{3, 5, 8}, std::vector<int64_t>{2, 6, 3, 5, 8}}) {
    const Tensor x = torch::randn({2, 4, 2, 3, 4});
    EXPECT_TRUE(torch::equal(
        volume(x, size),
        samepad::conv_transpose3d(x, volume->weight, {}, 2, "same", 0, 1, 1, {{3, 5, 8}})));
  }
}

TEST(SamePadPools, PassEveryOptionOn) {
  const Tensor x = torch::randn({2, 4, 5, 7, 6});
  const auto max_options =
      SamePadMaxPool3dOptions(3).stride(2).padding({1, 0, 1}).dilation({1, 2, 1}).ceil_mode(true);
  EXPECT_TRUE(torch::equal(SamePadMaxPool3d(max_options)(x),
                           at::max_pool3d(x, 3, 2, {1, 0, 1}, {1, 2, 1}, true)));
  const auto avg_options = SamePadAvgPool3dOptions(3)
                               .stride(2)
                               .padding({1, 0, 1})
                               .ceil_mode(true)
                               .count_include_pad(false)
                               .divisor_override(5);
  EXPECT_TRUE(torch::equal(SamePadAvgPool3d(avg_options)(x),
                           at::avg_pool3d(x, 3, 2, {1, 0, 1}, true, false, 5)));
  EXPECT_TRUE(torch::equal(
      SamePadAvgPool1d(
          SamePadAvgPool1dOptions(4).stride(3).padding(1).ceil_mode(true).count_include_pad(false))(
          x[0][0]),
      at::avg_pool1d(x[0][0], 4, 3, 1, true, false)));
  // By default means include padding given as amounts, as in torch::nn, but not SAME, as in
  // TensorFlow.
  EXPECT_TRUE(torch::equal(SamePadAvgPool2d(SamePadAvgPool2dOptions(3).padding(1))(x[0]),
                           at::avg_pool2d(x[0], 3, 3, 1)));
  EXPECT_TRUE(torch::equal(SamePadAvgPool2d(SamePadAvgPool2dOptions(3).stride(1))(x[0]),
                           at::avg_pool2d(x[0], 3, 1, 1, false, /*count_include_pad=*/false)));
  const auto [values, indices] = SamePadMaxPool1d(2)->forward_with_indices(x[0][0]);
  EXPECT_TRUE(torch::equal(x[0][0].gather(2, indices), values));
}

/// A user's module derived from one of these.
struct Stem : SamePadConv2dImpl {
  using SamePadConv2dImpl::SamePadConv2dImpl;
};

TEST(Modules, PrintTheNameOfADerivedClass) {
  EXPECT_NE(printed(Stem(3, 8, 3)).find("Stem(3, 8, kernel_size="), std::string::npos);
}

}  // namespace
}  // namespace samepad
