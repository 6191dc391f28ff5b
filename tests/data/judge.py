"""Says how many samples of digits are what was asked for.

    pip install scikit-learn numpy safetensors
    python tests/data/judge.py SAMPLES.safetensors

The judge is a support vector machine, trained on the odd images of `digits.npz` and tried on the even ones first. It has
never seen a sample.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from sklearn.svm import SVC

data = np.load(Path(__file__).parent / "digits.npz")
images, labels = data["images"].reshape(-1, 64).astype(float), data["labels"]
judge = SVC(gamma=0.001, C=10).fit(images[1::2], labels[1::2])
print(f"judge: {judge.score(images[::2], labels[::2]):.1%} of the images it was not trained on")

samples = load_file(sys.argv[1])
found = judge.predict(((samples["samples"].clip(-1, 1) + 1) * 8).reshape(-1, 64))
right = found == samples["labels"]
print(f"samples: {right.mean():.1%} of {len(right)} are what was asked for")
for digit in range(10):
    print(f"  {digit}: {right[samples['labels'] == digit].mean():.0%}")
# Samples that are copies of images would prove little.
values = ((samples["samples"].clip(-1, 1) + 1) * 8).reshape(-1, 1, 64)
nearest = np.sqrt(((values - images) ** 2).mean(-1)).min(1)
between = np.sqrt(((images[:200, None] - images[None]) ** 2).mean(-1))
between[np.arange(200), np.arange(200)] = np.inf
print(f"nearest image: {np.median(nearest):.2f} from a sample, {np.median(between.min(1)):.2f} from another image (of 16)")
