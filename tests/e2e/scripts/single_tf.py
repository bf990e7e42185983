"""One process: prints its argument and the sum of a tensor."""

import sys

import tensorflow as tf

print(sys.argv[1])
print(tf.reduce_sum(tf.constant([1.0, 2.0, 3.0])).numpy())
