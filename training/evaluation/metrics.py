"""How alike two pictures are: PSNR and SSIM as DA-CLIP and VLU-Net each measure them, LPIPS, and FID of whole sets.

    restored, GT ─ a protocol cuts, clips, rounds ─► PSNR and SSIM, over RGB and over the luma Y
    restored, GT ─ AlexNet's features ─► LPIPS          sets of both ─ Inception's features ─► FID

PSNR and SSIM are NumPy and OpenCV in float64. Networks of LPIPS and FID come from lpips and torch-fidelity; where they
or their weights cannot be had, `UnavailableMetricError` says so, and no number stands in for them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patina.captioning.torchvision_ops import ensure_torchvision
from patina.training.errors import ModelInputError, StageError, TrainingError
from patina.training.models.layers import told_not_finite

Pixels: TypeAlias = NDArray[np.uint8]  # H x W x 3, RGB
Values: TypeAlias = NDArray[np.uint8] | NDArray[np.floating[Any]]  # H x W x 3 or H x W


PERFECT = 100.0
"""dB that equal pictures count as, so that a mean over them is a number; nothing counts as more."""

GAUSSIAN_WINDOW, UNIFORM_WINDOW = 11, 7
"""Sides of SSIM's windows, px."""


class UnavailableMetricError(TrainingError, RuntimeError):
    """A metric whose library or weights cannot be had. One sentence: what is lacking, and what gives it."""


def psnr(x: Values, y: Values, border: int = 0, *, peak: float = 255.0) -> float:
    """Peak signal to noise ratio, dB, all channels together; inf for equal pictures.

    x, y    H x W x 3 or H x W, of levels up to `peak`: bytes, or floats that nothing rounds.
    border  px that are left out on every side.
    Raises ModelInputError for different shapes, and if nothing is left.
    """
    a, b = _inner(x, y, border)
    error = float(np.mean(np.square(a - b)))
    return 10 * math.log10(peak**2 / error) if error else math.inf


def psnr_for_means(x: Values, y: Values) -> float:
    """`psnr`, PERFECT at most."""
    return min(psnr(x, y), PERFECT)


def ssim_gaussian(x: Values, y: Values, border: int = 0, *, peak: float = 255.0) -> float:
    """SSIM as DA-CLIP measures it: a Gaussian of σ 1.5 in 11 x 11 px, where it lies within; mean over channels.

    x, y, border as of `psnr`. Raises ModelInputError as there, and for pictures that the window does not fit into.
    """
    a, b = _inner(x, y, border, window=GAUSSIAN_WINDOW)
    kernel = cv2.getGaussianKernel(GAUSSIAN_WINDOW, 1.5)

    def mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return _valid(cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel), 5)

    return _ssim(a, b, mean, 1.0, peak)


def ssim_uniform(x: Values, y: Values, border: int = 0, *, peak: float = 1.0) -> float:
    """SSIM as VLU-Net measures it, which is scikit-image's: 7 x 7 px alike, sample covariance, mean over channels.

    x, y, border as of `psnr`. Raises ModelInputError as there, and for pictures that the window does not fit into.
    """
    a, b = _inner(x, y, border, window=UNIFORM_WINDOW)

    def mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return _valid(cv2.boxFilter(image, cv2.CV_64F, (7, 7)), 3)

    return _ssim(a, b, mean, 49 / 48, peak)


def luma(x: Values) -> NDArray[np.float64]:
    """Y of BT.601 as DA-CLIP measures it, H x W, 16 to 235, not rounded, of H x W x 3 RGB levels 0 to 255."""
    y: NDArray[np.float64] = np.asarray(x, np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255) + 16
    return y


