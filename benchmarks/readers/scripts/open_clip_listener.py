"""open_clip's training, and what its loader gives; takes what `python -m open_clip_train.main` takes.

Nothing of what reads is touched. Images are resized as in evaluation, so that they can be told from one another; what
the loader gives in an epoch is written to the file that HEARD names; and no batch goes on to the model, one step of
which takes a CPU twenty seconds.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def told(image, tokens) -> list:
    """Enough of an image to know it by, and its caption's tokens."""
    return [[round(float(value), 4) for value in image.flatten()[::997]], [int(token) for token in tokens]]


class Heard:
    """A loader that writes down what it would give, and gives nothing."""

    def __init__(self, loader) -> None:
        self.loader = loader

    def __getattr__(self, name: str):
        return getattr(self.loader, name)

    def __iter__(self) -> Iterator:
        with Path(os.environ["HEARD"]).open("w") as file:
            for images, texts in self.loader:
                for image, tokens in zip(images, texts, strict=True):
                    file.write(json.dumps(told(image, tokens)) + "\n")
        return iter(())


def main() -> None:
    from open_clip_train import main as program

    make, train = program.create_model_and_transforms, program.train_one_epoch

    def make_plain(*given, **named):
        model, _, evaluation = make(*given, **named)
        return model, evaluation, evaluation

    def train_heard(model, data, *given, **named):
        data["train"].dataloader = Heard(data["train"].dataloader)
        return train(model, data, *given, **named)

    program.create_model_and_transforms, program.train_one_epoch = make_plain, train_heard
    program.main(sys.argv[1:])


if __name__ == "__main__":
    main()
