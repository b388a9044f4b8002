// What this machine can compute and copy at most, for benchmarks/roofline.py, which compiles this
// file for the CPU that it runs on.

#include <immintrin.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int kBytes = 64;
#else
constexpr int kBytes = 32;
#endif
using Vector [[gnu::vector_size(kBytes)]] = float;
constexpr int kLanes = kBytes / sizeof(float);

double now() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

/// The units per second of all threads together; `run` does `units` of them. The fastest of some
/// rounds counts: a peak is what can be had.
template <class Run>
double fastest(int threads, double units, const Run& run) {
  double best = 0;
  for (int round = 0; round < 20; ++round) {
    double start = 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp barrier
#pragma omp single
      start = now();
      run(omp_get_thread_num());
    }
    best = std::max(best, threads * units / (now() - start));
  }
  return best;
}

constexpr int kSteps = 1 << 20;

/// Multiplies and adds in registers alone. Twelve sums hide the latency of a step and leave room
/// for both factors in 16 registers.
void multiply_add() {
  constexpr int kSums = 12;
  Vector a{};
  Vector b{};
  std::array<Vector, kSums> sums{};
  asm volatile("" : "+x"(a), "+x"(b));
  for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (Vector& sum : sums) {
      sum += a * b;
      asm volatile("" : "+v"(sum));
    }
  }
}

}  // namespace

extern "C" {

/// Floating point operations per second in float32; a multiplication and an addition are two.
double float32_peak(int threads) {
  return fastest(threads, 2.0 * kLanes * 12 * kSteps, [](int) { multiply_add(); });
}

/// The same in bfloat16; 0 if this CPU has no instructions for its products.
double bfloat16_peak(int threads) {
#if defined(__AMX_BF16__)
  constexpr int kPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM of Linux
  constexpr int kTileData = 18;
  if (syscall(SYS_arch_prctl, kPermission, kTileData) != 0) {
    return 0;
  }
  struct alignas(64) Config {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    std::array<uint8_t, 14> reserved{};
    std::array<uint16_t, 16> bytes_per_row{64, 64, 64, 64, 64, 64};
    std::array<uint8_t, 16> rows{16, 16, 16, 16, 16, 16};
  };
  static const Config config;
  return fastest(threads, 2.0 * 16 * 16 * 32 * 4 * (kSteps / 8), [](int) {
    _tile_loadconfig(&config);
    for (int i = 0; i < kSteps / 8; ++i) {
      _tile_dpbf16ps(0, 4, 5);
      _tile_dpbf16ps(1, 4, 5);
      _tile_dpbf16ps(2, 4, 5);
      _tile_dpbf16ps(3, 4, 5);
    }
    _tile_release();
  });
#elif defined(__AVX512BF16__)
  return fastest(threads, 2.0 * 32 * 12 * kSteps, [](int) {
    std::array<Vector, 12> sums{};
    Vector factor{};
    for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
      for (Vector& sum : sums) {
        asm volatile("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(factor));
      }
    }
  });
#else
  static_cast<void>(threads);
  return 0;
#endif
}

/// Bytes per second that are copied between two arrays of `bytes` / 2 in each thread, as read and
/// as written.
double copy_bandwidth(int threads, int64_t bytes) {
  const auto count = static_cast<int64_t>(bytes / 2 / kBytes);
  const int64_t repeats = std::max<int64_t>((int64_t{1} << 25) / bytes, 1);
  std::vector<std::vector<float>> memory(threads);
  for (auto& own : memory) {
    own.resize(bytes / sizeof(float) + 2 * kLanes);
  }
  return fastest(threads, static_cast<double>(2 * count * kBytes * repeats), [&](int thread) {
    float* const from = memory[thread].data();
    float* const to = from + count * kLanes;
    for (int64_t repeat = 0; repeat < repeats; ++repeat) {
      for (int64_t i = 0; i < count * kLanes; i += kLanes) {
        Vector value;
        __builtin_memcpy(&value, from + i, kBytes);
        __builtin_memcpy(to + i, &value, kBytes);
      }
      asm volatile("" ::: "memory");
    }
  });
}

}  // extern "C"
