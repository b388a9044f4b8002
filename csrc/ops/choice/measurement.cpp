#include "measurement.h"

#include <ATen/Parallel.h>
#include <ATen/SavedTensorHooks.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <c10/util/hash.h>
#include <pthread.h>
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
using detail::ConvProblem;
using detail::Plan;

/// Everything that a plan's run time depends on.
using Key = std::vector<int64_t>;

struct Entry {
  const Plan* fastest;
  Measurement measurement;
};

constexpr size_t kMost = 1024;

struct Memory {
  std::mutex mutex;
  std::unordered_map<Key, Entry, c10::hash<Key>> entries;
  std::deque<Key> order;  ///< oldest first
};

Memory& memory() {
  static Memory result;
  // If a process forked while another of its threads held the mutex, the mutex would stay locked in
  // the child, where no thread is left to unlock it. So the forking thread holds the mutex during
  // the fork.
  static const int registered = pthread_atfork(
      [] { result.mutex.lock(); }, [] { result.mutex.unlock(); }, [] { result.mutex.unlock(); });
  TORCH_INTERNAL_ASSERT(registered == 0);
  return result;
}

std::atomic<bool>& enabled() {
  static std::atomic<bool> result{false};
  return result;
}

bool needs_gradient(const at::Tensor& tensor) {
  return at::GradMode::is_enabled() && tensor.requires_grad();
}

Key key_of(const ConvProblem& problem) {
  Key key{problem.dimensions(),
          static_cast<int64_t>(problem.input.scalar_type()),
          static_cast<int64_t>(problem.input.device().type()),
          problem.input.device().index(),
          static_cast<int64_t>(at::get_num_threads()),
          static_cast<int64_t>(needs_gradient(problem.input)),
          static_cast<int64_t>(needs_gradient(problem.weight)),
          static_cast<int64_t>(problem.bias.has_value()),
          problem.groups.expect_int()};
  const auto append = [&](at::IntArrayRef values) {
    key.insert(key.end(), values.begin(), values.end());
  };
  append(problem.input.sizes());
  append(problem.input.strides());
  append(problem.weight.sizes());
  append(problem.weight.strides());
  append(problem.stride);
  append(problem.dilation);
  for (const auto& pad : problem.pads) {
    append({pad.before.expect_int(), pad.after.expect_int()});
  }
  return key;
}

std::string describe(const ConvProblem& problem) {
  std::ostringstream text;
  text << "conv" << problem.dimensions() << "d of " << problem.input.sizes() << " "
       << problem.input.scalar_type() << " " << problem.input.device() << " by "
       << problem.weight.sizes() << ", stride " << at::IntArrayRef(problem.stride) << ", dilation "
       << at::IntArrayRef(problem.dilation) << ", pads";
  for (const auto& pad : problem.pads) {
    text << " (" << pad.before << ", " << pad.after << ")";
  }
  text << ", " << at::get_num_threads() << " threads"
       << (needs_gradient(problem.input) || needs_gradient(problem.weight) ? ", training" : "");
  return text.str();
}

/// The seconds that a call takes, including its backward pass if gradients are needed.
double time(const Plan& plan, const ConvProblem& problem) {
  const c10::impl::VirtualGuardImpl device(problem.input.device().type());
  const auto now = [&] {
    if (!problem.input.is_cpu()) {
      device.synchronizeDevice(problem.input.device().index());
    }
    return std::chrono::steady_clock::now();
  };
  const auto start = now();
  const at::Tensor output = plan.run(problem);
  if (output.requires_grad()) {
    output.backward(at::ones_like(output));
  }
  return std::chrono::duration<double>(now() - start).count();
}

/// During its lifetime, the caller's hooks on saved tensors, such as those of a checkpoint, are not
/// called for what a measurement saves.
class Unhooked {
 public:
  Unhooked() : previous_(at::SavedTensorDefaultHooks::set_tracing(true)) {}
  ~Unhooked() { at::SavedTensorDefaultHooks::set_tracing(previous_); }
  Unhooked(const Unhooked&) = delete;
  Unhooked& operator=(const Unhooked&) = delete;

 private:
  bool previous_;
};

Entry measure(const ConvProblem& given, c10::ArrayRef<const Plan*> candidates) {
  constexpr int kRounds = 7;
  constexpr double kEnough = 0.2;
  const Unhooked unhooked;
  // The measurement uses its own tensors, so that it neither runs the caller's hooks nor adds to
  // the caller's gradients.
  const auto copy = [](const at::Tensor& tensor) {
    return tensor.detach().requires_grad_(needs_gradient(tensor));
  };
  ConvProblem problem = given;
  problem.input = copy(given.input);
  problem.weight = copy(given.weight);
  if (given.bias) {
    problem.bias = copy(*given.bias);
  }
  std::vector<std::pair<const Plan*, double>> times;
  for (const Plan* const plan : candidates) {
    time(*plan, problem);  // the first call allocates memory, so it is not counted
    times.emplace_back(plan, std::numeric_limits<double>::infinity());
  }
  double spent = 0;
  for (int round = 0; round < kRounds && spent < kEnough; ++round) {
    for (auto& [plan, least] : times) {
      const double seconds = time(*plan, problem);
      spent += seconds;
      least = std::min(least, seconds);
    }
  }
  std::ranges::sort(times, {}, &std::pair<const Plan*, double>::second);
  Entry entry{times.front().first, {describe(given), {}}};
  for (const auto& [plan, seconds] : times) {
    entry.measurement.times.emplace_back(plan->name, seconds);
  }
  return entry;
}

}  // namespace

namespace detail {

const Plan* fastest_plan(const ConvProblem& problem, c10::ArrayRef<const Plan*> candidates) {
  Memory& known = memory();
  const Key key = key_of(problem);
  {
    const std::scoped_lock lock(known.mutex);
    if (const auto found = known.entries.find(key); found != known.entries.end()) {
      return found->second.fastest;
    }
  }
  // The lock is not held during a measurement, so that other threads are not blocked. If two
  // threads measure the same convolution, the first result is kept.
  const Entry entry = measure(problem, candidates);
  const std::scoped_lock lock(known.mutex);
  const auto [place, added] = known.entries.try_emplace(key, entry);
  const Plan* const fastest = place->second.fastest;
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
