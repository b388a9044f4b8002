"""ONNX's operators on signals: spectra, whose last dimension is a real and an imaginary part."""

from typing import Any

import torch
from torch import Tensor

from samepad.onnx.shapes import number


def _spectrum(signal: Tensor, length: Any, dim: int, inverse: bool, onesided: bool) -> Tensor:
    if inverse and onesided:  # of a real signal
        real: Tensor = torch.fft.irfft(signal, length, dim)
        return real.unsqueeze(-1)
    function = torch.fft.ifft if inverse else torch.fft.rfft if onesided else torch.fft.fft
    return torch.view_as_real(function(signal, length, dim))


def dft(
    input: Tensor, length: Any, axis: Any, inverse: bool = False, onesided: bool = False
) -> Tensor:
    """DFT along an axis."""
    signal = torch.view_as_complex(input.contiguous()) if input.shape[-1] == 2 else input[..., 0]
    n = None if length is None else number(length)
    return _spectrum(signal, n, number(axis) % input.dim(), inverse, onesided)


def stft(input: Tensor, step: Any, window: Tensor | None, length: Any, onesided: bool) -> Tensor:
    """STFT: a spectrum for each frame of (N, L, 1), (N, frames, frequencies, 2)."""
    signal = input.squeeze(-1)
    if length is None:
        assert window is not None
        length = window.shape[0]
    frames = signal.unfold(1, number(length), number(step))
    frames = frames if window is None else frames * window
    return _spectrum(frames, None, -1, False, onesided)


#: By operator; Hamming's are not torch's own numbers.
_WINDOWS: dict[str, Any] = {
    "HannWindow": torch.hann_window,
    "HammingWindow": lambda size, **o: torch.hamming_window(size, alpha=25 / 46, beta=21 / 46, **o),
    "BlackmanWindow": torch.blackman_window,
}


def window(size: Any, kind: str, periodic: bool, dtype: torch.dtype) -> Tensor:
    """HannWindow, HammingWindow and BlackmanWindow."""
    made: Tensor = _WINDOWS[kind](number(size), periodic=periodic, dtype=dtype)
    return made
