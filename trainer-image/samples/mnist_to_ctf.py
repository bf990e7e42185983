"""Converts MNIST's idx files to CNTK's text format.

    python mnist_to_ctf.py IDX_DIRECTORY OUTPUT_DIRECTORY

IDX_DIRECTORY holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
t10k-labels-idx1-ubyte, each plain or with .gz. OUTPUT_DIRECTORY gets Train-28x28_cntk_text.txt and
Test-28x28_cntk_text.txt: a line per image with ten label numbers and 784 pixels from 0 to 255.
"""

import gzip
import os
import struct
import sys

SETS = (("train", "Train-28x28_cntk_text.txt"), ("t10k", "Test-28x28_cntk_text.txt"))
PIXELS = 28 * 28
NUMBERS = [str(value) for value in range(256)]
LABELS = [" ".join("1" if index == label else "0" for index in range(10)) for label in range(10)]


def read_idx(directory, name):
    """The content of an idx file after its header, which gives the magic number and the sizes."""
    path = os.path.join(directory, name)
    opener = open if os.path.exists(path) else gzip.open
    with opener(path if opener is open else path + ".gz", "rb") as file:
        data = file.read()
    dimensions = data[3]
    sizes = struct.unpack(">%dI" % dimensions, data[4 : 4 + 4 * dimensions])
    return sizes, data[4 + 4 * dimensions :]


def convert(directory, name, target):
    """Writes one of the two sets; the number of its images."""
    (count, rows, columns), images = read_idx(directory, name + "-images-idx3-ubyte")
    (labelled,), labels = read_idx(directory, name + "-labels-idx1-ubyte")
    if (rows * columns, labelled) != (PIXELS, count):
        raise SystemExit("%s: %d images of %dx%d and %d labels are not MNIST" % (name, count, rows, columns, labelled))
    with open(target, "w") as file:
        for index in range(count):
            pixels = images[index * PIXELS : (index + 1) * PIXELS]
            features = " ".join([NUMBERS[pixel] for pixel in pixels])
            file.write("|labels %s |features %s\n" % (LABELS[labels[index]], features))
    return count


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    for name, target in SETS:
        print("%s: %d images" % (target, convert(sys.argv[1], name, os.path.join(sys.argv[2], target))))
