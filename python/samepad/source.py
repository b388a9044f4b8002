"""A torch.fx.GraphModule as a .py file that a person would have written."""

import inspect
import keyword
import math
import operator
import sys
import unicodedata
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from samepad._names import identifier, reserved

_OPERATORS = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.floordiv: "//",
    operator.pow: "**",
    operator.matmul: "@",
}

_MISSING = object()


def _value(module: nn.Module, name: str) -> Any:
    """What the constructor's argument `name` was, as far as the module keeps it."""
    if hasattr(module, "depthwise") and hasattr(module, "pointwise"):
        # A separable convolution is made of two that were.
        last = name in ("out_channels", "bias")
        return _value(getattr(module, "pointwise" if last else "depthwise"), name)
    value = getattr(module, name, _MISSING)
    return value if name != "bias" or isinstance(value, bool) else value is not None


def _python(value: Any) -> Any:
    """A number or text of NumPy's, of PyTorch's or of a subclass as Python's own, in lists and
    tuples too; anything else as it is."""
    if isinstance(value, np.generic) or (isinstance(value, torch.Tensor) and value.dim() == 0):
        value = value.item()
    if type(value) in (list, tuple):
        return type(value)(map(_python, value))
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return str.__str__(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """A tuple of equal integers as one of them, which every constructor takes."""
    value = _python(tuple(value) if isinstance(value, torch.Size) else value)
    if isinstance(value, tuple) and value and all(type(v) in (int, float) for v in value):
        return value[0] if len(set(value)) == 1 else value
    return value


def _is_equal(value: Any, other: Any) -> bool:
    """Whether two values are equal; never of arrays and tensors, whose elements are compared."""
    return not isinstance(value, (np.ndarray, torch.Tensor)) and bool(value == other)


def _text(value: str) -> str:
    """A string in double quotes where it has none, with what cannot be printed escaped."""
    return repr(value) if '"' in value else '"' + repr("'" + value)[2:]


def _is_name(text: str) -> bool:
    """Whether Python reads the text, as the name of an attribute in a class, as itself."""
    as_read = unicodedata.normalize("NFKC", text)
    mangled = text.startswith("__")
    return text.isidentifier() and not keyword.iskeyword(text) and text == as_read and not mangled


def _attribute(owner: str, path: str) -> str:
    """The expression for what `owner` has at a dotted path, in which containers have numbers."""
    for name in path.split("."):
        owner = f"{owner}.{name}" if _is_name(name) else f"getattr({owner}, {_text(name)})"
    return owner


def _is_importable(module: str, name: str, thing: Any) -> bool:
    """Whether `module.name`, once it is imported, is the thing."""
    names = [*module.split("."), name]
    found = getattr(sys.modules.get(module), name, None)
    return found is thing and all(map(_is_name, names[:-1])) and _is_name(name)


def _shared(module: nn.Module) -> list[str]:
    """The statements that make one of a layer that two of the module's submodules have."""
    statements = []
    first: dict[int, str] = {}
    done: list[str] = []
    for path, child in module.named_modules(remove_duplicate=False):
        other = first.setdefault(id(child), path)
        apart = path.partition(".")[0] != other.partition(".")[0]
        if apart and not path.startswith(tuple(done)):
            statements.append(f"{_attribute('self', path)} = {_attribute('self', other)}")
            done.append(path + ".")
    return statements


class _Writer:
    """The source of one file."""

    def __init__(self, importable: set[str]) -> None:
        self.importable = importable
        self.imports: dict[str, set[str]] = {}
        self.classes: dict[int, str] = {}
        self.text: list[str] = []

    def use(self, module: str, *names: str) -> None:
        """Import a module, or names from it."""
        self.imports.setdefault(module if names else f"import {module}", set()).update(names)

    def head(self) -> str:
        """The imports: modules, then names."""
        lines = sorted(line for line, names in self.imports.items() if not names)
        for module, names in sorted(self.imports.items(), reverse=True):
            if names:
                lines.append(f"from {module} import {', '.join(sorted(names))}")
        return "\n".join(lines)

    def qualified(self, thing: Any) -> str:
        """How the file calls a class or a function, with the import that this takes.

        Raises:
            ValueError: There is no import for it.
        """
        name, module = getattr(thing, "__name__", ""), getattr(thing, "__module__", None) or ""
        if module.startswith("torch.nn.modules") and getattr(nn, name, None) is thing:
            self.use("torch", "nn")
            return f"nn.{name}"
        if module.startswith("samepad.modules"):
            self.use("samepad", name)
            return str(name)
        for space, prefix in ((torch, "torch"), (torch.nn.functional, "torch.nn.functional")):
            if getattr(space, name, None) is thing:
                self.use("torch")
                return f"{prefix}.{name}"
        if not _is_importable(module, name, thing):
            raise ValueError(f"cannot write {thing!r}: no import by its name gives it")
        if module.startswith("samepad"):
            self.use(module, name)
            return str(name)
        self.use(module)
        return f"{module}.{name}"

    def constructor(self, module: nn.Module) -> str:
        """The call that makes a module such as this.

        Raises:
            ValueError: The module does not keep what it was made with.
        """
        if isinstance(module, fx.GraphModule):
            return f"{self.classes[id(module)]}()"
        kind = type(module)
        arguments: list[str] = []
        keyworded = False
        for name, parameter in inspect.signature(kind).parameters.items():
            skipped = name in ("device", "dtype", "inplace") or name.startswith("_")
            if skipped or parameter.kind.name.startswith("VAR_"):
                if parameter.kind is inspect.Parameter.VAR_POSITIONAL and isinstance(
                    module, nn.RNNBase
                ):
                    arguments += map(self.literal, (module.input_size, module.hidden_size))
                    arguments += self._recurrent(module)
                continue
            value = _value(module, name)
            if value is _MISSING:
                if parameter.default is inspect.Parameter.empty:
                    raise ValueError(f"cannot write {kind.__name__}: it does not keep its {name}")
                continue
            value = _plain(value) if name not in ("shape", "normalized_shape") else value
            if _is_equal(value, _plain(parameter.default)):
                keyworded = True
                continue
            if name == "stride" and "Pool" in kind.__name__ and value == _plain(module.kernel_size):
                keyworded = True
                continue
            if parameter.default is inspect.Parameter.empty and not keyworded:
                arguments.append(self.literal(value))
            else:
                keyworded = True
                arguments.append(f"{name}={self.literal(value)}")
        call = f"{self.qualified(kind)}({', '.join(arguments)})"
        parameters = list(module.parameters())
        types = {parameter.dtype for parameter in parameters} - {torch.float32}
        if types:
            call += f".to({self.literal(types.pop())})"
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            call += ".requires_grad_(False)"
        return call

    def _recurrent(self, module: nn.RNNBase) -> list[str]:
        """torch.nn.LSTM and its like take **kwargs."""
        defaults = {
            "num_layers": 1,
            "nonlinearity": "tanh",
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        return [
            f"{name}={self.literal(getattr(module, name))}"
            for name, default in defaults.items()
            if getattr(module, name, default) != default
        ]

    def literal(self, value: Any, names: dict[fx.Node, str] | None = None) -> str:
        """A value, in which nodes stand for variables, as an expression.

        Raises:
            ValueError: It is no such value: not a number, text, type, slice or structure of those.
        """
        if isinstance(value, fx.Node):
            assert names is not None
            return names[value]
        if isinstance(value, (list, tuple)):
            items = [self.literal(item, names) for item in value]
            if isinstance(value, list):
                return f"[{', '.join(items)}]"
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        if isinstance(value, dict):
            items = [
                f"{self.literal(key)}: {self.literal(item, names)}" for key, item in value.items()
            ]
            return "{" + ", ".join(items) + "}"
        if isinstance(value, slice):
            parts = [self.literal(p, names) for p in (value.start, value.stop, value.step)]
            return f"slice({', '.join(parts)})"
        if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
            self.use("torch")
            return str(value)
        if isinstance(value, torch.device):
            return _text(str(value))
        if value is ...:
            return "..."
        # A tensor's type decides that of results, which a number would not.
        value = _python(value) if not isinstance(value, torch.Tensor) else value
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if isinstance(value, complex):  # whose own text loses the signs of zeros
            return f"complex({self.literal(value.real)}, {self.literal(value.imag)})"
        if value is None or isinstance(value, (bool, int, float)):
            return repr(value)
        raise ValueError(f"cannot write {value!r} ({type(value).__name__}) as source")

    def index(self, key: Any, names: dict[fx.Node, str]) -> str:
        """What stands in brackets."""
        if isinstance(key, tuple) and key:
            items = [
                (self.literal if isinstance(item, tuple) else self.index)(item, names)
                for item in key
            ]
            return ", ".join(items) + ("," if len(items) == 1 else "")
        if not isinstance(key, slice):
            return self.literal(key, names)
        parts = [key.start, key.stop] + ([] if key.step is None else [key.step])
        return ":".join("" if part is None else self.literal(part, names) for part in parts)

    def expression(self, node: fx.Node, names: dict[fx.Node, str]) -> str:
        """The right side of a node's line."""
        arguments = [self.literal(item, names) for item in node.args]
        # What is no variable, such as -2, needs them before an operator or a dot.
        operands = [
            text if isinstance(item, fx.Node) else f"({text})"
            for text, item in zip(arguments, node.args, strict=True)
        ]
        for key, value in node.kwargs.items():
            text = self.literal(value, names)
            arguments.append(f"{key}={text}" if _is_name(key) else f"**{{{_text(key)}: {text}}}")
        if node.op == "call_module":
            return f"{_attribute('self', str(node.target))}({', '.join(arguments)})"
        if node.op == "call_method":
            method = f"{operands[0]}.{node.target}"
            if not _is_name(str(node.target)):
                method = f"getattr({arguments[0]}, {_text(str(node.target))})"
            return f"{method}({', '.join(arguments[1:])})"
        target: Any = node.target
        if target in _OPERATORS:
            return f"{operands[0]} {_OPERATORS[target]} {operands[1]}"
        if target is operator.neg:
            return f"-{operands[0]}"
        if target is operator.getitem:
            return f"{operands[0]}[{self.index(node.args[1], names)}]"
        return f"{self.qualified(target)}({', '.join(arguments)})"

    def write(self, module: fx.GraphModule, class_name: str) -> None:
        """The classes for a module: first those of the graph modules in it."""
        for name, child in module.named_children():
            if isinstance(child, fx.GraphModule) and id(child) not in self.classes:
                self.write(child, self._class_name(name))
        self.classes[id(module)] = class_name
        self.use("torch", "nn")
        lines = [f"class {class_name}(nn.Module):"]
        # What passes and exporters keep there is their own.
        meta = {key: text for key, text in module.meta.items() if isinstance(text, str)}
        if meta:
            lines += [f"    meta = {self.literal(meta)}", ""]
        lines.append("    def __init__(self):")
        statements = ["super().__init__()", *self.members("self", module), *_shared(module)]
        lines += [f"        {statement}" for statement in statements]
        inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
        names = self._variables(module.graph)
        signature = ", ".join(["self", *(names[node] for node in inputs)])
        lines += ["", f"    def forward({signature}):"]
        for node in module.graph.nodes:
            if node.op == "output":
                lines.append(f"        return {self.literal(node.args[0], names)}")
            elif node.op not in ("placeholder", "get_attr"):
                lines.append(f"        {names[node]} = {self.expression(node, names)}")
        self.text.append("\n".join(lines) + "\n")

    def members(self, owner: str, module: nn.Module) -> list[str]:
        """The statements that give `owner`, an expression, what `module` has."""
        lines = []
        for name, child in module.named_children():
            # What holds layers that torch.fx has found below it.
            holder = type(child) is nn.Module
            made = "nn.Module()" if holder else self.constructor(child)
            if _is_name(name):
                lines.append(f"{owner}.{name} = {made}")
            else:
                lines.append(f"{owner}.add_module({self.literal(name)}, {made})")
            if holder:
                lines += self.members(_attribute(owner, name), child)
        for name, buffer in module.named_buffers(recurse=False):
            zeros = self._zeros(buffer)
            lines.append(f"{owner}.register_buffer({self.literal(name)}, {zeros})")
        for name, parameter in module.named_parameters(recurse=False):
            zeros = self._zeros(parameter)
            lines.append(f"{owner}.register_parameter({self.literal(name)}, nn.Parameter({zeros}))")
        return lines

    def _zeros(self, tensor: torch.Tensor) -> str:
        self.use("torch")
        return f"torch.zeros({self.literal(tuple(tensor.shape))}, dtype={tensor.dtype})"

    def _class_name(self, name: str) -> str:
        """A class for the submodule `name`: its words with capitals."""
        words = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
        return identifier(words, self.importable.union(self.classes.values()))

    def _variables(self, graph: fx.Graph) -> dict[fx.Node, str]:
        """A variable for each node: `x` while only one value is alive, else a name of its own."""
        order = {node: i for i, node in enumerate(graph.nodes)}
        ends = {n: max((order[user] for user in n.users), default=order[n]) for n in graph.nodes}
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        names: dict[fx.Node, str] = {}
        busy_until = -1  # when the value in `x` is used for the last time
        taken = {"x", *self.importable}  # no variable may hide what the file imports
        for node in graph.nodes:
            if node.op == "get_attr":
                names[node] = _attribute("self", str(node.target))
            elif (node.op != "placeholder" or len(inputs) == 1) and busy_until <= order[node]:
                names[node], busy_until = "x", ends[node]
            else:
                names[node] = identifier(node.name, taken)
                taken.add(names[node])
        return names


def _importable(module: fx.GraphModule) -> set[str]:
    """The names that a file with this module may import: classes, functions, and packages."""
    names = set()
    for child in module.modules():
        if not isinstance(child, fx.GraphModule):
            names.add(type(child).__name__)
            continue
        for node in child.graph.nodes:
            if node.op == "call_function":
                target: Any = node.target
                names |= {target.__name__, (target.__module__ or "torch").partition(".")[0]}
    return names


def write_source(module: fx.GraphModule, class_name: str = "Model") -> str:
    """A .py file with the class of a module, and with those of the graph modules in it.

    A layer is written from its own attributes: classes of torch.nn, of samepad, and others that
    keep the arguments of their constructor under the same names. Weights are not written: the
    class's state_dict has the module's names and shapes. What is text in the
    module's `meta` is the class's.

    Args:
        module: What samepad.keras.to_torch or torch.fx.symbolic_trace made.
        class_name: What the class is to be called.

    Returns:
        The source, ready to be imported where PyTorch and samepad are.

    Raises:
        ValueError: class_name is no name, or one that the file itself needs; a layer does not keep
            what it was made with.
    """
    importable = _importable(module)
    if not str(class_name).isidentifier() or str(class_name) in reserved() | importable:
        raise ValueError(
            "class_name must be a name of a class, and none that its source refers to, but got "
            f"{class_name!r}"
        )
    writer = _Writer(importable)
    writer.classes[0] = class_name
    writer.write(module, class_name)
    return writer.head() + "\n\n\n" + "\n\n".join(writer.text)
