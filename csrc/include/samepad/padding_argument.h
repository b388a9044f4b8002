#pragma once

#include <c10/util/ArrayRef.h>
#include <c10/util/SmallVector.h>
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

/// A mode that may be given by its name, as the elements of a list of modes are.
struct SAMEPAD_API NamedMode {
  // The constructors are implicit so that lists may contain names: {"causal", "same", "same"}.
  NamedMode(PadMode mode) : mode(mode) {}
  NamedMode(std::string_view name);
  NamedMode(const char* name) : NamedMode(std::string_view(name)) {}
  NamedMode(const std::string& name) : NamedMode(std::string_view(name)) {}
  NamedMode(torch::enumtype::kSame) : mode(PadMode::same) {}
  NamedMode(torch::enumtype::kValid) : mode(PadMode::valid) {}

  PadMode mode;
};

/// The rule that determines the padding of each dimension: one mode for all dimensions, or a list
/// with one mode per dimension. A list of equal modes means the same as this mode alone, except
/// that causal padding of several dimensions has to be given as a list.
class SAMEPAD_API Modes {
 public:
  // The constructors are implicit so that each form can be passed directly as an argument.
  Modes(PadMode mode) : modes_{mode} {}
  Modes(std::initializer_list<NamedMode> modes);
  Modes(at::ArrayRef<PadMode> modes) : modes_(modes.begin(), modes.end()) {}
  Modes(const std::vector<PadMode>& modes) : Modes(at::ArrayRef<PadMode>(modes)) {}

  /// The modes whose `text` this is. Throws `c10::Error` if the text is any other.
  static Modes from_text(std::string_view text);

  /// The modes as the operators take them: their names, separated by ", ".
  std::string text() const;

  /// The number of modes in the list; 1 if there is one for all dimensions.
  int64_t count() const { return static_cast<int64_t>(modes_.size()); }

  /// Whether there is a mode for each of `dimensions` dimensions.
  bool fit(int64_t dimensions) const { return count() == 1 || count() == dimensions; }

  /// The mode of a dimension.
  PadMode operator[](int64_t dimension) const {
    return modes_.size() == 1 ? modes_[0] : modes_[dimension];
  }

  /// Whether all dimensions have this mode.
  bool all(PadMode mode) const;

  /// Whether any dimension has this mode.
  bool any(PadMode mode) const;

  /// Whether each dimension has the same mode in both.
  friend SAMEPAD_API bool operator==(const Modes& a, const Modes& b);

  /// Writes same or (causal, same, same).
  friend SAMEPAD_API std::ostream& operator<<(std::ostream& stream, const Modes& modes);

 private:
  c10::SmallVector<PadMode, 8> modes_;
};

/// The `padding` argument of a convolution: a mode, a mode per dimension, or amounts.
///
///     "same", torch::kSame        TensorFlow SAME
///     "same_lower"                ONNX SAME_LOWER
///     "causal"                    Keras causal, alone for one dimension only
///     "valid", torch::kValid      no padding
///     {"causal", "same", "same"}  one mode per dimension
///     1                           that many elements on every side, as in torch::nn::Conv2d
///     {1, 2}                      one amount per dimension, for both of its sides
///     {{0, 1}, {2, 3}}            one (before, after) pair per dimension, as in JAX's
///                                 lax.conv_general_dilated; a negative amount crops
///
/// Constructing it from any other name throws `c10::Error`. The number of modes or amounts is
/// checked later, where the number of dimensions of the convolution is known.
class SAMEPAD_API Padding {
 public:
  using Pair = std::pair<int64_t, int64_t>;

  // The constructors are implicit so that each form can be passed directly as the argument.
  Padding(PadMode mode) : value_(Modes(mode)) {}
  Padding(Modes modes) : value_(std::move(modes)) {}
  Padding(std::string_view name) : Padding(NamedMode(name).mode) {}
  Padding(const char* name) : Padding(std::string_view(name)) {}
  Padding(const std::string& name) : Padding(std::string_view(name)) {}
  Padding(torch::enumtype::kSame) : Padding(PadMode::same) {}
  Padding(torch::enumtype::kValid) : Padding(PadMode::valid) {}
  Padding(std::initializer_list<NamedMode> modes) : value_(Modes(modes)) {}
  Padding(const std::vector<PadMode>& modes) : value_(Modes(modes)) {}
  Padding(const std::vector<std::string>& names);
  Padding(int64_t amount) : value_(Amounts{{amount}, /*pairs=*/false}) {}
  Padding(int amount) : Padding(static_cast<int64_t>(amount)) {}
  Padding(at::IntArrayRef amounts) : value_(Amounts{amounts.vec(), /*pairs=*/false}) {}
  Padding(const std::vector<int64_t>& amounts) : Padding(at::IntArrayRef(amounts)) {}
  Padding(std::initializer_list<int64_t> amounts) : Padding(at::IntArrayRef(amounts)) {}
  Padding(at::ArrayRef<Pair> pairs);
  Padding(const std::vector<Pair>& pairs) : Padding(at::ArrayRef<Pair>(pairs)) {}
  Padding(std::initializer_list<Pair> pairs) : Padding(at::ArrayRef<Pair>(pairs)) {}

  /// The modes, or null if amounts were given.
  const Modes* modes() const { return std::get_if<Modes>(&value_); }

  /// The amounts as the operators take them: one for all dimensions, one per dimension, or before
  /// and after of each dimension in turn. Throws if modes were given, or if the number of amounts
  /// does not fit a convolution of `dimensions` dimensions.
  at::IntArrayRef amounts(int64_t dimensions) const;

  /// Writes the argument as it is written in Python, but names without quotes: same,
  /// (causal, same), 1, (1, 2) or ((0, 1), (2, 3)).
  friend SAMEPAD_API std::ostream& operator<<(std::ostream& stream, const Padding& padding);

 private:
  struct Amounts {
    std::vector<int64_t> values;
    bool pairs;
  };
  std::variant<Modes, Amounts> value_;
};

/// The name of `mode`, such as "same_lower".
SAMEPAD_API const char* name(PadMode mode);

}  // namespace samepad
