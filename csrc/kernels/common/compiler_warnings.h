#pragma once

// Included first by the files that are compiled once for each instruction set.

// GCC reports the values that its own AVX-512 intrinsics leave undefined on purpose.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
