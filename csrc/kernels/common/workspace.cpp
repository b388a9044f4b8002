#include "workspace.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <new>
#include <vector>

#include "take_allocator.h"

namespace samepad::kernels {
namespace {

constexpr size_t kLine = 64;
/// The smallest chunk, which is enough for the bands of most layers.
constexpr size_t kLeast = size_t{256} * 1024;

struct Free {
  void operator()(std::byte* memory) const { operator delete(memory, std::align_val_t{kLine}); }
};

struct Chunk {
  std::unique_ptr<std::byte, Free> memory;
  size_t size;
};

/// The most memory that a thread keeps, which is enough for nearly all layers.
constexpr size_t kKept = size_t{4} * 1024 * 1024;

/// The separate memory of a single take.
struct Separate {
  const TakeAllocator* allocator;
  void* memory;
  size_t bytes;
};

/// Memory that has been handed out. Only debug builds keep a list of it.
struct Taken {
  const std::byte* begin;
  size_t bytes;
};

/// A thread's chunks. Those up to `chunk` are in use, and that one up to byte `used`.
struct Arena {
  std::vector<Chunk> chunks;
  size_t chunk = 0;
  size_t used = 0;
  std::vector<Separate> separate;
  std::vector<Taken> taken;
};

std::atomic<const TakeAllocator*> take_allocator = nullptr;

Arena& arena() {
  thread_local Arena result;
  return result;
}

}  // namespace

Workspace::Workspace()
    : chunk_(arena().chunk),
      used_(arena().used),
      separate_(arena().separate.size()),
      taken_(arena().taken.size()) {}

Workspace::~Workspace() {
  Arena& memory = arena();
  memory.chunk = chunk_;
  memory.used = used_;
  memory.taken.resize(taken_);
  size_t kept = 0;
  for (const auto& chunk : memory.chunks) {
    kept += chunk.size;
  }
  if (chunk_ == 0 && used_ == 0 && kept > kKept) {
    memory.chunks.clear();
  }
  for (; memory.separate.size() > separate_; memory.separate.pop_back()) {
    const Separate& last = memory.separate.back();
    last.allocator->free(last.memory, last.bytes);
  }
}

std::byte* Workspace::allocate(size_t count) {
  Arena& memory = arena();
  if (const auto* const allocator = take_allocator.load(std::memory_order_relaxed)) {
    memory.separate.push_back({allocator, allocator->allocate(count), count});
    return static_cast<std::byte*>(memory.separate.back().memory);
  }
  const size_t size = (count + kLine - 1) / kLine * kLine;
  while (memory.chunk < memory.chunks.size() &&
         memory.used + size > memory.chunks[memory.chunk].size) {
    ++memory.chunk;
    memory.used = 0;
  }
  if (memory.chunk == memory.chunks.size()) {
    const size_t length = std::max(size, kLeast);
    memory.chunks.push_back({std::unique_ptr<std::byte, Free>(static_cast<std::byte*>(operator new(
                                 length, std::align_val_t{kLine}))),
                             length});
  }
  std::byte* result = memory.chunks[memory.chunk].memory.get() + memory.used;
  memory.used += size;
  return result;
}

void* Workspace::bytes(size_t count) {
  std::byte* const result = allocate(count);
#ifndef NDEBUG
  arena().taken.push_back({result, count});
#endif
  return result;
}

#ifndef NDEBUG
bool is_taken(const void* begin, size_t bytes) {
  const auto* const first = static_cast<const std::byte*>(begin);
  const std::less_equal<> is_before;  // unlike <=, defined for pointers to different objects
  return std::ranges::any_of(arena().taken, [&](const Taken& taken) {
    return is_before(taken.begin, first) && is_before(first + bytes, taken.begin + taken.bytes);
  });
}
#endif

void set_take_allocator(const TakeAllocator* allocator) { take_allocator = allocator; }

}  // namespace samepad::kernels
