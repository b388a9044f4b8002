// Builds a small network with samepad::SamePadConv2d, trains it to tell horizontal from vertical
// stripes, saves it, loads it into a second network and compares the two.

#include <samepad/samepad.h>
#include <torch/torch.h>

#include <cstdlib>
#include <iostream>
#include <string>

namespace {

struct NetImpl : torch::nn::Module {
  NetImpl()
      : conv1(register_module(
            "conv1", samepad::SamePadConv2d(samepad::SamePadConv2dOptions(1, 8, 3).stride(2)))),
        conv2(register_module(
            "conv2", samepad::SamePadConv2d(samepad::SamePadConv2dOptions(8, 16, 3).stride(2)))),
        head(register_module("head", torch::nn::Linear(16, 2))) {}

  torch::Tensor forward(torch::Tensor x) {
    x = torch::relu(conv1(x));
    x = torch::relu(conv2(x));
    return head(x.mean({2, 3}));
  }

  samepad::SamePadConv2d conv1;
  samepad::SamePadConv2d conv2;
  torch::nn::Linear head;
};
TORCH_MODULE(Net);

/// Noisy stripes of 15 x 15 pixels, horizontal for label 0 and vertical for label 1.
std::pair<torch::Tensor, torch::Tensor> stripes(int64_t count) {
  const auto labels = torch::randint(2, {count});
  const auto lines = torch::arange(15).remainder(2).to(torch::kFloat);
  const auto rows = lines.view({15, 1}).expand({15, 15});
  const auto images = torch::where(labels.view({count, 1, 1, 1}) == 0, rows, rows.t());
  return {images + 0.3 * torch::randn({count, 1, 15, 15}), labels};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string file = argc > 1 ? argv[1] : "net.pt";
  torch::manual_seed(0);
  Net net;
  std::cout << net << '\n';

  torch::optim::Adam optimizer(net->parameters(), 0.01);
  for (int step = 0; step <= 40; ++step) {
    const auto [images, labels] = stripes(64);
    const auto loss = torch::nn::functional::cross_entropy(net->forward(images), labels);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (step % 10 == 0) {
      std::cout << "step " << step << "  loss " << loss.item<float>() << '\n';
    }
  }

  torch::save(net, file);
  Net loaded;
  torch::load(loaded, file);

  const torch::NoGradGuard no_grad;
  const auto [images, labels] = stripes(256);
  const auto output = net->forward(images);
  const auto right = (output.argmax(1) == labels).to(torch::kFloat).mean().item<float>();
  const bool same = torch::equal(output, loaded->forward(images));
  std::cout << "accuracy " << right << "\nsaved and loaded network answers "
            << (same ? "the same" : "otherwise") << '\n';
  return same && right > 0.9F ? EXIT_SUCCESS : EXIT_FAILURE;
}
