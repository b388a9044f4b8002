// Arguments at the limits of int64: every operator either computes or throws an error that says
// what is wrong. UndefinedBehaviorSanitizer detects overflows on the way (`make sanitize`).

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <samepad/backends.h>

#include <limits>
#include <random>

namespace samepad {
namespace {

using Sizes = std::vector<int64_t>;

/// Rejects large allocations, as if the machine's memory were full.
class SmallMemory final : public c10::Allocator {
 public:
  SmallMemory() : before_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this); }
  ~SmallMemory() override { c10::SetCPUAllocator(before_); }
  SmallMemory(const SmallMemory&) = delete;
  SmallMemory& operator=(const SmallMemory&) = delete;

  at::DataPtr allocate(size_t bytes) override {
    constexpr size_t kMost = size_t{1} << 22;
    TORCH_CHECK(bytes <= kMost, "no memory for ", bytes, " bytes");
    return before_->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return before_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    before_->copy_data(to, from, bytes);
  }

 private:
  c10::Allocator* before_;
};

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  int64_t between(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(engine_);
  }
  template <class T>
  const T& one_of(const std::vector<T>& values) {
    return values[between(0, static_cast<int64_t>(values.size()) - 1)];
  }

  /// True with a probability of 1 / `count`.
  bool once_in(int64_t count) { return between(1, count) == 1; }

  /// A value close to a power of two, up to the largest integer, or close to the negative of one.
  int64_t extreme() {
    const int64_t limit = std::numeric_limits<int64_t>::max() >> between(0, 60);
    const int64_t value = limit - between(0, 2);
    return once_in(4) ? -value - between(0, 1) : value;
  }
  /// Small integers of at least `least`. In one of four lists, about half of them are extreme
  /// instead.
  Sizes integers(int64_t count, int64_t least) {
    Sizes result;
    const bool extremes = once_in(4);
    for (int64_t i = 0; i < count; ++i) {
      result.push_back(extremes && once_in(2) ? extreme() : between(least, 3));
    }
    return result;
  }
  int64_t integer(int64_t least) { return integers(1, least)[0]; }

 private:
  std::mt19937_64 engine_;
};

/// A tensor of size (first, second, ...) with `dimensions` more dimensions of up to `most`
/// elements.
at::Tensor tensor(Random& random, int64_t first, int64_t second, int64_t dimensions, int64_t most) {
  Sizes sizes{first, second};
  for (int64_t i = 0; i < dimensions; ++i) {
    sizes.push_back(random.between(1, most));
  }
  return at::ones(sizes);
}

/// A random value for an argument of an operator with this number of dimensions.
c10::IValue value(Random& random, const c10::Argument& argument, int64_t dimensions,
                  int64_t groups) {
  const std::string& name = argument.name();
  const std::string type = argument.real_type()->str();
  if (name == "weight") {
    return tensor(random, 4, 4 / groups, dimensions, 3);
  }
  if (type == "Tensor") {
    return tensor(random, 2, 4, dimensions, 6);
  }
  if (name == "groups") {
    return random.once_in(4) ? random.extreme() : groups;
  }
  const bool is_rule = name == "padding" && type == "str";
  if (is_rule || (name == "mode" && !argument.default_value())) {
    if (!is_rule && random.once_in(2)) {
      return {};
    }
    return std::string(random.one_of<const char*>({"same", "same_lower", "causal", "valid"}));
  }
  if (name == "mode" || name == "padding_mode") {
    return argument.default_value().value();
  }
  if (type.starts_with("SymInt[]") || type.starts_with("SymInt[")) {
    const bool pairs = name == "pads" || (name == "padding" && random.once_in(2));
    const bool amounts = pairs || name == "padding" || name == "output_padding";
    return random.integers(pairs ? 2 * dimensions : dimensions, amounts ? 0 : 1);
  }
  if (type == "bool") {
    return random.once_in(2);
  }
  if (type == "bool[]") {
    return c10::List<bool>({true, true, true});
  }
  return random.once_in(2) && type.starts_with("int") ? c10::IValue(random.integer(1))
                                                      : c10::IValue();
}

TEST(Extremes, OfEveryOperatorsArguments) {
  const SmallMemory memory;
  const at::NoGradGuard no_grad;
  auto& dispatcher = c10::Dispatcher::singleton();
  int64_t operators = 0;
  int64_t computed = 0;
  for (const auto& name : dispatcher.getAllOpNames()) {
    if (!name.name.starts_with("samepad::")) {
      continue;
    }
    ++operators;
    SCOPED_TRACE(toString(name));
    const auto op = dispatcher.findSchemaOrThrow(name.name.c_str(), name.overload_name.c_str());
    const size_t digit = name.name.find_first_of("123");
    for (int64_t seed = 0; seed < 100; ++seed) {
      Random random(seed);
      const int64_t dimensions =
          digit == std::string::npos ? random.between(1, 2) : name.name[digit] - '0';
      const int64_t groups = random.one_of<int64_t>({1, 4});
      torch::jit::Stack stack;
      for (const auto& argument : op.schema().arguments()) {
        stack.push_back(value(random, argument, dimensions, groups));
      }
      try {
        op.callBoxed(stack);
        ++computed;
      } catch (const std::bad_alloc&) {
        ADD_FAILURE() << "seed " << seed << ": memory is asked for past the allocator of tensors";
      } catch (const std::exception&) {
        // Either samepad, by a c10::Error, or oneDNN has said what is wrong.
      }
    }
  }
  EXPECT_GT(operators, 30);
  EXPECT_GT(computed, 10 * operators);
}

TEST(Extremes, OfWhatIsExplained) {
  int64_t explained = 0;
  for (int64_t seed = 0; seed < 20'000; ++seed) {
    Random random(seed);
    const int64_t dimensions = random.between(1, 3);
    const auto sizes = [&](int64_t first, int64_t second) {
      Sizes result{first, second};
      for (int64_t i = 0; i < dimensions; ++i) {
        result.push_back(std::max<int64_t>(random.integer(1), 1));
      }
      return result;
    };
    const int64_t groups = random.one_of<int64_t>({1, 1, 4});
    const int64_t channels = 4 * std::max<int64_t>(random.integer(1) / 4, 1);
    const int64_t filters = 4 * random.between(0, 2);
    try {
      const at::Tensor one = at::ones({1});
      const ConvExplanation result = explain_conv(
          one.expand(sizes(random.between(1, 2), channels)),
          one.expand(sizes(filters, channels / groups)), {}, random.integers(dimensions, 1),
          random.once_in(2) ? Padding(random.integers(dimensions, 0)) : Padding(PadMode::same),
          random.integers(dimensions, 1), groups);
      ++explained;
      EXPECT_GE(result.bytes_copied, 0);
      EXPECT_EQ(result.flops > 0, filters > 0);
    } catch (const c10::Error&) {
      // The error has said what is wrong.
    }
  }
  EXPECT_GT(explained, 1000);
}

}  // namespace
}  // namespace samepad
