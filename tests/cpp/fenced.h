#pragma once

// Memory that detects accesses outside of it. It begins or ends at a page that may not be touched,
// and the other bytes of its own pages are checked for changes when it is freed. It is filled with
// NaN at first, so that a result shows whether it depends on memory that was never written.

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>

#include "kernels/common/take_allocator.h"

namespace fenced {

/// The end of the memory that is next to a page that may not be touched.
enum class Side : uint8_t { begin, end };

/// This byte repeated is a NaN in every floating point type, and as a pointer points nowhere.
inline constexpr unsigned char kNan = 0xFF;

/// The number of bytes in a page and in a cache line.
inline constexpr size_t kPage = 4096;
inline constexpr size_t kLine = 64;

/// The pages of some memory that may be touched.
struct Pages {
  unsigned char* first;
  size_t size;

  explicit Pages(size_t bytes) : first(nullptr), size((bytes + kPage - 1) / kPage * kPage) {}

  /// The pages of memory that `allocate` has returned, which begins in the first of them.
  Pages(void* memory, size_t bytes) : Pages(bytes) {
    auto* const begin = static_cast<unsigned char*>(memory);
    first = begin - reinterpret_cast<uintptr_t>(begin) % kPage;
  }
};

/// Allocates memory. With Side::end, up to `alignment` - 1 bytes may remain between its end and the
/// page that may not be touched.
inline void* allocate(size_t bytes, size_t alignment, Side side) {
  bytes = std::max<size_t>(bytes, 1);
  Pages pages(bytes);
  void* const all =
      mmap(nullptr, pages.size + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) {
    throw std::bad_alloc();
  }
  pages.first = static_cast<unsigned char*>(all) + kPage;
  mprotect(pages.first, pages.size, PROT_READ | PROT_WRITE);
  std::memset(pages.first, kNan, pages.size);
  return side == Side::begin ? pages.first
                             : pages.first + (pages.size - bytes) / alignment * alignment;
}

/// Frees memory that `allocate` has returned for this number of bytes.
inline void free(void* memory, size_t bytes) {
  bytes = std::max<size_t>(bytes, 1);
  const Pages pages(memory, bytes);
  auto* const begin = static_cast<unsigned char*>(memory);
  const auto untouched = [](unsigned char byte) { return byte == kNan; };
  EXPECT_TRUE(std::all_of(pages.first, begin, untouched)) << "memory before its begin was written";
  EXPECT_TRUE(std::all_of(begin + bytes, pages.first + pages.size, untouched))
      << "memory past its end was written";
  munmap(pages.first - kPage, pages.size + 2 * kPage);
}

/// During its lifetime, all tensors on the CPU are allocated in such memory, and so is everything
/// that kernels take from their workspaces.
class Everything {
 public:
  explicit Everything(Side side) : tensors_(side), before_(c10::GetCPUAllocator()) {
    static constexpr samepad::kernels::TakeAllocator kTakes[] = {take<Side::begin>,
                                                                 take<Side::end>};
    c10::SetCPUAllocator(&tensors_);
    samepad::kernels::set_take_allocator(&kTakes[static_cast<size_t>(side)]);
  }
  ~Everything() {
    samepad::kernels::set_take_allocator(nullptr);
    c10::SetCPUAllocator(before_);
  }
  Everything(const Everything&) = delete;
  Everything& operator=(const Everything&) = delete;

 private:
  struct Tensors final : c10::Allocator {
    explicit Tensors(Side side) : side(side) {}

    at::DataPtr allocate(size_t bytes) override {
      void* const memory = fenced::allocate(bytes, /*alignment=*/1, side);
      const std::lock_guard lock(mutex());
      sizes()[memory] = bytes;
      return {memory, memory, free, at::kCPU};
    }
    static void free(void* memory) {
      const std::lock_guard lock(mutex());
      fenced::free(memory, sizes().extract(memory).mapped());
    }
    c10::DeleterFnPtr raw_deleter() const override { return free; }
    void copy_data(void* to, const void* from, size_t bytes) const override {
      default_copy_data(to, from, bytes);
    }

    Side side;

   private:
    /// The requested size of each allocation that has not been freed yet. It is global because
    /// tensors may outlive their allocator.
    static std::unordered_map<void*, size_t>& sizes() {
      static std::unordered_map<void*, size_t> result;
      return result;
    }
    static std::mutex& mutex() {
      static std::mutex result;
      return result;
    }
  };

  // AddressSanitizer checks both ends of what `new` returns, to the byte.
#ifdef __SANITIZE_ADDRESS__
  template <Side kSide>
  static constexpr samepad::kernels::TakeAllocator take{
      [](size_t bytes) -> void* {
        return std::memset(operator new(bytes, std::align_val_t{kLine}), kNan, bytes);
      },
      [](void* memory, size_t) { operator delete(memory, std::align_val_t{kLine}); }};
#else
  template <Side kSide>
  static constexpr samepad::kernels::TakeAllocator take{
      [](size_t bytes) { return fenced::allocate(bytes, kLine, kSide); }, fenced::free};
#endif

  Tensors tensors_;
  c10::Allocator* before_;
};

}  // namespace fenced
