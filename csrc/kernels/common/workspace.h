#pragma once

// The scratch memory of the kernels. Each thread keeps it from one call to the next unless it is
// large, because fresh memory costs a page fault for every page.
//
// Each kernel lays out its memory in one constructor. It is a template: given a Workspace, it takes
// the memory; given a ScratchSize, it only adds up how much that would be.

#include <cassert>
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

  /// Returns uninitialised memory, aligned to a cache line, for as many elements as the product of
  /// the factors.
  template <class T, class... Factors>
  T* take(Factors... factors) {
    return take_more<T>(0, factors...);
  }

  /// The same with `more` elements at the end.
  template <class T, class... Factors>
  [[gnu::always_inline]] T* take_more(int64_t more, Factors... factors) {
    return static_cast<T*>(
        bytes(((static_cast<size_t>(factors) * ... * 1) + static_cast<size_t>(more)) * sizeof(T)));
  }

 private:
  void* bytes(size_t count);
  std::byte* allocate(size_t count);

  size_t chunk_;
  size_t used_;
  size_t separate_;  ///< number of allocations by a TakeAllocator before this workspace
  size_t taken_;     ///< number of pieces of memory that have been handed out before
};

/// Whether these bytes lie in one piece of memory that workspaces of this thread have handed out.
/// Exists in debug builds only.
bool is_taken(const void* begin, size_t bytes);

/// Returns `elements`. Debug builds assert that `count` of them lie in scratch memory: the kernels
/// access their rows without checking bounds.
template <class T>
T* in_scratch(T* elements, [[maybe_unused]] int64_t count = 1) {
  assert(is_taken(elements, static_cast<size_t>(count) * sizeof(T)));
  return elements;
}

/// Adds up what would be taken from a Workspace.
class ScratchSize {
 public:
  /// Both return a null pointer.
  template <class T, class... Factors>
  T* take(Factors... factors) {
    return take_more<T>(0, factors...);
  }
  template <class T, class... Factors>
  T* take_more(int64_t more, Factors... factors) {
    bytes_ += ((static_cast<double>(factors) * ... * 1) + static_cast<double>(more)) * sizeof(T);
    return nullptr;
  }

  /// In floating point, because the product of large sizes is no integer of 64 bits.
  double bytes() const { return bytes_; }

 private:
  double bytes_ = 0;
};

}  // namespace samepad::kernels
