#include "measurement.h"

#include <ATen/Parallel.h>
#include <ATen/SavedTensorHooks.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/hash.h>
#include <samepad/backends.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <sstream>
#include <unordered_map>

namespace samepad {
namespace {

using backends::Measurement;
using detail::ConvArgs;
using detail::PadList;
using detail::Plan;

/// Everything that the time of a plan depends on.
using Key = std::vector<int64_t>;

struct Entry {
  Plan fastest;
  Measurement measurement;
};

constexpr size_t kMost = 1024;

struct Memory {
  std::mutex mutex;
  std::unordered_map<Key, Entry, c10::hash<Key>> entries;
  std::deque<Key> order;  ///< from the oldest
};

Memory& memory() {
  static Memory result;
  return result;
}

std::atomic<bool>& enabled() {
  static std::atomic<bool> result{false};
  return result;
}

bool needs_gradient(const at::Tensor& tensor) {
  return at::GradMode::is_enabled() && tensor.requires_grad();
}

Key key_of(const ConvArgs& args, const PadList& pads) {
  Key key{args.dimensions(),
          static_cast<int64_t>(args.input.scalar_type()),
          static_cast<int64_t>(args.input.device().type()),
          args.input.device().index(),
          static_cast<int64_t>(at::get_num_threads()),
          static_cast<int64_t>(needs_gradient(args.input)),
          static_cast<int64_t>(needs_gradient(args.weight)),
          static_cast<int64_t>(args.bias.has_value()),
          args.groups.expect_int()};
  const auto append = [&](at::IntArrayRef values) {
    key.insert(key.end(), values.begin(), values.end());
  };
  append(args.input.sizes());
  append(args.input.strides());
  append(args.weight.sizes());
  append(args.weight.strides());
  append(args.stride);
  append(args.dilation);
  for (const auto& pad : pads) {
    append({pad.before.expect_int(), pad.after.expect_int()});
  }
  return key;
}

std::string describe(const ConvArgs& args, const PadList& pads) {
  std::ostringstream text;
  text << "conv" << args.dimensions() << "d of " << args.input.sizes() << " "
       << args.input.scalar_type() << " " << args.input.device() << " by " << args.weight.sizes()
       << ", stride " << at::IntArrayRef(args.stride) << ", dilation "
       << at::IntArrayRef(args.dilation) << ", pads";
  for (const auto& pad : pads) {
    text << " (" << pad.before << ", " << pad.after << ")";
  }
  text << ", " << at::get_num_threads() << " threads"
       << (needs_gradient(args.input) || needs_gradient(args.weight) ? ", training" : "");
  return text.str();
}

/// Seconds of a call, and where gradients are wanted of its backward pass too.
double time(Plan plan, const ConvArgs& args, const PadList& pads) {
  const c10::impl::VirtualGuardImpl device(args.input.device().type());
  const auto now = [&] {
    if (!args.input.is_cpu()) {
      device.synchronizeDevice(args.input.device().index());
    }
    return std::chrono::steady_clock::now();
  };
  const auto start = now();
  const at::Tensor output = run_plan(plan, args, pads);
  if (output.requires_grad()) {
    output.backward(at::ones_like(output));
  }
  return std::chrono::duration<double>(now() - start).count();
}

/// While it lives, the caller's hooks on saved tensors, such as a checkpoint's, see none of them.
class Unhooked {
 public:
  Unhooked() : previous_(at::SavedTensorDefaultHooks::set_tracing(true)) {}
  ~Unhooked() { at::SavedTensorDefaultHooks::set_tracing(previous_); }
  Unhooked(const Unhooked&) = delete;
  Unhooked& operator=(const Unhooked&) = delete;

 private:
  bool previous_;
};

Entry measure(const ConvArgs& given, const PadList& pads, c10::ArrayRef<Plan> plans) {
  constexpr int kRounds = 7;
  constexpr double kEnough = 0.2;
  const Unhooked unhooked;
  // Tensors of their own: hooks and gradients of the caller's are none of a measurement's business.
  ConvArgs args = given;
  args.input = given.input.detach().requires_grad_(needs_gradient(given.input));
  args.weight = given.weight.detach().requires_grad_(needs_gradient(given.weight));
  if (given.bias) {
    args.bias = given.bias->detach().requires_grad_(needs_gradient(*given.bias));
  }
  std::vector<std::pair<Plan, double>> times;
  for (const Plan plan : plans) {
    time(plan, args, pads);  // for the first time, with fresh memory
    times.emplace_back(plan, std::numeric_limits<double>::infinity());
  }
  double spent = 0;
  for (int round = 0; round < kRounds && spent < kEnough; ++round) {
    for (auto& [plan, least] : times) {
      const double seconds = time(plan, args, pads);
      spent += seconds;
      least = std::min(least, seconds);
    }
  }
  std::ranges::sort(times, {}, &std::pair<Plan, double>::second);
  Entry entry{times.front().first, {describe(given, pads), {}}};
  for (const auto& [plan, seconds] : times) {
    entry.measurement.times.emplace_back(detail::name(plan), seconds);
  }
  return entry;
}

}  // namespace

namespace detail {

Plan fastest_plan(const ConvArgs& args, const PadList& pads, c10::ArrayRef<Plan> plans) {
  Memory& known = memory();
  const Key key = key_of(args, pads);
  {
    const std::scoped_lock lock(known.mutex);
    if (const auto found = known.entries.find(key); found != known.entries.end()) {
      return found->second.fastest;
    }
  }
  // Without the lock: other threads go on, and where two measure the same, the first one counts.
  const Entry entry = measure(args, pads, plans);
  const std::scoped_lock lock(known.mutex);
  const auto [place, added] = known.entries.try_emplace(key, entry);
  const Plan fastest = place->second.fastest;
  if (added) {
    known.order.push_back(key);
    if (known.order.size() > kMost) {
      known.entries.erase(known.order.front());
      known.order.pop_front();
    }
  }
  return fastest;
}

}  // namespace detail

namespace backends {

void set_benchmark(bool value) { enabled() = value; }

bool benchmark() { return enabled(); }

std::vector<Measurement> measurements() {
  Memory& known = memory();
  const std::scoped_lock lock(known.mutex);
  std::vector<Measurement> result;
  result.reserve(known.order.size());
  for (const Key& key : known.order) {
    result.push_back(known.entries.at(key).measurement);
  }
  return result;
}

void reset_measurements() {
  Memory& known = memory();
  const std::scoped_lock lock(known.mutex);
  known.entries.clear();
  known.order.clear();
}

}  // namespace backends
}  // namespace samepad
