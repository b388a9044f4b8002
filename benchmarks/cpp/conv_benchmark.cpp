// samepad's convolutions by each of their plans, without Python: on depthwise layers the plan
// `depthwise` is the project's kernels and the call around them, nothing else. `sym` is PyTorch's
// convolution with symmetric padding. As benchmarks/README.md has it, compare in one run.
//
//   samepad_benchmarks --benchmark_filter=forward/NCHW.*depthwise
//
// Google Benchmark's own options choose times and repetitions; OMP_NUM_THREADS the threads.

#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <samepad/conv.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <sstream>
#include <string>

#include "layers.h"
#include "ops/choice/choice.h"

namespace {

using samepad::detail::PlanGuard;

/// A layer's tensors.
struct Operands {
  at::Tensor input;
  at::Tensor weight;
  at::Tensor bias;
};

using Convolve = std::function<at::Tensor(const Layer&, const Operands&)>;

Operands operands(const Layer& layer, at::MemoryFormat memory_format, bool training) {
  const auto make = [&](at::IntArrayRef sizes) {
    return at::randn(sizes).contiguous(memory_format).set_requires_grad(training);
  };
  return {make({layer.batch, layer.channels, layer.size[0], layer.size[1]}),
          make({layer.out, layer.channels / layer.groups, layer.kernel[0], layer.kernel[1]}),
          at::randn({layer.out}).set_requires_grad(training)};
}

at::Tensor symmetric(const Layer& layer, const Operands& of) {
  const std::array<int64_t, 2> padding{(layer.kernel[0] - 1) * layer.dilation / 2,
                                       (layer.kernel[1] - 1) * layer.dilation / 2};
  return at::conv2d(of.input, of.weight, of.bias, layer.stride, padding, layer.dilation,
                    layer.groups);
}

Convolve by_plan(const char* plan) {
  return [plan](const Layer& layer, const Operands& of) {
    const PlanGuard guard(plan);
    return samepad::conv2d(of.input, of.weight, of.bias, layer.stride, samepad::PadMode::same,
                           layer.dilation, layer.groups);
  };
}

void forward(benchmark::State& state, const Layer& layer, at::MemoryFormat memory_format,
             const Convolve& convolve) {
  const at::NoGradGuard no_grad;
  const Operands of = operands(layer, memory_format, /*training=*/false);
  const at::Tensor output = convolve(layer, of);
  for (auto _ : state) {
    benchmark::DoNotOptimize(convolve(layer, of));
  }
  const int64_t products = of.weight.numel() / layer.out;
  state.counters["FLOPS"] = benchmark::Counter(static_cast<double>(2 * output.numel() * products),
                                               benchmark::Counter::kIsIterationInvariantRate);
  const int64_t elements = of.input.numel() + of.weight.numel() + output.numel();
  state.SetBytesProcessed(state.iterations() * elements * output.element_size());
}

/// Forward and backward, with the input's gradient.
void training(benchmark::State& state, const Layer& layer, at::MemoryFormat memory_format,
              const Convolve& convolve) {
  const Operands of = operands(layer, memory_format, /*training=*/true);
  const at::Tensor gradient = at::randn_like(convolve(layer, of).detach());
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        torch::autograd::grad({convolve(layer, of)}, {of.input, of.weight, of.bias}, {gradient}));
  }
}

/// As the other tables name it.
std::string name(const Layer& layer) {
  std::ostringstream text;
  text << layer.batch << 'x' << layer.channels << 'x' << layer.size[0] << 'x' << layer.size[1]
       << "->" << layer.out << ',' << layer.kernel[0] << 'x' << layer.kernel[1] << ",stride"
       << layer.stride[0];
  return text.str();
}

void register_all() {
  const std::array<std::pair<const char*, decltype(&forward)>, 2> steps{
      {{"forward", forward}, {"training", training}}};
  const std::array<std::pair<const char*, at::MemoryFormat>, 2> layouts{
      {{"NCHW", at::MemoryFormat::Contiguous}, {"channels_last", at::MemoryFormat::ChannelsLast}}};
  for (const auto& [step_name, step] : steps) {
    for (const auto& [layout_name, layout] : layouts) {
      for (const Layer& layer : kLayers) {
        const auto add = [&, step = step, layout = layout](const char* how, Convolve convolve) {
          const std::string title =
              std::string(step_name) + '/' + layout_name + '/' + name(layer) + '/' + how;
          benchmark::RegisterBenchmark(title.c_str(), step, layer, layout, std::move(convolve))
              ->UseRealTime()
              ->Unit(benchmark::kMicrosecond);
        };
        add("sym", symmetric);
        add("crop", by_plan("crop"));
        add("pad", by_plan("pad"));
        if (layer.groups == layer.channels) {
          add("depthwise", by_plan("depthwise"));
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 1;
  }
  register_all();
  benchmark::RunSpecifiedBenchmarks();
}
