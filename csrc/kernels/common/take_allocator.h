#pragma once

// Lets tests detect accesses outside of the memory that kernels take from a workspace.

#include <samepad/export.h>

#include <cstddef>

namespace samepad::kernels {

/// Allocates separate memory for every `Workspace::take`. Usually the next one follows it directly
/// in memory, which hides accesses past its end.
struct TakeAllocator {
  void* (*allocate)(size_t bytes);  ///< aligned to a cache line
  void (*free)(void* memory, size_t bytes);
};

/// Makes every later take, on any thread, use `allocator`. A null pointer restores the chunks that
/// threads keep. Memory that is in use is not affected.
SAMEPAD_API void set_take_allocator(const TakeAllocator* allocator);

}  // namespace samepad::kernels
