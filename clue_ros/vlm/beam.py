"""The likeliest text: beam search (Lowerre 1976; Sutskever et al. 2014, arXiv 1409.3215), with no model in it.

Greedy decoding commits itself to a question's first option before it knows the second: "the red one" may be the likeliest
beginning of many sentences, none of which is the likeliest one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from torch import Tensor

Step = Callable[[list[int], list[int]], Tensor]


def likeliest(first: Tensor, step: Step, eos: int, width: int, most: int,
              refused: Callable[[list[int]], bool] = lambda _: False, least: float = -inf) -> tuple[list[int], float]:
    """The best of the texts that the beam meets, and its log probability, the end included; a text of `most` tokens is cut off.
    refused: texts that must not be it, though others may begin like them. least: log probability below which no text is wanted:
    none and -inf where all are.

    first: float[V], log probabilities of the first token. step(tokens, rows): float[k, V] log probabilities after the k texts
    go on by these tokens, each after the text that stood in that row before. -inf for a token that must not come.
    """
    done: list[tuple[float, list[int]]] = []
    score, texts = first[None], [[]]
    for length in range(1, most + 1):
        ranked = score.flatten().topk(min(2 * width, score.numel()))  # of twice as many at least half do not end
        going: list[tuple[float, list[int], int]] = []
        for value, index in zip(ranked.values.tolist(), ranked.indices.tolist()):
            if value == -inf or value < least:
                break
            row, token = divmod(index, score.shape[1])
            if token == eos:
                done += [] if refused(texts[row]) else [(value, texts[row])]
            elif len(going) < width:
                going.append((value, [*texts[row], token], row))
        best = max(done, default=(-inf, []))
        if not going or best[0] >= going[0][0]:  # a text can only become less likely
            return best[1], best[0]
        if length == most:
            break
        values, texts, rows = (list(column) for column in zip(*going))
        after = step([text[-1] for text in texts], rows)
        score = after + after.new_tensor(values)[:, None]
    return going[0][1], going[0][0]
