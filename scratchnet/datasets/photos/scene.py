"""A photograph of ink on paper: what the paper, the pen, the light and the camera add.

Paper, Pen, Light and Camera are plain records; `photograph` takes them and the ink's coverage and
returns pixels. Everything random comes from the Generator that is handed in.

Pillow, which writes JPEG, is imported when first used.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from ...backend import runs_twin
from ...pictures.formats import open_image
from .writing import Ink

Colour = tuple[float, float, float]
WHITE: Colour = (232, 231, 226)
INK: Colour = (38, 40, 52)
PALE: Colour = (172, 198, 236)
DARK: Colour = (98, 104, 122)
TABLE: Colour = (74, 56, 44)


@dataclass(frozen=True)
class Paper:
    """What is written on.

    lines      None, "ruled" or "squared", every `pitch` pixels, `width` wide, with a `slope`
    grain      standard deviation of its texture, in grey levels, in blots of `blot` pixels
    folds      lines across the page along which it is lighter on one side, darker on the other
    holes      whether it was punched
    table      how much of the left, top, right and bottom shows the table, as parts of the side
    frame      a black border in the picture, as part of the shorter side
    inset      how far within the picture it lies, as the same part
    """

    colour: Colour = WHITE
    lines: str | None = None
    pitch: float = 44.0
    width: float = 2.0
    line_colour: Colour = PALE
    slope: float = 0.0
    grain: float = 1.0
    blot: int = 3
    folds: int = 0
    holes: bool = False
    table: tuple[float, float, float, float] = (0, 0, 0, 0)
    frame: float = 0.0
    inset: float = 0.0


@dataclass(frozen=True)
class Pen:
    """What is written with.

    cover    how much of the paper's light the ink takes, from 0 to 1
    shade    by how much that varies along the stroke, from 0 to 1
    grain    of a pencil, by how much the paper's texture shows through
    gaps     the share of the stroke that the ball leaves out
    """

    colour: Colour = INK
    cover: float = 1.0
    shade: float = 0.0
    grain: float = 0.0
    gaps: float = 0.0


@dataclass(frozen=True)
class Light:
    """How the paper is lit.

    slope     by how much the light changes from the middle to the border, as a share
    shadow    what is left of the light in the shadow: 1 is no shadow
    soft      pixels over which the shadow's edge is blurred
    kind      "edge", a straight one through the middle; "phone", from the bottom; None
    tint      what the shadow does to red, green and blue besides
    glare     how much light a lamp adds at its brightest, in grey levels
    """

    slope: float = 0.05
    shadow: float = 1.0
    soft: float = 2.0
    kind: str = "edge"
    tint: Colour = (1.0, 1.0, 1.0)
    glare: float = 0.0


@dataclass(frozen=True)
class Camera:
    """What takes the picture: a turn in degrees, perspective as a share of the side by which a
    corner moves, blur and noise as standard deviations in pixels and levels, JPEG's quality."""

    turn: float = 0.0
    perspective: float = 0.0
    blur: float = 0.6
    noise: float = 2.5
    quality: int = 88


def photograph(
    ink: Ink,
    rng: np.random.Generator,
    paper: Paper | None = None,
    pen: Pen | None = None,
    light: Light | None = None,
    camera: Camera | None = None,
) -> NDArray[np.uint8]:
    """Ink (h, w), from 0 to 1, as a colour photograph (h, w, 3) of the same size."""
    paper, pen = paper or Paper(), pen or Pen()
    light, camera = light or Light(), camera or Camera()
    page = _paper(paper, ink.shape, rng)
    cover = _strokes(ink, pen, rng)
    _put_on_table(page, cover, paper)
    scene = exposed(page, cover, np.array(pen.colour, np.float32), *_lit(light, ink.shape, rng))
    if paper.frame:
        outside = round(paper.inset * min(ink.shape))
        border = outside + max(2, round(paper.frame * min(ink.shape)))
        inside = scene[border:-border, border:-border].copy()
        scene[outside : len(scene) - outside, outside : scene.shape[1] - outside] = 12
        scene[border:-border, border:-border] = inside
    return _taken(scene, camera, rng)


