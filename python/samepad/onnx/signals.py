"""ONNX's operators on signals. The last dimension of a spectrum is (real, imaginary)."""

from typing import Any

import torch
from torch import Tensor

from samepad.onnx.shapes import number


def _spectrum(signal: Tensor, length: Any, dim: int, inverse: bool, onesided: bool) -> Tensor:
    if inverse and onesided:  # half the spectrum of a real signal
        real: Tensor = torch.fft.irfft(signal, length, dim)
        return real.unsqueeze(-1)
    function = torch.fft.ifft if inverse else torch.fft.rfft if onesided else torch.fft.fft
    return torch.view_as_real(function(signal, length, dim))


def dft(
    input: Tensor, length: Any, axis: Any, inverse: bool = False, onesided: bool = False
) -> Tensor:
    """DFT: the Fourier transform along an axis."""
    signal = torch.view_as_complex(input.contiguous()) if input.shape[-1] == 2 else input[..., 0]
    n = None if length is None else number(length)
    return _spectrum(signal, n, number(axis) % input.dim(), inverse, onesided)


def stft(input: Tensor, step: Any, window: Tensor | None, length: Any, onesided: bool) -> Tensor:
    """STFT: the spectra of all frames of a signal, (N, L, 1) to (N, frames, frequencies, 2)."""
    signal = input.squeeze(-1)
    if length is None:
        assert window is not None
        length = window.shape[0]
    frames = signal.unfold(1, number(length), number(step))
    frames = frames if window is None else frames * window
    return _spectrum(frames, None, -1, False, onesided)


#: The function for each operator; ONNX's Hamming window has other coefficients than torch's.
_WINDOWS: dict[str, Any] = {
    "HannWindow": torch.hann_window,
    "HammingWindow": lambda size, **o: torch.hamming_window(size, alpha=25 / 46, beta=21 / 46, **o),
    "BlackmanWindow": torch.blackman_window,
}


def window(size: Any, kind: str, periodic: bool, dtype: torch.dtype) -> Tensor:
    """HannWindow, HammingWindow and BlackmanWindow, named by `kind`; (size,)."""
    made: Tensor = _WINDOWS[kind](number(size), periodic=periodic, dtype=dtype)
    return made
