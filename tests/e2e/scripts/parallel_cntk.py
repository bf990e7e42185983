"""Data-parallel training of a small classifier: every worker sees other samples, all end with the same model."""

import os

import cntk
import numpy as np

inputs = cntk.input_variable(2)
labels = cntk.input_variable(2)
model = cntk.layers.Dense(2)(inputs)
loss = cntk.cross_entropy_with_softmax(model, labels)
schedule = cntk.learning_parameter_schedule(0.1)
learner = cntk.train.distributed.data_parallel_distributed_learner(cntk.sgd(model.parameters, schedule))
trainer = cntk.Trainer(model, (loss, cntk.classification_error(model, labels)), [learner])

workers, rank = cntk.Communicator.num_workers(), cntk.Communicator.rank()
random = np.random.RandomState(rank)
for _ in range(30):
    points = random.randn(32, 2).astype(np.float32)
    classes = np.eye(2, dtype=np.float32)[(points.sum(axis=1) > 0).astype(int)]
    trainer.train_minibatch({inputs: points, labels: classes})
weights = sum(float(parameter.value.sum()) for parameter in model.parameters)
norm = sum(float((parameter.value**2).sum()) for parameter in model.parameters)
os.write(
    1,
    "rank {} of {} on {} model {:.6f}/{:.6f}\n".format(
        rank, workers, os.environ["AZ_BATCH_NODE_ID"], weights, norm
    ).encode(),
)
cntk.Communicator.finalize()
