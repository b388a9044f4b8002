"""ONNX's Attention."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    past_key: Tensor | None,
    past_value: Tensor | None,
    lengths: Tensor | None,
    query_heads: int,
    heads: int,
    scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    precision: torch.dtype | None = None,
    mode: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Attention: softmax(scale Q K^T + mask) V.

    Args:
        query: (N, heads, L, E), or (N, L, heads * E).
        key: (N, heads, S, E), or (N, S, heads * E). There may be fewer heads than in `query`; each
            one then serves several heads of the query.
        value: (N, heads, S, F), or (N, S, heads * F).
        mask: Broadcasts to (N, heads, L, S), but may be shorter along S: booleans, False for what
            is left out, or numbers that are added.
        past_key: (N, heads, P, E), which comes before `key`; or None.
        past_value: (N, heads, P, F), which comes before `value`; or None.
        lengths: (N,): how many of the S keys are valid; None for all.
        query_heads: The number of the query's heads, if it has three dimensions.
        heads: The number of the key's heads, if it has three dimensions.
        scale: By default 1 / sqrt(E).
        causal: Whether a query only attends to keys up to its own position.
        window: How many positions before and after its own a query attends to; -1 for all.
        softcap: If not 0, scores s become softcap * tanh(s / softcap).
        precision: The type in which the softmax is computed; the query's if None.
        mode: What the last result is: 0 for Q K^T, 1 for that after softcap, 2 for that with the
            mask added, 3 for the probabilities.

    Returns:
        The output, of the query's number of dimensions; the keys and values with those of the past;
        and the scores or probabilities, (N, heads, L, S).
    """
    flat = query.dim() == 3
    if flat:
        query, key, value = (
            x.reshape(*x.shape[:2], count, -1).transpose(1, 2)
            for x, count in ((query, query_heads), (key, heads), (value, heads))
        )
    past = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
    bias = _bias(query, key.shape[2], mask, lengths, past, causal, window)
    repeats = query.shape[1] // key.shape[1]
    keys, values = (x.repeat_interleave(repeats, 1) if repeats > 1 else x for x in (key, value))
    # The specification rounds the factor to the query's type.
    factor = query.new_tensor(math.sqrt(query.shape[-1] ** -0.5 if scale is None else scale))
    scores = [(query * factor) @ (keys * factor).transpose(-1, -2)]
    scores.append(torch.tanh(scores[0] / softcap) * softcap if softcap else scores[0])
    scores.append(scores[1] if bias is None else scores[1] + bias)
    last = scores[2] if precision is None else scores[2].to(precision)
    # A query that attends to nothing has the result 0.
    empty = torch.isneginf(last.amax(-1, keepdim=True))
    weights = torch.where(empty, torch.zeros_like(last), last).softmax(-1)
    weights = torch.where(empty, torch.zeros_like(weights), weights).to(query.dtype)
    scores.append(weights)
    output = weights @ values
    if flat:
        output = output.transpose(1, 2).flatten(2)
    return output, key, value, scores[mode]


def _bias(
    query: Tensor,
    keys: int,
    mask: Tensor | None,
    lengths: Tensor | None,
    past: int,
    causal: bool,
    window: tuple[int, int],
) -> Tensor | None:
    """Return what is added to the scores, (N or 1, heads or 1, L, S); None for nothing."""
    allowed, added = None, None
    if mask is not None:
        missing = keys - mask.shape[-1]
        if mask.dtype == torch.bool:
            allowed = F.pad(mask, (0, missing), value=False)
        else:
            added = F.pad(mask, (0, missing), value=float("-inf"))
    own = torch.arange(query.shape[2], device=query.device)[:, None]
    positions = torch.arange(keys, device=query.device)
    # Queries come after the past; with lengths, they are the last of the valid positions.
    first = past if lengths is None else lengths.reshape(-1, 1, 1, 1) - query.shape[2]
    before, after = window
    rules = []
    if causal:
        rules.append(positions <= own + first)
    if before >= 0:
        rules.append(own + first - positions <= before)
    if after >= 0:
        rules.append(positions - own - first <= after)
    if lengths is not None:
        rules.append(positions < lengths.reshape(-1, 1, 1, 1))
    for rule in rules:
        allowed = rule if allowed is None else allowed & rule
    if allowed is not None:
        zeros = torch.zeros((), dtype=query.dtype, device=query.device)
        masked = torch.where(allowed, zeros, float("-inf"))
        added = masked if added is None else added + masked
    return added
