// Calls from many threads at once. `make sanitize` runs these tests under ThreadSanitizer too.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <samepad/backends.h>
#include <samepad/conv.h>

#include <thread>

namespace samepad {
namespace {

constexpr int kThreads = 16;

/// Runs `call` in sixteen threads at once, each with its own number.
template <class Call>
void at_once(const Call& call) {
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&call, i] {
      const at::NoGradGuard no_grad;
      call(i);
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
}

class Threads : public ::testing::Test {
 protected:
  // The tests are about the threads that call; threads inside the operators would multiply their
  // number by sixteen.
  void SetUp() override {
    before_ = at::get_num_threads();
    at::set_num_threads(1);
  }
  void TearDown() override { at::set_num_threads(before_); }

  at::Tensor input = at::randn({2, 8, 15, 14});
  at::Tensor weight = at::randn({8, 1, 3, 3});
  at::Tensor dense_weight = at::randn({8, 8, 3, 3});

  at::Tensor run(int64_t rows) const {
    return samepad::conv2d(input.narrow(2, 0, rows), weight, {}, 2, "same", 1, 8);
  }

  at::Tensor run_dense(at::MemoryFormat format) const {
    return samepad::conv2d(input.contiguous(format), dense_weight, {}, 2);
  }

 private:
  int before_ = 1;
};

TEST_F(Threads, CallOneConvolution) {
  const at::Tensor expected = run(15);
  std::vector<at::Tensor> results(kThreads);
  at_once([&](int i) {
    for (int repeat = 0; repeat < 10; ++repeat) {
      results[i] = run(15);
    }
  });
  for (const auto& result : results) {
    EXPECT_TRUE(at::equal(result, expected));
  }
}

TEST_F(Threads, CallOneDenseConvolution) {
  for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    const at::Tensor expected = run_dense(format);
    std::vector<at::Tensor> results(kThreads);
    at_once([&](int i) { results[i] = run_dense(format); });
    for (const auto& result : results) {
      EXPECT_TRUE(at::equal(result, expected));
    }
  }
}

TEST_F(Threads, MeasurePlans) {
  backends::set_benchmark(true);
  std::vector<at::Tensor> results(kThreads);
  at_once([&](int i) {
    results[i] = run(8 + i % 4);
    backends::measurements();
  });
  EXPECT_EQ(backends::measurements().size(), 4);
  backends::set_benchmark(false);
  backends::reset_measurements();
  for (int i = 0; i < kThreads; ++i) {
    EXPECT_TRUE(at::allclose(results[i], run(8 + i % 4), 1e-5, 1e-5));
  }
}

}  // namespace
}  // namespace samepad
