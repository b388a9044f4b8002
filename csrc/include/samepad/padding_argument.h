#pragma once

#include <c10/util/ArrayRef.h>
#include <samepad/export.h>
#include <samepad/padding.h>
#include <torch/enum.h>

#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace samepad {

/// The `padding` argument of a convolution: the name of a mode, or amounts.
///
///     "same", torch::kSame    TensorFlow SAME
///     "same_lower"            ONNX SAME_LOWER
///     "causal"                Keras causal, one dimension only
///     "valid", torch::kValid  no padding
///     1                       that many elements on every side, as in torch::nn::Conv2d
///     {1, 2}                  one amount per dimension, for both of its sides
///     {{0, 1}, {2, 3}}        one (before, after) pair per dimension, as in JAX's
///                             lax.conv_general_dilated; a negative amount crops
///
/// Constructing it from any other name throws `c10::Error`. The number of amounts is checked later,
/// where the number of dimensions of the convolution is known.
class SAMEPAD_API Padding {
 public:
  using Pair = std::pair<int64_t, int64_t>;

  // The constructors are implicit so that each form can be passed directly as the argument.
  Padding(PadMode mode) : value_(mode) {}
  Padding(std::string_view name);
  Padding(const char* name) : Padding(std::string_view(name)) {}
  Padding(const std::string& name) : Padding(std::string_view(name)) {}
  Padding(torch::enumtype::kSame) : value_(PadMode::same) {}
  Padding(torch::enumtype::kValid) : value_(PadMode::valid) {}
  Padding(int64_t amount) : value_(Amounts{{amount}, /*pairs=*/false}) {}
  Padding(int amount) : Padding(static_cast<int64_t>(amount)) {}
  Padding(at::IntArrayRef amounts) : value_(Amounts{amounts.vec(), /*pairs=*/false}) {}
  Padding(const std::vector<int64_t>& amounts) : Padding(at::IntArrayRef(amounts)) {}
  Padding(std::initializer_list<int64_t> amounts) : Padding(at::IntArrayRef(amounts)) {}
  Padding(at::ArrayRef<Pair> pairs);
  Padding(const std::vector<Pair>& pairs) : Padding(at::ArrayRef<Pair>(pairs)) {}
  Padding(std::initializer_list<Pair> pairs) : Padding(at::ArrayRef<Pair>(pairs)) {}

  /// The mode, or null if amounts were given.
  const PadMode* mode() const { return std::get_if<PadMode>(&value_); }

  /// The amounts as the operators take them: one for all dimensions, one per dimension, or before
  /// and after of each dimension in turn. Throws if a mode was given, or if the number of amounts
  /// does not fit a convolution of `dimensions` dimensions.
  at::IntArrayRef amounts(int64_t dimensions) const;

  /// Writes the argument as it is written in Python: same, 1, (1, 2) or ((0, 1), (2, 3)).
  friend SAMEPAD_API std::ostream& operator<<(std::ostream& stream, const Padding& padding);

 private:
  struct Amounts {
    std::vector<int64_t> values;
    bool pairs;
  };
  std::variant<PadMode, Amounts> value_;
};

/// The name of `mode`, such as "same_lower".
SAMEPAD_API const char* name(PadMode mode);

}  // namespace samepad
