#pragma once

// Describes a convolution to be computed. Its arguments are checked once, when it is constructed;
// the plans, the choice among them and autograd rely on that.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sliding_window.h"

namespace samepad::detail {

/// The order of the weight's first two dimensions.
enum class WeightLayout : uint8_t {
  output_first,  ///< (O, C / groups, ...): convolutions.
  input_first,   ///< (C, O / groups, ...): transposed convolutions.
};

/// The tensors of a convolution. A bias that is given is a defined tensor.
struct ConvTensors {
  at::Tensor input;
  at::Tensor weight;
  std::optional<at::Tensor> bias;
};

/// Casts the tensors to the type that autocast uses for convolutions, if it is enabled. This comes
/// before any padding, so that a padded copy is made in the smaller type.
ConvTensors cast_for_autocast(ConvTensors tensors);

/// Does the same, and also replaces a weight by a copy if PyTorch might mistake its strides
/// (`with_plain_strides`). Explaining a convolution does not need that, computing it does.
ConvTensors to_be_computed(ConvTensors tensors);

/// The layout that PyTorch gives the output of a convolution of these tensors.
at::MemoryFormat layout_of_output(const at::Tensor& input, const at::Tensor& weight);

/// The checked arguments that convolutions and transposed convolutions share: the tensors, and how
/// the kernel slides.
struct ConvArgs : SlidingWindow {
  /// Checks all arguments except the padding and expands them to one value per dimension. An input
  /// without a batch becomes a batch of one.
  ///
  /// \param function     what error messages call the operator
  /// \throws c10::Error  naming the argument, what came and what was expected
  ConvArgs(const char* function, int64_t dimensions, WeightLayout layout, ConvTensors tensors,
           c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation, c10::SymInt groups);

  at::Tensor weight;
  std::optional<at::Tensor> bias;
  c10::SymInt groups;
  bool batched;  ///< whether the caller's input has a batch dimension
  /// Whether all tensors have known sizes and memory, and no transform, mode or tangent has to see
  /// through the computation. If not, it has to be made of operators that work for every size.
  bool plain;

  /// Removes the batch dimension from `output` if the caller's input had none.
  at::Tensor as_given(const at::Tensor& output) const {
    return batched ? output : output.squeeze(0);
  }

  /// Whether autograd has to record a convolution of these tensors.
  bool needs_gradient() const;

  /// The layout that PyTorch gives the output of this convolution.
  at::MemoryFormat output_format() const { return layout_of_output(input, weight); }
};

/// A convolution: its arguments and its padding.
struct ConvProblem : ConvArgs {
  /// \param pads      the padding of each dimension, not checked yet
  /// \param fill      the mode of `at::pad` that fills the padding
  /// \param as_torch  whether the padding was given as amounts or as "valid". Convolutions that
  ///                  PyTorch can compute itself then give PyTorch's result, bit for bit, unless
  ///                  PyTorch computes them wrongly.
  /// \throws c10::Error  if the padding does not fit the input
  ConvProblem(ConvArgs args, PadList pads, std::string fill, bool as_torch);

  /// The problem whose padding is prescribed by modes.
  static ConvProblem of_modes(const ConvArgs& args, const Modes& modes, const std::string& fill);

  /// The problem of an operator that takes the stride of every dimension and either the text of
  /// modes or, if there is none, amounts of zeros: before and after each dimension in turn.
  static ConvProblem of_operator(const char* function, const ConvTensors& tensors,
                                 std::optional<std::string_view> mode, c10::SymIntArrayRef pads,
                                 c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
                                 const c10::SymInt& groups);

  PadList pads;
  std::string fill;
  bool as_torch;
  /// The modes that prescribed the pads, if any pad is symbolic. A graph that defers the
  /// convolution to run time passes on the modes, so that it need not compute the pads.
  std::optional<Modes> modes;
  bool has_known_pads;   ///< whether no pad is symbolic
  KnownPads known_pads;  ///< the pads as numbers, if `has_known_pads`
  /// Whether there is no padding, or equal padding on both sides that PyTorch's convolution can add
  /// itself.
  bool symmetric;
  /// Whether each channel is a group of its own and there are several. A convolution of a single
  /// channel counts as an ordinary one.
  bool depthwise;

  bool pads_with_zeros() const { return fill == "constant"; }

  /// The sizes of the output's spatial dimensions. None may be symbolic.
  Dims output_size() const;

  /// Why PyTorch would compute this wrongly, or null if it would not (plans/library_faults.h).
  const char* library_fault() const;

  /// All sizes of the output, symbolic if the input's sizes or the pads are.
  std::vector<c10::SymInt> output_sizes() const;

 private:
  mutable std::optional<const char*> library_fault_;  ///< cached by the first call
};

/// Whether `tensor` is plain in the sense of ConvArgs::plain.
bool is_plain(const at::Tensor& tensor);

/// The mode of `at::pad` that corresponds to torch.nn's `padding_mode`.
std::string fill_name(std::string_view padding_mode);

/// Throws if `input` does not have `dimensions` spatial dimensions, with or without a batch.
void check_input_dimensions(const char* function, int64_t dimensions, const at::Tensor& input);

}  // namespace samepad::detail
