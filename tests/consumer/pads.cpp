#include <samepad/pad.h>

#include <iostream>

int main() {
  for (const auto& pads : samepad::same_padding(224, 3, 2)) {
    std::cout << pads.before << ' ' << pads.after << '\n';
  }
}
