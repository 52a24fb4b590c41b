"""Build a tiny dataset from photographs of scikit-image, and read it with a DataLoader.

python examples/build_and_read.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import PIL.Image
import skimage.data
from torch.utils.data import DataLoader

import patina


def main(folder: Path) -> None:
    """Build the dataset in `folder` and go through it twice."""
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        photo = PIL.Image.fromarray(getattr(skimage.data, name)())
        photo.resize((192, 144)).save(folder / "photos" / f"{name}.png")
    recipe = {
        "seed": 7,
        "sources": [{"path": str(folder.absolute() / "photos"), "licence": "see scikit-image"}],
        "degradations": {"noisy": {"sigma": {"min": 5, "max": 55}}, "rainy": {}, "hazy+rainy": {}},
    }
    print(patina.plan(recipe, folder / "dataset").plan.summary())
    patina.build(recipe, folder / "dataset")
    print("check:", patina.check(folder / "dataset", replay=None).summary)

    dataset = patina.Dataset(folder / "dataset", split="train", crop=96)
    for epoch in range(2):
        dataset.set_epoch(epoch)  # other crops
        for batch in DataLoader(dataset, batch_size=6, shuffle=True, num_workers=2):
            print(f"epoch {epoch}: lq {tuple(batch['lq'].shape)}, {', '.join(batch['degradation'])}")
    print("caption:", dataset[0]["caption"])


if __name__ == "__main__":  # where workers are spawned, they import this file
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "tiny"))
