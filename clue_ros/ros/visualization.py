"""What the model saw, as a picture a person reads at a glance: heatmap, candidates, box, and the dialog below. Pure."""

from __future__ import annotations

import unicodedata

import cv2
import numpy as np

from clue_ros.types import Ambiguity, Box, Decision, Grounding, Prompt

# RGB, 0..255.
FOUND, ASKING = (64, 220, 120), (255, 186, 60)
TEXT, FAINT, PAPER = (238, 238, 242), (150, 154, 166), (24, 26, 32)
FONT = cv2.FONT_HERSHEY_DUPLEX
SHORT_SIDE, LONG_SIDE = 480, 1280  # smaller pictures are enlarged so that words can be read, larger ones reduced


def overlay(rgb: np.ndarray, decision: Decision, prompt: Prompt, alpha: float = 0.55) -> np.ndarray:
    """uint8[H', W, 3] RGB: the picture uint8[h, w, 3], scaled to a readable size, above a strip with the dialog.

    decision: of this very picture, its boxes in the picture's pixels. prompt: what had been said before the look.
    alpha: how much of the picture the hottest cell of the heatmap covers, 0..1.
    """
    height, width = rgb.shape[:2]
    scale = min(max(1.0, SHORT_SIDE / min(height, width)), LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    canvas = blend_heatmap(canvas, decision.ambiguity.heatmap, alpha)
    pointed = isinstance(decision.outcome, Grounding)
    for candidate in sorted(decision.ambiguity.candidates, key=lambda c: c.score):
        _draw_candidate(canvas, _scaled(candidate.box, scale), candidate.score, faint=pointed)
    if pointed:
        found = decision.outcome
        _draw_found(canvas, _scaled(found.box, scale), f"{found.label} {found.score:.2f}")
    return np.concatenate([canvas, _caption(canvas.shape[1], decision, prompt)])


def blend_heatmap(rgb: np.ndarray, heatmap: np.ndarray, alpha: float) -> np.ndarray:
    """uint8[H, W, 3]: the heatmap float[rows, cols], 0..1, over the picture; cold cells stay clear."""
    height, width = rgb.shape[:2]
    heat = cv2.resize(heatmap.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)
    colour = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    weight = (alpha * heat ** 0.7)[..., None]
    return (rgb * (1 - weight) + colour * weight).round().astype(np.uint8)


def _scaled(box: Box, scale: float) -> tuple[int, int, int, int]:
    return round(box.x1 * scale), round(box.y1 * scale), round(box.x2 * scale), round(box.y2 * scale)


def _draw_candidate(canvas: np.ndarray, corners: tuple[int, int, int, int], score: float, *, faint: bool) -> None:
    """A candidate: a light frame with a dark edge, so that it shows on any table."""
    x1, y1, x2, y2 = corners
    cv2.rectangle(canvas, (x1, y1), (x2, y2), (0, 0, 0), 3, cv2.LINE_AA)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), FAINT if faint else (255, 255, 255), 1, cv2.LINE_AA)
    if not faint:
        _tag(canvas, f"{score:.2f}", x1, y1, (255, 255, 255))


def _draw_found(canvas: np.ndarray, corners: tuple[int, int, int, int], label: str) -> None:
    x1, y1, x2, y2 = corners
    cv2.rectangle(canvas, (x1, y1), (x2, y2), (0, 0, 0), 6, cv2.LINE_AA)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), FOUND, 3, cv2.LINE_AA)
    _tag(canvas, label, x1 - 1, y1 - 1, FOUND)


def _tag(canvas: np.ndarray, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    """Dark words on a coloured tag whose lower left corner is (x, y), moved inside the picture."""
    text = plain(text.strip())
    (width, height), _ = cv2.getTextSize(text, FONT, 0.45, 1)
    x = min(max(x, 0), max(0, canvas.shape[1] - width - 8))
    y = max(y, height + 8)
    cv2.rectangle(canvas, (x, y - height - 8), (x + width + 8, y), colour, cv2.FILLED)
    cv2.putText(canvas, text, (x + 4, y - 5), FONT, 0.45, (10, 12, 16), 1, cv2.LINE_AA)


def _caption(width: int, decision: Decision, prompt: Prompt) -> np.ndarray:
    """uint8[h, width, 3]: the dialog, one speaker a line, and how sure the detector is."""
    said = [("person", prompt.instruction, TEXT)]
    for turn in prompt.turns:
        said += [("robot", turn.question, FAINT), ("person", turn.answer, TEXT)]
    if isinstance(decision.outcome, Grounding):
        said.append(("robot", f"[this one] {decision.outcome.label}", FOUND))
    else:
        said.append(("robot", decision.outcome.text, ASKING))
    lines = [(speaker if k == 0 else "", line, colour)
             for speaker, text, colour in said for k, line in enumerate(_wrapped(plain(text), width - 100))]
    step = 25
    strip = np.full((step * len(lines) + 52, width, 3), PAPER, np.uint8)
    for k, (speaker, line, colour) in enumerate(lines):
        baseline = 26 + k * step
        cv2.putText(strip, speaker, (14, baseline), FONT, 0.45, FAINT, 1, cv2.LINE_AA)
        cv2.putText(strip, line, (84, baseline), FONT, 0.55, colour, 1, cv2.LINE_AA)
    _gauge(strip, strip.shape[0] - 22, decision.ambiguity)
    return strip


def _gauge(strip: np.ndarray, y: int, ambiguity: Ambiguity) -> None:
    """A bar as long as P(ambiguous), with a tick at the threshold."""
    colour = ASKING if ambiguity.is_ambiguous else FOUND
    text = f"P(ambiguous) {ambiguity.probability:.2f}"
    cv2.putText(strip, text, (14, y + 5), FONT, 0.45, colour, 1, cv2.LINE_AA)
    left, right = 168, strip.shape[1] - 16
    if right - left < 20:
        return
    at = lambda p: round(left + (right - left) * min(max(p, 0.0), 1.0))  # noqa: E731
    cv2.rectangle(strip, (left, y - 4), (right, y + 4), (58, 62, 74), cv2.FILLED)
    cv2.rectangle(strip, (left, y - 4), (at(ambiguity.probability), y + 4), colour, cv2.FILLED)
    cv2.line(strip, (at(ambiguity.threshold), y - 8), (at(ambiguity.threshold), y + 8), TEXT, 2)


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, at most three of them."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and cv2.getTextSize(longer, FONT, 0.55, 1)[0][0] > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if len(lines) <= 3 else [*lines[:2], lines[2] + " ..."]


def plain(text: str) -> str:
    """The text in the letters that OpenCV's font has: accents are dropped, what remains unknown becomes '?'."""
    folded = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return folded.encode("ascii", "replace").decode()
