#include <gtest/gtest.h>
#include <samepad/samepad.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/serialize.h>

#include <sstream>

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

}  // namespace
}  // namespace samepad
