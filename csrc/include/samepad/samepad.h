#pragma once

/// \file
/// All of samepad for C++ programs.

#include <samepad/backends.h>
#include <samepad/conv.h>
#include <samepad/conv_transpose.h>
#include <samepad/fused_conv.h>
#include <samepad/nn/conv.h>
#include <samepad/nn/conv_transpose.h>
#include <samepad/nn/fused_conv.h>
#include <samepad/nn/optimize_for_inference.h>
#include <samepad/nn/pool.h>
#include <samepad/nn/separable.h>
#include <samepad/pad.h>
#include <samepad/padding.h>
#include <samepad/padding_argument.h>
#include <samepad/pool.h>
#include <samepad/version.h>
