#include <c10/util/Exception.h>
#include <samepad/padding_argument.h>

#include <algorithm>
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

/// What separates the names in the text of several modes.
constexpr std::string_view kSeparator = ", ";

Modes named(const std::vector<std::string>& names) {
  std::vector<PadMode> modes;
  modes.reserve(names.size());
  for (const std::string& each : names) {
    modes.push_back(NamedMode(each).mode);
  }
  return modes;
}

}  // namespace

const char* name(PadMode mode) { return kModeNames.at(static_cast<size_t>(mode)).second; }

NamedMode::NamedMode(std::string_view name) : mode(PadMode::same) {
  for (const auto& [known, known_name] : kModeNames) {
    if (name == known_name) {
      mode = known;
      return;
    }
  }
  TORCH_CHECK(false, "Invalid padding string: '", name,
              "', expected 'same', 'same_lower', 'causal' or 'valid'");
}

Modes::Modes(std::initializer_list<NamedMode> modes) {
  for (const NamedMode& named : modes) {
    modes_.push_back(named.mode);
  }
}

Modes Modes::from_text(std::string_view text) {
  Modes result(at::ArrayRef<PadMode>{});
  for (size_t end = text.find(kSeparator); end != std::string_view::npos;
       end = text.find(kSeparator)) {
    result.modes_.push_back(NamedMode(text.substr(0, end)).mode);
    text.remove_prefix(end + kSeparator.size());
  }
  result.modes_.push_back(NamedMode(text).mode);
  return result;
}

std::string Modes::text() const {
  std::string text;
  for (const PadMode mode : modes_) {
    text.append(text.empty() ? "" : kSeparator).append(name(mode));
  }
  return text;
}

bool Modes::all(PadMode mode) const {
  return std::ranges::all_of(modes_, [=](PadMode each) { return each == mode; });
}

bool Modes::any(PadMode mode) const { return std::ranges::find(modes_, mode) != modes_.end(); }

bool operator==(const Modes& a, const Modes& b) {
  if (a.count() == b.count()) {
    return std::ranges::equal(a.modes_, b.modes_);
  }
  return (a.count() == 1 && b.all(a[0])) || (b.count() == 1 && a.all(b[0]));
}

std::ostream& operator<<(std::ostream& stream, const Modes& modes) {
  return modes.count() == 1 ? stream << modes.text() : stream << '(' << modes.text() << ')';
}

Padding::Padding(const std::vector<std::string>& names) : value_(named(names)) {}

Padding::Padding(at::ArrayRef<Pair> pairs) : value_(Amounts{{}, /*pairs=*/true}) {
  for (const auto& [before, after] : pairs) {
    auto& values = std::get<Amounts>(value_).values;
    values.insert(values.end(), {before, after});
  }
}

at::IntArrayRef Padding::amounts(int64_t dimensions) const {
  TORCH_CHECK(modes() == nullptr, "expected amounts of padding, but got padding='", *this, "'");
  const auto& [values, pairs] = std::get<Amounts>(value_);
  const auto count = static_cast<int64_t>(values.size());
  TORCH_CHECK(pairs ? count == 2 * dimensions : count == 1 || count == dimensions,
              "expected padding to be a mode, a list of ", dimensions,
              " modes, a single integer, a list of ", dimensions, " integers or a list of ",
              dimensions, " (before, after) pairs, but got padding=", *this);
  return values;
}

std::ostream& operator<<(std::ostream& stream, const Padding& padding) {
  if (const Modes* modes = padding.modes()) {
    return stream << *modes;
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
