#pragma once

// A convolution to be computed. It is checked once, where it is built; the plans, the choice among
// them and autograd take it as it is and ask it what they need to know.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sliding_window.h"

namespace samepad::detail {

/// How the weight's first two dimensions are laid out.
enum class WeightLayout : uint8_t {
  output_first,  ///< (O, C / groups, ...): convolutions.
  input_first,   ///< (C, O / groups, ...): transposed convolutions.
};

/// The tensors of a convolution. A bias that is given is defined.
struct ConvTensors {
  at::Tensor input;
  at::Tensor weight;
  std::optional<at::Tensor> bias;
};

/// The tensors in the type that autocast gives convolutions, where it is enabled. This comes before
/// any padding, so that a padded copy is made in the smaller type.
ConvTensors cast_for_autocast(ConvTensors tensors);

/// That, and a weight whose strides PyTorch cannot mistake (`with_plain_strides`), which may be a
/// copy of it: what to do ahead of a convolution that is computed, not only explained.
ConvTensors to_be_computed(ConvTensors tensors);

/// PyTorch's rule for the layout of the output of a convolution of these.
at::MemoryFormat layout_of_output(const at::Tensor& input, const at::Tensor& weight);

/// What convolutions and transposed convolutions are both given, checked: the tensors, and how the
/// kernel slides.
struct ConvArgs : SlidingWindow {
  /// Checks every argument but the padding and expands them to one value per dimension. An input
  /// without a batch becomes a batch of one.
  ///
  /// \param function  what error messages call the operator
  /// \throws c10::Error  naming the argument, what came and what was expected
  ConvArgs(const char* function, int64_t dimensions, WeightLayout layout, ConvTensors tensors,
           c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation, c10::SymInt groups);

  at::Tensor weight;
  std::optional<at::Tensor> bias;
  c10::SymInt groups;
  bool batched;  ///< whether the caller's input was
  /// Whether all tensors have sizes and memory, and no transform, mode or tangent to see through.
  /// For others the graph that fits every size is wanted.
  bool plain;

  /// `output` without the batch that the caller's input did not have.
  at::Tensor as_given(const at::Tensor& output) const {
    return batched ? output : output.squeeze(0);
  }

  /// Whether autograd is to see a convolution of these tensors.
  bool needs_gradient() const;

  /// The layout that PyTorch gives the output of a convolution.
  at::MemoryFormat output_format() const { return layout_of_output(input, weight); }
};

/// A convolution: the arguments and the padding.
struct ConvProblem : ConvArgs {
  /// \param pads      of each dimension; not checked yet
  /// \param fill      how `at::pad` names what the padding holds
  /// \param as_torch  whether the padding was given as amounts, or as "valid". Where the
  ///                  convolution is one that PyTorch computes rightly, its result is then
  ///                  PyTorch's, bit for bit.
  /// \throws c10::Error  where the padding does not fit the input
  ConvProblem(ConvArgs args, PadList pads, std::string fill, bool as_torch);

  /// The same where a mode asks for the padding.
  static ConvProblem of_mode(const ConvArgs& args, PadMode mode, const std::string& fill);

  PadList pads;
  std::string fill;
  bool as_torch;
  /// The mode that has asked for the pads, where they are symbolic. A graph that leaves them to run
  /// time need not compute them.
  std::optional<PadMode> mode;
  bool has_known_pads;   ///< whether no pad is symbolic
  KnownPads known_pads;  ///< then the pads as numbers
  /// No pads at all, or equal ones that the convolution's own padding can stand for.
  bool symmetric;
  /// Each channel is a group of its own, and there is more than one. With a single channel the
  /// convolution is an ordinary one.
  bool depthwise;

  bool pads_with_zeros() const { return fill == "constant"; }

  /// Sizes of the output's spatial dimensions, all known.
  Dims output_size() const;

  /// Why PyTorch would compute this wrongly, or null (plans/library_faults.h).
  const char* library_fault() const;

  /// All sizes of the output, symbolic where the input's or the pads are.
  std::vector<c10::SymInt> output_sizes() const;

 private:
  mutable std::optional<const char*> library_fault_;  ///< once it has been asked for
};

/// Whether `tensor` is plain in the sense of ConvArgs::plain.
bool is_plain(const at::Tensor& tensor);

/// The name that `at::pad` gives to torch.nn's `padding_mode`.
std::string fill_name(std::string_view padding_mode);

/// Throws where `input` is not the batched or unbatched input of `dimensions` dimensions.
void check_input_dimensions(const char* function, int64_t dimensions, const at::Tensor& input);

}  // namespace samepad::detail
