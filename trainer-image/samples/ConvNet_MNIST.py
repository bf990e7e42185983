"""Trains a small convolutional network on MNIST with CNTK.

    python ConvNet_MNIST.py DATA_DIRECTORY OUTPUT_DIRECTORY

DATA_DIRECTORY holds Train-28x28_cntk_text.txt and Test-28x28_cntk_text.txt (mnist_to_ctf.py makes them).
After each epoch the model is saved as OUTPUT_DIRECTORY/ConvNet_MNIST_<epoch>.dnn. Progress goes to stderr.
Under mpirun the ranks share each minibatch and rank 0 saves.

    MNIST_EPOCHS   epochs, 40 unless set
    MNIST_SAMPLES  images per epoch, 60000 unless set
"""

import os
import sys
import time

import cntk as C
from cntk.layers import Convolution2D, Dense, Dropout, MaxPooling, Sequential

SIDE, CLASSES = 28, 10
MINIBATCH, TEST_IMAGES, TEST_MINIBATCH = 64, 10000, 1000


def say(text):
    """A line of progress."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def network(images):
    """Scores of the ten digits for images of 0 to 255."""
    with C.layers.default_options(activation=C.relu, pad=True):
        layers = Sequential(
            [
                Convolution2D((5, 5), 16),
                MaxPooling((2, 2), strides=(2, 2)),
                Convolution2D((3, 3), 32),
                MaxPooling((2, 2), strides=(2, 2)),
                Dense(96),
                Dropout(0.3),
                Dense(CLASSES, activation=None),
            ]
        )
    return layers(images / 255.0)


def source(path, training):
    """A reader of one of the text files."""
    streams = C.io.StreamDefs(
        features=C.io.StreamDef(field="features", shape=SIDE * SIDE),
        labels=C.io.StreamDef(field="labels", shape=CLASSES),
    )
    sweeps = C.io.INFINITELY_REPEAT if training else 1
    return C.io.MinibatchSource(C.io.CTFDeserializer(path, streams), randomize=training, max_sweeps=sweeps)


def train(trainer, reader, inputs, epoch, epochs, samples):
    """One epoch."""
    began, seen, loss, errors = time.time(), 0, 0.0, 0.0
    while seen < samples:
        minibatch = reader.next_minibatch(
            min(MINIBATCH, samples - seen),
            input_map=inputs(reader),
            num_data_partitions=C.Communicator.num_workers(),
            partition_index=C.Communicator.rank(),
        )
        trainer.train_minibatch(minibatch)
        count = trainer.previous_minibatch_sample_count
        seen += count
        loss += trainer.previous_minibatch_loss_average * count
        errors += trainer.previous_minibatch_evaluation_average * count
    seconds = time.time() - began
    say(
        "Finished Epoch[%d of %d]: [Training] loss = %f * %d, metric = %.2f%% * %d %.3fs (%.1f samples/s);"
        % (epoch + 1, epochs, loss / seen, seen, 100 * errors / seen, seen, seconds, seen / seconds)
    )


def test(trainer, reader, inputs):
    """The share of the test images that the model gets wrong."""
    seen, errors = 0, 0.0
    while seen < TEST_IMAGES:
        minibatch = reader.next_minibatch(TEST_MINIBATCH, input_map=inputs(reader))
        count = minibatch[next(iter(minibatch))].num_samples
        errors += trainer.test_minibatch(minibatch) * count
        seen += count
    say(
        "Final Results: Minibatch[1-%d]: errs = %.2f%% * %d"
        % (TEST_IMAGES // TEST_MINIBATCH, 100 * errors / seen, seen)
    )


def main(data, output):
    """Trains, saves and tests; the model."""
    epochs, samples = int(os.environ.get("MNIST_EPOCHS", "40")), int(os.environ.get("MNIST_SAMPLES", "60000"))
    images, labels = C.input_variable((1, SIDE, SIDE)), C.input_variable(CLASSES)

    def inputs(reader):
        return {images: reader.streams.features, labels: reader.streams.labels}

    model = network(images)
    rate = C.learning_parameter_schedule_per_sample(0.002)
    learner = C.momentum_sgd(model.parameters, rate, C.momentum_schedule(0.9))
    if C.Communicator.num_workers() > 1:
        learner = C.train.distributed.data_parallel_distributed_learner(learner)
    loss, error = C.cross_entropy_with_softmax(model, labels), C.classification_error(model, labels)
    trainer = C.Trainer(model, (loss, error), [learner])
    say("Training %d parameters in %d tensors." % (sum(p.value.size for p in model.parameters), len(model.parameters)))
    reader = source(os.path.join(data, "Train-28x28_cntk_text.txt"), training=True)
    for epoch in range(epochs):
        train(trainer, reader, inputs, epoch, epochs, samples)
        if C.Communicator.rank() == 0:
            model.save(os.path.join(output, "ConvNet_MNIST_%d.dnn" % epoch))
    if C.Communicator.rank() == 0:
        test(trainer, source(os.path.join(data, "Test-28x28_cntk_text.txt"), training=False), inputs)
    if C.Communicator.num_workers() > 1:
        C.Communicator.finalize()
    return model


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2])
