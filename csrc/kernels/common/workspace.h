#pragma once

// Memory that kernels work in, kept by each thread from one call to the next, as far as it is
// small: fresh memory would cost a page fault for every page.

#include <cstddef>
#include <cstdint>

namespace samepad::kernels {

/// Hands out memory that lives as long as it does; nests.
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  /// Uninitialised room for `count` elements, aligned to a cache line.
  template <class T>
  [[gnu::always_inline]] T* take(int64_t count) {
    return static_cast<T*>(bytes(static_cast<size_t>(count) * sizeof(T)));
  }

 private:
  void* bytes(size_t count);

  size_t chunk_;
  size_t used_;
  size_t separate_;  ///< how many allocations by a TakeAllocator there were before
};

}  // namespace samepad::kernels
