// Loads a TorchScript model that was saved in Python and uses samepad's operators, and runs it on
// ones: run_torchscript MODEL.pt HEIGHT WIDTH. In Python:
//
//   torch.jit.script(torch.nn.Sequential(samepad.SamePadConv2d(3, 8, 3,
//   stride=2))).save("MODEL.pt")
//
// The operators register themselves when libsamepad is loaded; linking samepad::samepad does that.

#include <torch/script.h>

#include <cstdlib>
#include <iostream>
#include <string>

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: run_torchscript MODEL.pt HEIGHT WIDTH\n";
    return EXIT_FAILURE;
  }
  torch::jit::Module model = torch::jit::load(argv[1]);
  model.eval();
  const torch::NoGradGuard no_grad;
  const auto input = torch::ones({1, 3, std::stoll(argv[2]), std::stoll(argv[3])});
  const auto output = model.forward({input}).toTensor();
  std::cout << output.sizes() << ' ' << output.sum().item<double>() << '\n';
  return EXIT_SUCCESS;
}
