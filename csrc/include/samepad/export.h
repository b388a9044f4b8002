#pragma once

/// Marks a symbol that `libsamepad` exports; everything else stays hidden.
#define SAMEPAD_API __attribute__((visibility("default")))
