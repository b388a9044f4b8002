#include <c10/util/Exception.h>
#include <samepad/padding_argument.h>

#include <array>
#include <ostream>

namespace samepad {
namespace {

constexpr std::array<std::pair<PadMode, const char*>, 4> kModeNames{{
    {PadMode::same, "same"},
    {PadMode::same_lower, "same_lower"},
    {PadMode::causal, "causal"},
    {PadMode::valid, "valid"},
}};

}  // namespace

const char* name(PadMode mode) { return kModeNames.at(static_cast<size_t>(mode)).second; }

Padding::Padding(std::string_view name) {
  for (const auto& [mode, mode_name] : kModeNames) {
    if (name == mode_name) {
      value_ = mode;
      return;
    }
  }
  TORCH_CHECK(false, "Invalid padding string: '", name,
              "', expected 'same', 'same_lower', 'causal' or 'valid'");
}

Padding::Padding(at::ArrayRef<Pair> pairs) {
  Amounts amounts{{}, /*pairs=*/true};
  for (const auto& [before, after] : pairs) {
    amounts.values.insert(amounts.values.end(), {before, after});
  }
  value_ = std::move(amounts);
}

at::IntArrayRef Padding::amounts(int64_t dimensions) const {
  TORCH_CHECK(mode() == nullptr, "expected amounts of padding, but got padding='", *this, "'");
  const auto& [values, pairs] = std::get<Amounts>(value_);
  const auto count = static_cast<int64_t>(values.size());
  TORCH_CHECK(pairs ? count == 2 * dimensions : count == 1 || count == dimensions,
              "expected padding to be a mode, a single integer, a list of ", dimensions,
              " integers or a list of ", dimensions,
              " (before, after) pairs, but got padding=", *this);
  return values;
}

std::ostream& operator<<(std::ostream& stream, const Padding& padding) {
  if (const PadMode* mode = padding.mode()) {
    return stream << name(*mode);
  }
  const auto& [values, pairs] = std::get<Padding::Amounts>(padding.value_);
  if (!pairs && values.size() == 1) {
    return stream << values[0];
  }
  stream << '(';
  for (size_t i = 0; i < values.size(); ++i) {
    stream << (i == 0 ? "" : ", ") << (pairs && i % 2 == 0 ? "(" : "") << values[i]
           << (pairs && i % 2 == 1 ? ")" : "");
  }
  // A tuple of one element is written with a comma, as in Python.
  return stream << (values.size() == (pairs ? 2 : 1) ? ",)" : ")");
}

}  // namespace samepad
