# Sourced by the scripts of this folder: makes environments that have no more than a user's.
# $root is the checkout, whose .venv `make test` made.

site() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# fresh_environment <folder>: PyTorch is the one of .venv, linked rather than installed again.
fresh_environment() {
  "$root/.venv/bin/python" -m venv "$1"
  local from to
  from=$(site "$root/.venv")
  to=$(site "$1")
  # What importing torch needs, and no more.
  for entry in torch torchgen functorch filelock fsspec jinja2 markupsafe mpmath networkx numpy \
    numpy.libs sympy typing_extensions.py {torch,filelock,fsspec,jinja2,markupsafe,mpmath,networkx,numpy,sympy,typing_extensions}-*.dist-info; do
    for path in "$from"/$entry; do
      if [ -e "$path" ]; then ln -s "$path" "$to/"; fi
    done
  done
}

# check <environment>: samepad can be imported from another folder, and computes.
check() {
  (cd / && "$1/bin/python" -c '
import torch, samepad
layer = samepad.SamePadConv2d(3, 8, 3, stride=2)
assert layer(torch.randn(1, 3, 15, 16)).shape == (1, 8, 8, 8)
print("installed and imported:", samepad.__version__, samepad.__file__)
')
}
