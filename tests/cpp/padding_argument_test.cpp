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
  EXPECT_EQ(*Padding("same").modes(), PadMode::same);
  EXPECT_EQ(*Padding(std::string("same_lower")).modes(), PadMode::same_lower);
  EXPECT_EQ(*Padding(torch::kSame).modes(), PadMode::same);
  EXPECT_EQ(*Padding(torch::kValid).modes(), PadMode::valid);
  EXPECT_EQ(*Padding(PadMode::causal).modes(), PadMode::causal);
  EXPECT_THROW(Padding("SAME"), c10::Error);
  EXPECT_THROW(Padding(""), c10::Error);
}

TEST(PaddingArgument, TakesAModePerDimension) {
  const Modes expected = std::vector<PadMode>{PadMode::causal, PadMode::same};
  const Padding names = {"causal", "same"};
  EXPECT_EQ(*names.modes(), expected);
  EXPECT_EQ(*Padding({"causal", "same"}).modes(), expected);
  EXPECT_EQ(*Padding({PadMode::causal, "same"}).modes(), expected);
  EXPECT_EQ(*Padding({PadMode::causal, torch::kSame}).modes(), expected);
  EXPECT_EQ(*Padding(std::vector<PadMode>{PadMode::causal, PadMode::same}).modes(), expected);
  EXPECT_EQ(*Padding(std::vector<std::string>{"causal", "same"}).modes(), expected);
  EXPECT_EQ((*names.modes())[1], PadMode::same);
  EXPECT_NE(*names.modes(), PadMode::causal);
  EXPECT_EQ(*Padding({"same", "same"}).modes(), PadMode::same);
  EXPECT_TRUE(names.modes()->fit(2));
  EXPECT_FALSE(names.modes()->fit(3));
  EXPECT_THROW(Padding({"causal", "SAME"}), c10::Error);
  EXPECT_THROW(Padding("causal, same"), c10::Error);  // the operators' text is not a name
  EXPECT_THROW(names.amounts(2), c10::Error);
}

TEST(PaddingArgument, ModesHaveAText) {
  for (const std::string text : {"same", "causal, same", "valid, same_lower, same"}) {
    EXPECT_EQ(Modes::from_text(text).text(), text);
  }
  EXPECT_EQ(Modes::from_text("valid, same_lower, same")[1], PadMode::same_lower);
  for (const std::string text : {"", "same,same", "same, ", ", same", "same  same"}) {
    EXPECT_THROW(Modes::from_text(text), c10::Error);
  }
}

TEST(PaddingArgument, TakesAmounts) {
  const Padding one = 1;
  EXPECT_EQ(one.modes(), nullptr);
  const Padding zeros = {0, 0};  // zeros are no null pointers to names
  EXPECT_EQ(zeros.amounts(2), at::IntArrayRef({0, 0}));
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
  EXPECT_EQ(written({"causal", "same"}), "(causal, same)");
  EXPECT_EQ(written(1), "1");
  EXPECT_EQ(written(std::vector<int64_t>{1, 2}), "(1, 2)");
  EXPECT_EQ(written(std::vector<Padding::Pair>{{0, 1}, {2, 3}}), "((0, 1), (2, 3))");
  EXPECT_EQ(written(std::vector<Padding::Pair>{{0, 1}}), "((0, 1),)");
}

}  // namespace
}  // namespace samepad