def blots(shape: tuple[int, int], size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of standard deviation about 1 in blots of `size` pixels."""
    if size <= 1:
        return rng.standard_normal(shape, np.float32)
    from PIL import Image

    small = rng.standard_normal([-(-side // size) + 1 for side in shape], np.float32)
    image = Image.fromarray(small).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.float32(1.5) * np.asarray(image)


def _paper(paper: Paper, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    h, w = shape
    page = np.empty((h, w, 3), np.float32)
    page[:] = paper.colour
    if paper.grain:
        page += paper.grain * blots(shape, paper.blot, rng)[:, :, None]
    y, x = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)
    if paper.lines:
        begin = rng.uniform(0, paper.pitch, 2)
        cover = _rules(y - paper.slope * x - begin[0], paper)
        if paper.lines == "squared":
            cover = np.maximum(cover, _rules(x + paper.slope * y - begin[1], paper))
        page += cover[:, :, None] * (np.array(paper.line_colour, np.float32) - page)
    for k in range(paper.folds):
        along = rng.uniform(-0.03, 0.03)
        at = rng.uniform(0.3, 0.7)
        across = (y - at * h - along * x) if k % 2 == 0 else (x - at * w - along * y)
        depth = rng.uniform(0.06, 0.14)
        page *= (1 - depth * np.sign(across) * np.exp(-np.abs(across) / 14))[:, :, None]
    if paper.holes:
        radius = 0.022 * max(h, w)
        for at in (0.3, 0.7):
            distance = np.hypot(x - 2.4 * radius, y - at * h)
            inside = (radius - distance + 0.5).clip(0, 1)[:, :, None]
            page += inside * (np.array(TABLE, np.float32) - page)
    return page


def _rules(distance: NDArray, paper: Paper) -> NDArray[np.float32]:
    """Coverage of lines at distances 0, pitch, 2 pitch, ..."""
    nearest = np.abs((distance + paper.pitch / 2) % paper.pitch - paper.pitch / 2)
    return (paper.width / 2 + 0.5 - nearest).clip(0, 1).astype(np.float32)


def _strokes(ink: Ink, pen: Pen, rng: np.random.Generator) -> NDArray[np.float32]:
    cover = np.float32(pen.cover) * ink
    if pen.shade:
        cover = cover * (1 - pen.shade * (0.5 + 0.5 * blots(ink.shape, 25, rng)).clip(0, 1))
    if pen.grain:
        cover = cover * (1 - pen.grain * np.abs(blots(ink.shape, 2, rng))).clip(0, 1)
    if pen.gaps:
        noise = blots(ink.shape, 6, rng)
        level = np.quantile(noise, pen.gaps)
        cover = cover * ((noise - level) * 3 + 0.5).clip(0, 1)
    return cover


def _put_on_table(page: NDArray, cover: NDArray, paper: Paper) -> None:
    """What is beyond the paper's edges shows the table, and no ink."""
    h, w = cover.shape
    left, top, right, bottom = paper.table
    rows = slice(0, round(top * h)), slice(h - round(bottom * h), h)
    columns = slice(0, round(left * w)), slice(w - round(right * w), w)
    for place in rows:
        page[place], cover[place] = TABLE, 0
    for place in columns:
        page[:, place], cover[:, place] = TABLE, 0


def _lit(
    light: Light, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """What `exposed` is to know of the light: lit, shadow, dark, glow."""
    h, w = shape
    y, x = np.linspace(-1, 1, h, dtype=np.float32)[:, None], np.linspace(-1, 1, w, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    lit = (
        1
        + light.slope * np.float32(np.cos(angle)) * x
        + light.slope * np.float32(np.sin(angle)) * y
    )
    nothing = np.broadcast_to(np.float32(0), shape)
    shadow = _shadow(light, (h, w), rng) if light.shadow < 1 else nothing
    glow = nothing
    if light.glare:
        at = rng.uniform(-0.7, 0.7, 2)
        size = rng.uniform(0.15, 0.4)
        down = np.exp(-(((y - at[0]) / size) ** 2), dtype=np.float32)
        glow = np.float32(light.glare) * down * np.exp(-(((x - at[1]) / size) ** 2))
    return lit, shadow, np.float32(light.shadow) * np.array(light.tint, np.float32), glow


@runs_twin("scene")
def exposed(
    page: NDArray,
    cover: NDArray,
    colour: NDArray,
    lit: NDArray,
    shadow: NDArray,
    dark: NDArray,
    glow: NDArray,
) -> NDArray:
    """Ink on paper under the light: what a pixel of the picture is worth, (h, w, 3) uint8.

    page (h, w, 3) and colour (3,), of the ink, in grey levels; cover (h, w), how much of it is ink;
    lit (h, w), the light as a factor; shadow (h, w), how much of a pixel lies in it, and dark (3,),
    what it leaves of red, green and blue; glow (h, w), in grey levels. All of them float32.
    """
    scene = page + cover[:, :, None] * (colour - page)
    scene *= lit[:, :, None]
    scene *= 1 + shadow[:, :, None] * (dark - 1)
    scene += glow[:, :, None]
    return scene.clip(0, 255).astype(np.uint8)


@runs_twin("scene")
def sensed(image: NDArray, kernel: NDArray, noise: NDArray) -> NDArray:
    """The image (h, w, 3) uint8 blurred by the kernel (k,) in both directions, and with noise.

    noise (h, w) float32 is added to all three channels. What is beyond the border repeats it.
    """
    reach = len(kernel) // 2
    h, w, _ = image.shape
    wide = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(np.float32)
    rows = sum(kernel[k] * wide[:, k : k + w] for k in range(len(kernel)))
    both = sum(kernel[k] * rows[k : k + h] for k in range(len(kernel)))
    return np.rint((np.rint(both) + noise[:, :, None]).clip(0, 255)).astype(np.uint8)


def gaussian(sigma: float) -> NDArray[np.float32]:
    """A kernel of that deviation: a box with fractions of pixels at its ends, three times over.

    P. Gwosdek, S. Grewenig, A. Bruhn, J. Weickert, "Theoretical foundations of Gaussian convolution
    by extended box filtering", SSVM 2011, section 3: box of radius r and ends of weight a has the
    variance ((2r + 1) r (r + 1) / 3 + 2a (r + 1)^2) / (2r + 1 + 2a), which is to be sigma^2 / 3.
    """
    each = sigma * sigma / 3
    r = int((np.sqrt(12 * each + 1) - 1) / 2)
    a = (2 * r + 1) * (each - r * (r + 1) / 3) / (2 * ((r + 1) ** 2 - each))
    box = np.array([a, *[1.0] * (2 * r + 1), a]) / (2 * r + 1 + 2 * a)
    return np.convolve(np.convolve(box, box), box).astype(np.float32)


def _shadow(light: Light, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """1 in the shadow, 0 in the light."""
    h, w = shape
    y, x = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)
    if light.kind == "phone":
        top, left = rng.uniform(0.35, 0.65) * h, rng.uniform(0.05, 0.35) * w
        right, lean = rng.uniform(0.65, 0.95) * w, rng.uniform(-0.15, 0.15)
        inside = np.minimum(y - top - lean * (x - w / 2), x - left + lean * y)
        inside = np.minimum(inside, right - x - lean * y)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        inside = np.cos(angle) * (x - rng.uniform(0.35, 0.65) * w)
        inside = inside + np.sin(angle) * (y - rng.uniform(0.35, 0.65) * h)
    return (inside / max(light.soft, 0.5) + 0.5).clip(0, 1).astype(np.float32)


def _taken(scene: NDArray[np.uint8], camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    from PIL import Image

    pixels = scene
    if camera.turn or camera.perspective:
        pixels = np.asarray(_seen_askew(Image.fromarray(scene), camera, rng))
    noise = np.broadcast_to(np.float32(0), pixels.shape[:2])
    if camera.noise:
        noise = np.float32(camera.noise) * rng.standard_normal(pixels.shape[:2], np.float32)
    if camera.noise or camera.blur:
        pixels = sensed(pixels, gaussian(camera.blur), noise)
    if camera.quality:
        file = BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=camera.quality)
        with open_image(file) as opened:
            pixels = np.asarray(opened)
    return pixels


def _seen_askew(image, camera: Camera, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """Through a homography: each corner moved at random, all turned about the middle."""
    from PIL import Image

    w, h = image.size
    corners = np.array([(0, 0), (w, 0), (w, h), (0, h)], float)
    turn = np.deg2rad(camera.turn)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.array([w / 2, h / 2])
    moved = (corners - middle) @ rotation.T + middle
    moved += camera.perspective * min(w, h) * rng.uniform(-1, 1, (4, 2))
    # where each corner of the result comes from: eight equations for eight coefficients
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, moved, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    how = np.linalg.solve(np.array(rows), np.array(values))
    fill = tuple(int(c) for c in np.median(np.asarray(image).reshape(-1, 3), axis=0))
    return image.transform(
        image.size,
        Image.Transform.PERSPECTIVE,
        tuple(how),
        Image.Resampling.BILINEAR,
        fillcolor=fill,
    )