def _ssim(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    mean: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    sample: float,
    peak: float,
) -> float:
    """Mean structural similarity with moments by `mean`; (co)variances times `sample`."""
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mu_a, mu_b = mean(a), mean(b)
    var_a = sample * (mean(a * a) - mu_a * mu_a)
    var_b = sample * (mean(b * b) - mu_b * mu_b)
    cov = sample * (mean(a * b) - mu_a * mu_b)
    above = (2 * mu_a * mu_b + c1) * (2 * cov + c2)
    return float(np.mean(above / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))))


def _inner(x: Values, y: Values, border: int, window: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64 without the border."""
    if x.shape != y.shape or x.ndim not in (2, 3):
        raise ModelInputError(f"pictures of {x.shape} and {y.shape}; expected one shape, H x W x 3 or H x W")
    if border < 0 or min(x.shape[:2]) - 2 * border < window:
        raise ModelInputError(
            f"pictures of {x.shape[1]} x {x.shape[0]} px with a border of {border} left out; expected {window} px or "
            "more on each side to be left; take larger pictures"
        )
    inside = slice(border, x.shape[0] - border), slice(border, x.shape[1] - border)
    return np.asarray(x, np.float64)[inside], np.asarray(y, np.float64)[inside]


def _valid(image: Any, reach: int) -> NDArray[np.float64]:
    filtered: NDArray[np.float64] = image[reach:-reach, reach:-reach]
    return filtered


# What each paper does


@dataclass(frozen=True)
class Protocol:
    """What is done to a restored picture before it is measured.

    rounded   to bytes, or left as floats. multiple: the centre is cut to multiples of so many px.
    border    px left out on every side.
    ssim      the paper's, by the largest level; window: the px on each side that it takes at least.
    """

    rounded: bool
    multiple: int
    border: int
    ssim: Callable[..., float]
    window: int

    @property
    def least(self) -> int:
        """The shortest side of a picture that can be measured, px."""
        return -(-(self.window + 2 * self.border) // self.multiple) * self.multiple


PROTOCOLS: dict[str, Protocol] = {
    # The border is the code's fallback for a scale factor of 4, which nothing here has; the paper's figures are so
    "daclip": Protocol(rounded=True, multiple=1, border=4, ssim=ssim_gaussian, window=GAUSSIAN_WINDOW),
    "vlunet": Protocol(rounded=False, multiple=16, border=0, ssim=ssim_uniform, window=UNIFORM_WINDOW),
}


def expect_side(protocol: str, side: int) -> None:
    """Raise StageError for squares of so many px, 0 being whole pictures, that a protocol cannot measure."""
    least = PROTOCOLS[protocol].least
    if side and side < least:
        raise StageError(f"side = {side}; {protocol} measures from {least} px on each side")


def measure(restored: Tensor | Values, gt: Pixels, protocol: str = "daclip") -> dict[str, float]:
    """`psnr`, `psnr_y` (dB), `ssim` and `ssim_y` of a restored picture by a protocol.

    restored  3 x H x W tensor or H x W x 3 array of floats, about [0, 1], which are clipped; or H x W x 3 bytes.
    gt        H x W x 3 bytes.
    VLU-Net's paper measures RGB alone; its Y is treated likewise.
    Raises ModelInputError for an unknown protocol, other shapes, pictures too small, and numbers that are not finite.
    """
    if protocol not in PROTOCOLS:
        raise ModelInputError(f"no protocol {protocol!r}; known are {', '.join(PROTOCOLS)}")
    p = PROTOCOLS[protocol]
    a = _levels(restored, p.rounded)  # H x W x 3, 0 to 255
    if gt.dtype != np.uint8 or gt.ndim != 3 or a.shape != gt.shape:
        raise ModelInputError(
            f"a restored picture of {a.shape} beside a clean one of {gt.shape} {gt.dtype}; expected H x W x 3 both, "
            "and bytes of the clean one"
        )
    a, b = _middle(a, p.multiple), _middle(gt.astype(np.float64), p.multiple)
    y_a, y_b = luma(a), luma(b)
    return {
        "psnr": psnr(a, b, p.border),
        "ssim": p.ssim(a, b, p.border, peak=255.0),
        "psnr_y": psnr(y_a, y_b, p.border),
        "ssim_y": p.ssim(y_a, y_b, p.border, peak=255.0),
    }


def _levels(restored: Tensor | Values, rounded: bool) -> NDArray[np.float64]:
    if isinstance(restored, Tensor):
        if restored.ndim != 3 or restored.shape[0] != 3:
            raise ModelInputError(f"a restored tensor of shape {tuple(restored.shape)}; expected 3 x H x W")
        restored = restored.detach().float().cpu().permute(1, 2, 0).numpy()
    if restored.dtype == np.uint8:
        return restored.astype(np.float64)
    values = restored.astype(np.float64)
    if strange := values.size - int(np.isfinite(values).sum()):
        raise ModelInputError(f"a restored picture with {strange:,} of {values.size:,} numbers that are not finite")
    levels: NDArray[np.float64] = np.clip(values, 0, 1) * 255
    return np.rint(levels) if rounded else levels


def _middle(image: NDArray[np.float64], multiple: int) -> NDArray[np.float64]:
    """The centre, with sides that are multiples."""
    height, width = (n - n % multiple for n in image.shape[:2])
    if not height or not width:
        raise ModelInputError(
            f"a picture of {image.shape[1]} x {image.shape[0]} px; the protocol cuts sides to multiples of {multiple}"
        )
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


# Networks


LPIPS_LEAST = 32
"""Shortest side of a picture that AlexNet's layers take, px."""


class Lpips:
    """LPIPS (Zhang et al. 2018) by AlexNet, as DA-CLIP measures it: on what the network gave, not clipped, not cut.

    weights  file of torchvision's AlexNet (`alexnet-owt-7be5be79.pth`); None: by name, from torchvision's
             cache or server.
    """

    def __init__(self, weights: Path | None = None, device: torch.device | str = "cpu") -> None:
        """Raises UnavailableMetricError."""
        ensure_torchvision()
        try:
            lpips = import_module("lpips")
        except ImportError as error:
            raise UnavailableMetricError(f"the library lpips is not installed ({error}); pip install lpips") from None
        try:
            stored = None if weights is None else _tensors(weights)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # lpips calls torchvision by arguments of before 0.13
                net: Any = lpips.LPIPS(net="alex", pnet_rand=stored is not None, verbose=False)
            if stored is not None:
                # lpips keeps AlexNet's layers in slices, under the numbers that they have in torchvision's
                names = {name: f"features.{name.partition('.')[2]}" for name in net.net.state_dict()}
                net.net.load_state_dict({name: stored[theirs] for name, theirs in names.items()})
        except (OSError, KeyError, RuntimeError) as error:
            raise UnavailableMetricError(_lacking("AlexNet", weights, error)) from None
        self._net = net.eval().requires_grad_(False).to(device)
        self._device = device

    @torch.no_grad()
    def __call__(self, restored: Tensor, gt: Pixels) -> float:
        """The distance, 0 for equal ones. restored: 3 x H x W, about [0, 1]; gt: H x W x 3. Raises ModelInputError."""
        if tuple(restored.shape) != (3, *gt.shape[:2]) or min(gt.shape[:2]) < LPIPS_LEAST:
            raise ModelInputError(
                f"pictures of {tuple(restored.shape)} and {gt.shape}; LPIPS takes 3 x H x W beside H x W x 3 of "
                f"{LPIPS_LEAST} px or more"
            )
        pair = (restored.float()[None], _planes(gt)[None].float() / 255)
        return float(self._net(*(image.to(self._device) * 2 - 1 for image in pair)))


FID_IMAGES = 2048
"""Images that FID wants: one for each feature. With fewer it is too high, the more so the fewer they are."""


class Fid:
    """Fréchet distance of restored and clean pictures in Inception's features (Heusel et al. 2017).

    Pictures are resized to 299 px as by the first FID code, without antialiasing.

    weights  file of Inception in torch-fidelity's form (`weights-inception-2015-12-05-6726825d.pth`); None: by name,
             from torch's cache or that library's server.
    """

    def __init__(self, weights: Path | None = None, device: torch.device | str = "cpu") -> None:
        """Raises UnavailableMetricError."""
        ensure_torchvision()
        try:
            inception = import_module("torch_fidelity.feature_extractor_inceptionv3")
        except ImportError as error:
            raise UnavailableMetricError(
                f"the library torch-fidelity is not installed ({error}); pip install torch-fidelity"
            ) from None
        try:
            if weights is not None:
                _tensors(weights)  # the library would run what a file says; one that this took holds nothing to run
            net: Any = inception.FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights) if weights else None
            )
        except (OSError, RuntimeError) as error:
            raise UnavailableMetricError(_lacking("Inception", weights, error)) from None
        self._net, self._device = net.to(device), device

    @torch.no_grad()
    def features(self, image: Pixels) -> NDArray[np.float64]:
        """2048 numbers of one picture, H x W x 3."""
        found: Tensor = self._net(_planes(image)[None].to(self._device))[0][0]
        return found.double().cpu().numpy()

    def of_sets(self, restored: Iterable[Pixels], gt: Iterable[Pixels]) -> float:
        """The distance of two sets of pictures, two or more each. Raises ModelInputError."""
        return frechet_distance([self.features(image) for image in restored], [self.features(image) for image in gt])


