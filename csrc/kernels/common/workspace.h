#pragma once

// The scratch memory of the kernels. Each thread keeps it from one call to the next unless it is
// large, because fresh memory costs a page fault for every page.

#include <cstddef>
#include <cstdint>

namespace samepad::kernels {

/// Hands out scratch memory that stays valid for the workspace's lifetime. Workspaces may be
/// nested.
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  /// Returns uninitialised memory for `count` elements, aligned to a cache line.
  template <class T>
  [[gnu::always_inline]] T* take(int64_t count) {
    return static_cast<T*>(bytes(static_cast<size_t>(count) * sizeof(T)));
  }

 private:
  void* bytes(size_t count);

  size_t chunk_;
  size_t used_;
  size_t separate_;  ///< number of allocations by a TakeAllocator before this workspace
};

}  // namespace samepad::kernels
