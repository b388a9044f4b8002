#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <samepad/padding_argument.h>

#include <sstream>

namespace samepad {
namespace {

std::string written(const Padding& padding) {
  std::ostringstream stream;
  stream << padding;
  return stream.str();
}

TEST(PaddingArgument, TakesNames) {
  EXPECT_EQ(*Padding("same").mode(), PadMode::same);
  EXPECT_EQ(*Padding(std::string("same_lower")).mode(), PadMode::same_lower);
  EXPECT_EQ(*Padding(torch::kSame).mode(), PadMode::same);
  EXPECT_EQ(*Padding(torch::kValid).mode(), PadMode::valid);
  EXPECT_EQ(*Padding(PadMode::causal).mode(), PadMode::causal);
  EXPECT_THROW(Padding("SAME"), c10::Error);
  EXPECT_THROW(Padding(""), c10::Error);
}

TEST(PaddingArgument, TakesAmounts) {
  const Padding one = 1;
  EXPECT_EQ(one.mode(), nullptr);
  EXPECT_EQ(one.amounts(3), at::IntArrayRef({1}));
  const Padding each = {1, 2};
  EXPECT_EQ(each.amounts(2), at::IntArrayRef({1, 2}));
  const Padding pairs = {{0, 1}, {2, 3}};
  EXPECT_EQ(pairs.amounts(2), at::IntArrayRef({0, 1, 2, 3}));
  const Padding pair = {{4, 5}};
  EXPECT_EQ(pair.amounts(1), at::IntArrayRef({4, 5}));
}

TEST(PaddingArgument, CountsAmounts) {
  EXPECT_THROW(Padding({1, 2}).amounts(1), c10::Error);  // two amounts are not a pair
  EXPECT_THROW(Padding({1, 2, 3, 4}).amounts(2), c10::Error);
  EXPECT_THROW(Padding({{1, 2}}).amounts(2), c10::Error);
  EXPECT_THROW(Padding(std::vector<int64_t>{}).amounts(1), c10::Error);
  EXPECT_THROW(Padding("same").amounts(2), c10::Error);
}

TEST(PaddingArgument, IsWrittenAsInPython) {
  EXPECT_EQ(written("same_lower"), "same_lower");
  EXPECT_EQ(written(1), "1");
  EXPECT_EQ(written(std::vector<int64_t>{1, 2}), "(1, 2)");
  EXPECT_EQ(written(std::vector<Padding::Pair>{{0, 1}, {2, 3}}), "((0, 1), (2, 3))");
  EXPECT_EQ(written(std::vector<Padding::Pair>{{0, 1}}), "((0, 1),)");
}

}  // namespace
}  // namespace samepad