def frechet_distance(x: Sequence[NDArray[np.float64]], y: Sequence[NDArray[np.float64]]) -> float:
    """|µx - µy|² + tr(Σx + Σy - 2 (Σx Σy)^½) of two lists of features, D numbers each, with sample covariances.

    tr (Σx Σy)^½ is the sum of the singular values of A Bᵀ where Σx = AᵀA and Σy = BᵀB: exact, also with fewer samples
    than numbers, and then as small as they are. Raises ModelInputError for fewer than two of a list.
    """
    if min(len(x), len(y)) < 2:
        raise ModelInputError(f"{len(x)} and {len(y)} pictures; FID needs two or more of each")
    a, b = (np.asarray(features, np.float64) for features in (x, y))  # N x D, M x D
    away = a.mean(axis=0) - b.mean(axis=0)
    a, b = _root(a), _root(b)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return max(0.0, float(away @ away + np.square(a).sum() + np.square(b).sum() - 2 * cross))


def fid_caution(counts: Iterable[int]) -> str:
    """What a reader of FIDs of so many pictures each must know; empty where each has enough."""
    least = min(counts, default=FID_IMAGES)
    if least >= FID_IMAGES:
        return ""
    return f"FID: of {least:,} pictures at least; below {FID_IMAGES:,} it is too high, and compares with as many alone"


def _root(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """A with AᵀA the sample covariance of N x D features: min(N, D) x D."""
    centred: NDArray[np.float64] = (features - features.mean(axis=0)) / math.sqrt(len(features) - 1)
    if len(centred) <= centred.shape[1]:
        return centred
    root: NDArray[np.float64] = np.linalg.qr(centred)[1]
    return root


def _planes(image: Pixels) -> Tensor:
    """H x W x 3 to 3 x H x W."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file; nothing in it is run. Raises OSError, RuntimeError."""
    import pickle

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RuntimeError(f"no plain tensors: {str(error).splitlines()[0]}") from None
    if not isinstance(stored, dict):
        raise RuntimeError(f"a {type(stored).__name__}, not tensors by name")
    if told := told_not_finite({name: value for name, value in stored.items() if isinstance(value, Tensor)}):
        raise RuntimeError(told)
    return stored


def _lacking(network: str, weights: Path | None, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if weights is not None:
        return f"{weights} holds no weights of {network} ({reason}); give the file that the libraries download"
    return f"the weights of {network} cannot be had ({reason}); go online once, or give their file"
