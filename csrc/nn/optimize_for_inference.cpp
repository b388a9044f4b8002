#include <samepad/nn/fused_conv.h>
#include <samepad/nn/optimize_for_inference.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace samepad {
namespace {

using torch::nn::Module;

template <class Impl>
std::shared_ptr<Impl> as(const torch::nn::AnyModule& module) {
  return std::dynamic_pointer_cast<Impl>(module.ptr());
}

/// The activation that a module computes, if it is one.
std::optional<FusedActivation> activation_of(const torch::nn::AnyModule& module) {
  if (as<torch::nn::ReLUImpl>(module)) {
    return FusedActivation{"relu"};
  }
  if (as<torch::nn::ReLU6Impl>(module)) {
    return FusedActivation{"clamp", {0, 6}};
  }
  if (const auto layer = as<torch::nn::HardtanhImpl>(module)) {
    return FusedActivation{"clamp", {layer->options.min_val(), layer->options.max_val()}};
  }
  if (const auto layer = as<torch::nn::LeakyReLUImpl>(module)) {
    return FusedActivation{"leaky_relu", {layer->options.negative_slope()}};
  }
  if (const auto layer = as<torch::nn::ELUImpl>(module)) {
    return FusedActivation{"elu", {layer->options.alpha()}};
  }
  if (const auto layer = as<torch::nn::GELUImpl>(module)) {
    return FusedActivation{layer->options.approximate() == "tanh" ? "gelu_tanh" : "gelu"};
  }
  if (as<torch::nn::SiLUImpl>(module)) {
    return FusedActivation{"silu"};
  }
  if (as<torch::nn::SigmoidImpl>(module)) {
    return FusedActivation{"sigmoid"};
  }
  if (as<torch::nn::TanhImpl>(module)) {
    return FusedActivation{"tanh"};
  }
  return std::nullopt;
}

/// The options of a convolution of LibTorch's, if its padding is filled with zeros.
template <size_t D>
std::optional<SamePadConvOptions<D>> options_of(const torch::nn::detail::ConvNdOptions<D>& theirs) {
  if (!std::holds_alternative<torch::enumtype::kZeros>(theirs.padding_mode())) {
    return std::nullopt;
  }
  SamePadConvOptions<D> options(theirs.in_channels(), theirs.out_channels(), theirs.kernel_size());
  options.stride(theirs.stride()).dilation(theirs.dilation()).groups(theirs.groups());
  options.bias(theirs.bias());
  if (const auto* const amounts = std::get_if<torch::ExpandingArray<D>>(&theirs.padding())) {
    options.padding(Padding(at::IntArrayRef(**amounts)));
  } else {
    options.padding(Padding(std::holds_alternative<torch::enumtype::kSame>(theirs.padding())
                                ? PadMode::same
                                : PadMode::valid));
  }
  return options;
}

template <size_t D>
std::optional<SamePadConvOptions<D>> options_of(const SamePadConvOptions<D>& ours) {
  return std::holds_alternative<torch::enumtype::kZeros>(ours.padding_mode()) ? std::optional(ours)
                                                                              : std::nullopt;
}

/// A convolution on its way to a fused one.
template <class Fused, size_t D>
struct Chain {
  FusedConvOptions<D> options;
  at::Tensor weight;
  at::Tensor bias;

  template <class Norm>
  void fold(const Norm& norm) {
    // The factors are computed in double precision: the variances may be tiny.
    const at::Tensor root = (norm.running_var.to(at::kDouble) + norm.options.eps()).rsqrt();
    const at::Tensor factor = norm.weight.defined() ? root * norm.weight : root;
    std::vector<int64_t> sizes(weight.dim(), 1);
    sizes[0] = -1;
    const at::ScalarType type = weight.scalar_type();
    const at::Tensor shift = bias.defined() ? bias - norm.running_mean.to(at::kDouble)
                                            : -norm.running_mean.to(at::kDouble);
    weight = (weight * factor.view(sizes)).to(type);
    bias = shift * factor;
    bias = (norm.bias.defined() ? bias + norm.bias : bias).to(type);
    options.bias(true);
  }

  Fused build(bool channels_last) const {
    Fused result(options);
    const auto format = !channels_last || D == 1 ? at::MemoryFormat::Contiguous
                        : D == 2                 ? at::MemoryFormat::ChannelsLast
                                                 : at::MemoryFormat::ChannelsLast3d;
    result->to(weight.device(), weight.scalar_type());
    result->weight.set_data(weight.detach().clone(format));
    if (bias.defined()) {
      result->bias.set_data(bias.detach().clone());
    }
    if (format != at::MemoryFormat::Contiguous) {
      result->pack();
    }
    return result;
  }
};

/// Takes modules from a model one after the other.
class Optimizer {
 public:
  Optimizer(const torch::nn::Sequential& model, bool channels_last)
      : modules_(model->begin(), model->end()), channels_last_(channels_last) {
    for (const auto& [name, child] : model->named_children().pairs()) {
      names_.push_back(name);
    }
  }

  torch::nn::Sequential run() {
    while (next_ < modules_.size()) {
      const bool fused =
          take<SamePadConv1dImpl, FusedConv1d, torch::nn::BatchNorm1dImpl, 1>() ||
          take<SamePadConv2dImpl, FusedConv2d, torch::nn::BatchNorm2dImpl, 2>() ||
          take<SamePadConv3dImpl, FusedConv3d, torch::nn::BatchNorm3dImpl, 3>() ||
          take<torch::nn::Conv1dImpl, FusedConv1d, torch::nn::BatchNorm1dImpl, 1>() ||
          take<torch::nn::Conv2dImpl, FusedConv2d, torch::nn::BatchNorm2dImpl, 2>() ||
          take<torch::nn::Conv3dImpl, FusedConv3d, torch::nn::BatchNorm3dImpl, 3>();
      if (!fused) {
        copy();
      }
    }
    result_->eval();
    return result_;
  }

 private:
  /// If the next module is a `Conv`, appends it and what follows it as one fused module.
  template <class Conv, class Fused, class Norm, size_t D>
  bool take() {
    const auto conv = as<Conv>(modules_[next_]);
    const auto options = conv ? options_of<D>(conv->options) : std::nullopt;
    if (!options) {
      return false;
    }
    std::string name = names_[next_++];
    Chain<Fused, D> chain{FusedConvOptions<D>(*options), conv->weight, conv->bias};
    if (const auto norm = next_ < modules_.size() ? as<Norm>(modules_[next_]) : nullptr;
        norm && norm->options.track_running_stats()) {
      chain.fold(*norm);
      ++next_;
    }
    if (const auto activation =
            next_ < modules_.size() ? activation_of(modules_[next_]) : std::nullopt) {
      chain.options.activation(*activation);
      ++next_;
    }
    result_->push_back(std::move(name), chain.build(channels_last_));
    return true;
  }

  /// Appends a copy of the next module.
  void copy() {
    const torch::nn::AnyModule& module = modules_[next_];
    std::string name = names_[next_++];
    result_->push_back(std::move(name), module.clone());
  }

  std::vector<torch::nn::AnyModule> modules_;
  std::vector<std::string> names_;
  bool channels_last_;
  size_t next_ = 0;
  torch::nn::Sequential result_;
};

}  // namespace

torch::nn::Sequential optimize_for_inference(const torch::nn::Sequential& model,
                                             bool channels_last) {
  TORCH_CHECK(!model->is_training(),
              "expected model to be in evaluation mode, but it is in training mode; call "
              "model->eval()");
  const at::NoGradGuard no_gradients;
  return Optimizer(model, channels_last).run();
}

}  // namespace samepad
