#pragma once

// Memory in which an access outside of what was asked for is seen: it ends, or begins, at a page
// that may not be touched, and what else there is of its own pages must stay as it was. At first
// all of it is NaN, so that a result shows whether it is made of what nobody has written.

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

/// Which end of the memory is next to a page that may not be touched.
enum class Side : uint8_t { begin, end };

/// Bytes that are NaN as a number of any floating point type; as a pointer they point nowhere.
inline constexpr unsigned char kNan = 0xFF;

/// Bytes of a page, and of a cache line.
inline constexpr size_t kPage = 4096;
inline constexpr size_t kLine = 64;

/// The pages of some memory that may be touched.
struct Pages {
  unsigned char* first;
  size_t size;

  explicit Pages(size_t bytes) : first(nullptr), size((bytes + kPage - 1) / kPage * kPage) {}

  /// Those of memory that `allocate` has returned: it begins in the first one.
  Pages(void* memory, size_t bytes) : Pages(bytes) {
    auto* const begin = static_cast<unsigned char*>(memory);
    first = begin - reinterpret_cast<uintptr_t>(begin) % kPage;
  }
};

/// Some memory. Where it ends at a page, up to `alignment` - 1 bytes may be between them.
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

/// Frees what `allocate` has returned for so many bytes.
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

/// While it lives, all tensors on the CPU are made in such memory, and so is all that kernels take
/// from their workspaces.
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
    /// How many bytes were asked for, of each that has not been freed: tensors may live longer than
    /// their allocator.
    static std::unordered_map<void*, size_t>& sizes() {
      static std::unordered_map<void*, size_t> result;
      return result;
    }
    static std::mutex& mutex() {
      static std::mutex result;
      return result;
    }
  };

  // AddressSanitizer watches both ends, to the byte, of what `new` returns.
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
